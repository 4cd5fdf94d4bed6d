"""Kill trigger: sets a kill word at random moments from a process of its own, and sees what a loop that obeys it still does."""

from __future__ import annotations

import mmap
import os
import random
import signal
import time
from resource import RUSAGE_SELF, getrusage

import numpy as np
from numpy.typing import NDArray

from hft import control
from processes.bench.orders_source import IN_FLIGHT_MAX, OrderEngine

BAR_NS = 1_000_000
#: The word is set this long after the last clearing, at random, and held for this long at least.
_PAUSE_NS, _HOLD_NS = (500_000, 3_000_000), 3 * BAR_NS // 2


class Trigger:
    """A process that sets a kill word again and again. `set_ns` and `cleared_ns` are 0 before each trigger's time; memory is shared."""

    def __init__(self, triggers: int, seed: int) -> None:
        memory = mmap.mmap(-1, 8 * (control.WORDS + 2 + 2 * triggers))
        shared = np.frombuffer(memory, np.int64)
        self.words: NDArray[np.int64] = shared[: control.WORDS]
        self.number: NDArray[np.int64] = shared[control.WORDS : control.WORDS + 1]  #: one cell: triggers begun
        self.seen: NDArray[np.int64] = shared[control.WORDS + 1 : control.WORDS + 2]  #: one cell: triggers that the loop ran on behind
        self.set_ns: NDArray[np.int64] = shared[control.WORDS + 2 :][:triggers]
        self.cleared_ns: NDArray[np.int64] = shared[control.WORDS + 2 + triggers :]
        self._random = random.Random(seed)
        self._pid = 0

    def start(self, core: int) -> None:
        """Begin in a process of its own."""
        self._pid = os.fork()
        if self._pid == 0:
            os.sched_setaffinity(0, {core})
            self._run()
            os._exit(0)

    def _run(self) -> None:
        for k in range(len(self.set_ns)):
            time.sleep(self._random.randint(*_PAUSE_NS) / 1e9)
            self.number[0] = k + 1
            self.set_ns[k] = time.monotonic_ns()
            self.words[control.KILL_FIRM] = 1
            while self.seen[0] <= k:
                time.sleep(_HOLD_NS / 1e9)
            self.cleared_ns[k] = time.monotonic_ns()
            self.words[control.KILL_FIRM] = 0
        self.number[0] = len(self.set_ns) + 1

    @property
    def over(self) -> bool:
        """Whether the last word has been cleared."""
        return bool(self.number[0] > len(self.set_ns))

    def is_past_bar(self) -> bool:
        """Whether the word is set and what leaves now would be too late; then the trigger goes on to its next."""
        k = int(self.number[0]) - 1
        past = bool(self.words[control.KILL_FIRM]) and time.monotonic_ns() - self.set_ns[k] > BAR_NS
        if past:
            self.seen[0] = k + 1
        return bool(past)

    def end(self) -> None:
        """End the process, whatever it does."""
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            self._pid = 0


class Lateness:
    """What is seen of each trigger while the engine takes its turns."""

    def __init__(self, engine: OrderEngine, trigger: Trigger) -> None:
        self._engine, self._trigger = engine, trigger
        self._last_ns = np.zeros(len(trigger.set_ns), np.int64)
        self._sources = engine.stage.context.live.sources
        self._newest_ns = 0
        self._preempted = np.zeros(len(trigger.set_ns), np.bool_)

    def turn(self) -> None:
        """One turn of the engine, then when the newest order left, if it is killed."""
        engine, trigger = self._engine, self._trigger
        switches = getrusage(RUSAGE_SELF).ru_nivcsw
        engine.turn()
        preempted = getrusage(RUSAGE_SELF).ru_nivcsw != switches
        # Refused orders take the rows of those that were sent, but not all of them in one turn.
        self._newest_ns = max(self._newest_ns, int(self._sources["sent_ns"].max()))
        k = int(trigger.number[0]) - 1
        if bool(trigger.words[control.KILL_FIRM]) and k == trigger.number[0] - 1:
            self._preempted[k] |= preempted and not self._last_ns[k]
            self._last_ns[k] = self._newest_ns
        # Refusals go at the speed of the loop: after the bar they would only fill the journal.
        engine.words[IN_FLIGHT_MAX] = 0 if trigger.is_past_bar() else engine.in_flight

    @property
    def seen(self) -> NDArray[np.bool_]:
        """Of each trigger, whether the engine was seen to run while it was killed."""
        return self._last_ns > 0

    def undisturbed(self) -> list[bool]:
        """Of each trigger that was seen, whether nobody took the core from the engine in the turn that met it."""
        return [not taken for taken, last in zip(self._preempted, self._last_ns, strict=True) if last]

    def found_ns(self) -> list[int]:
        """How long after each trigger that was seen an order still left."""
        return [max(int(last) - int(at), 0) for last, at in zip(self._last_ns, self._trigger.set_ns, strict=True) if last]
