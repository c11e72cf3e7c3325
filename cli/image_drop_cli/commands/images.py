"""Commands about one image."""

from typing import TYPE_CHECKING, Annotated

import typer

from image_drop_cli.connection import Exit, fail, on_stack, say

if TYPE_CHECKING:
    from image_drop_cli.deployment import Deployment

Key = Annotated[
    str, typer.Argument(metavar="KEY", help="Object key of the image in the input bucket.")
]


@on_stack
def retry(
    deployment: "Deployment",
    key: Key,
    fresh: Annotated[
        bool,
        typer.Option(
            "--fresh", help="Make and pay for a new draw, in spite of a result that exists."
        ),
    ] = False,
) -> None:
    """Retry one image, even if it has a report.

    A result that exists is neither made nor paid for again, except with --fresh.
    """
    from image_drop.edits import Edit
    from image_drop.errors import ImageDeletedError, PermanentError
    from image_drop.uploads import FRESH, Upload
    from image_drop_cli.planning import plan_image

    services, bucket = deployment.services, deployment.input_bucket
    queued, retry_id = 0, (FRESH if fresh else "") + services.new_id()
    try:
        for plan in plan_image(key, services, bucket):
            if not isinstance(plan.outcome, Edit):
                fail(f"{plan.outcome.detail} {plan.outcome.advice}", Exit.NEEDS_YOU)
            edit = plan.outcome
            result = services.output_bucket.find_output(edit.output_key)
            if result is not None and result.edit_id == edit.id and not fresh:
                say(f"{edit.output_key} exists already; it is not paid for again.")
                continue
            services.queue.send(Upload(bucket, key, plan.variant, retry=retry_id))
            queued += 1
            say(f"Queued {edit.output_key}.")
    except ImageDeletedError:
        fail(
            f"{key} is not in the bucket {bucket}. Check the key, or upload the image with "
            "`image-drop put`.",
            Exit.NEEDS_YOU,
        )
    except PermanentError as error:
        fail(f"{error.detail} {error.advice}", Exit.NEEDS_YOU)
    if not queued:
        say("To make and pay for it again, use --fresh.")
