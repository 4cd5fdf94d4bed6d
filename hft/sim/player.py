"""A player plays a market at a pace for a venue: from the first subscription to the end, and again if it loops."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from hft.sim.market import Event, Hold, Market
from hft.sim.timeline import Timeline
from hft.sim.venue import IDLE_NS, MS, SECOND_NS

#: Playback begins this long after the first subscription, so that a client may subscribe in several steps.
START_GRACE_NS = 50 * MS
#: A client that wants a recorded snapshot has this long to ask for it before playback passes its place.
SNAPSHOT_WAIT_NS = 2 * SECOND_NS


class Settings(NamedTuple):
    """How a venue plays its market."""

    pace_per_mille: int = 1000  #: 0 is as fast as clients read
    loop: bool = False  #: at the end, close every connection and begin again with the next subscriber
    unlimited: bool = False  #: no limits on messages, request weight and connections
    untouched: bool = False  #: bodies are sent byte for byte, even to clients that asked for microseconds


class Player:
    """Plays what `make_market` returns, anew for each round. Venue times are UTC: monotonic plus an offset plus a skew."""

    def __init__(self, make_market: Callable[[], Market], settings: Settings, wall_offset_ns: int, hold: Hold | None = None) -> None:
        """`hold` is asked before a recorded snapshot is passed: should playback wait? Default is no."""
        self._make_market = make_market
        self._pace_per_mille = settings.pace_per_mille
        self._wall_offset_ns = wall_offset_ns
        self._hold = hold or _never
        #: What is added to the venue's clock, by fault.
        self.skew_ns = 0
        self.load()

    def load(self) -> None:
        """Put a new round's market in place, to begin with the first subscriber."""
        self.market = self._make_market()
        self.timeline = Timeline(self._pace_per_mille, self._wall_offset_ns)
        self.position_ns = 0
        self._begin_ns = IDLE_NS
        self._due_ns = self.market.due_ns()
        self._now_ns = 0
        self._held: bool = False
        self._hold_until_ns = 0

    def utc_ns(self, now_ns: int) -> int:
        """Return the venue's time."""
        return now_ns + self._wall_offset_ns + self.skew_ns

    def monotonic_ns(self, utc_ns: int) -> int:
        """Return when the venue's clock shows `utc_ns`."""
        return utc_ns - self._wall_offset_ns - self.skew_ns

    def begin(self, now_ns: int) -> None:
        """Note that somebody wants the market: the first one sets the time at which playback begins."""
        if self._begin_ns == IDLE_NS:
            self._begin_ns = now_ns + START_GRACE_NS

    @property
    def finished(self) -> bool:
        """Whether everything was played."""
        return self._due_ns is None

    @property
    def playing(self) -> bool:
        """Whether playback has begun and is not over."""
        return self.timeline.running and not self.finished

    @property
    def waited_long(self) -> bool:
        """Whether playback has been held as long as it may be."""
        return self._held and self._now_ns >= self._hold_until_ns

    def deadline_ns(self, watched: bool) -> int:
        """Return when `advance` is next needed. `watched`: at unbounded pace, whether anybody subscribes."""
        if not self.timeline.running:
            return self._begin_ns
        if self._held:
            return self._hold_until_ns
        if self._due_ns is None or self.timeline.unbounded and not watched:
            return IDLE_NS
        return self.timeline.when(self._due_ns)

    def advance(self, now_ns: int, budget: int, watched: bool) -> list[Event]:
        """Return the events that are due, about `budget` of them at most."""
        if not self.timeline.running:
            if now_ns < self._begin_ns:
                return []
            self.timeline.start(now_ns)
            self.market.begin(self.stamp, self._hold)
        if self._due_ns is None or self.timeline.unbounded and not watched:
            return []
        self._now_ns = now_ns
        if self._held:
            self.timeline.hold(self._due_ns, now_ns)
        events = self.market.advance(self.timeline.position(now_ns), budget)
        if events:
            self.position_ns = events[-1].at_ns
        self._due_ns = self.market.due_ns()
        held = self.market.held()
        if held and not self._held:
            self._hold_until_ns = now_ns + SNAPSHOT_WAIT_NS
        self._held = held
        return events

    def stamp(self, position_ns: int) -> int:
        """Return the venue's time at which a position is reached."""
        return self.timeline.stamp(position_ns) + self.skew_ns


def _never(_: str) -> bool:
    return False
