"""Venice's error answers, each with a body as in its documents."""

from collections.abc import Callable, Mapping
from typing import Any

from image_drop_local.simulator.calls import Refusal


class ApiError(Exception):
    """Raised when a request is answered with an error; `body` is a dict (JSON) or a str (HTML).

    `counted`: False if, by the newer documents, the failure is seen before the error budget and so
    never leads to a lock-out. `refused`: the simulator's limit that refused the call.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        body: Mapping[str, Any] | str | None = None,
        headers: Mapping[str, str] | None = None,
        counted: bool = True,
        refused: Refusal | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body = _BODIES.get(status, _standard)(message) if body is None else body
        self.headers = dict(headers or {})
        self.counted = counted
        self.refused: Refusal | None = refused


def invalid(message: str, field: str = "") -> ApiError:
    """Return the 400 of a failed schema: a tree of `details` and a flat list of `issues`."""
    at_field = {field: {"_errors": [message]}} if field else {}
    return ApiError(
        400,
        message,
        body={
            "error": "Invalid request parameters",
            "details": {"_errors": [] if field else [message], **at_field},
            "issues": [{"code": "custom", "path": [field] if field else [], "message": message}],
        },
    )


def refused(message: str, detail: str) -> ApiError:
    """Return the 400 of an image or model check, whose `details` is a plain string, not a tree."""
    return ApiError(400, message, body={"error": message, "details": detail})


def no_credentials(url: str) -> ApiError:
    """Return 402 with x402 discovery, which says how to pay without an account; not 401."""
    return ApiError(
        402,
        "Authentication required",
        body={
            "x402Version": 2,
            "error": "Authentication required",
            "resource": {"url": url, "description": "Venice API", "mimeType": "application/json"},
            "accepts": [{"scheme": "exact", "network": "eip155:8453"}],
            "authOptions": {"apiKey": {"header": "Authorization: Bearer YOUR_API_KEY"}},
        },
        headers={"PAYMENT-REQUIRED": "c2ltdWxhdGlvbg=="},  # base64 of "simulation"
        counted=False,
    )


def locked_out(failures: int, seconds: float) -> ApiError:
    """Return the 429 of the error budget. Only its text distinguishes it from a plain 429."""
    return ApiError(
        429,
        f"Too many failed attempts (> {failures}) resulting in a non-success status code. "
        f"Please wait {seconds:g}s and try again.",
        headers={"x-ratelimit-type": "FAILED_REQUESTS"},
        refused="lock_out",
    )


def rate_limited() -> ApiError:
    return ApiError(
        429,
        "Rate limit exceeded",
        body={
            "error": "Rate limit exceeded",
            "customMessage": "You have exceeded the rate limit of this model.",
        },
        headers={"x-ratelimit-type": "RPM"},
        refused="rate_limit",
    )


def overloaded(retry_after: float | None) -> ApiError:
    """Return a 429 while the quota is not used up; `Retry-After` is 30 s unless given."""
    return ApiError(
        429,
        "The model is currently overloaded. Please try again later.",
        body={
            "error": {
                "message": "The model is currently overloaded. Please try again later.",
                "type": "rate_limit_error",
                "code": "MODEL_OVERLOADED",
            }
        },
        headers={"Retry-After": f"{30 if retry_after is None else retry_after:g}"},
    )


def bad_key() -> ApiError:
    return ApiError(401, MESSAGES[401])


def no_balance() -> ApiError:
    return ApiError(402, MESSAGES[402])


def spend_limit() -> ApiError:
    return ApiError(402, "API key USD spend limit exceeded.")


def forbidden() -> ApiError:
    return ApiError(403, MESSAGES[403])


def _standard(message: str) -> dict[str, Any]:
    return {"error": message}


def _typed(code: str) -> Callable[[str], dict[str, Any]]:
    return lambda message: {"error": {"message": message, "type": "api_error", "code": code}}


def _edge_page(message: str) -> str:
    """Return the page of a proxy in front of the API, which is not JSON."""
    return f"<html><head><title>{message}</title></head><body><h1>{message}</h1></body></html>"


_BODIES: Mapping[int, Callable[[str], dict[str, Any] | str]] = {
    403: _typed("UNAUTHORIZED"),
    413: lambda message: {"code": "PAYLOAD_TOO_LARGE", "error": message},
    500: _typed("INFERENCE_FAILED"),
    502: _edge_page,
    503: lambda message: {"error": message, "request_id": "simulated-request"},
    524: _edge_page,
}

# The text of a fault with that status.
MESSAGES: Mapping[int, str] = {
    400: "Your prompt violates the content policy of the model provider",
    401: "Authentication failed",
    402: "Insufficient USD or Diem balance to complete request. "
    "Visit https://venice.ai/settings/api to add credits.",
    403: "API access is disabled for this account",
    404: "The input media could not be found",
    408: "The request timed out",
    410: "This model has been retired",
    413: "File exceeds the maximum allowed size of 25 MB.",
    415: "Request encoding is not supported",
    422: "Your prompt violates the content policy of Venice.ai or the model provider",
    429: "Rate limit exceeded",
    500: "Inference processing failed",
    502: "Bad gateway",
    503: "The model is at capacity. Please try again later.",
    504: "The request took too long",
    524: "A timeout occurred",
}
