"""Venice's API key: an SSM SecureString, cached in memory for five minutes and nowhere else."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from image_drop.errors import AccountError, StorageBusyError

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient

MAX_AGE = 300.0  # seconds


@dataclass
class ApiKey:
    """The key in a parameter of SSM. Call the object to get the key.

    `now`: seconds since 1970.
    """

    ssm: "SSMClient"
    name: str
    now: Callable[[], float]
    _key: str = field(default="", repr=False)
    _read_at: float = 0.0

    def __call__(self) -> str:
        """Return the key. Raise `AccountError` when the parameter is missing or forbidden."""
        if not self._key or not self._read_at <= self.now() < self._read_at + MAX_AGE:
            self._key, self._read_at = self._read(), self.now()
        return self._key

    def replaced(self) -> bool:
        """Fetch the key again; return whether it has changed."""
        former = self()
        self._key, self._read_at = self._read(), self.now()
        return self._key != former

    def _read(self) -> str:
        try:
            answer = self.ssm.get_parameter(Name=self.name, WithDecryption=True)
        except (ClientError, BotoCoreError) as error:
            code = error.response["Error"]["Code"] if isinstance(error, ClientError) else ""
            if code in ("ParameterNotFound", "AccessDeniedException"):
                raise AccountError(
                    f"The SSM parameter {self.name} cannot be read ({code})."
                ) from error
            raise StorageBusyError(f"AWS did not return the SSM parameter {self.name}.") from error
        text = answer["Parameter"]["Value"].strip()
        if not text or not text.isascii() or not text.isprintable():
            raise AccountError(f"The SSM parameter {self.name} does not hold an API key.")
        return text
