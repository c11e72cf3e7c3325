"""What costs money: said first, with its price, and done only once somebody has agreed."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from secrets import token_urlsafe

from image_drop_cli.upload.plan import Plan

MOST = 200  # offers that are remembered; nobody has that many open


class OfferGoneError(Exception):
    """Raised when an offer was accepted already, or is too old."""


@dataclass(frozen=True)
class Offer:
    """Something that somebody may agree to. `id`: what the page sends back."""

    id: str
    plan: Plan
    carry_out: Callable[[], object]


@dataclass
class Offers:
    """Offers that nobody has accepted yet; each can be accepted once."""

    _open: OrderedDict[str, Offer] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def make(self, plan: Plan, carry_out: Callable[[], object]) -> Offer:
        """Remember what `carry_out` would do for the price in `plan`."""
        offer = Offer(token_urlsafe(16), plan, carry_out)
        with self._lock:
            self._open[offer.id] = offer
            while len(self._open) > MOST:
                self._open.popitem(last=False)
        return offer

    def accept(self, id: str) -> object:
        """Carry an offer out; return what that returns. Raise `OfferGoneError`."""
        with self._lock:
            offer = self._open.pop(id, None)
        if offer is None:
            raise OfferGoneError(id)
        return offer.carry_out()
