"""S3's error codes and limits."""

from botocore.exceptions import ClientError

MAX_KEY_BYTES = 1024

MISSING = ("404", "NoSuchKey", "NotFound")
DELETED = ("405", "MethodNotAllowed")  # the answer of a delete marker
CHANGED = ("412", "PreconditionFailed", "ConditionalRequestConflict")  # a condition did not hold
KEY_TOO_LONG = ("KeyTooLongError",)
BAD_DIGEST = ("BadDigest",)  # the body is not what its MD5 says
# S3 refuses one object for good: forbidden (a HEAD has the status only), archived in Glacier, or
# encrypted with a KMS key that cannot be used.
REFUSED = (
    "403",
    "AccessDenied",
    "InvalidObjectState",
    "KMS.DisabledException",
    "KMS.KMSInvalidStateException",
    "KMS.NotFoundException",
)


def code_of(error: ClientError) -> str:
    """Return the error code of S3's answer; a HEAD has only a status, such as `404`."""
    return error.response.get("Error", {}).get("Code", "")
