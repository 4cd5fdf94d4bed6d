"""Standby: the second connection of a market-data stream, from when the first has not long to live until it takes over.

While both deliver, nothing is lost whatever the end of the first is like. Who reads them sorts out what came twice.
"""

from __future__ import annotations

from processes.transport.connect import Link, LinkEvent
from processes.transport.wire import MESSAGES_IN

#: A connection that lives for so long only is replaced this much before that.
REPLACE_BEFORE_NS = 60_000_000_000
#: How long a new connection delivers before it takes over: what the old one still holds has come on it, too, by then.
OVERLAP_NS = 1_500_000_000


def is_old(opened_ns: int, life_ns: int, now_ns: int) -> bool:
    """Whether a connection opened at `opened_ns` has not long to live, if such live for `life_ns`; 0 is for ever."""
    return life_ns > 0 and now_ns - opened_ns > life_ns - REPLACE_BEFORE_NS


class Standby:
    """A second connection in the making, then beside the first. `tick` often."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.opened_ns = 0  #: when it opened last
        self._heard = 0  # messages on its wire by then

    def tick(self, now_ns: int) -> LinkEvent:
        """Get on with the connection; what became of it."""
        event = self.link.tick(now_ns)
        if event is LinkEvent.OPENED:
            self.opened_ns = now_ns
            self._heard = int(self.link.wire.words[MESSAGES_IN])
        return event

    def may_take_over(self, now_ns: int) -> bool:
        """Whether it has delivered for long enough."""
        return self.link.open and now_ns - self.opened_ns > OVERLAP_NS and int(self.link.wire.words[MESSAGES_IN]) > self._heard
