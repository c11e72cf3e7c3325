"""What an upload or a backfill will do, before it costs anything."""

from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from random import Random
from typing import TYPE_CHECKING, Any

from image_drop import backfill, edits, paid_answers
from image_drop.edits import Edit, Wanted
from image_drop.errors import ImageDropError, PermanentError
from image_drop.instructions.schema import Mode
from image_drop.services import Services
from image_drop.state.edit_record import record_id
from image_drop.storage.output_bucket import Stored
from image_drop.uploads import SIDECAR_SUFFIX, Upload, starts_nothing
from image_drop.venice.catalogue import Catalogue
from image_drop_cli.overview import balance
from image_drop_cli.planning import plan_variants
from image_drop_cli.upload.estimate import seconds_for
from image_drop_cli.upload.events import LeftAtHome, NotSent
from image_drop_cli.upload.folders import File, LocalFile
from image_drop_cli.upload.listed_folders import ListedFolders
from image_drop_cli.upload.preview import Preview
from image_drop_cli.wording import how_it_resumes

if TYPE_CHECKING:
    from image_drop_cli.deployment import Deployment

THREADS = 8  # images that are looked at at a time
MAX_LOOKED_AT = 500  # images of a backfill; each takes some requests


@dataclass(frozen=True)
class ModelCost:
    """The calls of one model, and their price in US dollars."""

    model: str
    calls: int
    usd: float


@dataclass(frozen=True)
class Problem:
    """Something that is wrong already. `code` as in a report; `key`: the first of `images`."""

    code: str
    detail: str
    what_to_do: str
    images: int
    key: str


@dataclass(frozen=True)
class Plan:
    """What an upload or a backfill will do; prices in US dollars.

    `images`: that may be edited. `done`: results that are there and are not paid again.
    `seconds`: until the last call has started, the queue before it included; None while processing
    is paused, for the reason in `paused`. `left_today_usd`: of the day's limit, None without one.
    `balance_usd`: at Venice, None if it was not published lately. `left_at_home`: files that are no
    images. `not_sent`: files that cannot be sent. `sampled`: 0, or how many images the figures are
    projected from. `enlargements`: that `finish.upscale` may need besides the calls, for at most
    `enlarging_usd` together. `replaced`: results that are there and that other instructions
    replace. `free`: new finishes of answers that are paid already.
    """

    images: int
    done: int
    calls: int
    usd: float
    by_model: tuple[ModelCost, ...]
    seconds: float | None
    left_today_usd: float | None
    balance_usd: float | None
    paused: str
    problems: tuple[Problem, ...]
    left_at_home: int = 0
    not_sent: int = 0
    sampled: int = 0
    replaced: int = 0
    free: int = 0
    enlargements: int = 0
    enlarging_usd: float = 0.0

    @property
    def at_most_usd(self) -> float:
        """The price of all calls if every enlargement is needed, and costs the most."""
        return round(self.usd + self.enlarging_usd, 6)

    def part(self, images: int) -> "Plan":
        """Return about what a few of the images cost, as a share of all."""
        share = min(1.0, images / self.images) if self.images else 1.0
        return replace(
            self,
            images=min(images, self.images),
            done=round(self.done * share),
            calls=round(self.calls * share),
            usd=round(self.usd * share, 6),
            by_model=(),
            problems=(),
            replaced=round(self.replaced * share),
            free=round(self.free * share),
            enlargements=round(self.enlargements * share),
            enlarging_usd=round(self.enlarging_usd * share, 6),
        )

    @property
    def results(self) -> int:
        """Results and reports that there will be in the end."""
        return self.calls + self.done + self.free + self.troubled

    @property
    def troubled(self) -> int:
        """Images that will get a report instead of a result."""
        return sum(each.images for each in self.problems)


@dataclass
class Sum:
    """What is added up, image by image. `rates`: calls by the model whose rate is limited."""

    images: int = 0
    done: int = 0
    left_at_home: int = 0
    not_sent: int = 0
    replaced: int = 0
    free: int = 0
    enlargements: int = 0
    enlarging_usd: float = 0.0
    calls: Counter[str] = field(default_factory=Counter)
    usd: dict[str, float] = field(default_factory=dict)
    rates: Counter[str] = field(default_factory=Counter)
    problems: dict[tuple[str, str], Problem] = field(default_factory=dict)

    def add_problem(self, error: ImageDropError, key: str) -> None:
        """Note an error that an image will meet."""
        known = self.problems.get((error.code, error.detail))
        images = known.images + 1 if known else 1
        first = known.key if known else key
        self.problems[error.code, error.detail] = Problem(
            error.code, error.detail, error.advice, images, first
        )

    def add(self, other: "Sum") -> None:
        """Add what was added up elsewhere."""
        self.images += other.images
        self.done += other.done
        self.replaced += other.replaced
        self.free += other.free
        self.enlargements += other.enlargements
        self.enlarging_usd += other.enlarging_usd
        self.calls += other.calls
        self.rates += other.rates
        for model, usd in other.usd.items():
            self.usd[model] = self.usd.get(model, 0.0) + usd
        for cause, problem in other.problems.items():
            known = self.problems.get(cause, replace(problem, images=0))
            self.problems[cause] = replace(known, images=known.images + problem.images)

    def add_call(self, edit: Edit, catalogue: Catalogue) -> None:
        """Note a call that will be made, and the enlargement that may follow."""
        usd = edits.price(edit.instructions, catalogue)
        self.calls[edit.model] += 1
        self.usd[edit.model] = self.usd.get(edit.model, 0.0) + usd
        self.rates[edit.rate_model] += 1
        if edits.may_enlarge(edit.instructions):
            self.enlargements += 1
            self.enlarging_usd += edits.enlarging_price(edit.instructions, catalogue)
            self.rates[catalogue.rate_model(Mode.UPSCALE, None)] += 1

    def plan(self, deployment: "Deployment", images: int | None = None) -> Plan:
        """Return the plan, with what is left of the day's limit and of the balance.

        `images`: of which those that were added up are a sample; None if they are all of them.
        """
        services = deployment.services
        now, status = services.now(), services.circuit_breaker.status()
        limit = services.billing.limit_on(now)
        ahead = services.queue.depth().total
        times = 1.0 if images is None or not self.images else images / self.images
        rates = {model: round(calls * times) for model, calls in self.rates.items()}
        models = tuple(
            ModelCost(model, round(calls * times), round(self.usd[model] * times, 6))
            for model, calls in self.calls.most_common()
        )
        return Plan(
            images=self.images if images is None else images,
            done=round(self.done * times),
            calls=sum(each.calls for each in models),
            usd=round(sum(each.usd for each in models), 6),
            by_model=models,
            seconds=None if status.stopped else seconds_for(rates, ahead, services),
            left_today_usd=max(0.0, limit - services.billing.day(now).at_most_usd)
            if limit
            else None,
            balance_usd=balance(deployment),
            paused=f"{status.detail} {how_it_resumes(status)}" if status.stopped else "",
            problems=tuple(
                replace(each, images=round(each.images * times)) for each in self.problems.values()
            ),
            left_at_home=self.left_at_home,
            not_sent=self.not_sent,
            replaced=round(self.replaced * times),
            free=round(self.free * times),
            sampled=0 if images in (None, self.images) else self.images,
            enlargements=round(self.enlargements * times),
            enlarging_usd=round(self.enlarging_usd * times, 6),
        )


def plan_upload(files: Iterable[File], deployment: "Deployment") -> Plan:
    """Return what sending these files will do; nothing is sent, and no call is made.

    An image whose edit is in the queue already counts as if it were new.
    """
    planner = _UploadPlanner.of(deployment)
    for file in files:
        planner.add(file)
    return planner.total.plan(deployment)


def plan_backfill(prefix: str, deployment: "Deployment", most: int = MAX_LOOKED_AT) -> Plan:
    """Return what a backfill of a prefix will do, projected from up to `most` of its images."""
    missing = backfill.missing(prefix, deployment.services)
    return plan_images((each.key for each in missing), deployment, most)


def plan_images(
    found: Iterable[str],
    deployment: "Deployment",
    most: int = MAX_LOOKED_AT,
    *,
    fresh: bool = False,
    services: Services | None = None,
) -> Plan:
    """Return what editing images of the bucket will do, projected from up to `most` of them.

    `fresh`: results that are there are made again. `services`: those of the deployment, or with
    another look at the input bucket.
    """
    services, bucket = services or deployment.services, deployment.input_bucket
    keys, count = _sample(found, most, services.rng)
    total = Sum()
    with ThreadPoolExecutor(THREADS, "plan") as pool:
        for one in pool.map(lambda key: _sum_of(key, bucket, services, fresh), keys):
            total.add(one)
    return total.plan(deployment, count)


def _sum_of(key: str, bucket: str, services: Services, fresh: bool) -> Sum:
    total = Sum(images=1)
    try:
        wanted = edits.load_instructions(Upload(bucket, key), services)
    except PermanentError as error:
        total.add_problem(error, key)
        return total
    for edit in _edits(wanted, services, total):
        if fresh:
            total.add_call(edit, services.catalogue.current())
            continue
        _count(edit, services, total, there=services.output_bucket.find_output(edit.output_key))
    return total


def _sample[T](found: Iterable[T], most: int, rng: Random) -> tuple[list[T], int]:
    """Return a random sample of any number of things, and that number."""
    kept: list[T] = []
    count = 0
    for count, each in enumerate(found, 1):
        if len(kept) < most:
            kept.append(each)
        elif (place := rng.randrange(count)) < most:
            kept[place] = each
    return kept, count


@dataclass
class _UploadPlanner:
    """Plans one file after the other. `results`: of the output bucket."""

    deployment: "Deployment"
    services: Services
    preview: Preview
    results: ListedFolders
    total: Sum = field(default_factory=Sum)

    @classmethod
    def of(cls, deployment: "Deployment") -> "_UploadPlanner":
        services = deployment.services
        s3, inputs = deployment.client("s3"), services.input_bucket
        listed = ListedFolders(s3, deployment.input_bucket)
        preview: Any = Preview(inputs.s3, inputs.prefix, listed)
        seen = replace(services, input_bucket=replace(services.input_bucket, s3=preview))
        results = ListedFolders(s3, services.settings.output_bucket)
        return cls(deployment, seen, preview, results)

    def add(self, file: File) -> None:
        """Count a file."""
        match file:
            case LeftAtHome():
                self.total.left_at_home += 1
            case NotSent():
                self.total.not_sent += 1
            case LocalFile(key=key) if starts_nothing(key):
                self.preview.add(file)
            case LocalFile(key=key) if not key.endswith(SIDECAR_SUFFIX):
                self.total.images += 1
                with self.preview.showing(file):
                    self._add_image(key)

    def _add_image(self, key: str) -> None:
        try:
            wanted = edits.load_instructions(
                Upload(self.deployment.input_bucket, key), self.services
            )
        except PermanentError as error:
            self.total.add_problem(error, key)
            return
        for edit in _edits(wanted, self.services, self.total):
            there = self._there(edit)
            if there:  # only then the file has to be read to its end
                edit = self._exact(edit)
            _count(edit, self.services, self.total, there=there)

    def _there(self, edit: Edit) -> Stored | None:
        """Return the result that is there, or the one without a finish of the same image."""
        bucket = self.services.output_bucket
        for key in (edit.output_key, edit.plain_key):
            if self.results.may_have(bucket.place(key).key) and (found := bucket.find_output(key)):
                return found
        return None

    def _exact(self, edit: Edit) -> Edit:
        """Return the edit with ids that name the image as it will be in the bucket."""
        self.preview.exact = True
        try:
            upload = Upload(edit.image.bucket, edit.image.key)
            wanted = edits.load_instructions(upload, self.services)
            return edits.plan_edit(wanted, edit.variant, self.services)
        finally:
            self.preview.exact = False


def _edits(wanted: Wanted, services: Services, total: Sum) -> Iterator[Edit]:
    """Yield the edits of an image that would be made, and note what prevents the others."""
    for plan in plan_variants(wanted, services):
        try:
            if not isinstance(plan.outcome, Edit):
                raise plan.outcome
            edits.require_allowed(plan.outcome, wanted, services)
        except ImageDropError as error:
            total.add_problem(error, wanted.image.key)
        else:
            yield plan.outcome


def _count(edit: Edit, services: Services, total: Sum, *, there: Stored | None) -> None:
    """Count an edit. `there`: a result of its image that is there, the present one if there is."""
    if there and there.edit_id == edit.id:
        total.done += 1
        return
    if there and there.edit_id and there.is_of(edit.image.key, edit.variant):
        total.replaced += 1
        if edit.instructions.finish and _is_answered(edit, services):
            total.free += 1
            return
    total.add_call(edit, services.catalogue.current())


def _is_answered(edit: Edit, services: Services) -> bool:
    id = record_id(edit.image.bucket, edit.image.key, edit.variant)
    record = services.records.read_record(id).record
    return paid_answers.is_answered(edit, record, services.output_bucket)
