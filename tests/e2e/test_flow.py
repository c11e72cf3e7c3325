"""From upload to result: every way to say what is wanted, every kind of file and key."""

from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image

from image_drop_local.emulator.stack import Stack
from image_drop_local.simulator import Simulator
from tests.support import pictures
from tests.support.pictures import photo, pixel
from tests.support.system import CUT_OUT, MAX_WAIT, System
from tests.support.waiting import until


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    with Simulator(limit=1000) as venice, Stack(venice_url=venice.url, concurrency=4) as stack:
        yield System(stack, venice)


def is_cut_out(image: Image.Image) -> bool:
    """Whether the subject is solid and the corner is transparent."""
    alpha = image.getchannel("A")
    middle = pixel(alpha, image.width // 2, image.height // 2)
    return (pixel(alpha, 2, 2), middle) == ((0,), (255,))


# --- the three modes -----------------------------------------------------------------------


def test_cut_out_by_tag(system: System) -> None:
    data = system.drop("tags/cup.jpg", tags=CUT_OUT)

    image = system.result("tags/cup.jpg.png")

    assert (image.format, image.mode, image.size) == ("PNG", "RGBA", (320, 260))
    assert is_cut_out(image)
    head = system.head("tags/cup.jpg.png")
    assert head["ContentType"] == "image/png"
    metadata = head["Metadata"]
    assert len(metadata.pop("edit-id")) == len(metadata.pop("call")) == 32
    assert float(metadata.pop("seconds")) < 60
    assert metadata.pop("venice-request-id").endswith("-SIM")
    original = system.s3.head_object(Bucket=system.input, Key="tags/cup.jpg")
    assert metadata == {
        "source-key": "tags/cup.jpg",
        "source-etag": original["ETag"].strip('"'),
        "mode": "background-remove",
        "model": "bria-bg-remover",
        "cost-usd": "0.030000",
    }
    assert system.paid(data) == 1


def test_finish_enlarges_what_its_canvas_would_enlarge(system: System) -> None:
    finish = {"size": "800x800", "background": "white", "upscale": "auto"}
    system.drop("larger/cup.jpg", sidecar=CUT_OUT | {"finish": finish})

    image = system.result("larger/cup.jpg.png")

    assert image.size == (800, 800)
    metadata = system.metadata("larger/cup.jpg.png")
    assert metadata["enlarged"].endswith(" times")
    paid = system.calls()[-2:]
    assert [call.path.rpartition("/")[2] for call in paid] == ["background-remove", "upscale"]
    assert float(metadata["cost-usd"]) == sum(call.charged_usd for call in paid)


def test_edit_by_tag(system: System) -> None:
    data = system.drop("tags/sky.jpg", tags={"prompt": "make the sky pink", "aspect_ratio": "1:1"})

    image = system.result("tags/sky.jpg.png")

    assert (image.format, image.mode) == ("PNG", "RGB")
    assert image.width == image.height
    metadata = system.metadata("tags/sky.jpg.png")
    assert (metadata["mode"], metadata["model"]) == ("edit", "firered-image-edit")
    (call,) = system.calls(data)
    assert call.path.endswith("/image/edit")
    assert call.paid


def test_multi_edit_by_tag_with_layer_that_starts_nothing_itself(system: System) -> None:
    logo = Image.new("RGBA", (300, 300))
    logo.paste("lime", (0, 0, 300, 80))
    layer = system.drop("tags/_layers/logo.png", pictures.save(logo, "PNG"))
    data = system.drop(
        "tags/poster.jpg", tags={"prompt": "put the logo on it", "layers": "_layers/logo.png"}
    )

    image = system.result("tags/poster.jpg.png")

    red, green, blue = pixel(image.convert("RGB"), image.width // 2, image.height // 8)
    assert green > 200 > 100 > max(red, blue)  # the logo lies on the poster
    assert system.metadata("tags/poster.jpg.png")["mode"] == "multi-edit"
    assert [call.path.rpartition("/")[2] for call in system.calls(data)] == ["multi-edit"]
    assert system.calls(layer) == []
    assert not [key for key in system.outputs("tags/") if "_layers" in key]


# --- where instructions come from ----------------------------------------------------------


def test_sidecar_before_its_image(system: System) -> None:
    system.drop("before.jpg", sidecar=CUT_OUT)

    assert is_cut_out(system.result("before.jpg.png"))
    assert system.outputs("before") == ["before.jpg.png"]


def test_sidecar_after_its_image_starts_edit_and_removes_report(system: System) -> None:
    system.drop("after.jpg")
    assert system.report("after.jpg")["code"] == "no_instructions"

    system.put_json("after.jpg.json", **CUT_OUT)

    assert is_cut_out(system.result("after.jpg.png"))
    until(lambda: system.outputs("after") == ["after.jpg.png"], MAX_WAIT)


def test_tags_after_upload_start_edit_and_remove_report(system: System) -> None:
    system.drop("late/tags.jpg")
    assert system.report("late/tags.jpg")["code"] == "no_instructions"

    tags: Any = [{"Key": "mode", "Value": "background-remove"}]
    system.s3.put_object_tagging(Bucket=system.input, Key="late/tags.jpg", Tagging={"TagSet": tags})

    assert system.metadata("late/tags.jpg.png")["mode"] == "background-remove"
    until(lambda: not system.head("late/tags.jpg.error.json"), MAX_WAIT)


def test_folder_file_after_its_image_starts_edit(system: System) -> None:
    system.drop("late/box/a.jpg")
    assert system.report("late/box/a.jpg")["code"] == "no_instructions"

    system.put_json("late/box/.image-drop.json", mode="background-remove")
    until(lambda: system.log("upload", "late/box/.image-drop.json"), MAX_WAIT)
    system.invoke("BackfillFunction", {})  # as every five minutes

    assert system.metadata("late/box/a.jpg.png")["mode"] == "background-remove"


def test_folder_file_makes_folder_drop_box(system: System) -> None:
    system.put_json("products/.image-drop.json", **CUT_OUT)
    system.drop("products/shoe.jpg")
    system.drop("products/summer/hat.jpg", tags={"mode": "edit", "prompt": "pink"})

    assert is_cut_out(system.result("products/shoe.jpg.png"))
    assert system.metadata("products/summer/hat.jpg.png")["mode"] == "edit"  # a tag is nearer
    assert system.outputs("products/") == ["products/shoe.jpg.png", "products/summer/hat.jpg.png"]


def test_user_metadata(system: System) -> None:
    system.drop("metadata.jpg", metadata={"prompt": "in the rain", "model": "qwen-image-2-edit"})

    assert system.metadata("metadata.jpg.png")["model"] == "qwen-image-2-edit"


# --- keys ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key",
    [
        "odd/two words.jpg",
        "odd/1+1.jpg",
        "odd/100%.jpg",
        "odd/a%20b%2Bc.jpg",
        "odd/Füße 靴 👟.jpg",
        "odd/a&b=c;d@e,f$g!(h)'i'~[j].jpg",
        "odd/no-ending",
    ],
)
def test_odd_key(system: System, key: str) -> None:
    data = system.drop(key, sidecar=CUT_OUT)

    assert is_cut_out(system.result(f"{key}.png"))
    assert system.paid(data) == 1


def test_key_of_thousand_bytes_and_more(system: System) -> None:
    key = "long/" + "ä" * 507 + ".jpg"
    assert len(key.encode()) == 1023  # with an ending the result's key would have 1027: S3 has 1024
    data = system.drop(key, tags=CUT_OUT)

    (result,) = until(lambda: system.outputs("long/"), MAX_WAIT)

    assert result.startswith("long/ääää")
    assert result.endswith(".png")
    assert len(result.encode()) <= 1024
    assert is_cut_out(system.result(result))
    assert system.paid(data) == 1


# --- what cameras and phones make ----------------------------------------------------------


def test_heic_photo(system: System) -> None:
    system.drop("phone/eye.heic", pictures.convertible()["heic"], tags={"prompt": "pink"})

    assert system.result("phone/eye.heic.png").size == (320, 240)
    assert "converted-from-heic" in system.metadata("phone/eye.heic.png")["changes"]


def test_photo_that_lies_on_its_side_comes_out_upright(system: System) -> None:
    lying = photo("lying", size=(800, 400))
    system.drop("phone/tall.jpg", rotated(lying), tags=CUT_OUT)

    image = system.result("phone/tall.jpg.png")

    assert image.size == (400, 800)
    assert is_cut_out(image)
    assert "rotated" in system.metadata("phone/tall.jpg.png")["changes"]


def test_photo_beyond_limit_is_shrunk(system: System) -> None:
    system.drop("camera/huge.jpg", photo("huge", size=(7000, 5000)), tags=CUT_OUT)  # 35 megapixels

    image = system.result("camera/huge.jpg.png")

    assert image.width / image.height == pytest.approx(7 / 5, abs=0.01)
    assert "shrunk" in system.metadata("camera/huge.jpg.png")["changes"]


def test_photo_that_venice_takes_is_not_touched(system: System) -> None:
    data = system.drop("camera/small.jpg", tags=CUT_OUT)

    assert "changes" not in system.metadata("camera/small.jpg.png")
    assert len(system.calls(data)) == 1  # found by the hash of its bytes


# --- finish and variants -------------------------------------------------------------------


def test_preset_of_shop(system: System) -> None:
    system.drop("shop/cup.png", tags=CUT_OUT | {"finish": "amazon"})

    image = system.result("shop/cup.png.jpg")

    assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (2000, 2000))
    assert pixel(image, 2, 2) == (255, 255, 255)
    assert system.head("shop/cup.png.jpg")["ContentType"] == "image/jpeg"
    until(lambda: system.outputs("shop/") == ["shop/cup.png.jpg"], MAX_WAIT)


def test_kept_answer_is_finished_anew_without_paying_again(system: System) -> None:
    wanted: dict[str, Any] = CUT_OUT | {"keep_original": True}
    white = {"background": "white", "size": "300x300"}
    data = system.drop("kept/cup.jpg", sidecar=wanted | {"finish": white})

    assert system.result("kept/cup.jpg.png").size == (300, 300)
    assert system.outputs("kept/") == ["kept/cup.jpg.original.png", "kept/cup.jpg.png"]
    assert is_cut_out(system.result("kept/cup.jpg.original.png"))

    system.put_json("kept/cup.jpg.json", **wanted, finish=white | {"size": "500x400"})

    until(lambda: system.result("kept/cup.jpg.png").size == (500, 400), MAX_WAIT)
    assert system.paid(data) == 1


def test_variants_are_separate_edits_with_separate_reports(system: System) -> None:
    system.drop("variants/_layers/mask.png", b"not a picture")
    studio = {"prompt": "in a studio", "layers": ["_layers/mask.png"]}
    variants: dict[str, Any] = {"cutout": CUT_OUT, "studio": studio}
    data = system.drop("variants/mug.jpg", sidecar={"variants": variants})

    assert is_cut_out(system.result("variants/mug.jpg.cutout.png"))
    report = system.report("variants/mug.jpg.studio")
    assert (report["code"], report["variant"]) == ("bad_layer", "studio")
    assert len(system.calls(data)) == 1

    variants["studio"] = {"prompt": "in a studio", "finish": {"format": "webp"}}
    system.put_json("variants/mug.jpg.json", variants=variants)

    assert system.result("variants/mug.jpg.studio.webp").format == "WEBP"
    done = ["variants/mug.jpg.cutout.png", "variants/mug.jpg.studio.webp"]
    until(lambda: system.outputs("variants/") == done, MAX_WAIT)
    assert system.paid(data) == len(system.calls(data)) == 2


def rotated(jpeg: bytes) -> bytes:
    """The same pixels, with the note that they have to be turned by a quarter."""
    image = pictures.load(jpeg)
    return pictures.save(image, "JPEG", exif=pictures.exif(6))
