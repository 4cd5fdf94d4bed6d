"""Sweep: ends every order at one venue and finds out whether that is so; bytes and times in, requests and a verdict out.

    cancel -> ask -> pause -> ...   and cancels again wherever the newest answer did not say that nothing is open

Orders sent before the kill may arrive until the venue's window for them is over. NO OPEN ORDERS takes two questions in a row, both asked
after that, that the venue answers with nothing. Anything but a clear answer starts the count anew, and an order that appears starts the
window anew too. Without such a proof at the deadline it is NOT CONFIRMED, and goes on trying.
"""

from __future__ import annotations

from enum import Enum

from hft.venues.guards import Guard, Unclear
from hft.venues.interface import Call

MS, SECOND_NS = 1_000_000, 1_000_000_000

#: How far the engine's clock and the venue's may be apart, as far as windows go.
SKEW_NS = SECOND_NS
#: Clear answers in a row that prove it.
CLEAN_ANSWERS = 2
#: Between two questions; doubled with each answer that is unclear, up to the longest.
PAUSE_NS, PAUSE_MAX_NS = 500 * MS, 8 * SECOND_NS
#: What was proven is asked again this often, for as long as it is killed.
RECHECK_NS = 10 * SECOND_NS

_BACK_OFF = (418, 429)


class Verdict(Enum):
    """What is known of a venue's open orders."""

    PENDING = "CANCELING"
    CLEAN = "NO OPEN ORDERS"
    UNCONFIRMED = "NOT CONFIRMED"


class Sweep:
    """One venue, from the kill until it is armed again."""

    def __init__(self, guard: Guard, killed_ns: int, confirm_ns: int) -> None:
        """`killed_ns` is when no more orders left, `confirm_ns` how long after the last of them could arrive a verdict is due."""
        self.verdict = Verdict.PENDING
        self.quiet_ns = killed_ns + guard.window_ns + SKEW_NS  #: from here on nothing arrives any more
        self.deadline_ns = self.quiet_ns + confirm_ns
        self.clean = 0  #: clear answers in a row since then
        self.open_orders: list[str] | None = None  #: as the newest clear answer listed them; None: nobody knows
        self.why = ""  #: what was wrong with the newest unclear answer
        self.refusals = 0  #: cancels that were not carried out
        self.cancelled_ns = 0  #: when the first round of cancels was answered; 0: not yet
        self._guard = guard
        self._tag = 0
        self._canceling: set[int] = set()  #: tags under way
        self._asking: dict[int, int] = {}  #: tag -> when it was asked
        self._cancels_due, self._asks_due = True, True
        self._next_ns = killed_ns
        self._pause_ns = PAUSE_NS
        self._spent_ns = 0  #: until when the budget would be empty, if it had no burst
        self._banned_ns = 0  #: the venue wants to hear nothing before

    def due(self, now_ns: int, utc_ns: int) -> list[Call]:
        """The requests to make now. Each is owed an answer by `take`, if only status 0."""
        if self.verdict is Verdict.PENDING and now_ns >= self.deadline_ns:
            self.verdict = Verdict.UNCONFIRMED
        if self._canceling or self._asking or now_ns < max(self._next_ns, self._banned_ns):
            return []
        if self._cancels_due:
            self._cancels_due = False
            calls = [self._tagged(call) for call in self._guard.cancels(utc_ns)]
            self._canceling = {call.tag for call in calls}
            return calls
        if not self._affords(now_ns):
            return []
        call = self._tagged(self._guard.question(utc_ns))
        self._spent_ns = max(self._spent_ns, now_ns) + self._guard.refill_ns
        self._asking[call.tag] = now_ns
        return [call]

    def take(self, tag: int, status: int, body: bytes, retry_after_ns: int, now_ns: int) -> None:
        """Take the answer to a request; status 0 means that there was none."""
        if status in _BACK_OFF:
            self._banned_ns = now_ns + max(retry_after_ns, SECOND_NS)
        if tag in self._canceling:
            self._canceling.discard(tag)
            self._take_cancel(status, body, now_ns)
        elif tag in self._asking:
            self._take_answer(self._asking.pop(tag), status, body, now_ns)

    def _take_cancel(self, status: int, body: bytes, now_ns: int) -> None:
        if why := self._guard.refused(status, body):
            self.refusals += 1
            self.why = f"cancel: {why}"
        elif not self._canceling and not self.cancelled_ns:
            self.cancelled_ns = now_ns

    def _take_answer(self, asked_ns: int, status: int, body: bytes, now_ns: int) -> None:
        try:
            found = self._guard.open_orders(status, body)
        except Unclear as error:
            self.clean, self._cancels_due = 0, True
            self.why = f"open orders: {error}"
            self._next_ns = now_ns + self._pause_ns
            self._pause_ns = min(self._pause_ns * 2, PAUSE_MAX_NS)
            return
        self.open_orders, self._pause_ns = found, PAUSE_NS
        self._next_ns = now_ns + PAUSE_NS
        if found:
            self._begin_anew(asked_ns, now_ns)
        elif asked_ns >= self.quiet_ns:
            self.clean = min(self.clean + 1, CLEAN_ANSWERS)
            if self.clean == CLEAN_ANSWERS:
                self.verdict, self.why = Verdict.CLEAN, ""
                self._next_ns = now_ns + RECHECK_NS

    def _begin_anew(self, asked_ns: int, now_ns: int) -> None:
        """Orders are open: cancel them. Where none should arrive any more, one did, and others may."""
        self._cancels_due = True
        if self.verdict is Verdict.CLEAN:
            self.verdict = Verdict.UNCONFIRMED
        if asked_ns >= self.quiet_ns:
            self.quiet_ns = now_ns + self._guard.window_ns + SKEW_NS
        if self.clean or not self.cancelled_ns:
            self._next_ns = now_ns
        self.clean = 0

    def _tagged(self, call: Call) -> Call:
        self._tag += 1
        return call._replace(tag=self._tag)

    def _affords(self, now_ns: int) -> bool:
        return self._spent_ns - now_ns <= (self._guard.burst - 1) * self._guard.refill_ns
