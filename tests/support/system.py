"""The deployed system as people see it: files go in, results and reports come out."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, override

from image_drop.storage.retry_queue import depth_of
from image_drop_local.emulator.stack import Stack
from image_drop_local.simulator import Call, Simulator
from tests.support.buckets import Buckets
from tests.support.pictures import photo
from tests.support.waiting import until

# Seconds. On an idle machine most takes less than one, and what failed and waits up to 20. A busy
# machine needs several times as long.
MAX_WAIT = 120.0
CUT_OUT = {"mode": "background-remove"}


class System(Buckets):
    """A stack, the simulated Venice behind it, and the clients of a person who uses them."""

    def __init__(self, stack: Stack, venice: Simulator) -> None:
        self.stack, self.venice = stack, venice
        super().__init__(
            stack.client("s3"),
            stack.outputs["InputBucketName"],
            stack.outputs["OutputBucketName"],
        )
        self.sqs = stack.client("sqs")
        self.functions = stack.client("lambda")
        self.dynamodb = stack.client("dynamodb")
        self.table = stack.outputs["StateTableName"]
        self.queue = stack.outputs["RetryQueueUrl"]
        self.dead_letters = stack.outputs["DeadLetterQueueUrl"]

    # --- what people do --------------------------------------------------------------------

    def drop(
        self,
        key: str,
        data: bytes | None = None,
        *,
        tags: Mapping[str, str] | None = None,
        metadata: Mapping[str, str] | None = None,
        sidecar: Mapping[str, Any] | None = None,
    ) -> bytes:
        """Upload an image, after its sidecar; its bytes."""
        data = photo(key) if data is None else data
        if sidecar is not None:
            self.put_json(f"{key}.json", **sidecar)
        self.store(key, data, tags, metadata)
        return data

    def drop_all(self, instructions: Mapping[str, Mapping[str, str]]) -> None:
        """Upload many photos at once; their tags by their keys."""
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda item: self.drop(item[0], tags=item[1]), instructions.items()))

    def put_json(self, key: str, **content: Any) -> None:
        """Upload a sidecar or folder file."""
        self.store(key, json.dumps(content).encode())

    # --- what comes out --------------------------------------------------------------------

    @override
    def metadata(self, key: str) -> dict[str, str]:
        """Return a result's metadata, once it is there."""
        self._wait_for(key)
        return super().metadata(key)

    @override
    def read(self, key: str) -> bytes:
        """Return the bytes of an object in the output bucket, once it is there."""
        self._wait_for(key)
        return super().read(key)

    def _wait_for(self, key: str) -> None:
        try:
            until(lambda: self.head(key), MAX_WAIT)
        except AssertionError as late:
            late.add_note(f"{key} is missing. {self.waiting()} waiting, {self.dead()} dead.")
            for function in ("upload", "retry"):
                late.add_note(
                    "\n".join((f"The last of {function}:", *self.stack.logs(function)[-20:]))
                )
            raise

    # --- what happens inside ---------------------------------------------------------------

    def calls(self, data: bytes | None = None) -> list[Call]:
        """The edits that Venice was asked for: of these bytes, or all."""
        sha256 = None if data is None else hashlib.sha256(data).hexdigest()
        return [
            call
            for call in self.venice.calls
            if "/image/" in call.path and sha256 in (None, call.image_sha256)
        ]

    def paid(self, data: bytes) -> int:
        """How many edits of these bytes Venice was paid for."""
        return sum(call.paid for call in self.calls(data))

    def waiting(self) -> int:
        """Messages in the retry queue: visible, delayed, or hidden."""
        return depth_of(self.sqs, self.queue).total

    def dead(self) -> int:
        """Messages in the dead-letter queue."""
        return depth_of(self.sqs, self.dead_letters).total

    def runs(self, function: str) -> int:
        """How often a function has come to its end."""
        return sum(line.startswith("END RequestId") for line in self.stack.logs(function))

    def log(self, function: str, key: str | None = None) -> list[dict[str, Any]]:
        """What a function has logged, about an image or at all."""
        lines = [json.loads(line) for line in self.stack.logs(function) if line.startswith("{")]
        return [line for line in lines if key in (None, line.get("key"))]

    def invoke(self, logical_id: str, event: Mapping[str, Any]) -> Any:
        """Run a function; its answer, or `None` where it died."""
        answer = self.functions.invoke(
            FunctionName=self.stack.physical_id(logical_id), Payload=json.dumps(event)
        )
        payload = json.load(answer["Payload"])
        return None if "FunctionError" in answer else payload

    def mapping_state(self) -> str:
        """State of the event source mapping that feeds the retry function."""
        uuid = self.stack.physical_id("RetryFunctionMessages")
        return str(self.functions.get_event_source_mapping(UUID=uuid)["State"])

    def deliver_again(self, keys: Iterable[str]) -> None:
        """Deliver at once what hides in the queue: emulated SQS cannot be told the time."""
        self.sqs.purge_queue(QueueUrl=self.queue)
        for key in keys:
            self.sqs.send_message(QueueUrl=self.queue, MessageBody=self.message(key))

    def message(self, key: str) -> str:
        """The message of the retry queue about an image."""
        return json.dumps({"bucket": self.input, "key": key})
