"""Kill bench: how long new orders still leave after a kill word is set, under full order load, with the word set at random moments.

    [trigger, another process] --kill word--> [generator -> execution.binance] ==WebSocket==> hftctl venue-sim binance --no-limits

The engine side is that of the orders bench. A process of its own sets the word at random moments, holds it for longer than the bar, and
clears it once the engine has been seen to run. What is measured is from just before the store to the stamp behind the last `send` that had a new order in it; 0 where none left
after the store. The goal is that this is never more than 1 ms; a host that takes the core from the engine in that very turn makes it later,
so triggers in whose turn it did not are told apart, as undisturbed.
Not a goal: what becomes of orders that had left; a kernel that another process has frozen (the venue's window ends what that sends).
"""

from __future__ import annotations

import mmap
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hft import control
from processes.bench.orders import IN_FLIGHT, simulator
from processes.bench.orders_source import ACKED, IN_FLIGHT_MAX, OrderEngine
from processes.bench.report import BenchError, finish, two_cores

TRIGGERS = 10_000
BAR_NS = 1_000_000
SEED = 1
#: The word is set this long after the last clearing, at random, and held for this long at least.
_PAUSE_NS, _HOLD_NS = (500_000, 3_000_000), 3 * BAR_NS // 2
_READY_S = 30.0


class Trigger:
    """A process that sets a kill word again and again. `set_ns` is 0 before each trigger's time; memory is shared."""

    def __init__(self, triggers: int, seed: int) -> None:
        memory = mmap.mmap(-1, 8 * (control.WORDS + 2 + triggers))
        shared = np.frombuffer(memory, np.int64)
        self.words: NDArray[np.int64] = shared[: control.WORDS]
        self.number: NDArray[np.int64] = shared[control.WORDS : control.WORDS + 1]  #: one cell: triggers begun
        self.seen: NDArray[np.int64] = shared[control.WORDS + 1 : control.WORDS + 2]  #: one cell: triggers that the engine ran on behind
        self.set_ns: NDArray[np.int64] = shared[control.WORDS + 2 :]
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
            self.words[control.KILL_FIRM] = 0
        self.number[0] = len(self.set_ns) + 1

    def end(self) -> None:
        """End the process, whatever it does."""
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            self._pid = 0


def run(rounds: int = 1, triggers: int = TRIGGERS) -> dict[str, Any]:
    """Run the bench; nothing is measured, and `floor` and `ratio` are None, with fewer than two cores."""
    cores = two_cores()
    if cores is None:
        return {**finish("kill", {}, None, None), "oversubscribed": True}
    late: list[int] = []
    undisturbed: list[bool] = []
    acked = 0
    for number in range(rounds):
        print(f"kill: round {number + 1} of {rounds}, {triggers} triggers, seed {SEED + number}", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(prefix="hft-bench-") as folder, simulator(cores[1]) as urls:
            os.sched_setaffinity(0, {cores[0]})
            found, alone, orders = _measure(Path(folder) / "engine", urls, Trigger(triggers, SEED + number), cores[1])
            late, undisturbed, acked = late + found, undisturbed + alone, acked + orders
    return document(late, undisturbed, acked, {"rounds": rounds, "triggers": triggers, "seed": SEED, "cores": list(cores)})


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
        killed = bool(trigger.words[control.KILL_FIRM])
        if killed and k == trigger.number[0] - 1:
            self._preempted[k] |= preempted and not self._last_ns[k]
            self._last_ns[k] = self._newest_ns
        # Refusals go at the speed of the loop: after the bar they would only fill the journal.
        over = killed and time.monotonic_ns() - trigger.set_ns[k] > BAR_NS
        if over:
            trigger.seen[0] = k + 1
        engine.words[IN_FLIGHT_MAX] = 0 if over else engine.in_flight

    def undisturbed(self) -> list[bool]:
        """Of each trigger that was seen, whether nobody took the core from the engine in the turn that met it."""
        return [not taken for taken, last in zip(self._preempted, self._last_ns, strict=True) if last]

    def found_ns(self) -> list[int]:
        """How long after each trigger that was seen an order still left."""
        return [max(int(last) - int(at), 0) for last, at in zip(self._last_ns, self._trigger.set_ns, strict=True) if last]


def _measure(folder: Path, urls: dict[str, str], trigger: Trigger, core: int) -> tuple[list[int], list[bool], int]:
    """How long after each trigger new orders still left, ns; whether it was undisturbed; how many orders were acknowledged."""
    with OrderEngine(folder, urls, IN_FLIGHT, trigger.words) as engine:
        engine.await_ready(time.monotonic_ns() + int(_READY_S * 1e9))
        engine.burst_ns = BAR_NS // 10
        lateness = Lateness(engine, trigger)
        trigger.start(core)
        try:
            while trigger.number[0] <= len(trigger.set_ns):
                lateness.turn()
        finally:
            trigger.end()
        return lateness.found_ns(), lateness.undisturbed(), int(engine.words[ACKED])


def document(late: list[int], undisturbed: list[bool], acked: int, asked: dict[str, Any]) -> dict[str, Any]:
    """The document; BenchError if a trigger was not seen, or orders did not flow."""
    triggers = asked["triggers"] * asked["rounds"]
    if len(late) < triggers * 0.99 or acked < triggers:
        raise BenchError(f"of {triggers} triggers {len(late)} were measured, and {acked} orders acknowledged: this host is too busy")
    late_us = np.array(late) / 1e3
    results = {f"p{name}_us": round(float(np.percentile(late_us, p)), 1) for name, p in (("50", 50), ("99", 99), ("999", 99.9))}
    results |= {"max_us": round(float(late_us.max()), 1), "measured": len(late), "none_after": int((late_us == 0).sum()), "acked": acked}
    alone_us = late_us[np.array(undisturbed)]
    results |= {"over_the_bar": int((late_us > BAR_NS / 1e3).sum()), "undisturbed": len(alone_us)}
    results |= {"undisturbed_over_the_bar": int((alone_us > BAR_NS / 1e3).sum())}
    ratio = {
        f"{name}max_vs_bar": round(float(us.max(initial=0)) * 1e3 / BAR_NS, 3) for name, us in (("", late_us), ("undisturbed_", alone_us))
    }
    return {**finish("kill", {**results, **asked}, {"bar_us": BAR_NS / 1e3}, ratio, sorted(asked.items())), "oversubscribed": False}
