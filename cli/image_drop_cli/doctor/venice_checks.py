"""Checks of Venice: the key, the account behind it, and what is left on it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from image_drop.errors import AccountError, ImageDropError
from image_drop_cli.doctor.finding import Finding, fine, note, problem

if TYPE_CHECKING:
    from image_drop_cli.deployment import Deployment

NEW_KEY = "Store a valid key: `image-drop deploy --api-key-stdin --yes < FILE`."


def key(deployment: "Deployment") -> Iterator[Finding]:
    """Ask Venice about the account of the key, which is free."""
    try:
        account = deployment.services.venice.account()
    except AccountError as error:
        yield problem("API key", f"{error}", NEW_KEY)
        return
    except ImageDropError as error:
        yield note(
            "API key",
            f"This machine could not ask Venice about the key: {error}",
            "Run the command again later. The functions ask every five minutes.",
        )
        return
    if not account.access_permitted:
        yield problem(
            "API key", "Venice accepts the key, and does not let it edit images.", NEW_KEY
        )
        return
    yield fine("API key", "Venice accepts the key.")
    low = float(deployment.parameters.get("LowBalanceUsd", "0"))
    if account.balance > low:
        yield fine("balance", f"${account.balance:,.2f}")
    else:
        yield problem(
            "balance",
            f"${account.balance:,.2f} is left at Venice.",
            "Add credits at https://venice.ai/settings/api.",
        )
