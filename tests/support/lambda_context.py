"""The Lambda context, as far as the functions ask it anything."""

from typing import override

from aws_lambda_powertools.utilities.typing import LambdaContext


class FakeContext(LambdaContext):
    """An invocation that has `remaining` milliseconds left."""

    _function_name = "image-drop"
    _function_version = "$LATEST"
    _invoked_function_arn = "arn:aws:lambda:us-east-1:123456789012:function:image-drop"
    _memory_limit_in_mb = 1024
    _aws_request_id = "e4b46cbf-b738-4af2-8880-a18cdf61200e"

    def __init__(self, remaining: int = 300_000) -> None:
        self._remaining = remaining

    @override
    def get_remaining_time_in_millis(self) -> int:  # type: ignore[override]  # static there
        return self._remaining
