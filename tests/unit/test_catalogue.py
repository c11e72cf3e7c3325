"""What an edit costs and what its model accepts, by Venice's list or by the models known."""

from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from image_drop.account import rate_model
from image_drop.errors import InvalidValueError, ModelNotAllowedError
from image_drop.instructions.schema import Instructions, Mode
from image_drop.state.catalogue_store import CatalogueStore
from image_drop.venice import client
from image_drop.venice.catalogue import Catalogue
from image_drop.venice.known_models import KNOWN
from image_drop.venice.models import REMOVAL_MODEL, UPSCALE_MODEL, Limits, Model, Price, listed
from image_drop_local.simulator import catalogue as simulator
from tests.support.clock import FakeClock

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

DEAREST = 0.84  # of all known: gpt-image-2-edit at 4K and high quality
LISTED = listed("inpaint", simulator.listing("inpaint")) | listed(
    "image", simulator.listing("image")
)
KEPT = Catalogue(LISTED)
UNREAD = Catalogue()


def asked(**values: Any) -> Instructions:
    return Instructions(**({"mode": Mode.EDIT, "prompt": "pink"} | values))


def priced(
    images: int = 1, *, answered: str | None = None, catalogue: Catalogue = UNREAD, **values: Any
) -> float:
    """What an edit costs."""
    wanted = asked(**values)
    return catalogue.price(
        wanted.mode or Mode.EDIT,
        client.parameters(wanted),
        images,
        enhanced=bool(wanted.enhance_prompt),
        answered=answered,
    )


class TestPrice:
    @pytest.mark.parametrize(
        ("instructions", "images", "usd"),
        [
            ({}, 1, 0.04),
            ({"mode": Mode.BACKGROUND_REMOVE}, 1, 0.03),
            ({"mode": Mode.BACKGROUND_REMOVE, "model": "gpt-image-2-edit"}, 1, 0.03),
            ({"enhance_prompt": True}, 1, 0.08),
            ({"model": "nano-banana-pro-edit"}, 1, 0.18),
            ({"model": "nano-banana-pro-edit", "resolution": "4K"}, 1, 0.35),
            ({"model": "wan-2-7-pro-edit", "resolution": "2K"}, 1, 0.094),
            ({"model": "qwen-edit"}, 1, 0.04),
            ({"model": "muse-image-edit"}, 1, 0.02),
            # The quality cannot be sent to /image/edit: it is the model's own, high.
            ({"model": "gpt-image-2-edit", "quality": "low"}, 1, 0.34),
            ({"mode": Mode.MULTI_EDIT, "model": "gpt-image-2-edit", "quality": "low"}, 1, 0.03),
            (
                {
                    "mode": Mode.MULTI_EDIT,
                    "model": "gpt-image-2-edit",
                    "quality": "medium",
                    "resolution": "4K",
                    "enhance_prompt": True,
                },
                3,
                0.22 + 2 * 0.0092 + 0.04,
            ),
            ({"mode": Mode.MULTI_EDIT, "model": "flux-2-max-edit"}, 1, 0.12),
            ({"mode": Mode.MULTI_EDIT, "model": "flux-2-max-edit"}, 4, 0.12 + 3 * 0.0345),
        ],
    )
    def test_price_follows_all_that_venice_prices(
        self, instructions: dict[str, Any], images: int, usd: float
    ) -> None:
        assert priced(images, **instructions) == pytest.approx(usd)

    @pytest.mark.parametrize("mode", [Mode.EDIT, Mode.MULTI_EDIT])
    def test_model_that_includes_no_image_charges_for_single_one(self, mode: Mode) -> None:
        assert priced(1, mode=mode, model="grok-imagine-edit") == pytest.approx(0.03 + 0.0023)
        assert priced(2, mode=mode, model="grok-imagine-edit") == pytest.approx(0.03 + 2 * 0.0023)

    @pytest.mark.parametrize("catalogue", [UNREAD, KEPT])
    @pytest.mark.parametrize("model", ["made-up-edit", "ideogram-v4-5-edit"])
    def test_model_without_known_price_costs_as_much_as_dearest(
        self, catalogue: Catalogue, model: str
    ) -> None:
        assert priced(model=model, catalogue=catalogue) == pytest.approx(DEAREST)
        assert priced(3, mode=Mode.MULTI_EDIT, model=model, catalogue=catalogue) == pytest.approx(
            DEAREST + 2 * 0.0092
        )

    def test_unknown_resolution_or_quality_costs_models_dearest(self) -> None:
        assert priced(model="nano-banana-pro-edit", resolution="8K") == pytest.approx(0.35)
        assert priced(
            mode=Mode.MULTI_EDIT, model="grok-imagine-image-2-0-edit", quality="high"
        ) == pytest.approx(0.10 + 0.0115)
        unsaid = Catalogue(
            {"x": Model(Price(usd=0.1, qualities={"1K": {"low": 0.1, "high": 0.5}}))}
        )
        assert priced(model="x", catalogue=unsaid) == 0.5

    @given(
        model=st.sampled_from(sorted(KNOWN)) | st.text(max_size=9),
        resolution=st.sampled_from([None, "1K", "2K", "4K", "8K"]),
        quality=st.sampled_from([None, "low", "medium", "high"]),
        mode=st.sampled_from(Mode),
        images=st.integers(1, 10),
        answered=st.sampled_from([None, "muse-image-edit", "gpt-image-2-edit"])
        | st.text(max_size=9),
    )
    def test_every_call_has_price(
        self,
        model: str,
        resolution: str | None,
        quality: Any,
        mode: Mode,
        images: int,
        answered: str | None,
    ) -> None:
        usd = priced(
            images,
            answered=answered,
            mode=mode,
            model=model,
            resolution=resolution,
            quality=quality,
        )
        assert 0.02 <= usd <= DEAREST + 9 * 0.0345

    def test_model_that_venice_names_is_one_that_is_paid(self) -> None:
        assert priced(answered="luma-uni-1-max-edit") == 0.13

    def test_unknown_alias_does_not_hide_models_price(self) -> None:
        assert priced(answered="firered-image-edit-v1.1") == 0.04

    @given(
        model=st.sampled_from(sorted(set(simulator.MODELS) - {REMOVAL_MODEL, UPSCALE_MODEL})),
        images=st.integers(1, 6),
        enhanced=st.booleans(),
        data=st.data(),
    )
    def test_it_is_what_venice_charges(
        self, model: str, images: int, enhanced: bool, data: st.DataObject
    ) -> None:
        row = simulator.MODELS[model]
        tier = data.draw(st.sampled_from([None, *row.resolutions]))
        quality = data.draw(st.sampled_from([None, *row.quality_names]))
        charged = row.price(
            images=images, resolution=tier or "1K", quality=quality, enhanced=enhanced
        )

        assert priced(
            images,
            mode=Mode.MULTI_EDIT,
            model=model,
            resolution=tier,
            quality=quality,
            enhance_prompt=enhanced,
        ) == pytest.approx(charged)


class TestCheck:
    @pytest.mark.parametrize("catalogue", [UNREAD, KEPT])
    @pytest.mark.parametrize(
        ("wanted", "images", "problem"),
        [
            (
                {"prompt": "x" * 1501},
                1,
                "prompt has 1,501 characters, but Venice's default model firered-image-edit "
                "accepts at most 1,500.",
            ),
            (
                {"model": "qwen-edit", "prompt": "x" * 1501},
                1,
                "prompt has 1,501 characters, but qwen-edit (qwen-edit-uncensored) "
                "accepts at most 1,500.",
            ),
            (
                {"model": "wan-2-7-pro-edit", "aspect_ratio": "4:3"},
                1,
                "aspect_ratio is 4:3, but wan-2-7-pro-edit accepts only auto.",
            ),
            (
                {"model": "grok-imagine-edit", "resolution": "4K"},
                1,
                "resolution is 4K, but grok-imagine-edit accepts only 1K, 2K.",
            ),
            (
                {"resolution": "2K"},
                1,
                "resolution is 2K, but Venice's default model firered-image-edit "
                "has no resolution setting. Leave it out.",
            ),
            (
                {"mode": Mode.MULTI_EDIT, "model": "flux-2-max-edit", "resolution": "2K"},
                1,
                "resolution is 2K, but flux-2-max-edit has no resolution setting. Leave it out.",
            ),
            (
                {"mode": Mode.MULTI_EDIT, "model": "flux-2-max-edit", "quality": "low"},
                1,
                "quality is low, but flux-2-max-edit has no quality setting. Leave it out.",
            ),
            (
                {
                    "mode": Mode.MULTI_EDIT,
                    "model": "grok-imagine-image-2-0-edit",
                    "quality": "high",
                },
                1,
                "quality is high, but grok-imagine-image-2-0-edit accepts only low, medium.",
            ),
            (
                {"mode": Mode.MULTI_EDIT},
                4,
                "layers has 3 entries, but Venice's default model firered-image-edit "
                "accepts at most 3 images, the photo and 2 layers.",
            ),
            (
                {"mode": Mode.MULTI_EDIT, "model": "luma-uni-1-edit"},
                2,
                "mode is multi-edit, but luma-uni-1-edit edits a single image. Use the mode edit.",
            ),
            (
                {"prompt": "x" * 1501, "resolution": "2K", "model": "qwen-edit-uncensored"},
                1,
                "prompt has 1,501 characters, but qwen-edit-uncensored accepts at most 1,500. "
                "resolution is 2K, but qwen-edit-uncensored has no resolution setting. "
                "Leave it out.",
            ),
        ],
    )
    def test_what_model_does_not_accept_is_said_before_call(
        self, catalogue: Catalogue, wanted: dict[str, Any], images: int, problem: str
    ) -> None:
        with pytest.raises(InvalidValueError) as raised:
            catalogue.check(asked(**wanted), images)
        assert raised.value.detail == problem

    @pytest.mark.parametrize("catalogue", [UNREAD, KEPT])
    @pytest.mark.parametrize(
        ("wanted", "images"),
        [
            ({}, 1),
            ({"prompt": "🌸" * 1500}, 1),
            ({"aspect_ratio": "4:3"}, 1),
            ({"model": "qwen-edit"}, 1),
            ({"model": "luma-uni-1-edit", "aspect_ratio": "1:1"}, 1),
            ({"model": "gpt-image-2-edit", "resolution": "4K", "aspect_ratio": "auto"}, 1),
            ({"mode": Mode.MULTI_EDIT}, 3),
            ({"mode": Mode.MULTI_EDIT, "model": "flux-2-max-edit"}, 6),
            ({"mode": Mode.MULTI_EDIT, "model": "gpt-image-2-edit", "quality": "high"}, 2),
            # Keys that a mode does not use are ignored.
            ({"model": "flux-2-max-edit", "quality": "high"}, 1),
            ({"mode": Mode.BACKGROUND_REMOVE, "model": "x", "resolution": "8K"}, 1),
        ],
    )
    def test_what_model_accepts_is_allowed(
        self, catalogue: Catalogue, wanted: dict[str, Any], images: int
    ) -> None:
        catalogue.check(asked(**wanted), images)

    @given(
        mode=st.sampled_from([Mode.EDIT, Mode.MULTI_EDIT]),
        model=st.sampled_from(sorted(set(LISTED) - {REMOVAL_MODEL})),
        ratio=st.sampled_from([None, "auto", "1:1", "4:3"]),
        resolution=st.sampled_from([None, "1K", "2K", "4K"]),
        quality=st.sampled_from([None, "low", "high"]),
        length=st.sampled_from([1, 1500, 1501, 10_000, 10_001]),
        images=st.integers(1, 7),
    )
    def test_what_is_allowed_is_within_venices_list(
        self,
        mode: Mode,
        model: str,
        ratio: Any,
        resolution: str | None,
        quality: Any,
        length: int,
        images: int,
    ) -> None:
        images = images if mode is Mode.MULTI_EDIT else 1
        wanted = KEPT.fitted(
            asked(
                mode=mode,
                model=model,
                aspect_ratio=ratio,
                resolution=resolution,
                quality=quality,
                prompt="x" * length,
            )
        )
        sent = client.parameters(wanted)
        row = simulator.MODELS[model].constraints
        fits = (
            sent.get("aspect_ratio") in (None, *row["aspectRatios"])
            and sent.get("resolution") in (None, *row.get("resolutions", ()))
            and sent.get("quality") in (None, *row.get("qualities", ()))
            and length <= row["promptCharacterLimit"]
            and images <= row.get("maxInputImages", 3)
            and (mode is Mode.EDIT or row["combineImages"])
        )

        try:
            KEPT.check(wanted, images)
        except InvalidValueError:
            assert not fits
        else:
            assert fits

    def test_unknown_model_is_allowed_until_venices_list_is_read(self) -> None:
        UNREAD.check(asked(model="new-edit"), 1)

    @pytest.mark.parametrize("mode", [Mode.EDIT, Mode.MULTI_EDIT])
    def test_model_that_venice_does_not_list_is_named_with_nearest(self, mode: Mode) -> None:
        with pytest.raises(InvalidValueError) as raised:
            KEPT.check(asked(mode=mode, model="nano-bananna-pro-edit"), 1)
        assert raised.value.detail == (
            "model is nano-bananna-pro-edit, but Venice has no such edit model. "
            "Did you mean nano-banana-pro-edit?"
        )

    def test_name_that_is_near_to_none_gets_whole_list(self) -> None:
        with pytest.raises(
            InvalidValueError, match="Its edit models are: firered-image-edit, flux-2-max"
        ):
            KEPT.check(asked(model="dall-e"), 1)

    def test_remover_of_backgrounds_makes_no_edits(self) -> None:
        with pytest.raises(InvalidValueError, match="no such edit model"):
            KEPT.check(asked(model=REMOVAL_MODEL), 1)

    def test_another_default_of_venices_refuses_nobody(self) -> None:
        Catalogue({"new-edit": Model()}).check(asked(prompt="x" * 2000), 1)

    def test_model_without_known_limits_is_allowed(self) -> None:
        Catalogue({"new-edit": Model(Price(usd=1))}).check(
            asked(model="new-edit", resolution="4K", aspect_ratio="21:9"), 1
        )

    def test_ratio_is_refused_where_model_keeps_shape_of_one_image(self) -> None:
        kept = Limits(ratios=("auto", "1:1"), prompt=100, reshapes_one=False)
        catalogue = Catalogue({"x-edit": Model(limits=kept)})
        wanted = asked(mode=Mode.MULTI_EDIT, model="x-edit", aspect_ratio="1:1")

        catalogue.check(wanted, 2)
        with pytest.raises(InvalidValueError, match="keeps the shape of a single image"):
            catalogue.check(wanted, 1)


class TestFitted:
    def test_auto_is_left_out_where_model_does_not_list_it(self) -> None:
        wanted = asked(model="gpt-image-2-edit", aspect_ratio="auto", resolution="2K")

        assert KEPT.fitted(wanted) == asked(model="gpt-image-2-edit", resolution="2K")

    @pytest.mark.parametrize(
        "wanted",
        [
            {"aspect_ratio": "auto"},
            {"model": "wan-2-7-pro-edit", "aspect_ratio": "auto"},
            {"model": "gpt-image-2-edit", "aspect_ratio": "1:1"},
            {"model": "gpt-image-2-edit"},
            {"model": "made-up-edit", "aspect_ratio": "auto"},
        ],
    )
    def test_everything_else_is_sent_as_it_is(self, wanted: dict[str, Any]) -> None:
        instructions = asked(**wanted)

        assert KEPT.fitted(instructions) is instructions


class TestRateModel:
    @pytest.mark.parametrize("catalogue", [UNREAD, KEPT])
    @pytest.mark.parametrize(
        ("mode", "model", "name"),
        [
            (Mode.EDIT, None, "firered-image-edit"),
            (Mode.MULTI_EDIT, None, "firered-image-edit"),
            (Mode.EDIT, "firered-image-edit", "firered-image-edit"),
            (Mode.EDIT, "qwen-edit", "qwen-edit-uncensored"),
            (Mode.MULTI_EDIT, "qwen-edit-uncensored", "qwen-edit-uncensored"),
            (Mode.EDIT, "luma-uni-1-edit", "luma-uni-1-edit"),
            (Mode.EDIT, "made-up-1", "unknown"),
            (Mode.MULTI_EDIT, "made-up-2", "unknown"),
            (Mode.EDIT, REMOVAL_MODEL, "unknown"),
            (Mode.BACKGROUND_REMOVE, None, "background-remove"),
            (Mode.BACKGROUND_REMOVE, "luma-uni-1-edit", "background-remove"),
        ],
    )
    def test_calls_that_venice_counts_together_share_name(
        self, catalogue: Catalogue, mode: Mode, model: str | None, name: str
    ) -> None:
        assert catalogue.rate_model(mode, model) == name

    def test_model_of_venices_list_has_its_own_name(self) -> None:
        assert Catalogue({"new-edit": Model()}).rate_model(Mode.EDIT, "new-edit") == "new-edit"

    @pytest.mark.parametrize("model", [*KNOWN, "qwen-edit", "llama-3", "made-up-edit"])
    def test_limits_of_account_are_kept_under_names_that_calls_use(self, model: str) -> None:
        fixed = {REMOVAL_MODEL: Mode.BACKGROUND_REMOVE, UPSCALE_MODEL: Mode.UPSCALE}
        mode = fixed.get(model, Mode.EDIT)
        expected = UNREAD.rate_model(mode, model) if model in KNOWN else None

        assert rate_model(model, UNREAD) == expected


class TestAllowed:
    @pytest.mark.parametrize(
        ("wanted", "allowed"),
        [
            ({"model": "anything"}, ()),
            ({}, ("firered-image-edit",)),
            ({"model": "qwen-edit"}, ("qwen-edit-uncensored",)),
            ({"model": "qwen-edit-uncensored"}, ("x", "qwen-edit")),
            ({"mode": Mode.BACKGROUND_REMOVE, "model": "x"}, ("bria-bg-remover",)),
        ],
    )
    def test_allowed_model_is_allowed_under_each_of_its_names(
        self, wanted: dict[str, Any], allowed: tuple[str, ...]
    ) -> None:
        KEPT.check_allowed(asked(**wanted), allowed)

    @pytest.mark.parametrize(
        ("wanted", "name"),
        [
            ({}, "firered-image-edit"),
            ({"model": "gpt-image-2-edit"}, "gpt-image-2-edit"),
            ({"mode": Mode.BACKGROUND_REMOVE}, "bria-bg-remover"),
        ],
    )
    def test_any_other_model_is_refused(self, wanted: dict[str, Any], name: str) -> None:
        with pytest.raises(ModelNotAllowedError, match=f"{name}.*luma-uni-1-edit, x"):
            KEPT.check_allowed(asked(**wanted), ("luma-uni-1-edit", "x"))


class TestVenicesList:
    def test_models_known_are_those_of_list(self) -> None:
        known = {name: model for name, model in KNOWN.items() if model.price and model.limits}

        assert {name: LISTED[name] for name in known} == known
        priced = {name for name, model in KNOWN.items() if model.price}
        assert set(LISTED) == priced - {UPSCALE_MODEL}

    def test_what_list_says_counts_before_what_was_known(self) -> None:
        catalogue = Catalogue(
            {
                "firered-image-edit": Model(Price(usd=0.05)),
                "luma-uni-1-edit": Model(None, Limits(ratios=(), prompt=9)),
            }
        )

        assert catalogue.models["firered-image-edit"].price == Price(usd=0.05)
        assert catalogue.models["firered-image-edit"].limits == KNOWN["firered-image-edit"].limits
        assert catalogue.models["luma-uni-1-edit"].price == Price(usd=0.06)
        assert catalogue.models[REMOVAL_MODEL] == KNOWN[REMOVAL_MODEL]

    @pytest.mark.parametrize("entry", [None, {}, {"id": 1}, {"id": "x-edit"}, []])
    def test_entry_that_is_no_model_is_left_out(self, entry: Any) -> None:
        good = {"id": "new-edit", "model_spec": {"pricing": {"inpaint": {"usd": 1, "diem": 1}}}}

        found = listed("inpaint", {"data": [entry, good]})
        assert found == {"new-edit": Model(Price(usd=1.0))}

    @pytest.mark.parametrize(
        "pricing",
        [
            None,
            {},
            {"inpaint": 0.04},
            {"inpaint": {"usd": "0.04"}},
            {"inpaint": {"usd": -1}},
            {"inpaint": {"usd": 1e308}},
            {"inpaint": {"usd": float("inf")}},
            {"inpaint": {"usd": float("nan")}},
            {"generation": {"usd": 0.01}},
            {"inpaint": {"usd": 0.01}, "resolutions": {"1K": {"usd": -0.01}}},
            {"inpaint": {"usd": 0.01}, "inputImages": {"included": 1}},
        ],
    )
    def test_undocumented_price_counts_as_dearest(self, pricing: Any) -> None:
        entry = {"id": "x-edit", "model_spec": {"pricing": pricing}}
        found = listed("inpaint", {"data": [entry]})

        assert found == {"x-edit": Model()}
        assert priced(model="x-edit", catalogue=Catalogue(found)) == DEAREST

    @pytest.mark.parametrize(
        "constraints",
        [
            None,
            {},
            {"aspectRatios": "all"},
            {"aspectRatios": [], "promptCharacterLimit": 0, "combineImages": True},
            {"aspectRatios": [], "promptCharacterLimit": 9, "combineImages": "yes"},
        ],
    )
    def test_limits_that_are_not_as_documented_are_not_checked(self, constraints: Any) -> None:
        spec = {"pricing": {"inpaint": {"usd": 0.5}}, "constraints": constraints}
        found = listed("inpaint", {"data": [{"id": "x-edit", "model_spec": spec}]})

        assert found == {"x-edit": Model(Price(usd=0.5))}

    def test_limits_are_read_as_documented(self) -> None:
        # As Venice's public repository had it for its default model in August 2026.
        constraints = {
            "aspectRatios": ["auto", "1:1", "3:2", "16:9", "21:9", "9:16", "2:3", "3:4", "4:5"],
            "promptCharacterLimit": 1500,
            "combineImages": True,
            "singleImageAspectRatio": True,
        }
        spec = {"pricing": {"inpaint": {"usd": 0.04}}, "constraints": constraints}
        found = listed("inpaint", {"data": [{"id": "firered-image-edit", "model_spec": spec}]})

        assert found["firered-image-edit"].limits == Limits(
            ratios=("auto", "1:1", "3:2", "16:9", "21:9", "9:16", "2:3", "3:4", "4:5"), prompt=1500
        )
        with pytest.raises(InvalidValueError, match="aspect_ratio is 4:3"):
            Catalogue(found).check(asked(aspect_ratio="4:3"), 1)

    def test_of_other_models_only_remover_is_kept(self) -> None:
        spec = {"pricing": {"generation": {"usd": 0.03}}}
        data = [{"id": name, "model_spec": spec} for name in ("flux-2-max", REMOVAL_MODEL)]

        assert listed("image", {"data": data}) == {REMOVAL_MODEL: Model(Price(usd=0.03))}

    @pytest.mark.parametrize("listing", [{}, {"data": None}, {"data": {"rateLimits": []}}])
    def test_answer_without_list_has_no_models(self, listing: dict[str, Any]) -> None:
        assert listed("inpaint", listing) == {}


class TestStore:
    def test_models_known_count_until_list_is_kept(
        self, dynamodb: "DynamoDBClient", table: str, clock: FakeClock
    ) -> None:
        store = CatalogueStore(dynamodb, table, clock.now)

        assert store.is_old()
        assert store.current() == UNREAD
        assert store.current().models == KNOWN

    def test_other_environments_see_kept_list_within_hour(
        self, dynamodb: "DynamoDBClient", table: str, clock: FakeClock
    ) -> None:
        ours, theirs = (CatalogueStore(dynamodb, table, clock.now) for _ in range(2))
        assert theirs.current() == UNREAD
        ours.save(LISTED)

        clock.sleep(3599)
        assert theirs.current() == UNREAD
        clock.sleep(1)
        assert ours.current() == theirs.current() == KEPT

    def test_list_is_old_after_hour(
        self, dynamodb: "DynamoDBClient", table: str, clock: FakeClock
    ) -> None:
        store = CatalogueStore(dynamodb, table, clock.now)
        store.save(LISTED)

        clock.sleep(3599)
        assert not store.is_old()
        clock.sleep(1)
        assert store.is_old()

    def test_list_ten_times_as_long_fits_into_item(self) -> None:
        assert len(msgspec.json.encode(LISTED)) < 40_000

    @pytest.mark.parametrize(
        "item",
        [
            {"models": {"S": "[]"}, "kept_at": {"N": "1"}},
            {"models": {"S": "{"}, "kept_at": {"N": "1"}},
            {"models": {"S": "{}"}},
            {"models": {"N": "1"}, "kept_at": {"N": "1"}},
            {"prices": {"S": "{}"}},
        ],
    )
    def test_item_that_cannot_be_read_changes_nothing(
        self, dynamodb: "DynamoDBClient", table: str, clock: FakeClock, item: dict[str, Any]
    ) -> None:
        dynamodb.put_item(TableName=table, Item={"id": {"S": "catalogue"}} | item)

        assert CatalogueStore(dynamodb, table, clock.now).current() == UNREAD

    def test_table_that_cannot_be_read_changes_nothing(
        self, dynamodb: "DynamoDBClient", clock: FakeClock
    ) -> None:
        with pytest.raises(ClientError):
            dynamodb.get_item(TableName="missing", Key={"id": {"S": "catalogue"}})

        assert CatalogueStore(dynamodb, "missing", clock.now).current() == UNREAD
