"""Orders bench: how many orders a second the engine's order entry gets acknowledged by the simulated Binance, on another core.

    [generator] -orders ring-> [execution.binance: check, journal, encode, send] ==WebSocket==> hftctl venue-sim binance --no-limits
         ^---- report rings <- [scan, journal, report]                          <==replies, private stream==

Goals: orders acknowledged a second and the time from the send to the acknowledgement, window by window, for as long as is asked: the
stage is the engine's own, logged on, its private stream live, its journal written. `in_flight` orders are always on their way: bids
far from the market, immediate or cancel, so that each ends by itself and there are never more than that at the venue.
Not goals: the venue's limits, which both sides lift; a network.

The reference is a client that only writes prepared frames and counts replies, against a simulator of the same kind on the same cores:
where the engine comes near it, the simulator is what limits. `venue_alone` is the simulated venue called in this process, with no
socket at all, and `profile` the functions that its time goes to.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from processes import affinity
from processes.bench.orders_reference import profile_venue, rate_of_bare_client, rate_of_venue
from processes.bench.orders_source import ACKED, ENDED, FAILED, SPANS, OrderEngine
from processes.bench.report import finish, two_cores

WINDOW_S = 5.0
IN_FLIGHT = 64
#: Orders that the venue is called with where it is alone.
_ALONE_ORDERS = 20_000
_READY_S = 30.0
#: Time to get going that no window counts.
_WARM_UP_S = 1.0


class Window(NamedTuple):
    """What happened in one stretch of time."""

    per_s: float
    p50_us: float
    p99_us: float
    max_us: float


def run(rounds: int = 1, seconds: float = 10.0, in_flight: int = IN_FLIGHT) -> dict[str, Any]:
    """Run the bench for `seconds` a round; nothing is measured, and `floor` and `ratio` are None, with fewer than two cores."""
    cores = two_cores()
    if cores is None:
        return {**finish("orders", {}, None, None), "oversubscribed": True}
    windows: list[Window] = []
    bare: list[float] = []
    with _pinned(cores[0]), tempfile.TemporaryDirectory(prefix="hft-bench-") as name:
        for number in range(rounds):
            _say(f"round {number + 1} of {rounds}: the bare client, {seconds:g} s")
            with simulator(cores[1]) as urls:
                bare += rate_of_bare_client(urls["ws"], seconds, _window_s(seconds), in_flight)
            _say(f"round {number + 1} of {rounds}: the engine, {seconds:g} s, compiling or loading kernels first")
            with simulator(cores[1]) as urls:
                windows += _run_engine(Path(name) / str(number), urls, seconds, in_flight)
        _say("the venue alone")
        alone = rate_of_venue(_ALONE_ORDERS)
    return _document(windows, bare, alone, {"seconds": seconds, "rounds": rounds, "in_flight": in_flight, "cores": list(cores)})


def _window_s(seconds: float) -> float:
    """How long a window is where `seconds` are asked for."""
    return min(WINDOW_S, seconds)


def _document(windows: list[Window], bare: list[float], alone: float, asked: dict[str, Any]) -> dict[str, Any]:
    per_s = [window.per_s for window in windows]
    results = {
        "acked_per_s": round(median(per_s)),
        "ack_p50_us": round(median(window.p50_us for window in windows), 1),
        "ack_p99_us": round(median(window.p99_us for window in windows), 1),
        "windows": {name: [round(getattr(window, name), 1) for window in windows] for name in Window._fields},
        **asked,
        "profile": profile_venue(_ALONE_ORDERS // 4),
    }
    floor = {"bare_client_per_s": round(median(bare)), "bare_client_per_s_all": [round(rate) for rate in bare], "venue_alone_per_s": alone}
    ratio = {
        "acked_vs_bare_client": round(median(per_s) / median(bare), 3),
        "p99_last_vs_first_window": round(windows[-1].p99_us / windows[0].p99_us, 3),
    }
    return {**finish("orders", results, floor, ratio, sorted(asked.items())), "oversubscribed": False}


@contextlib.contextmanager
def _pinned(core: int) -> Iterator[None]:
    """This process on one core for a while."""
    before = os.sched_getaffinity(0)
    affinity.pin(core)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def simulator(core: int) -> Iterator[dict[str, str]]:
    """A simulated Binance without limits on a core; where it listens."""
    command = [sys.executable, "-m", "processes.cli", "venue-sim", "binance", "--no-limits", "--with-parent"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        try:
            os.sched_setaffinity(process.pid, {core})
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise RuntimeError("the simulator of binance did not get ready")
            yield msgspec.json.decode(line)
        finally:
            process.terminate()


def _run_engine(folder: Path, urls: dict[str, str], seconds: float, in_flight: int) -> list[Window]:
    with OrderEngine(folder, urls, in_flight) as engine:
        engine.await_ready(time.monotonic_ns() + int(_READY_S * 1e9))
        _turn_for(engine, _WARM_UP_S)
        windows = []
        for _ in range(max(1, round(seconds / _window_s(seconds)))):
            windows.append(_window(engine, _window_s(seconds)))
        engine.stop_sending()
        _turn_for(engine, _WARM_UP_S)
        counted = engine.words
        if counted[FAILED] or counted[ACKED] != counted[ENDED]:
            found = {"acknowledged": int(counted[ACKED]), "ended": int(counted[ENDED]), "failed": int(counted[FAILED])}
            raise RuntimeError(f"every order was to be acknowledged and then to expire, but these were: {found}")
        return windows


def _turn_for(engine: OrderEngine, seconds: float) -> float:
    """Turn the engine for so long; how long it was."""
    began_ns = time.monotonic_ns()
    until_ns = began_ns + int(seconds * 1e9)
    while (now_ns := time.monotonic_ns()) < until_ns:
        engine.turn()
    return (now_ns - began_ns) / 1e9


def _window(engine: OrderEngine, seconds: float) -> Window:
    first = int(engine.words[ACKED])
    took_s = _turn_for(engine, seconds)
    last = int(engine.words[ACKED])
    spans_us = _spans(engine.spans_ns, first, last) / 1e3
    percentiles = np.percentile(spans_us, [50, 99]) if len(spans_us) else np.zeros(2)
    return Window((last - first) / took_s, float(percentiles[0]), float(percentiles[1]), float(spans_us.max(initial=0.0)))


def _spans(log_ns: NDArray[np.int64], first: int, last: int) -> NDArray[np.int64]:
    """Spans number `first` to `last` of the circular log; the newest ones where it has turned over."""
    first = max(first, last - SPANS)
    return log_ns[np.arange(first, last) % SPANS]


def _say(text: str) -> None:
    print(f"orders: {text}", file=sys.stderr, flush=True)
