"""A call's price, from the catalogue or the table, for every way that an edit can be asked for."""

from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from image_drop import prices, venice
from image_drop.instructions import Instructions, Mode
from image_drop.prices import AUGUST_2026, Price, PriceBook, cost, from_catalogue, model_used
from local.simulator import catalogue
from tests.clock import FakeClock

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


def priced(images: int = 1, *, told: str | None = None, **instructions: Any) -> float | None:
    """What an edit costs by the table."""
    wanted = Instructions(prompt="pink", **instructions)
    sent = venice.parameters(wanted)
    model = model_used(wanted.mode or Mode.EDIT, sent, told)
    return cost(AUGUST_2026, model, sent, images, enhanced=bool(wanted.enhance_prompt))


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

    def test_an_unknown_model_has_no_price(self) -> None:
        assert priced(mode=Mode.EDIT, model="made-up-edit") is None

    @given(
        model=st.sampled_from(sorted(set(AUGUST_2026) - {prices.REMOVAL_MODEL})),
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
        assert cost(AUGUST_2026, model, sent, images, enhanced=enhanced) == pytest.approx(charged)


class TestCatalogue:
    def test_the_table_is_the_catalogue_of_its_day(self) -> None:
        found = from_catalogue(catalogue.listing("inpaint"))
        found |= from_catalogue(catalogue.listing("image"))

        assert found == AUGUST_2026

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
    def test_an_entry_that_is_not_as_documented_is_left_out(self, entry: Any) -> None:
        good = {"id": "new-edit", "model_spec": {"pricing": {"inpaint": {"usd": 1, "diem": 1}}}}

        assert from_catalogue({"data": [entry, good]}) == {"new-edit": Price(usd=1.0)}

    @pytest.mark.parametrize("listing", [{}, {"data": None}, {"data": {"rateLimits": []}}])
    def test_an_answer_without_a_list_has_no_prices(self, listing: dict[str, Any]) -> None:
        assert from_catalogue(listing) == {}


class TestPriceBook:
    def test_the_table_counts_until_a_catalogue_is_kept(
        self, dynamodb: "DynamoDBClient", table: str, clock: FakeClock
    ) -> None:
        book = PriceBook(dynamodb, table, clock.now)

        assert book.is_old()
        assert book.current() == AUGUST_2026

    def test_other_environments_see_a_kept_catalogue_within_an_hour(
        self, dynamodb: "DynamoDBClient", table: str, clock: FakeClock
    ) -> None:
        ours, theirs = (PriceBook(dynamodb, table, clock.now) for _ in range(2))
        before = theirs.current()
        ours.keep({"firered-image-edit": Price(usd=0.05), "new-edit": Price(usd=0.5)})

        clock.sleep(3599)
        assert theirs.current() == before
        clock.sleep(1)
        assert theirs.current()["firered-image-edit"] == Price(usd=0.05)
        assert theirs.current()["new-edit"] == Price(usd=0.5)
        assert theirs.current()["bria-bg-remover"] == AUGUST_2026["bria-bg-remover"]
        assert not theirs.is_old()

    def test_a_catalogue_is_old_after_a_day(
        self, dynamodb: "DynamoDBClient", table: str, clock: FakeClock
    ) -> None:
        book = PriceBook(dynamodb, table, clock.now)
        book.keep({})

        clock.sleep(86_399)
        assert not book.is_old()
        clock.sleep(1)
        assert book.is_old()

    def test_an_item_that_cannot_be_read_changes_nothing(
        self, dynamodb: "DynamoDBClient", table: str, clock: FakeClock
    ) -> None:
        dynamodb.put_item(
            TableName=table,
            Item={"id": {"S": "prices"}, "prices": {"S": "[]"}, "kept_at": {"N": "1"}},
        )

        assert PriceBook(dynamodb, table, clock.now).current() == AUGUST_2026

    def test_a_table_that_cannot_be_read_changes_nothing(
        self, dynamodb: "DynamoDBClient", clock: FakeClock
    ) -> None:
        with pytest.raises(ClientError):
            dynamodb.get_item(TableName="missing", Key={"id": {"S": "prices"}})

        assert PriceBook(dynamodb, "missing", clock.now).current() == AUGUST_2026
