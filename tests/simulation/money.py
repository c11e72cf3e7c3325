"""The promises about money: paid once, booked to the cent, within every limit."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise
from urllib.parse import unquote

from image_drop.state.edit_record import Call, CallState
from tests.simulation.auditor import Auditor, source_of
from tests.simulation.deployment import INPUT, OUTPUT
from tests.simulation.faults import Fault

MICRO = 1_000_000
CLOCK = 10.0  # seconds by which a machine's clock may be wrong
CALL = 320.0  # seconds in which the invocation that makes a call ends


class Money(Auditor):
    """What was paid, for what, and how that was booked."""

    def broken(self) -> Iterator[str]:
        """Yield every promise that is broken, in words."""
        yield from self.paid_once()
        yield from self.not_made_again()
        yield from self.money()
        yield from self.unexplained()
        yield from self.limits()

    def paid_once(self) -> Iterator[str]:
        made_by = {
            version.metadata.get("call"): version.metadata.get("edit-id")
            for _, history in self.histories()
            for version in history
        }
        drops = {call.id: call.drop for r in self.records.values() for call in r.calls}
        for (bucket, key), history in self.cloud.s3.versions.items():
            for old, new in pairwise(history if bucket == OUTPUT else ()):
                one, other = (
                    (version.metadata.get("edit-id"), drops.get(version.metadata.get("call", "")))
                    for version in (old, new)
                )
                if all(one) and one == other and old.metadata["call"] != new.metadata["call"]:
                    yield f"{key} was paid twice for the same edit {one[0]} and drop {one[1]}"
        yield from self._paid_in_vain({id for id in made_by if id})
        for id, record in self.records.items():
            left = Counter((c.digest, c.drop) for c in record.calls if c.state is CallState.OPEN)
            for (_, drop), count in left.items():
                if count > 2:
                    yield f"{id} has {count} calls without an answer for the drop {drop}"

    def _paid_in_vain(self, made: set[str]) -> Iterator[str]:
        """Calls without a result that were made again. `made`: calls that results name.

        One that is made from a kept answer names none; the record tells of it.
        """
        for id, record in self.records.items():
            made = made | {call.id for call in record.calls if not call.output_key}
            paid = [call for call in record.calls if call.state is CallState.PAID]
            for call, again in pairwise(paid):
                same = (call.digest, call.drop) == (again.digest, again.drop)
                vain = same and not {call.id, again.id} & made
                vain = vain and not self._reworded_between(id, call.at, again.at)
                # Who removes paid answers has them paid again.
                vain = vain and not any(call.at < at < again.at for at in self.people.tidied)
                if vain and not self._changed_after_report(id, call, again):
                    yield f"{id} was paid twice in a row for the drop {call.drop}, in vain"

    def _reworded_between(self, id: str, since: float, until: float) -> bool:
        """Whether somebody gave an image other instructions between two calls."""
        key = id.partition(f"{INPUT}/")[2]
        return any(since < at < until and key == what for at, what in self.people.reworded)

    def _changed_after_report(self, id: str, call: Call, again: Call) -> bool:
        """Whether the first call has a report of its own, and the next one is of another edit."""
        key = id.removeprefix("edit#").partition("#")[2].removeprefix(f"{INPUT}/")
        told = [
            (version.at, version.metadata.get("edit-id"))
            for _, history in self.histories()
            for version in history
            if version.metadata.get("code") and source_of(version) == key
        ]
        first = {edit for at, edit in told if call.at < at <= again.at}
        later = {edit for at, edit in told if at > again.at}
        return bool(first) and not first & later

    def not_made_again(self) -> Iterator[str]:
        calls = {c.id: c.state for record in self.records.values() for c in record.calls}
        for (bucket, key), history in self.cloud.s3.versions.items():
            made: dict[str, float] = {}
            lost: dict[str, str] = {}  # the call of each, which a death may have left open
            removed = False
            for version in history if bucket == OUTPUT else ():
                edit_id = version.metadata.get("edit-id")
                if version.body is None:
                    removed = True
                elif edit_id and "call" in version.metadata:
                    source = unquote(version.metadata["source-key"])
                    since = made.get(edit_id)
                    last = lost.get(edit_id, "")
                    # The SDK may repeat a request when somebody has removed what it made.
                    known = calls.get(last) is not CallState.OPEN
                    known = known and last != version.metadata["call"]
                    if removed and since is not None and known and not self._asked(source, since):
                        yield f"{key} was made again after somebody had removed it, unasked"
                    made[edit_id], removed = version.at, False
                    lost[edit_id] = version.metadata["call"]

    def _asked(self, key: str, since: float) -> bool:
        return any(at >= since - 1 and key.startswith(what) for at, what in self.people.asked)

    def money(self) -> Iterator[str]:
        calls = [call for record in self.records.values() for call in record.calls]
        paid = [call for call in calls if call.state is CallState.PAID]
        left = [call for call in calls if call.state is CallState.OPEN]
        days = [i for id, i in self.cloud.dynamodb.items.items() if id.startswith("spend#")]
        usd = sum(int(day.get("usd", {"N": "0"})["N"]) for day in days)
        unconfirmed = sum(int(day.get("unconfirmed", {"N": "0"})["N"]) for day in days)
        committed = sum(int(day.get("committed", {"N": "0"})["N"]) for day in days)
        book = sum(round(call.charged_usd * MICRO) for call in self.cloud.venice.book)
        if usd != sum(call.micro_usd for call in paid):
            yield f"the days have ${usd / MICRO}, the records {sum(c.micro_usd for c in paid)}"
        if unconfirmed != sum(call.micro_usd for call in left):
            sums = [call.micro_usd for call in left]
            yield f"the days have {unconfirmed} unconfirmed, the records {sums}"
        if committed != usd + unconfirmed:
            yield f"committed {committed} is not {usd} + {unconfirmed}"
        shown = {
            found.metadata.get("call")
            for key in self.cloud.s3.keys(OUTPUT)
            if (found := self.cloud.s3.current(OUTPUT, key))
        }
        for call in left:
            if call.id in shown:
                yield f"call {call.id} is unconfirmed, and its result is there"
        if not usd <= book <= usd + unconfirmed:
            yield f"Venice's book says {book}, ours {usd} and {unconfirmed} unconfirmed"
        if not self.trouble and unconfirmed:
            yield f"{unconfirmed} are unconfirmed, and nothing went wrong"

    def unexplained(self) -> Iterator[str]:
        """Calls that are unconfirmed although nothing happened that loses an answer."""
        for id, record in self.records.items():
            key = id.partition("#")[2].partition("#")[2].partition("/")[2]
            for call in record.calls:
                if call.state is CallState.OPEN and call.output_key not in self.people.removed:
                    doubtful = self.cloud.journal.is_doubtful(key, call.at - CLOCK, call.at + CALL)
                    if not doubtful:
                        yield f"call {call.id} for {key} is unconfirmed without a reason"

    # --- limits ---------------------------------------------------------------------------------

    def limits(self) -> Iterator[str]:
        if self.cloud.venice.api.lock_out.begun:
            yield f"the key was locked out {self.cloud.venice.api.lock_out.begun} times"
        jumped = Fault.CLOCK_JUMP in self.cloud.faults.struck
        refused = [
            call.at
            for call in self.cloud.venice.api.calls.snapshot()
            if call.refused == "rate_limit"
            and not any(since <= call.at < since + 600 for since in self.people.limits)
        ]
        if refused and not jumped:
            yield f"{len(refused)} calls were above the limit"
        by_day: dict[int, float] = defaultdict(float)
        for call in sorted(self.cloud.venice.book, key=lambda call: call.at):
            day, limit = int(call.at // 86_400), self.cloud.journal.daily_limit(call.at)
            by_day[day] += call.charged_usd
            if by_day[day] > limit + 1e-9:
                yield f"a day cost ${by_day[day]:.2f} of ${limit:.2f}"
