"""What `put` and `backfill` say before they spend: calls, dollars, and what is wrong already."""

import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from image_drop.uploads import Upload
from image_drop_cli.plan_words import NOTHING_TWICE, sentences
from image_drop_cli.upload.folders import LocalFile, local_files, only_images
from image_drop_cli.upload.plan import ModelCost, Plan, Problem, plan_backfill, plan_upload
from tests.support.account import INPUT_BUCKET
from tests.support.pictures import photo
from tests.support.quiet_stack import QuietStack, file, quiet_stack

CUT_OUT = {"mode": "background-remove"}


@pytest.fixture
def stack(
    boto_client: Callable[[str], Any], input_bucket: str, output_bucket: str, table: str
) -> QuietStack:
    return quiet_stack(boto_client, DailySpendLimitUSD="50")


def planned(stack: QuietStack, folder: Path, **instructions: Any) -> Plan:
    files = only_images(local_files([folder], instructions=instructions))
    return plan_upload(files, stack.deployment)


def photos(folder: Path, count: int) -> None:
    for number in range(count):
        file(folder, f"{number}.jpg", photo())


def test_calls_and_dollars_are_counted_by_model(stack: QuietStack, tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    photos(shop, 21)
    file(shop, "cut/.image-drop.json", CUT_OUT)
    photos(shop / "cut", 2)

    plan = planned(stack, shop, prompt="red")  # as a sidecar, next to each

    assert (plan.images, plan.calls, plan.done) == (23, 23, 0)
    assert plan.by_model == (
        ModelCost("firered-image-edit", 21, 0.84),
        ModelCost("bria-bg-remover", 2, 0.06),
    )
    assert plan.usd == 0.9
    assert plan.seconds == 60  # the 21st call waits for the next minute
    assert plan.left_today_usd == 50
    assert plan.problems == ()


def test_result_that_is_there_is_not_counted(stack: QuietStack, tmp_path: Path) -> None:
    path = file(tmp_path, "shop/a.jpg", photo())
    file(tmp_path, "shop/b.jpg", photo())
    stack.send(LocalFile(path, "shop/a.jpg", b'{"mode":"background-remove"}'))
    stack.make("shop/a.jpg")

    same = planned(stack, tmp_path / "shop", **CUT_OUT)
    other = planned(stack, tmp_path / "shop", prompt="red")

    assert (same.images, same.calls, same.done, same.usd) == (2, 1, 1, 0.03)
    assert (other.calls, other.done) == (2, 0)
    assert "1 result is there already." in "\n".join(sentences(same))


def test_results_that_other_instructions_change_are_told(stack: QuietStack, tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    for name in ("a.jpg", "b.jpg"):
        stack.send(LocalFile(file(shop, name, photo()), f"shop/{name}", b'{"prompt":"red"}'))
        stack.make(f"shop/{name}")
    plan = planned(stack, shop, prompt="blue")
    assert (plan.replaced, plan.calls, plan.done, plan.usd) == (2, 2, 0, 0.08)
    assert "2 results there will change with the instructions." in sentences(plan)


def test_variants_count_each(stack: QuietStack, tmp_path: Path) -> None:
    photos(tmp_path / "shop", 3)
    variants = {"a": CUT_OUT, "b": {"prompt": "red"}}
    assert planned(stack, tmp_path / "shop", variants=variants).calls == 6


def test_folder_file_of_bucket_counts_for_new_images(stack: QuietStack, tmp_path: Path) -> None:
    stack.s3.put_object(
        Bucket=INPUT_BUCKET, Key=".image-drop.json", Body=b'{"mode": "background-remove"}'
    )
    photos(tmp_path / "shop", 2)
    assert planned(stack, tmp_path / "shop").usd == 0.06


WRONG: list[tuple[dict[str, Any], str]] = [
    ({}, "no_instructions"),
    ({"mode": "edit"}, "missing_prompt"),
    ({"mode": "multi-edit", "prompt": "x", "layers": ["no.png"]}, "layer_not_there"),
    ({"prompt": "red", "resolution": "9K"}, "invalid_value"),
    ({"mode": "background-remove", "finish": "amazonn"}, "invalid_value"),
    ({"prompt": "red", "model": "dear-edit"}, "model_not_allowed"),
]


def test_what_is_wrong_already_is_told_once_for_all_images(
    boto_client: Callable[[str], Any], stack: QuietStack, tmp_path: Path
) -> None:
    strict = quiet_stack(boto_client, AllowedModels="firered-image-edit,bria-bg-remover")
    photos(tmp_path / "shop", 3)
    for instructions, code in WRONG:
        file(tmp_path / "shop", ".image-drop.json", instructions)

        plan = planned(strict, tmp_path / "shop")

        [problem] = plan.problems
        assert (problem.code, problem.images) == (code, 3)
        assert problem.key.startswith("shop/")
        assert (plan.calls, plan.usd, plan.results) == (0, 0, 3)
        assert any(f"3 images will get the report {code}" in line for line in sentences(plan))


def test_sidecar_of_bucket_counts_for_new_image(stack: QuietStack, tmp_path: Path) -> None:
    photos(tmp_path / "shop", 2)
    stack.s3.put_object(Bucket=INPUT_BUCKET, Key="shop/0.jpg.json", Body=b'{"prompt":"red"}')

    plan = planned(stack, tmp_path / "shop")

    assert (plan.calls, plan.usd) == (1, 0.04)
    assert [each.code for each in plan.problems] == ["no_instructions"]


def test_memory_does_not_grow_with_files_without_sidecars(
    stack: QuietStack, tmp_path: Path
) -> None:
    path = file(tmp_path, "a.jpg", photo())

    def taken(count: int) -> int:
        tracemalloc.start()
        plan_upload((LocalFile(path, f"shop/{n}.jpg") for n in range(count)), stack.deployment)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    taken(10)  # what is made once
    assert taken(1000) < taken(100) + 300_000  # 6 MB, when each missing sidecar was remembered


def test_files_that_are_no_images_stay_at_home(stack: QuietStack, tmp_path: Path) -> None:
    photos(tmp_path / "shop", 1)
    for name, content in (("notes.txt", b"to do"), ("empty.jpg", b""), ("film.mov", b"\0" * 600)):
        file(tmp_path / "shop", name, content)

    plan = planned(stack, tmp_path / "shop", **CUT_OUT)

    assert (plan.images, plan.left_at_home, plan.not_sent) == (1, 3, 0)
    assert "3 files stay at home, because they are no images." in list(sentences(plan))


def test_nothing_is_sent_by_plan(stack: QuietStack, tmp_path: Path) -> None:
    photos(tmp_path / "shop", 2)
    planned(stack, tmp_path / "shop", **CUT_OUT)
    assert stack.s3.list_objects_v2(Bucket=INPUT_BUCKET)["KeyCount"] == 0
    assert stack.queued() == []


def test_money_that_is_short_is_told() -> None:
    plan = Plan(
        images=300,
        done=0,
        calls=300,
        usd=12.0,
        by_model=(ModelCost("firered-image-edit", 300, 12.0),),
        seconds=840.0,
        left_today_usd=10.0,
        balance_usd=4.5,
        paused="",
        problems=(Problem("no_instructions", "None.", "Add some.", 1, "a.jpg"),),
    )
    assert list(sentences(plan)) == [
        "300 images: 300 calls, $12.00 (firered-image-edit), at least 14 min at your rate limit.",
        NOTHING_TWICE,
        "$10.00 are left of today's limit. The rest waits until midnight UTC.",
        "$4.50 are left at Venice. That is not enough: processing pauses then.",
        "1 image will get the report no_instructions, such as a.jpg. None. Add some.",
    ]
    many = replace(plan, problems=plan.problems * 25)
    assert list(sentences(many))[-1] == "5 other problems; --json has them all."
    paused = replace(plan, paused="Somebody paused it.", seconds=None)
    assert "Processing is paused: Somebody paused it." in list(sentences(paused))


def test_backfill_counts_what_lacks_its_result(stack: QuietStack, tmp_path: Path) -> None:
    path = file(tmp_path, "a.jpg", photo())
    for key in ("old/a.jpg", "old/b.jpg", "old/c.jpg", "new/d.jpg"):
        stack.send(LocalFile(path, key, b'{"mode":"background-remove"}'))
    stack.make("old/a.jpg")
    stack.s3.put_object(Bucket=INPUT_BUCKET, Key="old/e.jpg", Body=photo())

    plan = plan_backfill("old/", stack.deployment)

    assert (plan.images, plan.calls, plan.usd) == (3, 2, 0.06)
    assert [problem.code for problem in plan.problems] == ["no_instructions"]
    assert stack.queued() == []


def test_large_backfill_is_projected_from_sample(stack: QuietStack) -> None:
    stack.s3.put_object(
        Bucket=INPUT_BUCKET, Key=".image-drop.json", Body=b'{"mode": "background-remove"}'
    )
    for number in range(30):
        stack.s3.put_object(Bucket=INPUT_BUCKET, Key=f"{number}.jpg", Body=b"x")

    plan = plan_backfill("", stack.deployment, most=10)

    assert (plan.images, plan.sampled, plan.calls, plan.usd) == (30, 10, 30, 0.9)
    assert "Projected from 10 of them." in "\n".join(sentences(plan))


def test_work_that_is_queued_already_comes_first(stack: QuietStack, tmp_path: Path) -> None:
    photos(tmp_path / "shop", 1)
    for number in range(20):
        stack.deployment.services.queue.send(Upload(INPUT_BUCKET, f"{number}.jpg"))
    assert planned(stack, tmp_path / "shop", **CUT_OUT).seconds == 60


def test_enlargements_are_named_with_most_they_can_cost(stack: QuietStack, tmp_path: Path) -> None:
    photos(tmp_path / "shop", 3)
    finish = {"preset": "amazon", "upscale": "auto"}

    plan = planned(stack, tmp_path / "shop", **CUT_OUT, finish=finish)

    assert (plan.calls, plan.usd) == (3, 0.09)
    assert (plan.enlargements, plan.enlarging_usd, plan.at_most_usd) == (3, 0.24, 0.33)
    assert "Up to 3 enlargements (finish.upscale) may follow, for at most $0.24 more." in list(
        sentences(plan)
    )
