"""Venice's API key: an SSM SecureString, cached in memory for five minutes and nowhere else."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aws_lambda_powertools.utilities.parameters import SSMProvider
from aws_lambda_powertools.utilities.parameters.exceptions import GetParameterError
from botocore.exceptions import ClientError

from image_drop.errors import AccountError, StorageBusyError

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient

MAX_AGE = 300  # seconds


@dataclass(frozen=True)
class ApiKey:
    """The key in a parameter of SSM. Call the object to get the key."""

    provider: SSMProvider
    name: str

    @classmethod
    def of(cls, ssm: "SSMClient", name: str) -> "ApiKey":
        """Return the key in the parameter `name`."""
        return cls(SSMProvider(boto3_client=ssm), name)

    def __call__(self) -> str:
        """Return the key. Raise `AccountError` when the parameter is missing or forbidden."""
        return self._get(force_fetch=False)

    def replaced(self) -> bool:
        """Fetch the key again; return whether it has changed."""
        return self._get(force_fetch=False) != self._get(force_fetch=True)

    def _get(self, *, force_fetch: bool) -> str:
        try:
            key = self.provider.get(
                self.name, max_age=MAX_AGE, decrypt=True, force_fetch=force_fetch
            )
        except GetParameterError as error:
            cause = error.__cause__ or error.__context__
            code = cause.response["Error"]["Code"] if isinstance(cause, ClientError) else ""
            if code in ("ParameterNotFound", "AccessDeniedException"):
                raise AccountError(
                    f"The SSM parameter {self.name} cannot be read ({code})."
                ) from error
            raise StorageBusyError(f"AWS did not return the SSM parameter {self.name}.") from error
        text = str(key).strip()
        if not text or not text.isascii() or not text.isprintable():
            raise AccountError(f"The SSM parameter {self.name} does not hold an API key.")
        return text
