"""`make demo`: real photographs through the whole system on this machine, before your eyes.

Exit code 0 only if each of them arrived as it should, 1 if not, 130 after Ctrl-C.

    PHOTOS=dir           your own photos instead
    VENICE_API_KEY=key   the real Venice instead of the simulator (VENICE_BASE_URL: somewhere else)
    SVG=file             a picture of this terminal, such as docs/demo-terminal.svg
"""

import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape
from rich.table import Table

from image_drop.events import SOURCE
from image_drop.settings import VENICE_BASE_URL
from image_drop.storage.output_bucket import Report
from image_drop_cli import contact_sheet
from image_drop_cli.aws import DeploymentError
from image_drop_cli.contact_sheet import Pair
from image_drop_cli.deployment import Deployment
from image_drop_cli.progress_bar import progress_bar
from image_drop_cli.upload.events import Arrived, Event, NotSent, Sent
from image_drop_cli.upload.folders import LocalFile
from image_drop_cli.upload.run import UploadRun
from image_drop_local.demo import photo_cases, terminal_picture
from image_drop_local.demo.photo_cases import Case
from image_drop_local.emulator.stack import STACK_NAME, Stack
from image_drop_local.simulator import Simulator

OUT = Path("demo-out")
SHEET = "contact-sheet.png"
MANIFEST = ".image-drop-demo"  # in OUT: what the last demo wrote
SILENCE = 120.0  # seconds without any news, after which the demo gives up
FUNCTIONS = 2 * (os.cpu_count() or 2)  # at a time; each needs a second to start


def main() -> int:
    """Run the demo in this terminal. Return the exit code."""
    svg = os.environ.get("SVG")
    console = Console(highlight=False)
    if svg:
        console = terminal_picture.recording_console()
    elif not console.is_terminal:
        console = Console(highlight=False, width=120)
    try:
        code = run(os.environ, OUT, console)
        if svg:
            terminal_picture.save(console, Path(svg), "make demo")
        return code
    except KeyboardInterrupt:
        console.print("\nStopped; nothing is left running.")
        return 130
    except (OSError, RuntimeError, DeploymentError) as error:
        console.print(f"make demo: {escape(str(error))}")
        return 1


def run(environment: Mapping[str, str], out: Path, console: Console) -> int:
    """Run the demo; return its exit code."""
    photos = environment.get("PHOTOS")
    if photos and not Path(photos).is_dir():
        raise NotADirectoryError(f"PHOTOS={photos} is not a folder.")
    clear(out)
    with ExitStack() as exits:
        folder = Path(exits.enter_context(TemporaryDirectory(prefix="image-drop-photos-")))
        cases = [] if photos else list(photo_cases.cases(folder))
        files: Iterable[LocalFile | NotSent] = (
            photo_cases.own(Path(photos), folder)
            if photos
            else [*photo_cases.needed_first(folder), *(case.file for case in cases)]
        )
        simulator, url, key = _venice(environment, exits)
        console.print(_welcome(url, simulator))
        stack = exits.enter_context(
            Stack(venice_url=url, venice_api_key=key, concurrency=FUNCTIONS)
        )
        demo = Demo(
            Deployment.find(STACK_NAME, endpoint_url=stack.endpoint_url),
            {case.file.key: case for case in cases},
            simulator,
            out,
            console,
        )
        demo.watch(files)
        return demo.conclude()


def _venice(environment: Mapping[str, str], exits: ExitStack) -> tuple[Simulator | None, str, str]:
    """Return the simulator, and Venice's URL and key; no simulator if the environment names one."""
    url, key = environment.get("VENICE_BASE_URL"), environment.get("VENICE_API_KEY")
    if url or key:
        return None, (url or VENICE_BASE_URL).rstrip("/"), key or "local"
    simulator = exits.enter_context(Simulator())
    simulator.faults.add(503, prompt=photo_cases.FAILS_FIRST[1], times=1)
    return simulator, simulator.url, "local"


def _welcome(url: str, simulator: Simulator | None) -> str:
    if simulator:
        return "Image Drop on this machine: an emulated AWS, a simulated Venice. Nothing is paid."
    return f"Image Drop on this machine: an emulated AWS, and {url}. [bold]Every edit is paid.[/]"


def clear(out: Path) -> None:
    """Remove what the last demo wrote, and nothing else."""
    manifest = out / MANIFEST
    if out.exists() and not out.is_dir():
        raise NotADirectoryError(f"{out} is in the way: it is not a folder.")
    out.mkdir(exist_ok=True)
    written = manifest.read_text().splitlines() if manifest.exists() else []
    for line in written:
        path = out / line
        if not path.parent.resolve().is_relative_to(out.resolve()):
            continue
        path.unlink(missing_ok=True)
        for folder in path.relative_to(out).parents:
            if folder.name and (out / folder).is_dir() and not any((out / folder).iterdir()):
                (out / folder).rmdir()
    manifest.write_text("")


@dataclass
class Demo:
    """One demo under way. `cases` by key; empty for a person's own photos."""

    deployment: Deployment
    cases: Mapping[str, Case]
    simulator: Simulator | None
    out: Path
    console: Console
    files: dict[str, Path] = field(default_factory=dict)
    arrived: list[Arrived] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    calls_seen: int = 0

    def watch(self, files: Iterable[LocalFile | NotSent]) -> None:
        """Drop everything and say what happens until all has arrived."""
        self.announcements = Announcements(self.deployment)
        self.began = last_news = time.monotonic()
        run = UploadRun(self.deployment, self.out)
        with progress_bar(self.console) as bar:
            for event in run.events(self._noted(files)):
                for line in [*self._refusals(), *self._lines(event)]:
                    last_news = time.monotonic()
                    seconds = last_news - self.began
                    self.console.print(f"{seconds:6.1f} s  {line}", soft_wrap=True)
                bar.update(run, len(self.arrived))
                if time.monotonic() - last_news > SILENCE:
                    self.problems.append(f"Nothing has arrived for {SILENCE:.0f} s.")
                    break
        self.seconds = time.monotonic() - self.began

    def conclude(self) -> int:
        """Show what came of it; the exit code."""
        self.announcements.read(len(self.arrived))
        order = list(self.cases)
        if order:
            self.arrived.sort(key=lambda each: (order.index(each.key), each.output_key))
        self.console.print(self._table())
        for each in self.arrived:
            if each.report:
                self.console.print(
                    f"[bold]{escape(each.output_key)}[/] says: {escape(each.report.title)}. "
                    f"{escape(each.report.detail)} {escape(each.report.what_to_do)}"
                )
        if self.arrived:
            sheet = contact_sheet.draw([self._pair(each) for each in self.arrived], self._title())
            sheet.save(self.out / SHEET)
            self._remember(SHEET)
        self.problems += self._missing()
        for problem in self.problems:
            self.console.print(f"[bold red]Not as it should be:[/] {escape(problem)}")
        results = sum(each.report is None for each in self.arrived)
        reports = len(self.arrived) - results
        self.console.print(
            f"Results: {results}, reports: {reports}, after {self.seconds:.0f} s. "
            f"They are in {self.out}/, side by side in [bold]{self.out / SHEET}[/].",
            soft_wrap=True,
        )
        return 1 if self.problems or not self.arrived else 0

    def _noted(self, files: Iterable[LocalFile | NotSent]) -> Iterator[LocalFile | NotSent]:
        for file in files:
            if isinstance(file, LocalFile):
                self.files[file.key] = file.path
            yield file

    def _lines(self, event: Event | None) -> Iterator[str]:
        match event:
            case Sent(key=key):
                case = self.cases.get(key)
                told = f"  [dim]{escape(f'{case.how}; {case.why}')}[/]" if case else ""
                yield f"[blue]dropped[/]   {escape(key):24}{told}"
            case NotSent(key=key, reason=reason):
                self.problems.append(f"{key} was not dropped. {reason}")
                yield f"[red]not sent[/]  {escape(key)}: {escape(reason)}"
            case Arrived(report=None):
                self._keep(event)
                yield f"[green]arrived[/]   {escape(event.output_key):28} {decimal(event.size)}"
            case Arrived(report=Report(title=title)):
                self._keep(event)
                yield f"[yellow]refused[/]   {escape(event.key)}: {escape(title)}"

    def _keep(self, arrived: Arrived) -> None:
        self.arrived.append(arrived)
        self._remember(arrived.output_key)

    def _remember(self, name: str) -> None:
        with (self.out / MANIFEST).open("a") as file:
            file.write(f"{name}\n")

    def _refusals(self) -> Iterator[str]:
        """Yield a line about the planned 503 as soon as the simulator has answered it."""
        calls = self.simulator.calls if self.simulator else []
        for call in calls[self.calls_seen :]:
            if call.fault:
                yield (
                    f"[magenta]{call.status}[/]       {escape(photo_cases.FAILS_FIRST[0])}: Venice "
                    "is at capacity; the image waits in the retry queue"
                )
        self.calls_seen = len(calls)

    def _table(self) -> Table:
        table = Table(title="What went where", title_justify="left", box=SIMPLE_HEAD)
        table.add_column("photo", overflow="fold")
        table.add_column("instructed by", overflow="fold")
        table.add_column("came out as", overflow="fold")
        for heading in ("size", "seconds", "calls"):
            table.add_column(heading, justify="right", no_wrap=True)
        for each in self.arrived:
            table.add_row(
                escape(each.key),
                escape(self._how(each)),
                escape(each.output_key),
                decimal(each.size),
                f"{each.seconds:.0f}",
                self._calls(each),
                style="yellow" if each.report else None,
            )
        return table

    def _how(self, arrived: Arrived) -> str:
        case = self.cases.get(arrived.key)
        return case.how if case else "folder file: background-remove"

    def _calls(self, arrived: Arrived) -> str:
        if arrived.report:
            return str(arrived.report.attempts)
        return str(self.announcements.attempts.get(arrived.output_key, "?"))

    def _pair(self, arrived: Arrived) -> Pair:
        assert arrived.path is not None
        case = self.cases.get(arrived.key)
        report = arrived.report
        after = f"{report.title}\n{report.detail}\n{report.what_to_do}" if report else arrived.path
        return Pair(
            self.files[arrived.key],
            after,
            arrived.key,
            arrived.output_key,
            f"{self._how(arrived)} · {case.why}" if case else self._how(arrived),
        )

    def _title(self) -> str:
        return "Image Drop: before and after" + (
            "  ·  simulated edits, not Venice's" if self.simulator else ""
        )

    def _missing(self) -> Iterator[str]:
        """Yield a sentence about everything that differs from its case."""
        if not self.cases and not self.arrived:
            yield "There was nothing to drop."
        came = {(each.key, each.variant): each for each in self.arrived}
        for key, case in self.cases.items():
            for variant in case.variants:
                each = came.get((key, variant))
                name = f"{key}, {variant}" if variant else key
                if each is None:
                    yield f"{name} has not arrived."
                elif (each.report.code if each.report else None) != case.refused:
                    yield f"{name} came out as {each.output_key}."


class Announcements:
    """The events of the stack, through a rule and a queue of the demo's own."""

    def __init__(self, deployment: Deployment) -> None:
        self.attempts: dict[str, int] = {}
        self._sqs = deployment.client("sqs")
        self._url = self._sqs.create_queue(QueueName="demo-announcements")["QueueUrl"]
        arn = self._sqs.get_queue_attributes(QueueUrl=self._url, AttributeNames=["QueueArn"])
        queue = arn["Attributes"]["QueueArn"]
        events = deployment.client("events")
        rule = events.put_rule(
            Name="demo-announcements", EventPattern=json.dumps({"source": [SOURCE]})
        )["RuleArn"]
        self._sqs.set_queue_attributes(
            QueueUrl=self._url, Attributes={"Policy": json.dumps(_may_send(queue, rule))}
        )
        events.put_targets(Rule="demo-announcements", Targets=[{"Id": "queue", "Arn": queue}])

    def read(self, expected: int) -> None:
        """Note how many calls each output took. Wait up to 20 s for the last events."""
        deadline = time.monotonic() + 20
        while len(self.attempts) < expected and time.monotonic() < deadline:
            answer = self._sqs.receive_message(
                QueueUrl=self._url, MaxNumberOfMessages=10, WaitTimeSeconds=1
            )
            for message in answer.get("Messages", []):
                detail: dict[str, Any] = json.loads(message["Body"])["detail"]
                if "output" in detail:
                    self.attempts[detail["output"]["key"]] = detail["attempts"]
                self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])


def _may_send(queue: str, rule: str) -> dict[str, Any]:
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": queue,
        "Condition": {"ArnEquals": {"aws:SourceArn": rule}},
    }
    return {"Version": "2012-10-17", "Statement": [statement]}
