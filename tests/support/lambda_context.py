"""The Lambda context, as far as the functions ask it anything."""

from dataclasses import dataclass


@dataclass(frozen=True)
class FakeContext:
    """An invocation that has `remaining` milliseconds left."""

    remaining: int = 300_000
    function_name: str = "image-drop-test"
    function_version: str = "$LATEST"
    invoked_function_arn: str = "arn:aws:lambda:us-east-1:123456789012:function:image-drop-test"
    memory_limit_in_mb: int = 1024
    aws_request_id: str = "11111111-2222-3333-4444-555555555555"

    def get_remaining_time_in_millis(self) -> int:
        return self.remaining
