"""Venice's list of models in the state table: one item, which the account watch updates."""

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
MAX_AGE = 3_600.0  # seconds until the account watch fetches it again; people use new models soon
RECHECK_AFTER = 3_600.0  # seconds until an environment reads the table again


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
        """Return the catalogue. It never raises: if the table fails, the last one is used."""
        if self._read_at is None or self.now() >= self._read_at + RECHECK_AFTER:
            self._read_at = self.now()
            try:
                self._read()
            except (ClientError, BotoCoreError, msgspec.MsgspecError, LookupError, ValueError) as e:
                logger.warning("catalogue not read", error=type(e).__name__)
        return self._catalogue

    def is_old(self) -> bool:
        """Return whether it is time to ask Venice for its list."""
        self.current()
        return self.now() >= self._kept_at + MAX_AGE

    def save(self, listed: Mapping[str, Model]) -> None:
        """Replace the stored list. Raise botocore's errors.

        Thirty models are 7 KB of JSON; DynamoDB allows 400 KB for an item.
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
