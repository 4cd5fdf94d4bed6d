"""Guardian paper: what a guardian does where orders reach no venue: asserts that none works and none fills after a kill.

The paper venue is a part of its execution stage, which obeys the kill word itself. Its counters tell, once it has beaten after the kill. A
paper venue that has ended has no orders.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from hft.sweep import CLEAN_ANSWERS, MS, Verdict

_PAUSE_NS = 100 * MS
#: Besides the latencies that the config simulates: turns of the stage.
_SLACK_NS = 100 * MS
#: The first look only gives the number of fills that must not rise.
_CLEAN_LOOKS = CLEAN_ANSWERS + 1


class Reading(NamedTuple):
    """What the execution stage of a paper venue shows."""

    beat_ns: int  #: of its process
    working: int
    trades: int


class PaperSweep:
    """One paper venue, from the kill until it is armed again."""

    def __init__(self, latency_us: int, killed_ns: int, confirm_ns: int) -> None:
        """`latency_us` is how long what an order brought about may be on its way."""
        self.verdict = Verdict.PENDING
        self.quiet_ns = killed_ns + latency_us * 1000 + _SLACK_NS
        self.deadline_ns = self.quiet_ns + confirm_ns
        self.clean = 0
        self.open_orders: list[str] | None = None
        self.why = ""
        self.refusals = 0
        self.cancelled_ns = 0
        self._trades = -1
        self._next_ns = killed_ns

    def look(self, read: Callable[[], Reading | None], now_ns: int) -> None:
        """Get on with it; `read` gives None when the engine has ended."""
        if self.verdict is Verdict.PENDING and now_ns >= self.deadline_ns:
            self.verdict = Verdict.UNCONFIRMED
        if now_ns < self._next_ns:
            return
        self._next_ns = now_ns + _PAUSE_NS
        reading = read()
        if reading is None:
            self.open_orders, self.why = [], ""
            self.verdict = Verdict.CLEAN
        elif reading.beat_ns < self.quiet_ns:
            self.why = "its execution has not beaten since the kill"
        else:
            self._judge(reading)

    def _judge(self, reading: Reading) -> None:
        filled = reading.trades - self._trades if self._trades >= 0 else 0
        self._trades = reading.trades
        self.open_orders = [f"paper order {k + 1}" for k in range(reading.working)]
        if filled or reading.working:
            self.clean = 0
            self.why = f"{filled} fills after the kill" if filled else f"{reading.working} orders work"
            if self.verdict is Verdict.CLEAN:
                self.verdict = Verdict.UNCONFIRMED
            return
        self.clean = min(self.clean + 1, _CLEAN_LOOKS)
        if self.clean == _CLEAN_LOOKS:
            self.verdict, self.why = Verdict.CLEAN, ""
