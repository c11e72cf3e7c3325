"""Every way an edit can end other than well, sorted by what has to be done about it.

ImageDropError
├── SettingsError                a function's environment is incomplete
├── PermanentError               waiting changes nothing: write a report, do not retry
│   ├── InstructionsError        what the person asked for cannot be understood
│   │   ├── NoInstructionsError
│   │   ├── UnreadableInstructionsError
│   │   ├── UnknownKeyError
│   │   ├── UnknownModeError
│   │   ├── InvalidValueError
│   │   ├── MissingPromptError
│   │   ├── ModelNotAllowedError
│   │   └── EditTooDearError
│   ├── ImageError               the file cannot be sent; nothing was called, nothing was paid
│   │   ├── ImageDeletedError
│   │   ├── EmptyFileError
│   │   ├── NotAnImageError
│   │   ├── DamagedImageError
│   │   ├── TooSmallError
│   │   └── TooLargeError
│   ├── LayerError               a mask or overlay cannot be sent
│   ├── RefusedError             Venice says no to this request: 400, 404, 410, 413, 415, 422
│   │   ├── ContentRefusedError
│   │   ├── ModelNotFoundError
│   │   └── UnusableAnswerError
│   ├── OutcomeUnknownError      two calls stayed without an answer, either may have been charged
│   └── RetriesExhaustedError    the last try failed with a retryable error
├── RetryableError               the same request may succeed later: wait until `retry_at`
│   ├── NoSlotError              the rate limiter has no slot within the caller's patience
│   ├── RateLimitedError         Venice answered 429
│   │   └── LockedOutError       ... because the key had too many failures
│   ├── VeniceUnavailableError   500, 502, 503, 504, or no connection
│   ├── NoAnswerError            no answer within the time, or half of one: it may be charged
│   ├── LineStoppedError         the account is unavailable, so no call is made
│   │   └── SpendLimitError      ... because what a day may cost is spent
│   ├── KeyReplacedError         the API key was changed, and the call was made with the old one
│   ├── ImageChangedError        a newer upload came while this one was read
│   ├── InProgressError          another invocation is working on the same edit
│   ├── LayerNotThereError       a mask or overlay has not been uploaded yet
│   └── StorageBusyError         S3 or DynamoDB asks to slow down
├── AccountError                 401, 402, 403: no image is to blame, the line has to stop
├── WaitsForImageError           a sidecar came before its image: the image's upload will do it
└── SupersededError              a newer upload took the image's place: the newer edit counts

Errors are told apart by HTTP status, never by the text of a message. The one exception is
`LockedOutError`, which Venice marks by nothing else.
"""

from typing import ClassVar


class ImageDropError(Exception):
    """Base of all errors of this package.

    `code`, `title` and `advice` belong to the class and are what a report shows; `detail` is
    the sentence about this one case. `status` and `request_id` (Venice's `CF-RAY`) are set when
    Venice answered. `retry_at` is in seconds since 1970, set when somebody named a time.
    """

    code: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "Something went wrong inside Image Drop"
    advice: ClassVar[str] = "Look the key up in the function's log, and upload the image again."

    def __init__(
        self,
        detail: str,
        *,
        status: int | None = None,
        retry_at: float | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.status = status
        self.retry_at = retry_at
        self.request_id = request_id


class SettingsError(ImageDropError):
    """When environment variables are missing or malformed; names all of them at once."""

    code = "bad_settings"
    title = "The function is not configured"
    advice = "Set the variables named above; template.yaml sets all of them."


# --- permanent -----------------------------------------------------------------------------


class PermanentError(ImageDropError):
    """When the same request would fail again: it gets a report and is not retried."""


class InstructionsError(PermanentError):
    """When the instructions for an image are missing or wrong; raised before any call."""


class NoInstructionsError(InstructionsError):
    """When no source names a mode or a prompt."""

    code = "no_instructions"
    title = "Nobody said what to do with this image"
    advice = (
        "Put a file named like the image plus .json beside it, for example "
        '{"mode": "background-remove"} or {"prompt": "make the sky pink"}; or a file '
        ".image-drop.json in its folder, for everything dropped there; or the object tags "
        "mode and prompt. The edit starts as soon as the .json file is there."
    )


class UnreadableInstructionsError(InstructionsError):
    """When a sidecar or folder file is no JSON object, or is larger than 64 KB."""

    code = "unreadable_instructions"
    title = "The instructions file cannot be read"
    advice = (
        "Make it one JSON object in UTF-8, at most 64 KB, for example "
        '{"mode": "edit", "prompt": "make the sky pink"}, and upload it again.'
    )


class UnknownKeyError(InstructionsError):
    """When the instructions hold a key that does not exist; names the nearest that does."""

    code = "unknown_key"
    title = "The instructions contain a key that does not exist"
    advice = "Correct or remove the key, and upload the instructions again."


class UnknownModeError(InstructionsError):
    """When `mode` is none of the three."""

    code = "unknown_mode"
    title = "The mode does not exist"
    advice = "Use one of the modes edit, multi-edit and background-remove."


class InvalidValueError(InstructionsError):
    """When a key has a value of the wrong type or outside its limits, or does not fit the mode."""

    code = "invalid_value"
    title = "A value in the instructions is not allowed"
    advice = "Correct the value, and upload the instructions again."


class MissingPromptError(InstructionsError):
    """When the mode is edit or multi-edit and there is no prompt."""

    code = "missing_prompt"
    title = "This mode needs a prompt"
    advice = 'Add a prompt, for example {"mode": "edit", "prompt": "make the sky pink"}.'


class ModelNotAllowedError(InstructionsError):
    """When the instructions name a model that the template's `AllowedModels` does not hold."""

    code = "model_not_allowed"
    title = "This model is not allowed here"
    advice = "Name an allowed model, or have the owner of the stack add this one to AllowedModels."


class EditTooDearError(InstructionsError):
    """When an upload's edits would together cost more than the template's `MaxEditUSD`."""

    code = "edit_too_dear"
    title = "This edit costs more than is allowed"
    advice = (
        "Choose a cheaper model, resolution or quality or fewer variants, "
        "or have the owner of the stack raise MaxEditUSD."
    )


class ImageError(PermanentError):
    """When the file cannot be sent to Venice; raised before any call."""


class ImageDeletedError(ImageError):
    """When the image was gone before it was read."""

    code = "image_deleted"
    title = "The image was deleted before it could be edited"
    advice = "Upload it again if you still want the edit."


class EmptyFileError(ImageError):
    """When the file has no bytes."""

    code = "empty_file"
    title = "The file is empty"
    advice = "Upload it again; the first upload may have been interrupted."


class NotAnImageError(ImageError):
    """When the bytes are in no image format that can be read, whatever the name says."""

    code = "not_an_image"
    title = "The file is not an image"
    advice = "Upload a JPEG, PNG, WebP, HEIC, AVIF, TIFF, BMP or GIF."


class DamagedImageError(ImageError):
    """When the bytes begin as an image and cannot be decoded to the end."""

    code = "damaged_image"
    title = "The image is damaged"
    advice = "Open it on your computer, export it again, and upload the new file."


class TooSmallError(ImageError):
    """When the image has fewer pixels than Venice takes (65,536)."""

    code = "too_small"
    title = "The image is too small"
    advice = "Upload a version with at least 65,536 pixels, for example 256 × 256."


class TooLargeError(ImageError):
    """When the image has more bytes or pixels than can be worked on."""

    code = "too_large"
    title = "The image is too large"
    advice = "Upload a smaller version, below the limit named above."


class LayerError(PermanentError):
    """When a mask, overlay or background is missing for good, or cannot be used."""

    code = "bad_layer"
    title = "A layer cannot be used"
    advice = "Upload the layer named above, or correct its name, and upload the instructions again."


class RefusedError(PermanentError):
    """When Venice answers 400, 404, 410, 413, 415 or 422: the request itself is at fault."""

    code = "refused"
    title = "Venice refused the request"
    advice = "Change the instructions or the image as Venice's words above say."


class ContentRefusedError(RefusedError):
    """When Venice's content policy forbids the edit: by a violation header, whatever the status,
    or by the error code `CONTENT_POLICY_VIOLATION`."""

    code = "content_refused"
    title = "Venice's content policy does not allow this edit"
    advice = "Change the prompt or the image. The same request will be refused again."


class ModelNotFoundError(RefusedError):
    """When Venice answers 404 or 410: the model does not exist, or not any more."""

    code = "model_not_found"
    title = "Venice does not have this model"
    advice = "Leave model out to use Venice's own default, or name a model that Venice lists."


class UnusableAnswerError(RefusedError):
    """When Venice answers 200 with something that is no image, or with more than 50 MiB."""

    code = "unusable_answer"
    title = "Venice answered with something that is not an image"
    advice = "Upload the image again. If it happens again, tell Venice the request id."


class OutcomeUnknownError(PermanentError):
    """When two calls for one edit stayed without an answer; a third could be paid a third time."""

    code = "outcome_unknown"
    title = "Venice did not answer, twice"
    advice = (
        "Either call may have been charged; your usage page at Venice tells. "
        "Upload the image again to try once more."
    )


class RetriesExhaustedError(PermanentError):
    """When the last try of a message ended in a retryable error."""

    code = "retries_exhausted"
    title = "All tries have failed"
    advice = (
        "The message is in the dead-letter queue and nothing is lost. "
        "When the cause is gone, redrive the queue."
    )


# --- retryable -----------------------------------------------------------------------------


class RetryableError(ImageDropError):
    """When the same request may succeed later."""

    advice = "Nothing to do: it is tried again."


class NoSlotError(RetryableError):
    """When the next free slot of the rate limiter is further away than the caller waits."""

    code = "no_slot"
    title = "Waiting for a free slot"


class RateLimitedError(RetryableError):
    """When Venice answers 429. `limit`: requests a minute, where the answer names them."""

    code = "rate_limited"
    title = "Venice asks to slow down"

    def __init__(
        self,
        detail: str,
        *,
        status: int | None = None,
        retry_at: float | None = None,
        request_id: str | None = None,
        limit: int | None = None,
    ) -> None:
        super().__init__(detail, status=status, retry_at=retry_at, request_id=request_id)
        self.limit = limit


class LockedOutError(RateLimitedError):
    """When Venice answers 429 because too many calls with this key have failed."""

    code = "locked_out"
    title = "Venice has locked the key out for half a minute"


class VeniceUnavailableError(RetryableError):
    """When Venice answers 500, 502, 503 or 504, or no connection comes about."""

    code = "venice_unavailable"
    title = "Venice is not available"


class NoAnswerError(RetryableError):
    """When no answer came within the time, or it broke off: the call may have been charged.

    A connection that breaks before the answer begins is a `VeniceUnavailableError`.
    """

    code = "no_answer"
    title = "Venice did not answer"


class LineStoppedError(RetryableError):
    """When no call may be made because the account is unavailable or its budget is spent."""

    code = "line_stopped"
    title = "No calls are made at the moment"


class SpendLimitError(LineStoppedError):
    """When the day's spend has reached `DailySpendLimitUSD`."""

    code = "daily_spend_limit"
    title = "The day's budget is spent"
    advice = "Nothing to do: calls go on after midnight UTC. Or raise DailySpendLimitUSD."


class KeyReplacedError(RetryableError):
    """When Venice refused the key with 401 and the parameter holds another one by now."""

    code = "key_replaced"
    title = "The API key was replaced"


class ImageChangedError(RetryableError):
    """When a newer image took the place of the one that was being read."""

    code = "image_changed"
    title = "The image was replaced while it was read"


class InProgressError(RetryableError):
    """When another invocation holds the lock of the same edit.

    It may have died: the delivery that finds the lock may be the one that has to finish its work,
    so it waits instead of being dropped.
    """

    code = "in_progress"
    title = "The same edit is already running"


class LayerNotThereError(RetryableError):
    """When a mask or overlay is not in the bucket yet."""

    code = "layer_not_there"
    title = "A layer is not there yet"


class StorageBusyError(RetryableError):
    """When S3, DynamoDB or another AWS service throttles or is unavailable."""

    code = "storage_busy"
    title = "AWS asks to slow down"


# --- account -------------------------------------------------------------------------------


class AccountError(ImageDropError):
    """When Venice answers 401, 402 or 403: the key, the balance or the permission is at fault."""

    code = "account_unavailable"
    title = "Venice does not accept the account"
    advice = "Check the API key, its spending limit and the balance at Venice."


# --- left to another upload ----------------------------------------------------------------


class WaitsForImageError(ImageDropError):
    """When instructions were uploaded and their image was not yet."""

    code = "waits_for_image"
    title = "The instructions are there before their image"
    advice = "Upload the image."


class SupersededError(ImageDropError):
    """When a newer upload took the image's place while it was edited: its own edit counts."""

    code = "superseded"
    title = "A newer upload took the place of this image"
    advice = "Nothing to do: the newer image is edited."
