"""One edit at a time: Powertools' idempotency as the lock while an edit runs.

What keeps an edit from being paid twice in the long run is its result in the output bucket; the
lock covers the time until that is there.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aws_lambda_powertools.utilities.idempotency import (
    DynamoDBPersistenceLayer,
    IdempotencyConfig,
    idempotent_function,
)
from aws_lambda_powertools.utilities.idempotency.exceptions import (
    IdempotencyAlreadyInProgressError,
    IdempotencyPersistenceLayerError,
)

from image_drop.errors import InProgressError, StorageBusyError

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext
    from mypy_boto3_dynamodb import DynamoDBClient

# Seconds that a finished edit keeps its lock. It must outlast the function's 300 s, for the record
# of a running edit expires with it; and it should be short, for until then an edit whose result
# somebody deletes cannot be made again.
KEPT_FOR = 310
RETRY_AFTER = 30.0  # seconds until a twin looks whether the first is done


@dataclass(frozen=True)
class EditLock:
    """Locks by edit id, in the state table. A crash frees a lock when the invocation ends."""

    dynamodb: "DynamoDBClient"
    table: str
    now: Callable[[], float]

    def hold(self, edit_id: str, context: "LambdaContext", work: Callable[[], None]) -> bool:
        """Do the work unless it is being done, or was done in the last five minutes.

        Returns whether it was done now; false where it had been done before. Raises
        `InProgressError` when another invocation is at it, and what `work` raises, which frees
        the lock.
        """
        done_now = False

        def once(*, edit_id: str) -> str:
            nonlocal done_now
            work()
            done_now = True
            return edit_id

        guarded = idempotent_function(
            once,
            data_keyword_argument="edit_id",
            persistence_store=DynamoDBPersistenceLayer(
                table_name=self.table, boto3_client=self.dynamodb
            ),
            config=IdempotencyConfig(
                expires_after_seconds=KEPT_FOR, lambda_context=context, hash_function="sha256"
            ),
            # Without a prefix the key would hold the function's name, and the upload and the
            # retry function would not see each other's locks.
            key_prefix="edit",
        )
        try:
            guarded(edit_id=edit_id)
        except IdempotencyAlreadyInProgressError as error:
            raise InProgressError(
                "Another invocation is at it.", retry_at=self.now() + RETRY_AFTER
            ) from error
        except IdempotencyPersistenceLayerError as error:
            raise StorageBusyError("The state table did not take the lock.") from error
        return done_now
