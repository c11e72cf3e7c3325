"""Every error of this package, sorted by what has to be done about it.

ImageDropError
├── SettingsError                the environment of a function is incomplete or malformed
├── PermanentError               the same request would fail again: write a report, do not retry
│   ├── InstructionsError        the instructions are missing or wrong
│   │   ├── NoInstructionsError
│   │   ├── UnreadableInstructionsError
│   │   ├── UnknownKeyError
│   │   ├── UnknownModeError
│   │   ├── InvalidValueError
│   │   ├── ModelNotAllowedError
│   │   ├── EditTooDearError
│   │   └── MissingPromptError
│   ├── ImageError               the file cannot be sent; no call was made and nothing was paid
│   │   ├── ImageDeletedError
│   │   ├── UnreadableObjectError    S3 refuses access: encryption, archive, policy
│   │   ├── EmptyFileError
│   │   ├── NotAnImageError
│   │   ├── DamagedImageError
│   │   ├── TooSmallError
│   │   └── TooLargeError
│   ├── LayerError               a mask, overlay or background cannot be used
│   ├── RefusedError             Venice refuses this request: 400, 404, 410, 413, 415, 422
│   │   ├── ContentRefusedError
│   │   ├── MediaNotFoundError
│   │   ├── ModelNotFoundError
│   │   └── UnusableAnswerError
│   ├── CancelledError           somebody has cancelled the edit before it was paid
│   ├── OutputTakenError         the result would replace another file
│   ├── OutcomeUnknownError      two calls got no answer; either may have been charged
│   └── RetriesExhaustedError    the last try failed with a retryable error
├── RetryableError               the same request may succeed later: wait until `retry_at`
│   ├── NoSlotError              the next free slot is later than the caller can wait
│   ├── RateLimitedError         Venice answered 429
│   │   └── LockedOutError       ... because too many calls with the key failed
│   ├── VeniceUnavailableError   500, 502, 503, another 5xx, or no connection
│   ├── NoAnswerError            the request was sent, but no whole answer came: perhaps charged
│   ├── ProcessingPausedError    the circuit breaker is open, so no call is made
│   │   └── SpendLimitError      ... because the daily spend limit is reached
│   ├── ModelRefusedError        401, 402, 403 for one model, while others are accepted
│   ├── KeyReplacedError         the call used an API key that has been replaced since
│   ├── ImageChangedError        a newer upload replaced the image while it was read
│   ├── OutOfTimeError           the invocation would end before the call does
│   ├── CrashedError             the last invocation died while it worked on the image
│   ├── NotAnnouncedError        the outcome is stored, but the event bus did not take the event
│   ├── InProgressError          another invocation works on the same edit
│   ├── LayerNotThereError       a mask or overlay has not been uploaded yet
│   └── StorageBusyError         S3, DynamoDB or another AWS service throttles or is unavailable
├── AccountError                 401, 402, 403: the account is at fault, so processing pauses
├── WaitsForImageError           the sidecar was uploaded before its image
└── SupersededError              a newer upload replaced the image; the newer edit counts

Errors are classified by HTTP status, never by the text of a message. The one exception is
`LockedOutError`, which Venice marks by its text only.
"""

from enum import StrEnum
from typing import Any, ClassVar

from image_drop.quota import Quota


class Charge(StrEnum):
    """Whether Venice charged the call that failed."""

    NO = "no"
    MAYBE = "maybe"
    YES = "yes"


class ImageDropError(Exception):
    """Base of all errors of this package.

    A report shows `code`, `title` and `advice`, which belong to the class, and `detail`, a
    sentence about this one case. `status` and `request_id` (Venice's `CF-RAY`) are set when
    Venice answered. `retry_at`: when to try again, in seconds since 1970, where that is known.
    `charge`: the default of the class, unless the raiser knows more about this one case.
    """

    code: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "Something went wrong inside Image Drop"
    advice: ClassVar[str] = (
        "Search the functions' logs for the image's key, then upload the image again."
    )
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
    """Return a class of errors and all of its subclasses."""
    return [of, *(each for child in of.__subclasses__() for each in subclasses(child))]


class SettingsError(ImageDropError):
    """Raised when environment variables are missing or malformed; the detail names all of them."""

    code = "bad_settings"
    title = "The function is not configured"
    advice = "Set the variables named above. A deployment of template.yaml sets all of them."


# --- permanent -----------------------------------------------------------------------------


class PermanentError(ImageDropError):
    """Raised when the same request would fail again; it gets a report and no retry."""


class InstructionsError(PermanentError):
    """Raised before any call when the instructions for an image are missing or wrong."""


class NoInstructionsError(InstructionsError):
    """Raised when no source names a mode or a prompt."""

    code = "no_instructions"
    title = "No instructions found for this image"
    advice = (
        "Put a file next to the image, named like the image plus .json, for example "
        '{"mode": "background-remove"} or {"prompt": "make the sky pink"}. Or set the object tags '
        "mode and prompt. Either starts the edit at once. Or put a file .image-drop.json in the "
        "folder, for every image in it: Image Drop looks at them again within minutes."
    )


class UnreadableInstructionsError(InstructionsError):
    """Raised when a sidecar or folder file is not a JSON object, or is larger than 64 KB."""

    code = "unreadable_instructions"
    title = "The instructions file cannot be read"
    advice = (
        "Write one JSON object in UTF-8, at most 64 KB, for example "
        '{"mode": "edit", "prompt": "make the sky pink"}. Then upload the file again.'
    )


class UnknownKeyError(InstructionsError):
    """Raised when the instructions hold an unknown key; the detail names the nearest known one."""

    code = "unknown_key"
    title = "The instructions contain an unknown key"
    advice = "Correct or remove the key, then upload the instructions again."


class UnknownModeError(InstructionsError):
    """Raised when `mode` is none of the three."""

    code = "unknown_mode"
    title = "The mode does not exist"
    advice = "Use one of the modes edit, multi-edit, background-remove and upscale."


class InvalidValueError(InstructionsError):
    """Raised when a value has the wrong type, is outside its limits or does not fit the mode."""

    code = "invalid_value"
    title = "A value in the instructions is not allowed"
    advice = "Correct the value, then upload the instructions again."


class ModelNotAllowedError(InstructionsError):
    """Raised when the model is not among the template's `AllowedModels`."""

    code = "model_not_allowed"
    title = "This model is not allowed"
    advice = "Use one of the models named above, or add this one to the parameter AllowedModels."


class EditTooDearError(InstructionsError):
    """Raised when an upload would cost more than `MaxEditUSD`, or than a whole day may cost."""

    code = "edit_too_dear"
    title = "This edit would cost more than the limit"
    advice = "Use a cheaper model or fewer variants, or raise the limit named above."


class MissingPromptError(InstructionsError):
    """Raised when the mode is edit or multi-edit and there is no prompt."""

    code = "missing_prompt"
    title = "This mode needs a prompt"
    advice = 'Add a prompt, for example {"mode": "edit", "prompt": "make the sky pink"}.'


class ImageError(PermanentError):
    """Raised before any call when the file cannot be sent to Venice."""


class ImageDeletedError(ImageError):
    """Raised when the image was gone before it was read."""

    code = "image_deleted"
    title = "The image was deleted before it could be edited"
    advice = "Upload it again if you still want the edit."


class UnreadableObjectError(ImageError):
    """Raised when S3 refuses access to the image or its instructions.

    The object may be archived, encrypted with a key that cannot be used, or forbidden by a policy.
    AWS answers 403 (`AccessDenied`, `InvalidObjectState`), or 400 with a KMS code.
    """

    code = "unreadable_object"
    title = "S3 does not let Image Drop read a file"
    advice = (
        "If the file is archived, restore it. If it has an encryption key of its own, upload it "
        "again without one, or with the key in the parameter KmsKeyArn. Check the bucket policy."
    )


class EmptyFileError(ImageError):
    """Raised when the file has no bytes."""

    code = "empty_file"
    title = "The file is empty"
    advice = "Upload it again. The first upload may have been interrupted."


class NotAnImageError(ImageError):
    """Raised when the bytes are in no supported image format, whatever the name says."""

    code = "not_an_image"
    title = "The file is not an image"
    advice = "Upload a JPEG, PNG, WebP, HEIC, AVIF, TIFF, BMP or GIF file."


class DamagedImageError(ImageError):
    """Raised when the bytes begin as an image but cannot be decoded to the end."""

    code = "damaged_image"
    title = "The image is damaged"
    advice = "Open it on your computer, export it again, and upload the new file."


class TooSmallError(ImageError):
    """Raised when the image is below an edit's minimum: 65,536 pixels, with 64 on each side."""

    code = "too_small"
    title = "The image is too small"
    advice = (
        "Upload a version with at least 65,536 pixels and at least 64 on each side, for example "
        "256 × 256."
    )


class TooLargeError(ImageError):
    """Raised when the image has more bytes or pixels than Image Drop can process."""

    code = "too_large"
    title = "The image is too large"
    advice = "Upload a smaller version that stays within the limit named above."


class LayerError(PermanentError):
    """Raised when a mask, overlay or background stays missing, or cannot be used."""

    code = "bad_layer"
    title = "A layer cannot be used"
    advice = (
        "Put the layer in the image's folder, or in a folder _layers/ there or above. Check its "
        "name, and that it opens as an image. Then upload the instructions again."
    )


class RefusedError(PermanentError):
    """Raised when Venice answers 400, 404, 410, 413, 415 or 422: the request is at fault."""

    code = "refused"
    title = "Venice refused the request"
    advice = "Change the instructions or the image as Venice's answer above says."


class ContentRefusedError(RefusedError):
    """Raised when Venice's content policy forbids the edit.

    Venice answers 422 on edit and multi-edit (the other reason for a 422, the number of pixels,
    is checked before the call), sets a violation header with any status, or sends the error code
    `CONTENT_POLICY_VIOLATION`. Venice charges a 422 if its own moderation blocks a picture that
    the provider has already made; nothing in the answer distinguishes the two cases.
    """

    code = "content_refused"
    title = "Venice's content policy does not allow this edit"
    advice = "Change the prompt or the image. The same request will be refused again."


class MediaNotFoundError(RefusedError):
    """Raised when Venice answers 404 on edit or multi-edit: an input image could not be fetched."""

    code = "media_not_found"
    title = "Venice could not fetch one of the images"
    advice = (
        "If a layer is a URL, make sure that it opens without a login. Then upload the "
        "instructions again. If no layer is a URL, upload the image again."
    )


class ModelNotFoundError(RefusedError):
    """Raised when Venice answers 410: the model was retired. (An unknown model is a 400.)"""

    code = "model_not_found"
    title = "Venice does not have this model"
    advice = "Remove the key model to use Venice's default, or name a model that Venice lists."


class UnusableAnswerError(RefusedError):
    """Raised when Venice answers 200 with something other than an image, or over 50 MiB."""

    code = "unusable_answer"
    title = "Venice answered with something that is not an image"
    advice = "Upload the image again. If it happens again, send Venice the request id."
    charge = Charge.YES


class CancelledError(PermanentError):
    """Raised before the call when somebody has cancelled the edits below a prefix since."""

    code = "cancelled"
    title = "The edit was cancelled"
    advice = (
        "If you still want it, run `image-drop retry KEY`, or upload the image or its instructions "
        "again."
    )


class OutputTakenError(PermanentError):
    """Raised when the object at the result's key belongs to another image or to nobody known."""

    code = "output_taken"
    title = "The result would replace another file"
    advice = (
        "Rename one of the two files named above, or change the parameter OutputKeyFormat so that "
        "their keys differ. Then upload the image again."
    )


class OutcomeUnknownError(PermanentError):
    """Raised when two calls for one edit got no answer; a third could be charged as well."""

    code = "outcome_unknown"
    title = "Venice did not answer two calls"
    advice = (
        "Venice may have charged one or both calls. Your usage page at Venice shows which. "
        "Upload the image again to try once more."
    )


class RetriesExhaustedError(PermanentError):
    """Raised when the last try of a message failed with a retryable error."""

    code = "retries_exhausted"
    title = "All tries have failed"
    advice = (
        "The image is in the dead-letter queue, so nothing is lost. "
        "Fix the cause, then redrive the queue to try again."
    )


# --- retryable -----------------------------------------------------------------------------


class RetryableError(ImageDropError):
    """Raised when the same request may succeed later."""

    advice = "You do not need to do anything. Image Drop retries it."


class NoSlotError(RetryableError):
    """Raised when the next free slot of the rate limiter is later than the caller can wait.

    `model`: the limiter's name of the model. `limit`: its calls a minute.
    `in_progress`: about as many have not ended. `opens_within`: seconds of a minute in which its
    slots become free.
    """

    code = "no_slot"
    title = "Waiting for a free slot"

    def __init__(
        self,
        detail: str,
        *,
        model: str = "",
        limit: int = 0,
        in_progress: int = 0,
        opens_within: float = 60.0,
        **facts: Any,
    ) -> None:
        super().__init__(detail, **facts)
        self.model = model
        self.limit = limit
        self.in_progress = in_progress
        self.opens_within = opens_within


class RateLimitedError(RetryableError):
    """Raised when Venice answers 429. `quota`: what the answer says about the limit."""

    code = "rate_limited"
    title = "Venice asks Image Drop to slow down"

    def __init__(
        self,
        detail: str,
        *,
        status: int | None = None,
        retry_at: float | None = None,
        request_id: str | None = None,
        charge: Charge | None = None,
        quota: Quota | None = None,
    ) -> None:
        super().__init__(
            detail, status=status, retry_at=retry_at, request_id=request_id, charge=charge
        )
        self.quota = quota or Quota()


class LockedOutError(RateLimitedError):
    """Raised when Venice answers 429 because too many calls with this key have failed."""

    code = "locked_out"
    title = "Venice has locked the API key out for half a minute"


class VeniceUnavailableError(RetryableError):
    """Raised when Venice answers 500, 502, 503 or another 5xx, or no connection is made.

    It is not charged: without a connection there was no request, and Venice's documents
    (2026-10-02) name a charge for successes and for a 422, none for a 5xx. The codes that only
    say that a gateway stopped waiting raise `NoAnswerError`.
    """

    code = "venice_unavailable"
    title = "Venice is not available"


class NoAnswerError(RetryableError):
    """Raised when a request was sent but no whole answer came; it may have been charged.

    The deadline passed, the connection broke, or a gateway gave up (408, 504, 520, 524).
    A connection that was never made raises `VeniceUnavailableError`.
    """

    code = "no_answer"
    title = "Venice did not answer"
    charge = Charge.MAYBE


class ProcessingPausedError(RetryableError):
    """Raised when processing is paused: no account, no money left of the day, or by hand."""

    code = "processing_paused"
    title = "Processing is paused"


class SpendLimitError(ProcessingPausedError):
    """Raised when the day's spend has reached its limit. `limit_usd`: in US dollars."""

    code = "daily_spend_limit"
    title = "The daily spend limit is reached"
    advice = (
        "Calls resume after midnight UTC. To resume earlier, raise the limit of today with "
        "`image-drop limit USD`, or of every day with DailySpendLimitUSD."
    )

    def __init__(self, detail: str, *, limit_usd: float = 0.0, **facts: Any) -> None:
        super().__init__(detail, **facts)
        self.limit_usd = limit_usd


class ModelRefusedError(RetryableError):
    """Raised when Venice answers 401, 402 or 403 for one model while it accepts others.

    It counts as a failure of the image and does not pause processing.
    """

    code = "model_refused"
    title = "Venice refuses this model but accepts others"
    advice = (
        "The balance may be too low for this model, or the API key may not be allowed to use it. "
        "Use another model, or change the balance or the key at Venice."
    )


class KeyReplacedError(RetryableError):
    """Raised when Venice refuses the key with 401 and the parameter already holds another."""

    code = "key_replaced"
    title = "The API key was replaced"


class ImageChangedError(RetryableError):
    """Raised when a newer upload replaced the image while it was read."""

    code = "image_changed"
    title = "The image was replaced while Image Drop read it"


class InProgressError(RetryableError):
    """Raised when another invocation holds the lock of the same edit.

    That invocation may have died, and the delivery that finds the lock may have to finish its
    work. So the message waits instead of being dropped.
    """

    code = "in_progress"
    title = "This edit is already in progress"


class OutOfTimeError(RetryableError):
    """Raised when the invocation could end before the call and the write of its result."""

    code = "out_of_time"
    title = "Too little time is left for a call"


class CrashedError(RetryableError):
    """Raised when the last invocation died on the image, for example for lack of memory."""

    code = "crashed"
    title = "The function crashed while it edited this image"


class NotAnnouncedError(RetryableError):
    """Raised when the outcome is stored but the event bus did not take its event."""

    code = "not_announced"
    title = "The event about the outcome could not be sent"


class LayerNotThereError(RetryableError):
    """Raised when a mask or overlay is not in the bucket yet."""

    code = "layer_not_there"
    title = "A layer has not been uploaded yet"
    advice = "Upload the layer within an hour of its image. Image Drop then continues by itself."


class StorageBusyError(RetryableError):
    """Raised when S3, DynamoDB or another AWS service throttles or is unavailable."""

    code = "storage_busy"
    title = "AWS is busy or unavailable"


# --- account -------------------------------------------------------------------------------


class AccountError(ImageDropError):
    """Raised when Venice answers 401, 402 or 403 because of the key, balance or permission."""

    code = "account_unavailable"
    title = "Venice does not accept the account"
    advice = "Check the API key, its spending limit and the balance at Venice."


# --- left to another upload ----------------------------------------------------------------


class WaitsForImageError(ImageDropError):
    """Raised when instructions are uploaded before their image."""

    code = "waits_for_image"
    title = "The instructions arrived before their image"
    advice = "Upload the image. Its edit then starts by itself."


class SupersededError(ImageDropError):
    """Raised when a newer upload replaced the image during its edit; the newer edit counts."""

    code = "superseded"
    title = "A newer upload replaced this image"
    advice = "You do not need to do anything. Image Drop edits the newer image."
