"""Where instructions come from: sidecar, tags, metadata, folder files, the template."""

from email.header import Header
from typing import Any

import pytest

from tests.support.pictures import photo
from tests.support.stage import Stage

CUT_OUT = {"mode": "background-remove"}


def sent_prompt(stage: Stage) -> int:
    """The length of the prompt that Venice got, which tells the sources of a test apart."""
    return stage.venice.calls[-1].prompt_length


def test_sidecar_that_comes_before_its_image_waits_for_it(stage: Stage) -> None:
    sidecar = stage.put_json("a.jpg.json", mode="background-remove")

    assert stage.upload(sidecar) == {"a.jpg": "waits for its image"}
    assert stage.outputs() == []
    assert stage.waiting() == 0

    assert stage.drop("a.jpg") == "edited"
    assert stage.outputs() == ["a.jpg.png"]


def test_sidecar_after_its_image_starts_edit_and_removes_report(
    stage: Stage,
) -> None:
    assert stage.drop("a.jpg") == "reported"
    assert stage.report("a.jpg")["code"] == "no_instructions"
    assert stage.calls == 0

    assert stage.upload(stage.put_json("a.jpg.json", prompt="pink")) == {"a.jpg": "edited"}

    assert stage.outputs() == ["a.jpg.png"]


def test_changed_sidecar_is_new_edit(stage: Stage) -> None:
    stage.drop("a.jpg", sidecar={"prompt": "pink"})
    first = stage.metadata("a.jpg.png")["edit-id"]

    stage.upload(stage.put_json("a.jpg.json", prompt="blue"))

    assert stage.paid == 2
    assert stage.metadata("a.jpg.png")["edit-id"] != first


def test_json_file_of_something_else_is_left_alone(stage: Stage) -> None:
    assert stage.upload(stage.put_json("notes.json", anything=1)) == {
        "notes": "waits for its image"
    }

    assert stage.outputs() == []
    assert stage.waiting() == 0


@pytest.mark.parametrize(
    ("sources", "length"),
    [
        ({"sidecar", "tags", "metadata", "folder", "above", "default"}, 1),
        ({"tags", "metadata", "folder", "above", "default"}, 2),
        ({"metadata", "folder", "above", "default"}, 3),
        ({"folder", "above", "default"}, 4),
        ({"above", "default"}, 5),
        ({"default"}, 6),
    ],
)
def test_nearest_source_wins(stage: Stage, sources: set[str], length: int) -> None:
    stage.configure(DEFAULT_PROMPT="x" * 6)
    if "above" in sources:
        stage.put_json(".image-drop.json", prompt="x" * 5)
    if "folder" in sources:
        stage.put_json("products/.image-drop.json", prompt="x" * 4)

    stage.drop(
        "products/a.jpg",
        metadata={"prompt": "xxx"} if "metadata" in sources else None,
        tags={"prompt": "xx"} if "tags" in sources else None,
        sidecar={"prompt": "x"} if "sidecar" in sources else None,
    )

    assert sent_prompt(stage) == length


def test_sources_are_merged_key_by_key(stage: Stage) -> None:
    stage.put_json(".image-drop.json", prompt="from above", model="qwen-image-2-edit")
    stage.put_json("products/.image-drop.json", aspect_ratio="1:1")
    stage.drop("products/a.jpg", tags={"mode": "edit"}, sidecar={"prompt": "nearer"})

    (call,) = stage.venice.calls
    assert call.model == "qwen-image-2-edit"
    assert call.prompt_length == len("nearer")
    assert stage.metadata("products/a.jpg.png")["mode"] == "edit"


def test_folder_file_makes_drop_box_of_its_whole_folder(stage: Stage) -> None:
    stage.put_json("products/.image-drop.json", **CUT_OUT)

    assert stage.drop("products/a.jpg") == "edited"
    assert stage.drop("products/2026/spring/b.jpg") == "edited"
    assert stage.drop("elsewhere/c.jpg") == "reported"
    assert stage.drop("products.jpg") == "reported"

    assert stage.metadata("products/2026/spring/b.jpg.png")["mode"] == "background-remove"


def test_template_gives_mode_and_prompt(stage: Stage) -> None:
    stage.configure(DEFAULT_MODE="background-remove")

    assert stage.drop("a.jpg") == "edited"

    assert stage.metadata("a.jpg.png")["mode"] == "background-remove"


def test_tags_and_metadata_of_other_tools_are_ignored(stage: Stage) -> None:
    ending = stage.drop(
        "a.jpg",
        tags={"CostCenter": "42", "owner": "shop", **CUT_OUT},
        metadata={"mtime": "1700000000.5", "s3cmd-attrs": "uid:1000/gname:me"},
    )

    assert ending == "edited"


@pytest.mark.parametrize(
    "text", ["=?utf-8?B?!!!?=", "=?no-such-charset?Q?abc?=", "=?utf-8?B?/w==?=", "=?utf-8?B?a?="]
)
def test_metadata_that_only_looks_encoded_is_ignored(stage: Stage, text: str) -> None:
    assert stage.drop("a.jpg", tags=CUT_OUT, metadata={"comment": text}) == "edited"


def test_non_ascii_prompt_in_metadata_is_read_as_s3_returns_it(stage: Stage) -> None:
    prompt = "Himmel grün, Straße naß"
    encoded = Header(prompt, "utf-8", maxlinelen=1000).encode()
    assert encoded.startswith("=?utf-8?")

    stage.drop("a.jpg", metadata={"prompt": encoded})

    assert sent_prompt(stage) == len(prompt)


def test_mode_is_multi_edit_where_there_are_layers(stage: Stage) -> None:
    stage.put("photos/_layers/mask.png", photo("black", form="PNG"))
    stage.put("_layers/logo.png", photo("green", form="PNG"))

    ending = stage.drop(
        "photos/a.jpg", tags={"prompt": "blend", "layers": "_layers/mask.png /_layers/logo.png"}
    )

    assert ending == "edited"
    (call,) = stage.venice.calls
    assert call.path.endswith("/image/multi-edit")
    assert stage.metadata("photos/a.jpg.png")["mode"] == "multi-edit"


def test_layer_that_is_url_is_sent_with_image(stage: Stage) -> None:
    layers = ["https://pictures.example/logo.png"]

    assert stage.drop("a.jpg", sidecar={"prompt": "blend", "layers": layers}) == "edited"


def test_edit_waits_for_layer_that_is_not_there_yet(stage: Stage) -> None:
    instructions = {"prompt": "blend", "layers": ["_layers/mask.png"]}

    assert stage.drop("a.jpg", sidecar=instructions) == "queued"
    assert stage.calls == 0
    assert stage.outputs() == []

    assert stage.upload(stage.put("_layers/mask.png", photo("black", form="PNG"))) == {}
    stage.work_off()

    assert stage.outputs() == ["a.jpg.png"]
    assert stage.dead() == 0


def test_layer_that_never_comes_is_named_in_report(stage: Stage) -> None:
    stage.drop("products/a.jpg", sidecar={"prompt": "blend", "layers": ["_layers/mask.png"]})

    looks = stage.work_off()

    assert 30 < looks < 60  # in an hour
    report = stage.report("products/a.jpg")
    assert report["code"] == "bad_layer"
    assert "products/_layers/mask.png" in report["detail"]
    assert stage.calls == stage.dead() == 0


@pytest.mark.parametrize(
    "instructions",
    [
        {"prompt": "blend", "layers": ["../private/plan.png"]},
        {"mode": "background-remove", "finish": {"background": "/private/plan.png"}},
    ],
    ids=["layer", "background"],
)
def test_picture_of_another_folder_is_not_given_to_who_names_it(
    stage: Stage, instructions: dict[str, Any]
) -> None:
    stage.put("private/plan.png", photo("green", form="PNG"))

    assert stage.drop("customers/a.jpg", sidecar=instructions) == "reported"

    report = stage.report("customers/a.jpg")
    assert (report["code"], stage.calls) == ("bad_layer", 0)
    assert "cannot be used" in report["detail"]


@pytest.mark.parametrize("there", [None, b"a text", b"x" * 2000, photo("red")])
def test_report_on_forbidden_layer_hides_whether_it_exists(
    stage: Stage, there: bytes | None
) -> None:
    if there is not None:
        stage.put("private/plan.png", there)

    stage.drop("customers/a.jpg", sidecar={"prompt": "x", "layers": ["../private/plan.png"]})

    detail = stage.report("customers/a.jpg")["detail"]
    assert detail == "The layer '../private/plan.png' cannot be used."


@pytest.mark.parametrize("late", [False, True], ids=["with the image", "after the image"])
def test_stranger_decides_nothing_below_untrusted_prefix(stage: Stage, late: bool) -> None:
    stage.configure(UNTRUSTED_PREFIXES="customers/")
    stage.put_json(".image-drop.json", **CUT_OUT)
    theirs = {"prompt": "theirs", "model": "gpt-image-1-5-edit"}
    stage.put_json("customers/.image-drop.json", **theirs)
    if not late:
        stage.put_json("customers/a.jpg.json", **theirs)

    assert stage.drop("customers/a.jpg", metadata=theirs, tags=theirs) == "edited"
    if late:
        sidecar = stage.put_json("customers/a.jpg.json", **theirs)
        assert stage.upload(sidecar) == {"customers/a.jpg": "done before"}

    assert stage.metadata("customers/a.jpg.png")["mode"] == "background-remove"
    assert stage.paid == 1


def test_broken_instructions_of_stranger_stop_nothing(stage: Stage) -> None:
    stage.configure(UNTRUSTED_PREFIXES="customers", DEFAULT_MODE="background-remove")
    stage.put("customers/.image-drop.json", b"{")
    stage.put("customers/a.jpg.json", b"{")

    assert stage.drop("customers/a.jpg", tags={"promt": "x"}) == "edited"


def test_changed_layer_is_new_edit(stage: Stage) -> None:
    instructions = {"prompt": "blend", "layers": ["_layers/mask.png"]}
    stage.put("_layers/mask.png", photo("black", form="PNG"))
    event = stage.put("a.jpg")
    stage.put_json("a.jpg.json", **instructions)
    assert stage.upload(event) == {"a.jpg": "edited"}
    assert stage.upload(event) == {"a.jpg": "done before"}

    stage.put("_layers/mask.png", photo("white", form="PNG"))

    assert stage.upload(event) == {"a.jpg": "edited"}
    assert stage.paid == 2


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + b'{"mode": "background-remove"}',
        b'{"$schema": "x", "mode": "background-remove"}',
    ],
    ids=["byte-order-mark", "schema"],
)
def test_what_editors_add_to_sidecar_does_no_harm(stage: Stage, content: bytes) -> None:
    stage.put("a.jpg.json", content)

    assert stage.drop("a.jpg") == "edited"


def test_two_variants_are_two_edits_with_results_of_their_own(stage: Stage) -> None:
    variants: dict[str, Any] = {"cutout": CUT_OUT, "studio": {"prompt": "in a studio"}}

    assert stage.drop("a.jpg", sidecar={"variants": variants}) == "variants queued"
    stage.work_off()

    assert stage.outputs() == ["a.jpg.cutout.png", "a.jpg.studio.png"]
    assert stage.metadata("a.jpg.cutout.png")["variant"] == "cutout"
    assert stage.paid == 2
