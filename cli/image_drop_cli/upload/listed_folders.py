"""Which keys a bucket has, folder by folder: one listing instead of a request for each key."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

MAX_LISTED = 100_000  # keys of a folder; in a larger one, each key may be there
RECENT = 4  # folders that are kept; files come folder by folder


@dataclass
class ListedFolders:
    """The folders of a bucket that were asked for lately."""

    s3: Any
    bucket: str
    _keys: dict[str, frozenset[str]] = field(default_factory=dict)  # the latest comes last

    def may_have(self, key: str) -> bool:
        """Return whether a listing of its folder has the key, or is too long to tell."""
        folder = key[: key.rfind("/") + 1]
        keys = self._keys.pop(folder, None)
        if keys is None:
            keys = frozenset(islice(self._listed(folder), MAX_LISTED + 1))
        self._keys[folder] = keys
        if len(self._keys) > RECENT:
            del self._keys[next(iter(self._keys))]
        return key in keys or len(keys) > MAX_LISTED

    def _listed(self, folder: str) -> Iterator[str]:
        pages = self.s3.get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=self.bucket, Prefix=folder, Delimiter="/"):
            for each in page.get("Contents", ()):
                yield each["Key"]
