"""Guardian watch: which scopes are killed, by whoever; and kills by itself what the alarms say.

The kill words are read at every look; engine, latch and alarms, which are files or can wait, a few times a second. A word without a latch
gets one, in case that whoever set it is frozen or gone: a kill outlives the engine.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray

from hft import control
from hft.config import Guardian
from hft.records import LAYOUT_ID, RiskCode
from processes.attach import CONTROL_GEOMETRY, is_alive
from processes.errors import EngineError
from processes.guardian_alarms import Alarms, View
from processes.instance import Instance
from processes.operate import kill_scope, scope_of
from shm.segment import Segment, SegmentError

_SLOW_NS = 50_000_000
#: Whoever sets a word latches it next; a guardian does it for who has not by then.
_LATCH_PATIENCE_NS = 1_000_000_000


class Kill(NamedTuple):
    """A scope that is killed."""

    reason: str
    by_guardian: bool
    at_ns: int  #: UTC of the latch; 0 while there is none


class Watch:
    """Follows one instance over all its engines."""

    def __init__(self, instance: Instance, bounds: Guardian, at_venue: list[str], venues: list[str]) -> None:
        self.engine: dict[str, Any] | None = None
        self.kills: dict[str, Kill] = {}  #: "firm", "venue.<name>"
        self.problem = ""  #: why a kill could not be latched, or the engine not be read
        self.words: NDArray[Any] | None = None  #: the control words, read-only
        self.alarms = Alarms(bounds, at_venue)
        self.view = View(None, False, None, 0)
        self._instance = instance
        self._scopes = {"firm", *(f"venue.{venue}" for venue in venues)}
        self._latch: dict[str, Any] = {}
        self._own: dict[str, str] = {}  #: scopes that this guardian killed, and why
        self._unlatched_ns: dict[str, int] = {}
        self._segment: Segment | None = None
        self._stamp: tuple[int, ...] = ()
        self._slow_ns = 0

    def look(self, now_ns: int) -> dict[str, Kill]:
        """The scopes that are killed at this time, CLOCK_MONOTONIC."""
        slow = now_ns >= self._slow_ns
        if slow:
            # The latch before the words: `arm` clears them in the other order.
            self._slow_ns = now_ns + _SLOW_NS
            self._latch = self._instance.read_kill()
            self._follow_engine()
        words = self._word_kills()
        if slow:
            self._sound(now_ns, words)
            self._latch_words(now_ns, words)
        self.kills = self._merged(words)
        return self.kills

    def is_killed(self, venue: str) -> bool:
        """Whether the firm or this venue is killed."""
        return "firm" in self.kills or f"venue.{venue}" in self.kills

    def close(self) -> None:
        """Let go of the control words."""
        self.words = None
        if self._segment is not None:
            self._segment.close()
            self._segment = None

    def _follow_engine(self) -> None:
        """Read engine.json if it is another one, and attach to the words of an engine that is new."""
        stamp = _stamp(self._instance.engine_file)
        if stamp != self._stamp:
            try:
                found = self._instance.read_engine()
            except EngineError as error:
                self.problem = str(error)
                return
            self._stamp = stamp
            if self.engine is None or found is None or (found["pid"], found["started"]) != (self.engine["pid"], self.engine["started"]):
                self.close()
            self.engine = found
        if self.engine is not None and self._segment is None and is_alive(self.engine):
            self._attach()

    def _attach(self) -> None:
        try:
            segment = Segment.attach(self._instance.control_segment, LAYOUT_ID, CONTROL_GEOMETRY, readonly=True)
        except SegmentError:
            return
        assert self.engine is not None
        if segment.owner.pid != self.engine["pid"]:
            segment.close()  # Of an engine before, not reclaimed yet.
            return
        self._segment, self.words = segment, segment.array(0, "<i8", control.WORDS)

    def _word_kills(self) -> dict[str, int]:
        """Scope -> what its word says."""
        if self.words is None or self.engine is None:
            return {}
        rows = range(control.KILL_FIRM, control.KILL_VENUE + len(self.engine["venues"]))
        found = {row: int(self.words[row]) for row in rows}
        return {scope_of(row, self.engine): value for row, value in found.items() if value}

    def _merged(self, words: dict[str, int]) -> dict[str, Kill]:
        """What words and latch say together. A scope that this guardian does not know counts as the firm, but for strategies and
        instruments: their orders are the engine's to cancel, because a venue cannot tell them from others."""
        found: dict[str, Kill] = {}
        for scope, entry in self._latch.items():
            if not scope.startswith(("strategy.", "instrument.")):
                known = scope if scope in self._scopes else "firm"
                details = entry if isinstance(entry, dict) else {}
                found.setdefault(known, Kill(str(details.get("reason", "")), scope in self._own, int(details.get("at_ns", 0) or 0)))
        for scope, code in words.items():
            found.setdefault(scope, Kill(self._own.get(scope) or _reason(code), scope in self._own, 0))
        self._own = {scope: why for scope, why in self._own.items() if scope in found}
        return found

    def _sound(self, now_ns: int, words: dict[str, int]) -> None:
        """Kill what the alarms say, unless it is killed already."""
        alive = self.engine is not None and is_alive(self.engine)
        self.view = View(self.engine, alive, self.words, now_ns)
        for alarm in self.alarms.look(self.view):
            if "firm" in words or alarm.scope in words or "firm" in self._latch or alarm.scope in self._latch:
                continue
            self._own[alarm.scope] = f"guardian: {alarm.reason}"
            self._kill(alarm.scope, self._own[alarm.scope])
        if self.view.over and ("firm" in self._latch or "firm" in self._own):
            self.alarms.settle()

    def _latch_words(self, now_ns: int, words: dict[str, int]) -> None:
        for scope, code in words.items():
            if scope in self._latch:
                self._unlatched_ns.pop(scope, None)
            elif now_ns - self._unlatched_ns.setdefault(scope, now_ns) > _LATCH_PATIENCE_NS:
                self._kill(scope, self._own.get(scope) or _reason(code))
        self._unlatched_ns = {scope: since for scope, since in self._unlatched_ns.items() if scope in words}

    def _kill(self, scope: str, reason: str) -> None:
        """Set word and latch. What fails is told, tried again at the next look, and keeps nobody from canceling."""
        try:
            kill_scope(self._instance, scope, reason)
            self._latch = self._instance.read_kill()
            self.problem = ""
        except (EngineError, SegmentError, OSError) as error:
            self.problem = f"cannot kill {scope}: {error}"
            self._latch.setdefault(scope, {"reason": reason})


def _reason(code: int) -> str:
    """What a kill word says: 1 is set by people, others by a breaker of risk."""
    if code in RiskCode._value2member_map_:
        return f"R{code - 2000:03d} {RiskCode(code).name}"
    return "kill word"


def _stamp(path: Path) -> tuple[int, ...]:
    try:
        status = os.stat(path)
    except OSError:
        return ()
    return status.st_ino, status.st_mtime_ns, status.st_size
