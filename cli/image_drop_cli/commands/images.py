"""`image-drop retry`: images that have no result, or failed."""

from typing import TYPE_CHECKING, Annotated

import typer

from image_drop_cli.connection import Exit, fail, on_stack, say
from image_drop_cli.plan_words import (
    CONFIRM_OVER,
    ConfirmOver,
    DryRun,
    Yes,
    require_consent,
    sentences,
)
from image_drop_cli.wording import counted

if TYPE_CHECKING:
    from image_drop_cli.deployment import Deployment
    from image_drop_cli.retrying import Failed, Filter

Keys = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY",
        help="Object keys of images in the input bucket, and prefixes such as photos/.",
    ),
]


@on_stack
def retry(
    deployment: "Deployment",
    keys: Keys = None,
    code: Annotated[
        str,
        typer.Option(metavar="CODE", help="Only images with this code, such as no_instructions."),
    ] = "",
    reports: Annotated[bool, typer.Option("--reports", help="Only images with a report.")] = False,
    dead: Annotated[bool, typer.Option("--dead", help="Only dead letters.")] = False,
    fresh: Annotated[
        bool,
        typer.Option(
            "--fresh", help="Make and pay for a new draw of each KEY, in spite of its result."
        ),
    ] = False,
    confirm_over: ConfirmOver = CONFIRM_OVER,
    yes: Yes = False,
    dry_run: DryRun = False,
) -> None:
    """Retry images. A result that exists is neither made nor paid for again without --fresh.

    A KEY alone is retried whatever became of it. A prefix, which ends with a slash, means the
    images below it that have a report or are dead letters. With --code, --reports or --dead, no KEY
    means the whole bucket.

    Says first how many calls that takes and what they cost, and asks if that is much.
    """
    from image_drop_cli.retrying import CODES, Filter, failed_images, plan_retry, retry_images

    wanted, names = Filter(code, reports, dead), keys or []
    _require_choice(names, wanted, CODES)
    if fresh and (wanted.is_given or any(name.endswith("/") for name in names)):
        fail("--fresh makes results again that exist. Name the KEYs.", Exit.USAGE)
    if wanted.is_given or any(name.endswith("/") for name in names):
        images = failed_images(deployment, names, wanted)
        if not wanted.is_given:
            images += _named([name for name in names if not name.endswith("/")], deployment)
    else:
        images = _named(names, deployment, fresh=fresh)
    if not images:
        say("No image has to be retried.")
        return
    plan = plan_retry(images, deployment, fresh=fresh)
    say(*sentences(plan))
    if dry_run:
        return
    require_consent(plan, confirm_over, yes=yes)
    say(f"Queued {counted(retry_images(images, deployment, fresh=fresh), 'image')}.")


def _require_choice(names: list[str], wanted: "Filter", codes: frozenset[str]) -> None:
    if not names and not wanted.is_given:
        fail(
            "No images chosen. Name keys or prefixes, or use --code, --reports or --dead.",
            Exit.USAGE,
        )
    if wanted.code and wanted.code not in codes:
        fail(f"--code {wanted.code} is no code. They are {', '.join(sorted(codes))}.", Exit.USAGE)


def _named(keys: list[str], deployment: "Deployment", *, fresh: bool = False) -> "list[Failed]":
    """Return the variants of the named images that have no result. End the command on an error.

    `fresh`: return those that have one, too.
    """
    from image_drop.edits import Edit
    from image_drop.errors import ImageDeletedError, PermanentError
    from image_drop_cli.planning import plan_image
    from image_drop_cli.retrying import Failed

    services, bucket = deployment.services, deployment.input_bucket
    images = []
    for key in keys:
        try:
            for plan in plan_image(key, services, bucket):
                if not isinstance(plan.outcome, Edit):
                    fail(f"{plan.outcome.detail} {plan.outcome.advice}", Exit.NEEDS_YOU)
                edit = plan.outcome
                result = services.output_bucket.find_output(edit.output_key)
                if result is not None and result.edit_id == edit.id and not fresh:
                    say(
                        f"{edit.output_key} exists already; it is not paid for again. To make and "
                        "pay for it again, use --fresh."
                    )
                else:
                    images.append(Failed(key, plan.variant))
        except ImageDeletedError:
            fail(
                f"{key} is not in the bucket {bucket}. Check the key, or upload the image with "
                "`image-drop put`.",
                Exit.NEEDS_YOU,
            )
        except PermanentError as error:
            fail(f"{error.detail} {error.advice}", Exit.NEEDS_YOU)
    return images
