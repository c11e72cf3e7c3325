"""Faults at the n-th request that the functions send to AWS: refused, lost, repeated, killed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import boto3
from botocore.exceptions import ClientError, ReadTimeoutError

from image_drop.services import CONFIG
from tests.support.account_settings import answer_account_settings

READS = ("Get", "Head", "List", "BatchGet", "Query")


class Killed(BaseException):
    """The process ends here: like a kill by Lambda, it passes every `except Exception`."""


class Fault(StrEnum):
    """What happens at a request. After a lost answer, the SDK repeats the request by itself."""

    REFUSED = "refused"
    APPLIED_AND_LOST = "applied and lost"
    APPLIED_TWICE = "applied twice"
    KILLED = "killed after it"

    def numbers(self, requests: Sequence[str]) -> list[int]:
        """Return the requests at which it makes a difference.

        A read that is repeated changes nothing, and a kill after a read leaves what a kill after
        the request before it leaves.
        """
        return [
            number
            for number, request in enumerate(requests)
            if self is Fault.REFUSED or not request.split(".")[1].startswith(READS)
        ]


@dataclass
class Interruptions:
    """Counts the requests of the functions' clients, and lets one of them go wrong."""

    requests: list[str] = field(default_factory=list)
    at: int | None = None
    fault: Fault = Fault.REFUSED
    clients: dict[str, Any] = field(default_factory=dict)

    def plan(self, at: int | None, fault: Fault = Fault.REFUSED) -> None:
        """Begin to count anew; the request of number `at`, from 0, will go wrong once."""
        self.requests, self.at, self.fault = [], at, fault

    def what(self, number: int) -> str:
        """The request of that number, for a message; a life may be shorter than the last one."""
        return f"{number}: {dict(enumerate(self.requests)).get(number, 'not made')}"

    def client(self, service: str) -> Any:
        """A client whose requests are counted; a drop-in for the one of `Services.from_env`.

        Made once: that takes longer than most of the requests.
        """
        if service not in self.clients:
            self.clients[service] = self._made(service)
        return self.clients[service]

    def _made(self, service: str) -> Any:
        made = boto3.client(service, config=CONFIG)  # type: ignore[call-overload]
        inside = False

        def before(model: Any, params: Any, context: Any, **_: Any) -> Any:
            nonlocal inside
            if inside:
                return None
            number = len(self.requests)
            self.requests.append(f"{service}.{model.name}")
            if number != self.at:
                return None
            self.at = None
            inside = True
            try:
                return self._go_wrong(
                    lambda: made._make_request(model, params, context), model.name
                )
            finally:
                inside = False

        made.meta.events.register_last(f"before-call.{service}", before)
        answer_account_settings(made)
        return made

    def _go_wrong(self, send: Callable[[], Any], operation: str) -> Any:
        match self.fault:
            case Fault.REFUSED:
                raise ClientError(
                    {
                        "Error": {"Code": "InternalError", "Message": ""},
                        "ResponseMetadata": {"HTTPStatusCode": 500},  # type: ignore[typeddict-item]
                    },
                    operation,
                )
            case Fault.APPLIED_AND_LOST:
                send()
                raise ReadTimeoutError(endpoint_url="https://aws.test")
            case Fault.APPLIED_TWICE:
                send()
                return send()
            case Fault.KILLED:
                send()
                raise Killed
