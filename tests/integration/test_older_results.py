"""Results of earlier instructions are found, and removed, and nothing else is."""

import pytest

from image_drop_cli.explanation import explain
from image_drop_cli.older_results import (
    find_older_results,
    older_results,
    remove,
    same_but_for_suffix,
)
from tests.support.stage import INPUT, Stage
from tests.support.stage_deployment import deployment_of

PNG = {"mode": "background-remove"}
JPEG = PNG | {"finish": {"preset": "amazon"}}


def found(stage: Stage, prefix: str = "") -> list[tuple[str, str]]:
    return [
        (each.stored.key, each.present) for each in find_older_results(deployment_of(stage), prefix)
    ]


@pytest.fixture
def changed(stage: Stage) -> Stage:
    """An image whose instructions have changed from PNG to JPEG."""
    stage.drop("shop/a.jpg", sidecar=PNG)
    stage.drop("shop/a.jpg", sidecar=JPEG)
    return stage


def test_older_result_next_to_present_one_is_found_and_removed(changed: Stage) -> None:
    changed.drop("shop/b.jpg", sidecar=PNG)
    assert found(changed) == [("shop/a.jpg.png", "shop/a.jpg.jpg")]
    assert found(changed, "other/") == []
    [older] = older_results("shop/a.jpg", deployment_of(changed))
    assert older.image == "shop/a.jpg"
    assert older_results("shop/b.jpg", deployment_of(changed)) == ()
    assert older_results("shop/none.jpg", deployment_of(changed)) == ()

    assert explain("shop/a.jpg", deployment_of(changed)).older == ("shop/a.jpg.png",)

    remove(older, changed.services)

    assert changed.outputs() == ["shop/a.jpg.jpg", "shop/b.jpg.png"]
    assert found(changed) == []


def test_older_result_of_variant_is_found(stage: Stage) -> None:
    stage.drop("a.jpg", sidecar={"variants": {"one": PNG, "two": PNG}})
    stage.work_off()
    stage.drop("a.jpg", sidecar={"variants": {"one": JPEG, "two": PNG}})
    stage.work_off()
    assert found(stage) == [("a.jpg.one.png", "a.jpg.one.jpg")]


def test_nothing_else_is_older(changed: Stage) -> None:
    def put(key: str, **metadata: str) -> None:
        changed.s3.put_object(Bucket=changed.output, Key=key, Body=b"x", Metadata=metadata)

    present = changed.metadata("shop/a.jpg.jpg")
    put("shop/a.jpg.png")  # somebody else's
    put("shop/a.jpg.webp", **{"edit-id": "1", "source-key": "shop/other.jpg"})
    assert found(changed) == []
    put("shop/a.jpg.png", **{"edit-id": "1", "source-key": "shop/a.jpg"})
    assert found(changed) == [("shop/a.jpg.png", "shop/a.jpg.jpg")]

    changed.s3.delete_object(Bucket=changed.output, Key="shop/a.jpg.jpg")
    assert found(changed) == []  # the only result
    put("shop/a.jpg.jpg", **present)
    changed.put_json("shop/a.jpg.json", **JPEG | {"finish": {"preset": "shopify"}})
    assert found(changed) == []  # the present one is not made
    changed.put_json("shop/a.jpg.json", **JPEG)
    assert len(found(changed)) == 1
    changed.s3.delete_object(Bucket=INPUT, Key="shop/a.jpg")
    assert found(changed) == []  # an image that is gone keeps its results


def test_result_that_was_replaced_meanwhile_is_kept(changed: Stage) -> None:
    [older] = find_older_results(deployment_of(changed))
    changed.s3.put_object(Bucket=changed.output, Key="shop/a.jpg.png", Body=b"a newer one")
    remove(older, changed.services)
    assert changed.read("shop/a.jpg.png") == b"a newer one"


def test_same_names_are_found_in_listing() -> None:
    listing = [
        "a.jpg.error.json",
        "a.jpg.jpg",
        "a.jpg.one.jpg",
        "a.jpg.one.webp",
        "a.jpg.original.png",
        "a.jpg.png",
        "a.jpg2.png",
        "b.png",
        "b/a.png",
        "b/a.webp",
    ]
    assert listing == sorted(listing)
    assert sorted(same_but_for_suffix(listing)) == [
        "a.jpg.jpg",
        "a.jpg.one.jpg",
        "a.jpg.one.webp",
        "a.jpg.png",
        "b/a.png",
        "b/a.webp",
    ]
