"""Dead letters are looked at without being lost, and moved without being doubled."""

from collections.abc import Callable
from typing import Any
from unittest.mock import ANY

import pytest
from botocore.stub import Stubber

from image_drop.errors import RetriesExhaustedError
from image_drop.uploads import Upload
from image_drop_cli.aws import Aws
from image_drop_cli.dead_letters import DeadLetters
from image_drop_cli.deployment import Deployment
from tests.support.account import INPUT_BUCKET
from tests.support.quiet_stack import QuietStack, quiet_stack


@pytest.fixture
def stack(
    input_bucket: str, output_bucket: str, table: str, boto_client: Callable[[str], Any]
) -> QuietStack:
    return quiet_stack(boto_client)


@pytest.fixture
def dead(stack: QuietStack) -> DeadLetters:
    return DeadLetters(stack.deployment)


def bury(stack: QuietStack, *bodies: str) -> None:
    for body in bodies:
        stack.deployment.client("sqs").send_message(
            QueueUrl=stack.deployment.outputs["DeadLetterQueueUrl"], MessageBody=body
        )


def letter_about(key: str) -> str:
    return f'{{"bucket": "{INPUT_BUCKET}", "key": "{key}"}}'


def keys(dead: DeadLetters) -> list[str]:
    with dead.held(100) as letters:
        return sorted(each.upload.key for each in letters if each.upload)


def test_looking_leaves_everything_as_it_was(stack: QuietStack, dead: DeadLetters) -> None:
    names = [f"{number:02}.jpg" for number in range(25)]
    bury(stack, *map(letter_about, names))
    assert keys(dead) == keys(dead) == names
    assert dead.count() == 25


def test_letter_is_shown_with_report_on_its_image(stack: QuietStack, dead: DeadLetters) -> None:
    bury(stack, letter_about("shoe.jpg"))
    stack.report("shoe.jpg", None, RetriesExhaustedError("Venice was away."))
    with dead.held(1) as [letter]:
        report = dead.report_on(letter)
    assert report is not None
    assert (report.code, report.detail) == ("retries_exhausted", "Venice was away.")


def test_messages_of_others_do_no_harm(stack: QuietStack, dead: DeadLetters) -> None:
    bury(stack, "hello")
    with dead.held(1) as [letter]:
        assert letter.upload is None
        assert dead.report_on(letter) is None


def test_letters_that_are_sent_again_are_in_retry_queue_only(
    stack: QuietStack, dead: DeadLetters
) -> None:
    bury(stack, letter_about("a.jpg"), letter_about("b.jpg"), letter_about("c.jpg"))
    with dead.held(100) as letters:
        dead.redrive([each for each in letters if each.upload and each.upload.key != "b.jpg"])
    assert keys(dead) == ["b.jpg"]
    assert sorted(each.key for each in stack.queued()) == ["a.jpg", "c.jpg"]


def test_discarded_letters_are_gone_and_others_are_not(
    stack: QuietStack, dead: DeadLetters
) -> None:
    bury(stack, letter_about("a.jpg"), letter_about("b.jpg"))
    with dead.held(100) as letters:
        dead.discard([each for each in letters if each.upload and each.upload.key == "a.jpg"])
    assert keys(dead) == ["b.jpg"]
    assert dead.discard_all() == 1
    assert dead.count() == 0


def test_on_embedded_stack_all_letters_are_moved_by_hand(stack: QuietStack) -> None:
    deployment = stack.deployment
    local = DeadLetters(
        Deployment(
            deployment.name,
            Aws(
                deployment.aws.session,
                "http://127.0.0.1:4566",
                {"sqs": deployment.client("sqs")},
            ),
            deployment.outputs,
            deployment.parameters,
        )
    )
    bury(stack, *(letter_about(f"{number}.jpg") for number in range(12)))
    assert local.redrive_all() == 12
    assert local.count() == 0
    queued = [*stack.queued(), *stack.queued()]
    assert {each.key for each in queued} == {f"{number}.jpg" for number in range(12)}


def test_on_aws_all_letters_are_moved_by_sqs_itself(
    stack: QuietStack, dead: DeadLetters, boto_client: Callable[[str], Any]
) -> None:
    queue = dead.deployment.outputs["RetryQueueUrl"]
    here, there = (f"arn:aws:sqs:us-east-1:123456789012:{name}" for name in ("dead", "retry"))
    with Stubber(boto_client("sqs")) as sqs:  # moto has no such task
        for url, asked, arn in (
            (dead.url, ANY, here),
            (dead.url, ["QueueArn"], here),
            (queue, ["QueueArn"], there),
        ):
            sqs.add_response(
                "get_queue_attributes",
                {"Attributes": {"ApproximateNumberOfMessages": "3", "QueueArn": arn}},
                {"QueueUrl": url, "AttributeNames": asked},
            )
        sqs.add_response(
            "start_message_move_task",
            {"TaskHandle": "1"},
            {"SourceArn": here, "DestinationArn": there},
        )
        assert dead.redrive_all() == 3
        sqs.assert_no_pending_responses()


def test_message_is_decoded_into_its_upload(stack: QuietStack, dead: DeadLetters) -> None:
    bury(stack, '{"bucket": "b", "key": "shoe.jpg", "variant": "white"}')
    with dead.held(1) as [letter]:
        assert letter.upload == Upload("b", "shoe.jpg", "white")
