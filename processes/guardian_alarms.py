"""Alarms: why a guardian kills by itself, from what the engine says of itself in its file and its control words. No I/O, no clock.

Nothing is judged before the engine has traded once, and nothing while it leaves in order. What mends itself in time (a stage that is
restarted, a connection that comes back) is no reason.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from numpy.typing import NDArray

from hft import control
from hft.config import Guardian
from hft.control import ProcessWord, process_word

_MS = 1_000_000
#: Stages without which nobody may trade.
_VITAL = ("risk", "execution")

Engine = dict[str, Any]


class View(NamedTuple):
    """One look at an engine."""

    engine: Engine | None  #: engine.json
    alive: bool  #: whether the supervisor that wrote it still runs
    words: NDArray[Any] | None  #: control words; None when there are none
    now_ns: int

    @property
    def over(self) -> bool:
        """Whether the engine has ended, one way or the other."""
        return self.engine is not None and (not self.alive or self.engine["state"] == "STOPPED")


class Alarm(NamedTuple):
    """One reason to kill."""

    scope: str  #: "firm" or "venue.<name>"
    reason: str


class Alarms:
    """Watches one engine after another."""

    def __init__(self, bounds: Guardian, at_venue: list[str]) -> None:
        """`at_venue` are the venues where orders rest."""
        self._heartbeat_ns = bounds.heartbeat_max_ms * _MS
        self._stream_ns = bounds.stream_lost_max_ms * _MS
        self._at_venue = at_venue
        self._who: tuple[int, int] | None = None
        self._armed = False
        self._gone_ns = 0  #: when the engine, or its words, were first found gone
        self._ready_ns: dict[str, int] = {}  #: venue -> when it was last ready
        #: The engine whose end was answered with a kill: once armed again, that is settled.
        self.settled: tuple[int, int] | None = None

    def look(self, view: View) -> list[Alarm]:
        """Every reason that there is now."""
        if view.engine is None:
            return []
        who = (int(view.engine["pid"]), int(view.engine["started"]))
        if who != self._who:
            self._who, self._armed, self._gone_ns, self._ready_ns = who, False, 0, {}
        if view.over:
            return self._ended(view, who)
        if view.words is None:
            return self._unseen(view)
        self._gone_ns = 0
        if view.words[control.STOP]:
            return []
        self._armed = self._armed or bool(view.words[control.READY])
        return [*self._silent(view), *self._unready(view)] if self._armed else []

    def has_ended(self, view: View) -> bool:
        """Whether the engine is gone, and nothing is left to be done about that."""
        return view.engine is not None and view.over and (view.engine["state"] == "STOPPED" or self.settled == self._who)

    def settle(self) -> None:
        """The firm is killed because this engine ended, or was killed before: once armed again, that is no reason any more."""
        self.settled = self._who

    def _ended(self, view: View, who: tuple[int, int]) -> list[Alarm]:
        """Nobody is left to look after orders; unless it stopped in order, with none."""
        assert view.engine is not None
        if self.settled == who:
            return []
        if view.engine["state"] == "STOPPED":
            if view.engine["failure"]:
                return [Alarm("firm", f"the engine failed: {view.engine['failure']}")]
            left = int(view.engine.get("orders_left", 0))
            return [Alarm("firm", f"the engine stopped with {left} orders that still work")] if left else []
        return self._missed(view, f"the supervisor (pid {who[0]}) has ended without stopping the engine")

    def _unseen(self, view: View) -> list[Alarm]:
        assert view.engine is not None
        if view.engine["state"] not in ("RUNNING", "RESTARTING"):
            return []
        return self._missed(view, "the engine runs, but its control words cannot be read")

    def _missed(self, view: View, reason: str) -> list[Alarm]:
        """What counts once it has lasted: another supervisor may be about to take over."""
        self._gone_ns = self._gone_ns or view.now_ns
        return [Alarm("firm", reason)] if view.now_ns - self._gone_ns > self._heartbeat_ns else []

    def _silent(self, view: View) -> list[Alarm]:
        """Supervisor, risk or execution have not beaten for too long."""
        assert view.engine is not None and view.words is not None
        beats = {"the supervisor": int(view.words[control.SUPERVISOR_BEAT])}
        for row, process in enumerate(view.engine["processes"]):
            if vital := [stage for stage in process["stages"] if stage.startswith(_VITAL)]:
                beats[f"process {process['name']} ({', '.join(vital)})"] = int(view.words[process_word(row, ProcessWord.BEAT)])
        ages = {name: view.now_ns - beat_ns for name, beat_ns in beats.items()}
        return [
            Alarm("firm", f"{name} has not beaten for {age_ns // _MS} ms, at most {self._heartbeat_ns // _MS} are allowed")
            for name, age_ns in ages.items()
            if age_ns > self._heartbeat_ns
        ]

    def _unready(self, view: View) -> list[Alarm]:
        """A venue where orders rest that was ready once and is not any more."""
        assert view.engine is not None and view.words is not None
        alarms = []
        for row, venue in enumerate(view.engine["venues"]):
            if venue not in self._at_venue:
                continue
            if view.words[control.venue_ready(row)]:
                self._ready_ns[venue] = view.now_ns
            elif venue in self._ready_ns and view.now_ns - self._ready_ns[venue] > self._stream_ns:
                age_ms = (view.now_ns - self._ready_ns[venue]) // _MS
                alarms.append(Alarm(f"venue.{venue}", f"its private stream is lost, or what it holds is not reconciled, for {age_ms} ms"))
        return alarms
