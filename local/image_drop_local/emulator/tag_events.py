"""The event that S3 sends about new tags, which ministack does not.

It uses what is private to ministack, as `bursts` does. Only `stack` may import it.
"""

from typing import Any

from ministack.services import s3

_put = s3._put_object_tagging


def install() -> None:
    """Let the emulated S3 announce tags, as notification and through EventBridge."""
    s3._put_object_tagging = _put_and_announce
    s3._S3_EVENTBRIDGE_DETAIL_TYPE["ObjectTagging"] = "Object Tags Added"


def _put_and_announce(bucket: str, key: str, *rest: Any) -> Any:
    answer = _put(bucket, key, *rest)
    if answer[0] == 200:
        s3._fire_s3_event_async(bucket, key, "s3:ObjectTagging:Put")
    return answer
