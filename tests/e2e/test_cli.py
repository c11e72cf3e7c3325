"""Every command of `image-drop` against the embedded stack, as a person types it."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from image_drop.errors import RetriesExhaustedError
from image_drop.events import SpendDayEnded, SpendLevelReached
from image_drop.state.billing import micro
from image_drop.storage.output_bucket import REPORT_TYPE, encoded, report_key, report_on
from image_drop_cli import app
from image_drop_cli.aws import Aws
from image_drop_cli.deployment import OUTPUTS, Deployment
from image_drop_cli.upload.events import NotSent, Sent
from image_drop_cli.upload.folders import LocalFile, local_files
from image_drop_cli.upload.run import UploadRun
from image_drop_local.demo.photo_cases import photographs
from image_drop_local.emulator.stack import STACK_NAME, Stack
from image_drop_local.simulator import Simulator
from tests.support.waiting import until


@pytest.fixture(scope="module")
def deployment(stack: Stack) -> Deployment:
    return Deployment.find(STACK_NAME, endpoint_url=stack.endpoint_url)


@pytest.fixture
def run(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """The command line in an empty folder of its own."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path) -> Result:
        environment = {"AWS_ENDPOINT_URL": stack.endpoint_url, "COLUMNS": "200"}
        return CliRunner().invoke(app, [str(each) for each in arguments], env=environment)

    return run


def own_copy(name: str, path: Path) -> Path:
    """A photograph whose pixels no other test has: the same picture would not be paid again."""
    with Image.open(photographs() / name) as photo:
        colour = zlib.crc32(str(path).encode())
        photo.paste((colour % 256, colour // 256 % 256, colour // 65_536 % 256), (0, 0, 32, 32))
        photo.save(path)
    return path


@pytest.fixture
def shoes(tmp_path: Path) -> Path:
    """A folder of two photos, one that is cut off, and a text that is named like one."""
    folder = tmp_path / "shoes"
    (folder / "left").mkdir(parents=True)
    own_copy("coffee.png", folder / "one.png")
    own_copy("rocket.jpg", folder / "left" / "two.jpg")
    (folder / "cut-off.png").write_bytes((photographs() / "coffee.png").read_bytes()[:5000])
    (folder / "notes.jpg").write_text("to do")
    return folder


@pytest.fixture
def slow(venice: Simulator) -> Iterator[None]:
    venice.change(latency=4.0)
    yield
    venice.change(latency=0.0)


def test_folder_goes_through_and_comes_back(
    run: Callable[..., Result], shoes: Path, venice: Simulator
) -> None:
    assert run("init", "shoes", "--mode", "background-remove").exit_code == 0

    first = run("put", "shoes", "--to", "first")

    assert first.exit_code == 1, first.output  # of the half photo there is a report
    assert "3 images: 3 calls, $0.09 (bria-bg-remover)." in first.output
    assert "first/shoes/notes.jpg: It is not an image." in first.output
    assert "first/shoes/cut-off.png.error.json: The image is damaged." in first.output
    assert "3 sent, 2 results, 1 report, 1 left at home." in first.output
    out = Path("image-drop-out/first/shoes")
    assert {path.name for path in out.rglob("*.*")} == {
        "one.png.png",
        "two.jpg.png",
        "cut-off.png.error.json",
    }

    calls = len(venice.calls)
    again = run("put", "shoes", "--to", "first", "--json")

    events = [json.loads(line) for line in again.stdout.splitlines()]
    assert events[-1] == {
        "event": "end",
        "sent": 0,
        "already_uploaded": 3,
        "results": 2,
        "reports": 1,
        "left_at_home": 1,
        "not_sent": 0,
    }
    assert (events[0]["event"], events[0]["done"], events[0]["calls"]) == ("plan", 2, 1)
    assert len(venice.calls) == calls


def test_instructions_of_command_line_count_for_that_image(
    run: Callable[..., Result], shoes: Path
) -> None:
    put = run("put", "shoes/one.png", "--to", "given", "--mode", "edit", "--prompt", "red")
    assert put.exit_code == 0, put.output
    assert Path("image-drop-out/given/one.png.png").exists()

    explained = run("explain", "given/one.png", "--json")

    explanation = json.loads(explained.stdout)
    assert {each["key"]: each["source"] for each in explanation["given"]} == {
        "mode": "given/one.png.json",
        "prompt": "given/one.png.json",
    }
    assert explanation["requests"][0]["state"]["kind"] == "result"
    text = run("explain", "given/one.png").output
    assert "POST /image/edit" in text
    assert "$0.04 (firered-image-edit)" in text
    assert run("explain", "given/nothing.png").exit_code == 1
    assert run("put", "shoes", "--to", ".hidden").exit_code == 2


def test_ctrl_c_leaves_work_running_and_says_how_to_pick_it_up(
    stack: Stack, run: Callable[..., Result], shoes: Path, venice: Simulator, slow: None
) -> None:
    command = [
        sys.executable,
        "-m",
        "image_drop_cli",
        "put",
        "shoes/one.png",
        "--to",
        "slow",
        "--json",
    ]
    with subprocess.Popen(
        [*command, "--prompt", "red"],
        env={**os.environ, "AWS_ENDPOINT_URL": stack.endpoint_url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["event"] == "plan"
        assert json.loads(process.stdout.readline())["event"] == "sent"
        process.send_signal(signal.SIGINT)
        _, message = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "the same command" in message
    venice.change(latency=0.0)

    again = run("put", "shoes/one.png", "--to", "slow", "--prompt", "red")

    assert again.exit_code == 0, again.output
    assert "1 already uploaded, 1 result." in again.output


def test_two_people_who_put_same_folder_send_each_image_once(
    deployment: Deployment, tmp_path: Path
) -> None:
    for number in range(8):
        (tmp_path / f"{number}.jpg").write_bytes(b"not a photo, which does not matter here")

    def put(_: int) -> list[Any]:
        found = local_files([tmp_path], "two", {"mode": "background-remove"})
        return [each for each in UploadRun(deployment, None, follow=False).events(found) if each]

    with ThreadPoolExecutor(2) as people:
        one, other = people.map(put, range(2))

    assert not [each for each in (*one, *other) if isinstance(each, NotSent)]
    versions = deployment.client("s3").list_object_versions(
        Bucket=deployment.input_bucket, Prefix="two/"
    )["Versions"]
    assert len(versions) == 2 * 8  # each with its sidecar


def test_file_that_changes_while_it_is_read_is_not_sent(
    deployment: Deployment, tmp_path: Path
) -> None:
    path = tmp_path / "growing.jpg"
    path.write_bytes(b"half of it")
    s3 = deployment.client("s3")

    class Writer:
        """S3, and a camera that writes into the file after it was looked at."""

        def __getattr__(self, name: str) -> Any:
            return getattr(s3, name)

        def head_object(self, **arguments: Any) -> Any:
            path.write_bytes(b"ALL OF IT!")
            return s3.head_object(**arguments)

    watched = Deployment(
        deployment.name,
        Aws(deployment.aws.session, deployment.aws.endpoint_url, {"s3": Writer()}),
        deployment.outputs,
        deployment.parameters,
    )
    growing = LocalFile(path, "growing.jpg")
    [event] = filter(None, UploadRun(watched, None, follow=False).events([growing]))
    assert event == NotSent(
        "growing.jpg",
        "The file changed while it was being read. Send it again when it is complete.",
    )
    [event] = filter(None, UploadRun(deployment, None, follow=False).events([growing]))
    assert event == Sent("growing.jpg", already=False)


def test_status_tells_when_nobody_is_needed_and_when_somebody_is(
    run: Callable[..., Result], deployment: Deployment
) -> None:
    quiet = run("status")
    assert (quiet.exit_code, "running" in quiet.output) == (0, True)

    services = deployment.services
    services.circuit_breaker.stop("account_unavailable", "Venice answered 402.", services.now())
    try:
        stopped = run("status", "--json")
    finally:
        services.circuit_breaker.resume(services.now())

    assert stopped.exit_code == 1
    overview = json.loads(stopped.stdout)
    assert overview["processing"]["paused"] is True
    assert overview["processing"]["reason"] == "account_unavailable"
    assert overview["processing"]["detail"] == "Venice answered 402."
    assert overview["seconds_left"] is None
    assert overview["today"]["usd"] > 0  # of the tests before this one
    assert overview["today"]["usd_by_model"]["bria-bg-remover"] > 0
    assert {rate["model"] for rate in overview["rates"]} == {
        "firered-image-edit",
        "background-remove",
    }
    assert overview["last_hour"]["results"] > 0
    assert overview["balance"] > 0  # the account watch has printed it


def test_dead_letters_are_listed_shown_sent_again_and_discarded(
    run: Callable[..., Result], deployment: Deployment, shoes: Path, venice: Simulator
) -> None:
    services, bucket = deployment.services, deployment.input_bucket
    names = ("a.png", "b.png", "c.png")
    for name in names:
        own_copy("coffee.png", shoes / "left" / name)
    venice.faults.add(400, endpoint="background-remove", times=4)  # none of them gets a result
    run("put", "shoes/left", "--to", "dead", "--mode", "background-remove")
    for name in names:
        key = f"dead/left/{name}"
        error = RetriesExhaustedError("The last of 13 tries failed: Venice is not available.")
        report = report_on(error, key=key, variant=None, mode=None, attempts=13, now=0.0)
        seen = services.output_bucket.find_output(report_key(key, None))
        services.output_bucket.store_output(
            report_key(key, None), encoded(report), REPORT_TYPE, {}, seen
        )
        deployment.client("sqs").send_message(
            QueueUrl=deployment.outputs["DeadLetterQueueUrl"],
            MessageBody=json.dumps({"bucket": bucket, "key": key, "retry": "again"}),
        )

    listed = run("dead", "list").output
    assert all(text in listed for text in ("dead/left/a.png", "c.png", "retries_exhausted"))
    assert "All tries have failed" in run("dead", "show", "dead/left/b.png").output
    assert run("dead", "show", "dead/nothing.png").exit_code == 1
    status = json.loads(run("status", "--json").stdout)
    assert (status["dead"], status["dead_codes"]) == (3, {"retries_exhausted": 3})

    assert run("dead", "discard", "dead/left/a.png").exit_code == 0
    assert run("dead", "redrive", "dead/left/b.png").exit_code == 0
    assert "Queued 1 dead letter." in run("dead", "redrive", "--all").output

    until(lambda: services.output_bucket.find_output("dead/left/b.png.png"))
    until(lambda: services.output_bucket.find_output("dead/left/c.png.png"))
    assert services.output_bucket.find_output("dead/left/a.png.png") is None
    assert json.loads(run("dead", "list", "--json").stdout) == []
    assert run("dead", "redrive", "dead/left/a.png").exit_code == 1
    assert run("dead", "redrive").exit_code == 2


def test_retry_sends_image_round_again_but_does_not_pay_twice(
    run: Callable[..., Result], deployment: Deployment, shoes: Path, venice: Simulator
) -> None:
    venice.faults.add(400, endpoint="background-remove", times=1)
    refused = run("put", "shoes/one.png", "--to", "again", "--mode", "background-remove")
    assert refused.exit_code == 1, refused.output

    told = run("retry", "again/", "--code", "refused", "--dry-run")
    assert "1 image: 1 call, $0.03 (bria-bg-remover)" in told.output
    retried = run("retry", "again/", "--code", "refused")

    assert retried.exit_code == 0, retried.output
    assert "Queued 1 image." in retried.output
    until(lambda: deployment.services.output_bucket.find_output("again/one.png.png"))
    until(lambda: deployment.services.output_bucket.find_output("again/one.png.error.json") is None)
    calls = len(venice.calls)
    assert "not paid for again" in run("retry", "again/one.png").output
    assert run("retry", "again/nothing.png").exit_code == 1
    assert "No image has to be retried." in run("retry", "again/").output
    assert run("retry").exit_code == run("retry", "--code", "nonsense").exit_code == 2
    assert len(venice.calls) == calls


def test_wrong_prompt_costs_nothing_after_pause_and_cancel(
    run: Callable[..., Result], deployment: Deployment, shoes: Path, venice: Simulator
) -> None:
    paid = sum(call.paid for call in venice.calls)
    photo, left = "wrong/shoes/one.png", "wrong/shoes/left/two.jpg"
    assert "Paused. No call starts from now on" in run("pause").output
    sent = run("put", "shoes", "--to", "wrong", "--prompt", "A red shoo", "--no-wait")
    assert "Resume with `image-drop resume`." in sent.output
    assert "image-drop has been paused for" in run("status").output
    until(lambda: run("explain", photo).output.startswith(f"{photo}: paused."))

    cancelled = run("cancel", "wrong/")
    time.sleep(1)  # S3 knows whole seconds
    right = run(
        "put",
        "shoes/one.png",
        "--to",
        "wrong/shoes",
        "--prompt",
        "A red shoe",
        "--overwrite",
        "--no-wait",
    )
    resumed = run("resume")

    assert "For 3 images there, nothing had been paid already." in cancelled.output
    assert (right.exit_code, resumed.exit_code) == (0, 0), resumed.output
    run("retry", photo)
    until(lambda: deployment.services.output_bucket.find_output(f"{photo}.png"))
    explained = run("explain", photo, "--logs")
    assert explained.output.startswith(f"{photo}: result.")
    assert "edited mode=edit" in explained.output
    assert sum(call.paid for call in venice.calls) == paid + 1
    assert run("explain", left).output.startswith((f"{left}: cancelled.", f"{left}: report."))


def test_limit_counts_today_and_large_sums_are_confirmed(
    run: Callable[..., Result], shoes: Path, venice: Simulator
) -> None:
    assert "may cost $80.00" in run("limit", "80").output
    assert "of $80.00 (the limit of today only)" in run("status").output
    calls = len(venice.calls)
    dear = ("put", "shoes", "--to", "dear", "--prompt", "red", "--confirm-over", "0.05")

    assert "Add --yes" in run(*dear).stderr
    assert run(*dear, "--dry-run", "--json").exit_code == 0
    assert len(venice.calls) == calls
    assert "2 results" in run(*dear, "--yes").output


def test_after_work_files_costs_and_older_results_are_at_hand(
    run: Callable[..., Result], deployment: Deployment, shoes: Path, venice: Simulator
) -> None:
    cut_out = ("--to", "after", "--mode", "background-remove")
    run("put", "shoes", *cut_out)
    paid = sum(call.paid for call in venice.calls)
    finished = ("put", "shoes/one.png", "--to", "after/shoes", *cut_out[2:], "--finish", "amazon")
    changed = run(*finished)
    assert changed.exit_code == 0, changed.output
    assert "1 new finish is drawn without a call." in changed.output
    assert sum(call.paid for call in venice.calls) == paid
    with Path("image-drop-out/manifest.csv").open(encoding="utf-8-sig", newline="") as file:
        [row] = csv.DictReader(file)
    assert (row["file"], row["result"]) == ("after/shoes/one.png", "after/shoes/one.png.jpg")

    fetched = run("fetch", "after/", "--out", "elsewhere", "--since", "1h")
    assert fetched.exit_code == 0, fetched.output
    assert "4 fetched. See elsewhere/." in fetched.output
    again = run("fetch", "after/", "--out", "elsewhere", "--json")
    events = [json.loads(line) for line in again.stdout.splitlines()]
    assert events[-1] == {"event": "end", "fetched": 0, "already_there": 4, "not_fetched": 0}
    assert Path("elsewhere/after/shoes/one.png.jpg").read_bytes()[:2] == b"\xff\xd8"
    assert run("fetch", "--since", "yesterday").exit_code == 2

    whole = json.loads(run("manifest", "--json").stdout)
    today = json.loads(run("spend", "--json").stdout)
    by_model = json.loads(run("spend", "--by", "model", "--json").stdout)
    by_folder = json.loads(run("spend", "--by", "prefix", "--json").stdout)
    day = deployment.services.billing.day(deployment.services.now())
    assert day.usd == whole["usd"] == today["usd"] == by_model["usd"]
    assert {part["name"] for part in by_folder["parts"]} >= {"after/"}
    assert sum(micro(part["usd"]) for part in by_folder["parts"]) == micro(day.usd)
    assert "█" in run("spend").output
    lines = run("manifest", "after/", "--csv").stdout.splitlines()
    assert [line.split(",")[3] for line in lines[1:]] == ["report", "result", "result"]
    assert "damaged_image" in run("manifest", "after/").output

    assert "after/shoes/one.png.png" in run("clean", "after/").output  # nobody answers
    assert "Removed 1 older result." in run("clean", "after/", "--yes").output
    assert "No older results found." in run("clean").output
    found = deployment.services.output_bucket
    assert found.find_output("after/shoes/one.png.png") is None
    assert found.find_output("after/shoes/one.png.jpg")


def test_same_photos_under_other_names_cost_nothing(
    run: Callable[..., Result], deployment: Deployment, shoes: Path, venice: Simulator
) -> None:
    framed = ("--mode", "background-remove", "--finish", "walmart")
    run("put", "shoes/left", "--to", "old", *framed)
    paid = sum(call.paid for call in venice.calls)
    renamed = run("put", "shoes/left", "--to", "new", *framed)
    assert renamed.exit_code == 0, renamed.output
    assert sum(call.paid for call in venice.calls) == paid

    [row] = list(csv.DictReader(run("manifest", "new/", "--csv").stdout.splitlines()))
    assert (row["reused_from"], row["usd"], row["check"]) == (
        "old/left/two.jpg.jpg",
        "0",
        "passed",
    )
    assert "saved: " in run("status").output
    assert "of pictures that were paid for before" in run("spend").output

    fresh = run("retry", "new/left/two.jpg", "--fresh")
    assert "1 image: 1 call, $0.03 (bria-bg-remover)" in fresh.output
    until(lambda: sum(call.paid for call in venice.calls) == paid + 1)
    assert run("retry", "new/", "--fresh").exit_code == 2


def test_spend_is_told_to_alarm_topic_in_words(stack: Stack, deployment: Deployment) -> None:
    sqs, sns = stack.client("sqs"), stack.client("sns")
    queue = sqs.create_queue(QueueName="mail")["QueueUrl"]
    named = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
    arn = named["Attributes"]["QueueArn"]
    allowed = {"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": arn}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": policy})
    topics = [each["TopicArn"] for each in sns.list_topics()["Topics"]]
    [topic] = [each for each in topics if f"{STACK_NAME}-AlarmTopic" in each]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    level = SpendLevelReached(
        event_id="1", date="2026-11-24", percent=80, limit_usd=50.0, usd=40.0, unconfirmed_usd=0.04
    )
    end = SpendDayEnded(
        event_id="2",
        date="2026-11-24",
        limit_usd=50.0,
        usd=0.08,
        unconfirmed_usd=0.0,
        calls=2,
        usd_by_model={},
        calls_by_model={},
    )
    for event in (level, end):
        stack.client("events").put_events(
            Entries=[
                {
                    "Source": "image-drop",
                    "DetailType": event.name,
                    "Detail": msgspec.json.encode(event).decode(),
                }
            ]
        )

    def mails() -> list[str]:
        found = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, VisibilityTimeout=0)
        texts = [json.loads(each["Body"])["Message"] for each in found.get("Messages", [])]
        return texts if len(texts) > 1 else []

    text = " ".join(until(mails))
    assert "80 % of the spend limit of $50.0 for 2026-11-24 (UTC) is used up." in text
    assert "Image Drop spent $0.08 at Venice on 2026-11-24 (UTC), for 2 calls." in text


def test_sample_is_shown_and_not_paid_again(
    stack: Stack, venice: Simulator, tmp_path: Path
) -> None:
    shop, out = tmp_path / "shop", tmp_path / "out"
    shop.mkdir()
    for number in range(4):
        own_copy("coffee.png", shop / f"{number}.png")
    command = ["put", str(shop), "--out", str(out), "--mode", "background-remove"]
    environment = {"AWS_ENDPOINT_URL": stack.endpoint_url}

    def run(*more: str, answer: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, [*command, *more], answer, environment)
        return result.exit_code, result.output

    paid = sum(call.paid for call in venice.calls)
    stopped = run("--sample", "2", answer="n\n")
    assert "4 images: 4 calls, $0.12 (bria-bg-remover)." in stopped[1]
    assert "Go on with all of them, for about $0.12 in total? [y/N]: n" in stopped[1]
    assert (stopped[0], sum(call.paid for call in venice.calls)) == (1, paid + 2)
    with Image.open(out / "contact-sheet.png") as sheet:
        assert sheet.width > 800

    whole = run("--sample", "2", answer="y\n")
    assert (whole[0], "2 sent, 2 already uploaded, 4 results." in whole[1]) == (0, True)
    assert sum(call.paid for call in venice.calls) == paid + 4


def test_hot_folder_takes_what_comes_and_repeats_nothing(
    stack: Stack, venice: Simulator, tmp_path: Path
) -> None:
    hot, out = tmp_path / "hot", tmp_path / "out"
    hot.mkdir()
    (hot / ".image-drop.json").write_text('{"mode": "background-remove"}')
    own_copy("coffee.png", hot / "first.png")
    paid = sum(call.paid for call in venice.calls)
    command = [sys.executable, "-m", "image_drop_cli", "put", str(hot), "--watch"]

    with subprocess.Popen(
        [*command, "--out", str(out), "--move-done", str(hot / "done")],
        env={**os.environ, "AWS_ENDPOINT_URL": stack.endpoint_url},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        until((hot / "done" / "first.png").exists)
        own_copy("rocket.jpg", hot / "second.jpg")
        until((hot / "done" / "second.jpg").exists)
        process.send_signal(signal.SIGINT)
        assert "Waiting for new images." in process.communicate(timeout=30)[0]
    assert process.returncode == 130

    assert sorted(path.name for path in (out / "hot").iterdir()) == [
        "first.png.png",
        "second.jpg.png",
    ]
    assert [path.name for path in hot.iterdir() if path.is_file()] == [".image-drop.json"]
    assert sum(call.paid for call in venice.calls) == paid + 2


def test_options_that_do_not_fit_together_are_told(stack: Stack, tmp_path: Path) -> None:
    photo = shutil.copy(photographs() / "coffee.png", tmp_path / "a.png")
    for options in (
        [str(photo), "--watch"],
        [str(tmp_path), "--move-done", "done"],
        [str(tmp_path), "--sample", "2", "--no-wait"],
    ):
        environment = {"AWS_ENDPOINT_URL": stack.endpoint_url}
        assert CliRunner().invoke(app, ["put", *options], env=environment).exit_code == 2


def test_backfill_is_started_watched_and_cancelled(run: Callable[..., Result]) -> None:
    assert run("backfill", "cancel").exit_code == 1
    assert run("backfill", "start", "old/", "--dry-run").output.startswith("0 images: no call.")
    assert run("backfill", "start", "old/").exit_code == 0
    assert run("backfill", "start", "").exit_code == 1
    assert json.loads(run("backfill", "status", "--json").stdout)["prefix"] == "old/"
    assert "old/: 0 images scanned" in run("status").output
    assert "cancelled" in run("backfill", "cancel").output


def test_embedded_stack_is_found_where_make_local_runs_it(
    run: Callable[..., Result], stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORT", stack.endpoint_url.rpartition(":")[2])
    found = CliRunner().invoke(app, ["status", "--json"])
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout)["stack"] == STACK_NAME
    missing = run("status", "--stack", "photos")
    assert (missing.exit_code, "no stack 'photos'" in missing.stderr) == (3, True)


def test_stacks_of_other_kind_or_version_are_recognised(
    run: Callable[..., Result], deployment: Deployment
) -> None:
    def deploy(name: str, outputs: tuple[str, ...]) -> None:
        template = {
            "Resources": {"Queue": {"Type": "AWS::SQS::Queue"}},
            "Outputs": {output: {"Value": "x"} for output in outputs},
        }
        cloudformation = deployment.client("cloudformation")
        cloudformation.create_stack(StackName=name, TemplateBody=json.dumps(template))
        cloudformation.get_waiter("stack_create_complete").wait(
            StackName=name, WaiterConfig={"Delay": 1}
        )

    deploy("blog", ())
    deploy("older", OUTPUTS)
    blog, older = run("status", "--stack", "blog"), run("status", "--stack", "older")
    assert (blog.exit_code, older.exit_code) == (3, 3)
    assert "has no output InputBucketName. This is not an Image Drop stack" in blog.stderr
    assert "has no parameter DefaultMode" in older.stderr
    assert "another version" in older.stderr


def test_local_and_demo_are_there(run: Callable[..., Result]) -> None:
    assert run("local", "--help").exit_code == 0
    assert run("demo", "--photos", "nowhere").exit_code == 2
