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
│   │   ├── ModelNotAllowedError
│   │   ├── EditTooDearError
│   │   └── MissingPromptError
│   ├── ImageError               the file cannot be sent; nothing was called, nothing was paid
│   │   ├── ImageDeletedError
│   │   ├── UnreadableObjectError    S3 refuses to give it: encryption, archive, policy
│   │   ├── EmptyFileError
│   │   ├── NotAnImageError
│   │   ├── DamagedImageError
│   │   ├── TooSmallError
│   │   └── TooLargeError
│   ├── LayerError               a mask or overlay cannot be sent
│   ├── RefusedError             Venice says no to this request: 400, 404, 410, 413, 415, 422
│   │   ├── ContentRefusedError
│   │   ├── MediaNotFoundError
│   │   ├── ModelNotFoundError
│   │   └── UnusableAnswerError
│   ├── OutputTakenError         the result would replace something else
│   ├── OutcomeUnknownError      two calls stayed without an answer, either may have been charged
│   └── RetriesExhaustedError    the last try failed with a retryable error
├── RetryableError               the same request may succeed later: wait until `retry_at`
│   ├── NoSlotError              no slot is near enough for the caller to wait for
│   ├── RateLimitedError         Venice answered 429
│   │   └── LockedOutError       ... because the key had too many failures
│   ├── VeniceUnavailableError   500, 502, 503, another 5xx, or no connection
│   ├── NoAnswerError            the request went out and no whole answer came: it may be charged
│   ├── ProcessingPausedError         the account is unavailable, so no call is made
│   │   └── SpendLimitError      ... because what a day may cost is spent
│   ├── ModelRefusedError        401, 402, 403 for one model, while others are accepted
│   ├── KeyReplacedError         the API key was changed, and the call was made with the old one
│   ├── ImageChangedError        a newer upload came while this one was read
│   ├── OutOfTimeError           the invocation would end before the call does
│   ├── CrashedError             the last invocation died in the middle of its work
│   ├── NotAnnouncedError        the outcome stands, and the event bus did not take the event
│   ├── InProgressError          another invocation is working on the same edit
│   ├── LayerNotThereError       a mask or overlay has not been uploaded yet
│   └── StorageBusyError         S3 or DynamoDB asks to slow down
├── AccountError                 401, 402, 403: no image is to blame, the line has to stop
├── WaitsForImageError           a sidecar came before its image: the image's upload will do it
└── SupersededError              a newer upload took the image's place: the newer edit counts

Errors are told apart by HTTP status, never by the text of a message. The one exception is
`LockedOutError`, which Venice marks by nothing else.
"""

from enum import StrEnum
from typing import ClassVar


class Charge(StrEnum):
    """Whether Venice charged the call that failed."""

    NO = "no"
    MAYBE = "maybe"
    YES = "yes"


class ImageDropError(Exception):
    """Base of all errors of this package.

    `code`, `title` and `advice` belong to the class and are what a report shows; `detail` is
    the sentence about this one case. `status` and `request_id` (Venice's `CF-RAY`) are set when
    Venice answered. `retry_at` is in seconds since 1970, set when somebody named a time.
    `charge` is the class's own unless the raiser knows better about this one case.
    """

    code: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "Something went wrong inside Image Drop"
    advice: ClassVar[str] = "Look the key up in the function's log, and upload the image again."
    charge: Charge = Charge.NO

    def __init__(
        self,
        detail: str,
        *,
        status: int | None = None,
        retry_at: float | None = None,
        request_id: str | None = None,
        charge: Charge | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.status = status
        self.retry_at = retry_at
        self.request_id = request_id
        if charge is not None:
            self.charge = charge


def subclasses[E: ImageDropError](of: type[E]) -> list[type[E]]:
    """A class of errors and all below it."""
    return [of, *(each for child in of.__subclasses__() for each in subclasses(child))]


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


class ModelNotAllowedError(InstructionsError):
    """When the model is not among the template's `AllowedModels`."""

    code = "model_not_allowed"
    title = "This model is not allowed here"
    advice = "Use one of the models named above, or have it added to AllowedModels."


class EditTooDearError(InstructionsError):
    """When an upload would cost more than `MaxEditUSD`, or than a whole day may cost."""

    code = "edit_too_dear"
    title = "This edit costs more than is allowed"
    advice = "Choose a cheaper model or fewer variants, or raise the limit named above."


class MissingPromptError(InstructionsError):
    """When the mode is edit or multi-edit and there is no prompt."""

    code = "missing_prompt"
    title = "This mode needs a prompt"
    advice = 'Add a prompt, for example {"mode": "edit", "prompt": "make the sky pink"}.'


class ImageError(PermanentError):
    """When the file cannot be sent to Venice; raised before any call."""


class ImageDeletedError(ImageError):
    """When the image was gone before it was read."""

    code = "image_deleted"
    title = "The image was deleted before it could be edited"
    advice = "Upload it again if you still want the edit."


class UnreadableObjectError(ImageError):
    """When S3 refuses to give the image or its instructions: another key's, archived, forbidden.

    AWS answers 403 (`AccessDenied`, `InvalidObjectState`), or 400 with a code of KMS.
    """

    code = "unreadable_object"
    title = "S3 does not let Image Drop read a file"
    advice = (
        "Restore the file if it is archived. Upload it again without an encryption key of its own, "
        "or with the key that the stack has as KmsKeyArn. Check the bucket policy."
    )


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
    """When the image has fewer pixels than an edit takes: 65,536, with 64 on each side."""

    code = "too_small"
    title = "The image is too small"
    advice = (
        "Upload a version with at least 65,536 pixels and 64 on each side, for example 256 × 256."
    )


class TooLargeError(ImageError):
    """When the image has more bytes or pixels than can be worked on."""

    code = "too_large"
    title = "The image is too large"
    advice = "Upload a smaller version, below the limit named above."


class LayerError(PermanentError):
    """When a mask, overlay or background is missing for good, or cannot be used."""

    code = "bad_layer"
    title = "A layer cannot be used"
    advice = (
        "A layer is an image in the folder of its image, or in a folder _layers/ there or above. "
        "Check its name, that it is uploaded and that it opens. Then upload the instructions again."
    )


class RefusedError(PermanentError):
    """When Venice answers 400, 404, 410, 413, 415 or 422: the request itself is at fault."""

    code = "refused"
    title = "Venice refused the request"
    advice = "Change the instructions or the image as Venice's words above say."


class ContentRefusedError(RefusedError):
    """When Venice's content policy forbids the edit.

    Venice says so with 422 on edit and multi-edit (the other reason for it, the number of pixels,
    is checked before the call), with a violation header whatever the status, or with the error
    code `CONTENT_POLICY_VIOLATION`. A 422 is charged where Venice's own moderation blocks a
    picture that the provider has made; nothing in the answer tells the two cases apart.
    """

    code = "content_refused"
    title = "Venice's content policy does not allow this edit"
    advice = "Change the prompt or the image. The same request will be refused again."


class MediaNotFoundError(RefusedError):
    """When Venice answers 404 on edit or multi-edit: an input image could not be fetched."""

    code = "media_not_found"
    title = "Venice could not fetch one of the images"
    advice = (
        "If a layer is a URL, make sure that it opens from the internet without a login, and "
        "upload the instructions again. Otherwise upload the image again."
    )


class ModelNotFoundError(RefusedError):
    """When Venice answers 410: the model was retired. (An unknown model is a 400.)"""

    code = "model_not_found"
    title = "Venice does not have this model"
    advice = "Leave model out to use Venice's own default, or name a model that Venice lists."


class UnusableAnswerError(RefusedError):
    """When Venice answers 200 with something that is no image, or with more than 50 MiB."""

    code = "unusable_answer"
    title = "Venice answered with something that is not an image"
    advice = "Upload the image again. If it happens again, tell Venice the request id."
    charge = Charge.YES


class OutputTakenError(PermanentError):
    """When the object at the result's key was not made of the same image."""

    code = "output_taken"
    title = "The result would replace something else"
    advice = (
        "Rename one of the two images named above, or give OutputKeyFormat a form that keeps "
        "them apart. Then upload the image again."
    )


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
        charge: Charge | None = None,
        limit: int | None = None,
    ) -> None:
        super().__init__(
            detail, status=status, retry_at=retry_at, request_id=request_id, charge=charge
        )
        self.limit = limit


class LockedOutError(RateLimitedError):
    """When Venice answers 429 because too many calls with this key have failed."""

    code = "locked_out"
    title = "Venice has locked the key out for half a minute"


class VeniceUnavailableError(RetryableError):
    """When Venice answers 500, 502, 503 or another 5xx, or no connection comes about.

    Not charged: without a connection there was no request, and Venice's documents (2026-10-02)
    name a charge for successes and for a 422, none for a 5xx. The codes that only say that a
    gateway stopped waiting are `NoAnswerError`.
    """

    code = "venice_unavailable"
    title = "Venice is not available"


class NoAnswerError(RetryableError):
    """When the request went out and no whole answer came: the call may have been charged.

    The time was over, the connection broke, or a gateway gave up waiting (408, 504, 520, 524).
    A connection that never came about is a `VeniceUnavailableError`.
    """

    code = "no_answer"
    title = "Venice did not answer"
    charge = Charge.MAYBE


class ProcessingPausedError(RetryableError):
    """When no call may be made because the account is unavailable or its budget is spent."""

    code = "processing_paused"
    title = "No calls are made at the moment"


class SpendLimitError(ProcessingPausedError):
    """When the day's spend has reached `DailySpendLimitUSD`."""

    code = "daily_spend_limit"
    title = "The day's budget is spent"
    advice = "Nothing to do: calls go on after midnight UTC. Or raise DailySpendLimitUSD."


class ModelRefusedError(RetryableError):
    """When Venice answers 401, 402 or 403 to a model, and accepts other calls of the account.

    It counts as a failure of the image, and does not stop the line.
    """

    code = "model_refused"
    title = "Venice refuses this edit and accepts others"
    advice = (
        "The balance may be too low for this model, or the API key may not use it. "
        "Use another model, or change that at Venice."
    )


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


class OutOfTimeError(RetryableError):
    """When an invocation could end before a call and the store after it."""

    code = "out_of_time"
    title = "Too little time is left for a call"


class CrashedError(RetryableError):
    """When the last invocation that worked on the image died, such as for memory or time."""

    code = "crashed"
    title = "The function died while it worked on this image"


class NotAnnouncedError(RetryableError):
    """When the outcome is stored, and the event bus did not take the event about it."""

    code = "not_announced"
    title = "The event about the outcome could not be sent"


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
