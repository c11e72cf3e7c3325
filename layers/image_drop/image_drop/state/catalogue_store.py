"""Venice's list of models in the state table: one item, which the account watch renews."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from image_drop.telemetry import logger
from image_drop.venice.catalogue import Catalogue
from image_drop.venice.models import Model

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

ITEM = "catalogue"
MAX_AGE = 3_600.0  # seconds; then the account watch asks again, for a new model is used at once
RECHECK_AFTER = 3_600.0  # seconds; how long an environment goes without reading the table


@dataclass
class CatalogueStore:
    """The catalogue of this environment, read from the table at most once an hour.

    `now`: seconds since 1970.
    """

    dynamodb: "DynamoDBClient"
    table: str
    now: Callable[[], float]
    _catalogue: Catalogue = field(default_factory=Catalogue)
    _kept_at: float = 0.0
    _read_at: float | None = None

    def current(self) -> Catalogue:
        """Return the catalogue. Never raises: what was known before counts without the table."""
        if self._read_at is None or self.now() >= self._read_at + RECHECK_AFTER:
            self._read_at = self.now()
            try:
                self._read()
            except (ClientError, BotoCoreError, msgspec.MsgspecError, LookupError, ValueError) as e:
                logger.warning("catalogue not read", error=type(e).__name__)
        return self._catalogue

    def is_old(self) -> bool:
        """Whether it is time to ask Venice for its list."""
        self.current()
        return self.now() >= self._kept_at + MAX_AGE

    def keep(self, listed: Mapping[str, Model]) -> None:
        """Put Venice's list in the place of the former one. Raises botocore's errors.

        Thirty models are 7 KB of JSON; an item of DynamoDB may have 400.
        """
        self._catalogue, self._kept_at = Catalogue(dict(listed)), self.now()
        self.dynamodb.put_item(
            TableName=self.table,
            Item={
                "id": {"S": ITEM},
                "models": {"S": msgspec.json.encode(listed).decode()},
                "kept_at": {"N": f"{self._kept_at:.0f}"},
            },
        )

    def _read(self) -> None:
        item = self.dynamodb.get_item(TableName=self.table, Key={"id": {"S": ITEM}}).get("Item")
        if item:
            models = msgspec.json.decode(item["models"]["S"], type=dict[str, Model])
            self._catalogue, self._kept_at = Catalogue(models), float(item["kept_at"]["N"])
