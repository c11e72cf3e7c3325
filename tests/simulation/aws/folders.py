"""Buckets of which the stack has only a folder each, as InputPrefix and OutputPrefix say.

People name an object by what follows the folder, and so does the project itself.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from tests.simulation.aws.errors import client_error
from tests.simulation.aws.s3 import S3

KEYS = ("Key", "Prefix", "StartAfter")  # parameters that name keys


@dataclass(frozen=True)
class Folders:
    """A boto3 client of S3 for the functions. `folders`: by bucket, each with its slash, or "".

    `on_outside(what)` is told of each key that is not in the stack's folder.
    """

    s3: S3
    folders: Mapping[str, str]
    on_outside: Callable[[str], object]

    def __getattr__(self, operation: str) -> Any:
        return self.s3.meta if operation == "meta" else partial(self._request, operation)

    def whole_key(self, bucket: str, key: str) -> str:
        """Return the key as S3 knows it."""
        return self.folders[bucket] + key

    def key_within(self, what: str, bucket: str, key: str) -> str:
        """Return what follows the stack's folder. Raise `ClientError` for a key outside."""
        if not key.startswith(self.folders[bucket]):
            self.on_outside(f"{what} of {key!r}, which is outside of {self.folders[bucket]}")
            raise client_error("AccessDenied", 403, what)
        return key.removeprefix(self.folders[bucket])

    def _request(self, operation: str, *, Bucket: str, **parameters: Any) -> Any:
        if operation.startswith("list_"):
            parameters.setdefault("Prefix", "")
        within = {
            name: self.key_within(operation, Bucket, value) if name in KEYS else value
            for name, value in parameters.items()
        }
        answer = getattr(self.s3, operation)(Bucket=Bucket, **within)
        for listed in answer.get("Contents", ()):
            listed["Key"] = self.whole_key(Bucket, listed["Key"])
        return answer
