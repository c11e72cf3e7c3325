"""What a person wants done: five sources, merged key by key, with an answer to every mistake."""

import json
import re
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from image_drop.errors import (
    InstructionsError,
    InvalidValueError,
    MissingPromptError,
    NoInstructionsError,
    UnknownKeyError,
    UnknownModeError,
    UnreadableInstructionsError,
)
from image_drop.instructions import schema, sources
from image_drop.instructions.finish import END, Finish
from image_drop.instructions.presets import Rules
from image_drop.instructions.schema import KEYS, TAKES, Instructions, Mode
from image_drop.instructions.sources import OneEdit, Source, Variants, resolve


def sidecar(**values: Any) -> Source:
    return sources.from_file("shoe.jpg.json", json.dumps(values).encode())


def merged(*sources: Source) -> Instructions:
    """The instructions of an image that has no variants."""
    wanted = resolve(sources)
    assert isinstance(wanted, OneEdit)
    return wanted.instructions


def variants(*sources: Source) -> Mapping[str, Instructions]:
    """The instructions of an image that has variants."""
    wanted = resolve(sources)
    assert isinstance(wanted, Variants)
    return wanted.by_name


def resolved(**values: Any) -> Instructions:
    return merged(sidecar(**values))


# --- the end of a text ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "values",
    [
        {"model": "qwen-edit"},
        {"resolution": "4K"},
        {"variants": {"cutout": {"mode": "background-remove"}}},
        {"finish": {"margin": "5%"}},
        {"finish": {"size": "2000x2000"}},
    ],
    ids=["model", "resolution", "variant's name", "margin", "size"],
)
def test_value_with_final_newline_is_refused_here_and_in_editors(
    values: dict[str, Any],
) -> None:
    validator = Draft202012Validator(schema.json_schema())
    text = json.dumps(values)
    for part in ("qwen-edit", "4K", "cutout", "5%", "2000x2000"):
        text = text.replace(f'"{part}"', f'"{part}\\n"')
    ended = json.loads(text)

    assert resolve([sidecar(prompt="pink", **values)])
    assert validator.is_valid(values)
    assert ended != values
    assert not validator.is_valid(ended)
    with pytest.raises(InvalidValueError):
        resolved(prompt="pink", **ended)


def test_every_pattern_ends_before_final_newline() -> None:
    patterns = re.findall(r'"pattern": "(.*?)"[,}]', json.dumps(schema.json_schema()))

    assert len(patterns) >= 6
    assert all(json.loads(f'"{p}"').endswith(END) for p in patterns if "^" in p)


# --- what instructions come to ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "mode"),
    [
        ({"prompt": "pink sky"}, Mode.EDIT),
        ({"prompt": "pink sky", "layers": ["mask.png"]}, Mode.MULTI_EDIT),
        ({"prompt": "pink sky", "mode": "multi-edit"}, Mode.MULTI_EDIT),
        ({"prompt": "pink sky", "layers": ["mask.png"], "mode": "edit"}, Mode.EDIT),
        ({"mode": "background-remove"}, Mode.BACKGROUND_REMOVE),
        ({"mode": "background-remove", "prompt": "of the folder"}, Mode.BACKGROUND_REMOVE),
    ],
)
def test_mode_follows_from_what_is_given(given: dict[str, Any], mode: Mode) -> None:
    assert resolved(**given).mode is mode


def test_every_key_is_understood() -> None:
    given = {
        "mode": "multi-edit",
        "prompt": "make the sky pink",
        "model": "gpt-image-2-edit",
        "aspect_ratio": "16:9",
        "layers": ["mask.png", "https://example.com/overlay.png"],
        "resolution": "2K",
        "quality": "high",
        "safe_mode": False,
        "enhance_prompt": True,
    }

    wanted = resolved(**given)

    assert wanted.as_dict() | {"layers": list(wanted.layers or ())} == given


def test_words_for_mistakes_cover_every_key() -> None:
    assert set(TAKES) <= set(KEYS)
    assert {"mode", "prompt", "model", "aspect_ratio", "layers"} <= set(TAKES)


# --- five sources ----------------------------------------------------------------------------


def test_nearest_source_wins_key_by_key() -> None:
    wanted = merged(
        sidecar(prompt="of the sidecar"),
        sources.from_tags({"prompt": "of the tags", "aspect_ratio": "1:1"}),
        sources.from_metadata({"aspect_ratio": "3:2", "quality": "low"}),
        sources.from_file(".image-drop.json", b'{"quality": "high", "safe_mode": false}'),
        sources.from_defaults("multi-edit", "of the template"),
    )

    assert wanted == Instructions(
        mode=Mode.MULTI_EDIT,
        prompt="of the sidecar",
        aspect_ratio="1:1",
        quality="low",
        safe_mode=False,
    )


def test_folder_can_be_drop_box_and_one_image_in_it_exception() -> None:
    folder = sources.from_file("products/.image-drop.json", b'{"mode": "background-remove"}')
    exception = sidecar(mode="edit", prompt="on grass")

    assert merged(folder).mode is Mode.BACKGROUND_REMOVE
    assert merged(exception, folder).mode is Mode.EDIT


@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("false", False), ("1", True), ("0", False)]
)
def test_tag_can_say_yes_and_no(text: str, value: bool) -> None:
    wanted = merged(sources.from_tags({"prompt": "pink sky", "safe_mode": text}))

    assert wanted.safe_mode is value


@pytest.mark.parametrize("read", [sources.from_tags, sources.from_metadata])
def test_layers_in_tag_are_separated_by_spaces(read: Any) -> None:
    wanted = merged(read({"prompt": "pink sky", "layers": " mask.png  _layers/logo.png "}))

    assert wanted.layers == ("mask.png", "_layers/logo.png")


@pytest.mark.parametrize("read", [sources.from_tags, sources.from_metadata])
def test_tags_and_metadata_of_other_tools_are_left_alone(read: Any) -> None:
    theirs = {"cost-center": "4711", "mtime": "1770000000.5", "Owner": "anna", "s3cmd-attrs": "x"}

    assert merged(read({"prompt": "pink sky"} | theirs)) == resolved(prompt="pink sky")


@pytest.mark.parametrize("key", ["promt", "Prompt", "aspect-ratio", "safemode", "Mode"])
@pytest.mark.parametrize("read", [sources.from_tags, sources.from_metadata])
def test_near_miss_in_tag_is_not_taken_for_another_tools(read: Any, key: str) -> None:
    with pytest.raises(UnknownKeyError, match="Did you mean"):
        merged(read({key: "x"}))


@pytest.mark.parametrize(
    ("stored", "text"),
    [
        ("plain", "plain"),
        ("=?UTF-8?B?Y2Fmw6k=?=", "café"),
        ("=?UTF-8?Q?caf=C3=A9_rosa?=", "café rosa"),
        ("=?UTF-8?Q?a?= =?UTF-8?Q?b?=", "ab"),
        ("a  b", "a  b"),
        # These look like RFC 2047 and are none; whoever wrote them meant the characters.
        ("=?martian?B?Y2Fm?=", "=?martian?B?Y2Fm?="),
        ("=?UTF-8?B?a?=", "=?UTF-8?B?a?="),
        ("=?UTF-7?Q?+2AA-?=", "=?UTF-7?Q?+2AA-?="),
        ("=?UTF-8?B?/w==?=", "=?UTF-8?B?/w==?="),
    ],
)
def test_metadata_beyond_ascii_is_decoded(stored: str, text: str) -> None:
    assert merged(sources.from_metadata({"prompt": stored})).prompt == text


def test_template_defaults_that_are_empty_say_nothing() -> None:
    assert sources.from_defaults("", "").values == {}
    with pytest.raises(NoInstructionsError):
        merged(sources.from_defaults("", ""))


def test_file_may_name_its_schema_and_begin_with_byte_order_mark() -> None:
    content = b'\xef\xbb\xbf{"$schema": "https://example.com/s.json", "prompt": "pink sky"}'

    assert merged(sources.from_file("a.json", content)) == resolved(prompt="pink sky")


# --- mistakes --------------------------------------------------------------------------------


@pytest.mark.parametrize("sources", [[], [{}], [{"aspect_ratio": "1:1"}], [{"layers": ["a.png"]}]])
def test_image_without_mode_and_prompt_has_no_instructions(
    sources: list[dict[str, Any]],
) -> None:
    with pytest.raises(NoInstructionsError):
        merged(*(sidecar(**values) for values in sources))


@pytest.mark.parametrize("mode", ["edit", "multi-edit"])
def test_mode_that_needs_prompt_says_so(mode: str) -> None:
    with pytest.raises(MissingPromptError, match=mode):
        resolved(mode=mode)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not JSON"),
        (b"make it pink", "not JSON"),
        (b'{"prompt": "pink",}', "line 1 column"),
        (b'{"prompt": "pink"', "not JSON"),
        (b"\xff\xfe{}", "not UTF-8"),
        (b'{"prompt": "caf\xe9"}', "not UTF-8"),
        (b'["pink"]', "not an object"),
        (b'"pink"', "not an object"),
        (b"null", "not an object"),
        (b'{"prompt": "\\ud800"}', "not JSON"),
        (b"[" * 60_000, "not JSON"),
        (b'{"prompt": ' + b"1" * 5000 + b"}", "not JSON"),
        (b'{"prompt": "' + b"x" * 65_536 + b'"}', "larger than 65,536 bytes"),
    ],
)
def test_file_that_cannot_be_read_is_named_with_reason(content: bytes, words: str) -> None:
    with pytest.raises(UnreadableInstructionsError) as caught:
        sources.from_file("photos/shoe.jpg.json", content)

    assert "photos/shoe.jpg.json" in caught.value.detail
    assert words in caught.value.detail


@pytest.mark.parametrize(
    ("key", "nearest"),
    [("promt", "prompt"), ("Mode", "mode"), ("aspect-ratio", "aspect_ratio"), ("layer", "layers")],
)
def test_unknown_key_is_named_with_nearest_known_one(key: str, nearest: str) -> None:
    with pytest.raises(UnknownKeyError) as caught:
        resolved(**{"prompt": "pink sky", key: "x"})

    assert f"'{key}' in shoe.jpg.json" in caught.value.detail
    assert f"Did you mean '{nearest}'?" in caught.value.detail


def test_unknown_key_that_is_near_to_none_is_answered_with_all() -> None:
    with pytest.raises(UnknownKeyError) as caught:
        resolved(prompt="pink sky", wattage=60)

    assert all(key in caught.value.detail for key in KEYS)


@pytest.mark.parametrize(
    ("mode", "hint"),
    [
        ("background_remove", " Did you mean 'background-remove'?"),
        ("multiedit", " Did you mean 'multi-edit'?"),
        ("Edit", " Did you mean 'edit'?"),
        ("paint", ""),
        (3, ""),
        (None, ""),
        (["edit"], ""),
        ("", ""),
    ],
)
def test_unknown_mode_is_named_with_nearest_known_one(mode: Any, hint: str) -> None:
    with pytest.raises(UnknownModeError) as caught:
        resolved(prompt="pink sky", mode=mode)

    assert caught.value.detail.endswith(f"in shoe.jpg.json does not exist.{hint}")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("prompt", ""),
        ("prompt", " \n\t"),
        ("prompt", "x" * 32_769),
        ("prompt", 5),
        ("prompt", None),
        ("prompt", ["pink"]),
        ("model", ""),
        ("model", "a b"),
        ("model", "x" * 129),
        ("model", None),
        ("aspect_ratio", "5:7"),
        ("aspect_ratio", 1.5),
        ("layers", []),
        ("layers", "mask.png"),
        ("layers", [""]),
        ("layers", [1]),
        ("layers", ["m.png"] * 16),
        ("layers", ["x" * 2049]),
        ("resolution", ""),
        ("resolution", "x" * 11),
        ("resolution", "2 K"),
        ("quality", "ultra"),
        ("safe_mode", "yes"),
        ("safe_mode", None),
        ("enhance_prompt", 2),
        ("reference", ""),
        ("reference", "x" * 257),
        ("reference", "two\nlines"),
        ("reference", 7.5),
    ],
)
def test_value_outside_its_limits_is_named_with_what_key_takes(key: str, value: Any) -> None:
    with pytest.raises(InvalidValueError) as caught:
        merged(sidecar(prompt="pink sky"), sidecar(**{key: value}))

    assert caught.value.detail.startswith(f"{key} in shoe.jpg.json is ")
    assert TAKES[key] in caught.value.detail
    assert len(caught.value.detail) < 500  # a wrong value is shown, but not all of 32 KB


def test_reference_too_long_for_metadata_of_result_is_named() -> None:
    assert merged(sidecar(mode="edit", prompt="pink", reference="%" * 256)).reference

    with pytest.raises(InvalidValueError, match=r"reference in shoe\.jpg\.json .* beyond ASCII"):
        merged(sidecar(prompt="pink", reference="鞋" * 256))


@pytest.mark.parametrize("text", ["x", "x" * 32_768, "Mach den Himmel rosa 🌅", " pink "])
def test_prompt_within_limits_is_kept_as_it_is(text: str) -> None:
    assert resolved(prompt=text).prompt == text


def test_multi_edit_takes_ten_images_in_all() -> None:
    layers = [f"{number}.png" for number in range(10)]

    assert resolved(prompt="pink sky", layers=layers[:9]).layers == tuple(layers[:9])
    with pytest.raises(InvalidValueError) as raised:
        resolved(prompt="pink sky", layers=layers)
    assert raised.value.detail == (
        "layers has 10 entries, but multi-edit accepts at most 9. Remove some."
    )


@pytest.mark.parametrize(
    ("written", "tier"),
    [("1k", "1K"), ("4k", "4K"), ("2K", "2K"), ("16k", "16K"), ("hd", "hd"), ("1080p", "1080p")],
)
def test_resolution_has_one_spelling_wherever_it_is_written(written: str, tier: str) -> None:
    tagged = sources.from_tags({"prompt": "pink", "resolution": written})
    large = sidecar(prompt="pink", variants={"large": {"resolution": written}})

    assert merged(tagged).resolution == tier
    assert resolved(prompt="pink", resolution=written).resolution == tier
    assert variants(large)["large"].resolution == tier


def test_every_aspect_ratio_of_venice_can_be_asked_for() -> None:
    ratios = ("auto", "1:1", "3:2", "16:9", "21:9", "9:16", "2:3", "3:4", "4:3", "4:5")

    for ratio in ratios:
        assert resolved(prompt="pink", aspect_ratio=ratio).aspect_ratio == ratio


@pytest.mark.parametrize("layer", ["http://example.com/a.png", "s3://bucket/a.png", "file:///a"])
def test_layer_is_key_or_https_url(layer: str) -> None:
    with pytest.raises(InvalidValueError, match="https://"):
        resolved(prompt="pink sky", layers=[layer])


def test_mistake_in_farther_source_is_found_too() -> None:
    with pytest.raises(UnknownKeyError, match=r"products/\.image-drop\.json"):
        resolve(
            [
                sidecar(prompt="pink sky"),
                sources.from_file("products/.image-drop.json", b'{"qualty": "low"}'),
            ]
        )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(KEYS) | st.text(), JSON, max_size=4))
@example({"prompt": "\ud800"})
@example({"\ud800": 1})
def test_any_sidecar_ends_in_instructions_or_report(
    values: dict[str, Any],
) -> None:
    try:
        wanted = resolve([sidecar(**values)])
    except InstructionsError as error:
        msgspec.json.encode(error.detail)
    else:
        found = [wanted.instructions] if isinstance(wanted, OneEdit) else wanted.by_name.values()
        assert all(each.mode for each in found)
        msgspec.json.encode(list(found))


@given(st.dictionaries(st.sampled_from(KEYS) | st.text(), st.text(), max_size=4))
def test_any_metadata_ends_in_instructions_or_report(
    texts: dict[str, str],
) -> None:
    for read in (sources.from_tags, sources.from_metadata):
        try:
            assert merged(read(texts)).mode
        except InstructionsError as error:
            msgspec.json.encode(error.detail)


# --- variants --------------------------------------------------------------------------------


def test_each_variant_takes_over_what_stands_outside_key_by_key() -> None:
    cutout = {"mode": "background-remove"}
    studio = {"prompt": "on marble", "aspect_ratio": "1:1"}
    folder = sources.from_file(".image-drop.json", b'{"quality": "high", "prompt": "far"}')

    wanted = variants(
        sidecar(aspect_ratio="3:2", variants={"cutout": cutout, "studio": studio}), folder
    )

    outside = {"aspect_ratio": "3:2", "quality": "high", "prompt": "far"}
    assert {name: each.as_dict() for name, each in wanted.items()} == {
        "cutout": outside | cutout,
        "studio": outside | studio | {"mode": "edit"},
    }


def test_nearest_sources_variants_replace_those_of_others() -> None:
    folder = sources.from_file(
        ".image-drop.json", b'{"variants": {"cutout": {"mode": "background-remove"}}}'
    )

    assert set(variants(sidecar(variants={"pink": {"prompt": "pink"}}), folder)) == {"pink"}


@pytest.mark.parametrize(
    "variants",
    [
        {},
        [],
        "cutout",
        {"Cutout": {"mode": "background-remove"}},
        {"a/b": {"mode": "background-remove"}},
        {"": {"mode": "background-remove"}},
        {"x" * 33: {"mode": "background-remove"}},
        {"cutout": "background-remove"},
        {"cutout": None},
        {"cutout": {"variants": {"deeper": {"mode": "background-remove"}}}},
        {f"v{number}": {"mode": "background-remove"} for number in range(21)},
    ],
)
def test_variants_that_are_none_are_answered_with_what_key_takes(variants: Any) -> None:
    with pytest.raises(InvalidValueError) as caught:
        resolve([sidecar(variants=variants)])

    assert TAKES["variants"] in caught.value.detail


@pytest.mark.parametrize(
    ("own", "error"),
    [
        ({"promt": "x"}, UnknownKeyError),
        ({"mode": "paint"}, UnknownModeError),
        ({"prompt": ""}, InvalidValueError),
        ({"mode": "edit"}, MissingPromptError),
        ({"quality": "low"}, NoInstructionsError),
    ],
)
def test_mistake_in_variant_names_variant(
    own: dict[str, Any], error: type[InstructionsError]
) -> None:
    with pytest.raises(error, match=r"variant ['\"]pink['\"]"):
        resolve([sidecar(variants={"pink": own})])


# --- for editors -----------------------------------------------------------------------------


def test_schema_lists_every_key_and_refuses_others() -> None:
    listed = schema.json_schema()

    definition = listed["$defs"]["Instructions"] if "$ref" in listed else listed
    assert listed["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert set(definition["properties"]) == set(KEYS)
    assert definition["additionalProperties"] is False


def test_file_permissions_that_s3fs_keeps_are_no_mode() -> None:
    assert sources.from_metadata({"mode": "33188", "prompt": "pink"}).values == {"prompt": "pink"}


@pytest.mark.parametrize("foreign", ["module", "code", "node", "quantity", "project"])
def test_tags_of_other_tools_are_no_near_miss(foreign: str) -> None:
    source = sources.from_tags({foreign: "x", "prompt": "pink"})
    assert sources.checked(source) == {"prompt": "pink"}


@pytest.mark.parametrize("key", ["aspect_ratio", "quality", "safe_mode"])
def test_word_null_in_tag_is_wrong_value(key: str) -> None:
    with pytest.raises(InvalidValueError, match=key):
        sources.checked(sources.from_tags({key: "NULL"}))


# --- presets of one's own ----------------------------------------------------------------------


def presets_from(**presets: object) -> Source:
    return Source("p/.image-drop.json", {"mode": "background-remove", "presets": presets})


def test_preset_of_folder_file_is_used_by_name() -> None:
    folder = presets_from(mine={"size": "90x90", "rules": {"square": True}})
    edit = resolve([Source("tags", {"finish": "mine"}, strict=False), folder])
    assert isinstance(edit, OneEdit)
    assert edit.instructions.presets is None
    assert edit.instructions.finish == Finish(size="90x90", preset="mine", rules=Rules(square=True))


def test_variant_may_name_preset_of_one_of_its_folders() -> None:
    variants = {"variants": {"a": {"finish": {"preset": "mine", "size": "8x8"}}}}
    edit = resolve([Source("s", variants), presets_from(mine={"trim": True, "size": "90x90"})])
    assert isinstance(edit, Variants)
    assert edit.by_name["a"].finish == Finish(size="8x8", trim=True, preset="mine")


def test_nearest_preset_wins() -> None:
    near, far = presets_from(mine={"trim": True}), presets_from(mine={"size": "9x9"})
    edit = resolve([Source("s", {"finish": "mine"}), near, far])
    assert isinstance(edit, OneEdit)
    assert edit.instructions.finish == Finish(trim=True, preset="mine")


@pytest.mark.parametrize(
    ("presets", "told"),
    [
        ({"mine": {"sizes": "9x9"}}, r"In p/.*In the preset mine: .*Did you mean 'size'"),
        ({"mine": {"preset": "amazon"}}, "without a preset"),
        ({"amazon": {"trim": True}}, "one of Image Drop's own"),
        ({"other": {"trim": True}}, "finish.preset is 'mine'. Allowed: amazon, .*other"),
        ({"BAD NAME": {"trim": True}}, "presets in p/"),
    ],
)
def test_wrong_preset_is_said_with_its_place(presets: dict[str, object], told: str) -> None:
    with pytest.raises(InvalidValueError, match=told):
        resolve([Source("s", {"finish": "mine"}), presets_from(**presets)])


def test_tag_named_presets_is_somebody_elses() -> None:
    edit = resolve([Source("tags", {"presets": "x"}, strict=False), presets_from()])
    assert isinstance(edit, OneEdit)
