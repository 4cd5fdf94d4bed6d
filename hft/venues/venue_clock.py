"""Venue clock: what a venue's clock is ahead of ours, from looks at it: a question, and the time that its answer tells."""

from __future__ import annotations

from collections import deque

#: How many looks count: the quickest of the newest ones is right.
LOOKS = 8
#: A slower look tells too little of a clock that requests are good for a second by.
ROUND_TRIP_MAX_NS = 1_000_000_000


class VenueClock:
    """One venue's clock, as one host sees it."""

    def __init__(self, grain_ns: int = 1_000_000) -> None:
        """`grain_ns` is the step in which the venue tells its time."""
        self._grain_ns = grain_ns
        self._looks: deque[tuple[int, int]] = deque(maxlen=LOOKS)  # round trip, offset

    @property
    def known(self) -> bool:
        """Whether a look has told."""
        return bool(self._looks)

    def look(self, venue_utc_ns: int, sent_utc_ns: int, round_trip_ns: int) -> bool:
        """Take an answer to a question of `sent_utc_ns` by our clock; whether it tells anything.

        The venue's time is the beginning of its step.
        """
        if round_trip_ns > ROUND_TRIP_MAX_NS:
            return False
        offset_ns = venue_utc_ns + self._grain_ns // 2 - (sent_utc_ns + round_trip_ns // 2)
        if self._looks:
            quickest_ns, known_ns = min(self._looks)
            # Each look is right to half its round trip and a step. If they exclude each other, a clock was set.
            if abs(offset_ns - known_ns) > (round_trip_ns + quickest_ns) // 2 + self._grain_ns:
                self._looks.clear()
        self._looks.append((round_trip_ns, offset_ns))
        return True

    def offset_ns(self) -> int:
        """The venue's clock minus ours; 0 while it is not known."""
        return min(self._looks)[1] if self._looks else 0
