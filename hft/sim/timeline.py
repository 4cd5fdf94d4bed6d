"""A timeline maps the machine's clock to a playback position and back, at a pace."""

from __future__ import annotations

from hft.sim.market import SimError

#: Position of a timeline that runs as fast as clients read.
UNBOUNDED_NS = 2**62


def pace_per_mille(text: str) -> int:
    """Return a pace in thousandths: `recorded` is 1000, `max` is 0, a number is that many times. Raises SimError."""
    if text in ("recorded", "max"):
        return 1000 if text == "recorded" else 0
    whole, _, part = text.partition(".")
    if text.isascii() and whole.isdigit() and (part.isdigit() or "." not in text) and len(whole) <= 6 and len(part) <= 3:
        pace = int(whole) * 1000 + int(part.ljust(3, "0"))
        if pace:
            return pace
    raise SimError(f"pace must be `recorded`, `max` or a number of 0.001 .. 999999, was {text[:40]!r}")


class Timeline:
    """Times are CLOCK_MONOTONIC in ns; positions are ns since playback began; stamps are UTC in ns."""

    def __init__(self, per_mille: int, wall_offset_ns: int) -> None:
        """Run at `per_mille` (0: unbounded); UTC is monotonic plus `wall_offset_ns`."""
        self._per_mille = per_mille
        self._wall_offset_ns = wall_offset_ns
        self._start_ns = 0
        self._now_ns = 0
        self._held_ns = 0
        self.running = False

    @property
    def unbounded(self) -> bool:
        """Whether clients set the pace."""
        return self._per_mille == 0

    def start(self, now_ns: int) -> None:
        """Be at position 0 now."""
        self._start_ns = self._now_ns = now_ns
        self.running = True

    def position(self, now_ns: int) -> int:
        """Return how far playback may go."""
        self._now_ns = now_ns
        if self.unbounded:
            return UNBOUNDED_NS
        return (now_ns - self._start_ns) * self._per_mille // 1000

    def when(self, position_ns: int) -> int:
        """Return the first time at which a position is reached; now if unbounded."""
        if self.unbounded:
            return self._now_ns
        return self._start_ns - (-position_ns * 1000 // self._per_mille)

    def stamp(self, position_ns: int) -> int:
        """Return the UTC at which a position is reached."""
        return self.when(position_ns) + self._wall_offset_ns

    def wall_ns(self, now_ns: int) -> int:
        """Return UTC."""
        return now_ns + self._wall_offset_ns

    def hold(self, position_ns: int, now_ns: int) -> None:
        """Stay at a position, now as before: later positions move back by the time spent here."""
        if not self.unbounded:
            self._start_ns += max(0, now_ns - self.when(position_ns))
