"""What a model costs and takes, from the catalogue or built in, for all that can be asked for."""

from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from image_drop import venice
from image_drop.catalogue import Catalogue, CatalogueStore
from image_drop.errors import InvalidValueError, ModelNotAllowedError
from image_drop.instructions import Instructions, Mode
from image_drop.models import BUILT_IN, REMOVAL_MODEL, Model, Price, from_listing
from local.simulator import catalogue
from tests.clock import FakeClock

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

LISTED = from_listing(catalogue.listing("inpaint")) | from_listing(catalogue.listing("image"))
FETCHED = Catalogue({**BUILT_IN, **LISTED}, frozenset(LISTED))


def priced(images: int = 1, *, told: str | None = None, **instructions: Any) -> float:
    """What an edit costs by the table."""
    wanted = Instructions(prompt="pink", **instructions)
    sent = venice.parameters(wanted)
    enhanced = bool(wanted.enhance_prompt)
    mode = wanted.mode or Mode.EDIT
    return Catalogue().price(mode, sent, images, enhanced=enhanced, told=told)


class TestCost:
    @pytest.mark.parametrize(
        ("instructions", "images", "usd"),
        [
            ({"mode": Mode.EDIT}, 1, 0.04),
            ({"mode": Mode.BACKGROUND_REMOVE}, 1, 0.03),
            ({"mode": Mode.BACKGROUND_REMOVE, "model": "gpt-image-2-edit"}, 1, 0.03),
            ({"mode": Mode.EDIT, "enhance_prompt": True}, 1, 0.08),
            ({"mode": Mode.EDIT, "model": "nano-banana-pro-edit"}, 1, 0.18),
            ({"mode": Mode.EDIT, "model": "nano-banana-pro-edit", "resolution": "4K"}, 1, 0.35),
            ({"mode": Mode.EDIT, "model": "firered-image-edit", "resolution": "4K"}, 1, 0.04),
            # The quality cannot be sent to /image/edit: it is the model's own, high.
            ({"mode": Mode.EDIT, "model": "gpt-image-2-edit", "quality": "low"}, 1, 0.34),
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
            ({"mode": Mode.MULTI_EDIT, "model": "grok-imagine-edit"}, 2, 0.03 + 2 * 0.0023),
        ],
    )
    def test_price_follows_model_resolution_quality_images_and_rewriting(
        self, instructions: dict[str, Any], images: int, usd: float
    ) -> None:
        assert priced(images, **instructions) == pytest.approx(usd)

    def test_the_model_that_venice_names_is_the_one_that_is_paid(self) -> None:
        assert priced(told="luma-uni-1-max-edit", mode=Mode.EDIT) == 0.13

    def test_model_without_a_price_counts_as_the_dearest(self) -> None:
        assert priced(mode=Mode.EDIT, model="made-up-edit") == 0.84
        assert priced(3, mode=Mode.MULTI_EDIT, model="made-up-edit") == pytest.approx(
            0.84 + 2 * 0.0092
        )

    @pytest.mark.parametrize("wanted", [{"resolution": "8K"}, {"quality": "ultra-"}])
    def test_tier_or_quality_without_a_price_counts_as_the_dearest_of_its_model(
        self, wanted: dict[str, str]
    ) -> None:
        price = BUILT_IN["gpt-image-2-edit"].price

        assert price.of(1, **wanted) == (0.84 if "resolution" in wanted else 0.34)
        assert BUILT_IN["nano-banana-2-edit"].price.of(1, "8K") == 0.19

    def test_model_that_only_the_answer_names_does_not_change_a_known_price(self) -> None:
        assert priced(told="firered-v2-internal", mode=Mode.EDIT) == 0.04

    @given(
        model=st.sampled_from(sorted(set(LISTED) - {REMOVAL_MODEL})),
        images=st.integers(1, 6),
        enhanced=st.booleans(),
        data=st.data(),
    )
    def test_it_is_what_venice_charges(
        self, model: str, images: int, enhanced: bool, data: st.DataObject
    ) -> None:
        listed = catalogue.MODELS[model]
        tier = data.draw(st.sampled_from([None, *listed.resolutions]))
        quality = data.draw(st.sampled_from([None, *listed.quality_names]))
        wanted = Instructions(
            mode=Mode.MULTI_EDIT, model=model, resolution=tier, quality=quality, prompt="pink"
        )

        charged = listed.price(
            images=images, resolution=tier or "1K", quality=quality, enhanced=enhanced
        )

        sent = venice.parameters(wanted)
        found = Catalogue().price(Mode.MULTI_EDIT, sent, images, enhanced=enhanced)
        assert found == pytest.approx(charged)


class TestListing:
    def test_what_is_built_in_is_what_the_listing_says(self) -> None:
        described = {name for name, model in BUILT_IN.items() if model.described}

        assert {name: LISTED[name] for name in described} == {
            name: BUILT_IN[name] for name in described
        }
        assert {name: model.price for name, model in LISTED.items()} == {
            name: model.price for name, model in BUILT_IN.items()
        }

    @pytest.mark.parametrize(
        "entry",
        [
            None,
            {},
            {"id": "x-edit"},
            {"id": "x-edit", "model_spec": {}},
            {"id": "x-edit", "model_spec": {"pricing": {}}},
            {"id": "x-edit", "model_spec": {"pricing": {"inpaint": 0.04}}},
            {"id": "x-edit", "model_spec": {"pricing": {"inpaint": {"usd": "0.04"}}}},
            {"id": "x", "model_spec": {"pricing": {"generation": {"usd": 0.01}}}},
            {"id": "x", "model_spec": {"pricing": {"resolutions": {"1K": {"usd": 0.01}}}}},
        ],
    )
    def test_entry_that_is_not_as_documented_is_left_out(self, entry: Any) -> None:
        good = {"id": "new-edit", "model_spec": {"pricing": {"inpaint": {"usd": 1, "diem": 1}}}}

        found = from_listing({"data": [entry, good]})
        assert {name: model.price for name, model in found.items()} == {"new-edit": Price(usd=1.0)}

    @pytest.mark.parametrize("listing", [{}, {"data": None}, {"data": {"rateLimits": []}}])
    def test_answer_without_a_list_has_no_models(self, listing: dict[str, Any]) -> None:
        assert from_listing(listing) == {}


def asked(**wanted: Any) -> Instructions:
    return Instructions(**{"mode": Mode.EDIT, "prompt": "pink"} | wanted)


REFUSED = [
    ({"prompt": "x" * 1501}, 1, ("prompt", "1,501", "1,500", "firered-image-edit")),
    ({"model": "gpt-image-2-edit", "prompt": "x" * 10_001}, 1, ("10,000",)),
    ({"model": "wan-2-7-pro-edit", "aspect_ratio": "1:1"}, 1, ("aspect_ratio", "1:1", "auto")),
    ({"resolution": "4K"}, 1, ("resolution", "4K", "no resolution")),
    ({"mode": Mode.MULTI_EDIT, "resolution": "2K"}, 1, ("resolution",)),
    ({"model": "grok-imagine-edit", "resolution": "4K"}, 1, ("1K, 2K",)),
    ({"mode": Mode.MULTI_EDIT, "quality": "low"}, 1, ("quality", "no quality")),
    (
        {"mode": Mode.MULTI_EDIT, "model": "grok-imagine-image-2-0-edit", "quality": "high"},
        1,
        ("low, medium",),
    ),
    ({"mode": Mode.MULTI_EDIT}, 4, ("layers", "3", "2")),
    ({"mode": Mode.MULTI_EDIT, "model": "luma-uni-1-edit"}, 1, ("combines no images",)),
]


class TestLimits:
    @pytest.mark.parametrize("known", [Catalogue(), FETCHED], ids=["built in", "fetched"])
    @pytest.mark.parametrize(("wanted", "images", "words"), REFUSED)
    def test_what_the_model_would_refuse_is_told_before_the_call(
        self, known: Catalogue, wanted: dict[str, Any], images: int, words: tuple[str, ...]
    ) -> None:
        with pytest.raises(InvalidValueError) as caught:
            known.check(asked(**wanted), images)

        for word in words:
            assert word in caught.value.detail

    @pytest.mark.parametrize("known", [Catalogue(), FETCHED], ids=["built in", "fetched"])
    @pytest.mark.parametrize(
        ("wanted", "images"),
        [
            ({}, 1),
            ({"prompt": "x" * 1500, "aspect_ratio": "4:3"}, 1),
            ({"model": "gpt-image-2-edit", "resolution": "4K", "aspect_ratio": "auto"}, 1),
            ({"model": "gpt-image-2-edit", "quality": "low"}, 1),  # not sent on /image/edit
            ({"mode": Mode.MULTI_EDIT, "model": "flux-2-max-edit"}, 6),
            ({"model": "qwen-edit"}, 1),
            ({"mode": Mode.BACKGROUND_REMOVE, "prompt": "x" * 30_000, "resolution": "9K"}, 1),
        ],
    )
    def test_what_the_model_takes_is_let_through(
        self, known: Catalogue, wanted: dict[str, Any], images: int
    ) -> None:
        known.check(asked(**wanted), images)

    def test_unknown_model_is_an_error_once_venices_list_is_known(self) -> None:
        Catalogue().check(asked(model="firered-image-edti"), 1)

        with pytest.raises(InvalidValueError, match="Did you mean 'firered-image-edit'"):
            FETCHED.check(asked(model="firered-image-edti"), 1)

    def test_auto_is_left_out_where_the_model_does_not_list_it(self) -> None:
        wanted = asked(model="gpt-image-2-edit", aspect_ratio="auto")

        assert FETCHED.fitted(wanted).aspect_ratio is None
        for kept in (asked(aspect_ratio="auto"), asked(model="gpt-image-2-edit")):
            assert FETCHED.fitted(kept) is kept

    @pytest.mark.parametrize("model", [None, "qwen-edit", "firered-image-edit"])
    def test_allowed_models_are_those_that_run(self, model: str | None) -> None:
        FETCHED.check_allowed(asked(model=model), ())
        FETCHED.check_allowed(asked(model=model), ("qwen-edit-uncensored", "firered-image-edit"))
        with pytest.raises(ModelNotAllowedError):
            FETCHED.check_allowed(asked(model=model), ("bria-bg-remover",))

    def test_cut_outs_are_allowed_by_the_name_of_their_model(self) -> None:
        wanted = asked(mode=Mode.BACKGROUND_REMOVE, model="gpt-image-2-edit")

        FETCHED.check_allowed(wanted, ("bria-bg-remover",))
        with pytest.raises(ModelNotAllowedError):
            FETCHED.check_allowed(wanted, ("gpt-image-2-edit",))


class TestRateModel:
    def test_default_model_has_one_log_named_or_not(self) -> None:
        names = {FETCHED.rate_model(Mode.EDIT, model) for model in (None, "firered-image-edit")}

        assert names == {"default"}

    def test_alias_and_its_target_share_a_log(self) -> None:
        one, other = (
            FETCHED.rate_model(Mode.EDIT, model) for model in ("qwen-edit", "qwen-edit-uncensored")
        )

        assert one == other

    def test_all_invented_models_share_a_log(self) -> None:
        invented = {FETCHED.rate_model(Mode.EDIT, f"invented-{n}") for n in range(40)}

        assert invented == {"unknown"}

    def test_cut_outs_have_a_log_of_their_own_whatever_model_is_named(self) -> None:
        assert FETCHED.rate_model(Mode.BACKGROUND_REMOVE, "x") == "background-remove"


class TestStore:
    def test_built_in_models_count_until_a_catalogue_is_kept(
        self, dynamodb: "DynamoDBClient", table: str, clock: FakeClock
    ) -> None:
        store = CatalogueStore(dynamodb, table, clock.now)

        assert store.is_old()
        assert store.current() == Catalogue()

    def test_other_environments_see_a_kept_catalogue_within_an_hour(
        self, dynamodb: "DynamoDBClient", table: str, clock: FakeClock
    ) -> None:
        ours, theirs = (CatalogueStore(dynamodb, table, clock.now) for _ in range(2))
        before = theirs.current()
        ours.keep({"new-edit": Model(price=Price(usd=0.5), ratios=("1:1",), prompt=99)})

        clock.sleep(3599)
        assert theirs.current() == before
        clock.sleep(1)
        assert theirs.current() == ours.current()
        assert theirs.current().models["bria-bg-remover"] == BUILT_IN["bria-bg-remover"]
        assert not theirs.is_old()

    def test_whole_catalogue_is_a_small_item(
        self, dynamodb: "DynamoDBClient", table: str, clock: FakeClock
    ) -> None:
        CatalogueStore(dynamodb, table, clock.now).keep(LISTED)

        item = dynamodb.get_item(TableName=table, Key={"id": {"S": "catalogue"}})["Item"]
        assert len(item["models"]["S"]) < 20_000  # DynamoDB takes 400 KB

    def test_catalogue_is_old_after_a_day(
        self, dynamodb: "DynamoDBClient", table: str, clock: FakeClock
    ) -> None:
        store = CatalogueStore(dynamodb, table, clock.now)
        store.keep(LISTED)

        clock.sleep(86_399)
        assert not store.is_old()
        clock.sleep(1)
        assert store.is_old()

    def test_item_that_cannot_be_read_changes_nothing(
        self, dynamodb: "DynamoDBClient", table: str, clock: FakeClock
    ) -> None:
        dynamodb.put_item(
            TableName=table,
            Item={"id": {"S": "catalogue"}, "models": {"S": "[]"}, "kept_at": {"N": "1"}},
        )

        assert CatalogueStore(dynamodb, table, clock.now).current() == Catalogue()

    def test_table_that_cannot_be_read_changes_nothing(
        self, dynamodb: "DynamoDBClient", clock: FakeClock
    ) -> None:
        with pytest.raises(ClientError):
            dynamodb.get_item(TableName="missing", Key={"id": {"S": "catalogue"}})

        assert CatalogueStore(dynamodb, "missing", clock.now).current() == Catalogue()
