"""Kill bench: how long new orders still leave after a kill word is set, under full order load, with the word set at random moments.

    [trigger, another process] --kill word--> [generator -> execution.binance] ==WebSocket==> hftctl venue-sim binance --no-limits

The engine side is that of the orders bench. A process of its own sets the word at random moments, holds it for longer than the bar, and
clears it once the engine has been seen to run. What is measured is from just before the store to the stamp behind the last `send` that had a
new order in it; 0 where none left after the store. The goal is that this is never more than 1 ms; a host that takes the core from the engine
in that very turn makes it later, so triggers in whose turn it did not are told apart, as undisturbed. `end_to_end` is the same up to the
arrival of the last byte at the venue's socket, with its reference; see `kill_wire`.
Not a goal: what becomes of orders that had left; a kernel that another process has frozen (the venue's window ends what that sends).
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from processes.bench.kill_trigger import BAR_NS, Lateness, Trigger
from processes.bench.kill_wire import Wire, measure_bare, measure_engine
from processes.bench.orders import IN_FLIGHT, simulator
from processes.bench.orders_source import ACKED, OrderEngine
from processes.bench.report import BenchError, finish, two_cores

TRIGGERS, END_TO_END = 10_000, 200
SEED = 1
_READY_S = 30.0


def run(rounds: int = 1, triggers: int = TRIGGERS, end_to_end: int = END_TO_END) -> dict[str, Any]:
    """Run the bench: `triggers` in process and `end_to_end` at the venue's socket a round.

    Nothing is measured, and `floor` and `ratio` are None, with fewer than two cores.
    """
    cores = two_cores()
    if cores is None:
        return {**finish("kill", {}, None, None), "oversubscribed": True}
    late: list[int] = []
    undisturbed: list[bool] = []
    acked = 0
    engine, bare = [], []
    for number in range(rounds):
        seed = SEED + number
        _say(f"round {number + 1} of {rounds}, {triggers} triggers in process, seed {seed}")
        with tempfile.TemporaryDirectory(prefix="hft-bench-") as folder, simulator(cores[1]) as urls:
            os.sched_setaffinity(0, {cores[0]})
            found, alone, orders = _measure(Path(folder) / "engine", urls, Trigger(triggers, seed), cores[1])
            late, undisturbed, acked = late + found, undisturbed + alone, acked + orders
        _say(f"round {number + 1} of {rounds}, {end_to_end} triggers end to end, and the bare writer")
        with tempfile.TemporaryDirectory(prefix="hft-bench-") as folder, simulator(cores[1]) as urls:
            engine.append(measure_engine(Path(folder) / "engine", urls, Trigger(end_to_end, seed), IN_FLIGHT, cores[1]))
        bare.append(measure_bare(Trigger(end_to_end, seed), cores[1]))
    asked = {"rounds": rounds, "triggers": triggers, "end_to_end_triggers": end_to_end, "seed": SEED, "cores": list(cores)}
    return document(late, undisturbed, acked, _joined(engine), _joined(bare), asked)


def _say(text: str) -> None:
    print(f"kill: {text}", file=sys.stderr, flush=True)


def _measure(folder: Path, urls: dict[str, str], trigger: Trigger, core: int) -> tuple[list[int], list[bool], int]:
    """How long after each trigger new orders still left, ns; whether it was undisturbed; how many orders were acknowledged."""
    with OrderEngine(folder, urls, IN_FLIGHT, trigger.words) as engine:
        engine.await_ready(time.monotonic_ns() + int(_READY_S * 1e9))
        engine.burst_ns = BAR_NS // 10
        lateness = Lateness(engine, trigger)
        trigger.start(core)
        try:
            while not trigger.over:
                lateness.turn()
        finally:
            trigger.end()
        return lateness.found_ns(), lateness.undisturbed(), int(engine.words[ACKED])


def _joined(rounds: list[Wire]) -> Wire:
    late, alone = np.concatenate([each.late_ns for each in rounds]), np.concatenate([each.undisturbed for each in rounds])
    longest_ns = max(each.longest_ns for each in rounds)
    return Wire(late, alone, longest_ns, sum(each.over for each in rounds), sum(each.orders for each in rounds))


def document(late: list[int], undisturbed: list[bool], acked: int, engine: Wire, bare: Wire, asked: dict[str, Any]) -> dict[str, Any]:
    """The document; BenchError if a trigger was not seen, or orders did not flow."""
    triggers, wired = asked["triggers"] * asked["rounds"], asked["end_to_end_triggers"] * asked["rounds"]
    for count, found, orders in ((triggers, len(late), acked), (wired, len(engine.late_ns), engine.orders)):
        if found < count * 0.99 or orders < count:
            raise BenchError(f"of {count} triggers {found} were measured, and {orders} orders acknowledged: this host is too busy")
    late_us = np.array(late) / 1e3
    results = {f"p{name}_us": round(float(np.percentile(late_us, p)), 1) for name, p in (("50", 50), ("99", 99), ("999", 99.9))}
    results |= {"max_us": round(float(late_us.max()), 1), "measured": len(late), "none_after": int((late_us == 0).sum()), "acked": acked}
    alone_us = late_us[np.array(undisturbed)]
    results |= {"over_the_bar": int((late_us > BAR_NS / 1e3).sum()), "undisturbed": len(alone_us)}
    results |= {"undisturbed_over_the_bar": int((alone_us > BAR_NS / 1e3).sum())}
    alone_ns = engine.late_ns[engine.undisturbed]
    at_socket = engine.summary() | {"undisturbed": len(alone_ns), "undisturbed_over_the_bar": int((alone_ns > BAR_NS).sum())}
    at_socket |= {"acked": engine.orders, "longest_turn_us": round(engine.longest_ns / 1e3, 1), "turns_over_the_bar": engine.over}
    gaps = {"longest_gap_us": round(bare.longest_ns / 1e3, 1), "gaps_over_the_bar": bare.over, "written": bare.orders}
    floor = {"bar_us": BAR_NS / 1e3, "bare_writer_end_to_end": bare.summary() | gaps}
    ratio = {
        f"{name}max_vs_bar": round(float(us.max(initial=0)) * 1e3 / BAR_NS, 3)
        for name, us in (("", late_us), ("undisturbed_", alone_us), ("end_to_end_", engine.late_ns / 1e3))
    }
    return {**finish("kill", {**results, "end_to_end": at_socket, **asked}, floor, ratio, sorted(asked.items())), "oversubscribed": False}
