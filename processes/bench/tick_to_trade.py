"""Tick-to-trade bench: times the engine from a market-data frame on the wire to the order's frame on the wire.

    peer (C) --depthUpdate--> [recv, decode, book, publish, strategy, risk, journal, encode, send] --order.place--> peer
             <--------------------------- [scan, journal, report] <----------------------------- refusal of the order

Goals: round trips that a minimal compiled peer sees over loopback TCP, back to back and paced, when caches are colder; one
order an update through the venue's own order entry, on a connection of its own; every control on, every journal written; and the
means of the hops inside. Each order is answered once its round trip is over, and has ended before the next update.
Not goals: log-on, TLS, a network card.

The floor is the same peer against a compiled program that reads and writes as many bytes on the same two connections.
Each of the engine's runs follows a run of the floor on the same cores, and the median of these pairs' ratios counts.
The engine has the kernel acknowledge a frame after the order has left (`transport/direct.py`), which a plain program does not:
`..._acks_late` are ratios to a floor that does the same.

`fused` runs all stages in one spinning process that reads and writes the sockets itself (`direct`), `picows` the same with market
data on the spinning event loop, `separate` one process a stage. With fewer cores than spinners those give their core away when idle:
`oversubscribed`, and nothing to judge.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hft.latency import Span
from processes.bench import tick_engine
from processes.bench.report import compile_c, finish, two_cores
from processes.bench.tick_engine import FUSED, SEPARATE, BenchError, Order, Placement, Sockets
from processes.bench.tick_frames import SIDE_LEVELS, Frames, write_frames

#: Between two paced ticks.
PACE_NS = 200_000

_SOURCE = Path(__file__).with_name("tick_peer.c")
_PERCENTILES = {"p50_ns": 50.0, "p90_ns": 90.0, "p99_ns": 99.0}
_HOPS = (Span.WIRE_TO_DECODED, Span.DECODED_TO_DECIDED, Span.DECIDED_TO_APPROVED, Span.APPROVED_TO_SENT)
_START_NS, _STOP_NS = 60_000_000_000, 20_000_000_000
#: What stages need at most to see that they may trade, when they share a core.
_SETTLE_S = 0.05
#: The venue's refusal of an order, whose id the peer puts in: the order has ended, and nothing of it is left.
_NO_ID = b"0" * 16
_REFUSAL = b'{"id":"' + _NO_ID + b'","status":400,"error":{"code":-2010,"msg":"Account has insufficient balance for requested action."}}'
_ANSWER = bytes((0x81, len(_REFUSAL))) + _REFUSAL
_UPGRADE_KEY = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Kind(NamedTuple):
    """A way to run the engine."""

    name: str
    transport: str
    placement: Placement


_FUSED, _PICOWS = Kind("fused", "direct", FUSED), Kind("picows", "picows", FUSED)
_SEPARATE = Kind("separate", "direct", SEPARATE)


class Ends(NamedTuple):
    """One side's ends of both connections."""

    market: socket.socket
    orders: socket.socket


class Bench(NamedTuple):
    """What all runs share."""

    program: Path
    folder: Path
    cores: tuple[int, int]
    order: Order
    answer: Path


class Load(NamedTuple):
    """Frames to send: the first `warm_up` are not counted."""

    name: str
    frames: Frames
    warm_up: int
    gap_ns: int


def run(rounds: int = 7, ticks: int = 20_000, paced_ticks: int = 5_000, separate_ticks: int = 2_000) -> dict[str, Any]:
    """Run the bench; `floor` and `ratio` are None, and nothing is measured, without a C compiler or a second core."""
    cores = two_cores()
    with tempfile.TemporaryDirectory(prefix="hft-bench-") as name:
        folder = Path(name)
        program = compile_c(_SOURCE, folder)
        if program is None or cores is None:
            return {**finish("tick-to-trade", {}, None, None), "oversubscribed": cores is None}
        answer = folder / "answer"
        answer.write_bytes(_ANSWER)
        bench = Bench(program, folder, cores, tick_engine.order_of(tick_engine.make_config()), answer)
        loads = [_load(folder, "back_to_back", ticks, 0), _load(folder, "paced", paced_ticks, PACE_NS)]
        _say("compiling or loading kernels")
        for kind in (_FUSED, _PICOWS, _SEPARATE):
            tick_engine.warm(folder, kind.transport, kind.placement)
        series = {(kind.name, load.name): Series(load.name) for kind in (_FUSED, _PICOWS) for load in loads}
        for number in range(rounds):
            for kind in (_FUSED, _PICOWS):
                for load in loads:
                    _say(f"round {number + 1} of {rounds}: {kind.name}, {load.name}")
                    _pair(bench, kind, load, series[kind.name, load.name])
        apart = Series("back_to_back")
        load = _load(folder, "separate", separate_ticks, 0)
        for number in range(min(rounds, 3)):
            _say(f"separate processes, round {number + 1} of {min(rounds, 3)}")
            _pair(bench, _SEPARATE, load, apart)
    return _document(bench, loads, series, apart)


class Series:
    """The runs of one kind under one load, each beside its floor's."""

    def __init__(self, load: str) -> None:
        self.load = load
        self.floor: list[dict[str, float]] = []
        self.floor_acks_late: list[dict[str, float]] = []
        self.engine: list[dict[str, float]] = []
        self.hops: list[dict[str, float]] = []
        self.work: list[dict[str, int]] = []

    def ratios(self, floor: list[dict[str, float]]) -> list[float]:
        """Ours to a floor's median round trip, a pair each."""
        return [round(ours["p50_ns"] / least["p50_ns"], 3) for ours, least in zip(self.engine, floor, strict=True)]

    def summary(self) -> dict[str, Any]:
        """Medians over the runs, and every run's median."""
        return _median(self.engine) | {"p50_ns_all": [each["p50_ns"] for each in self.engine], "hops": _median(self.hops)}


def _load(folder: Path, name: str, ticks: int, gap_ns: int) -> Load:
    warm_up = max(1, ticks // 10)
    return Load(name, write_frames(folder / f"{name}.frames", warm_up + ticks), warm_up, gap_ns)


def _pair(bench: Bench, kind: Kind, load: Load, series: Series) -> None:
    """A run of each floor, then one of the engine."""
    series.floor.append(_summary(run_floor(bench, load)))
    if kind is _FUSED:
        series.floor_acks_late.append(_summary(run_floor(bench, load, acks_late=True)))
    trips, engine = run_engine(bench, kind, load)
    series.engine.append(_summary(trips))
    histograms = engine.histograms()
    hops = {span.name.lower().replace("_to_", "→"): round(histograms[span].mean_ns, 1) for span in (*_HOPS, Span.WIRE_TO_SENT)}
    hops["sum_vs_wire_to_sent"] = round(sum(histograms[span].mean_ns for span in _HOPS) / histograms[Span.WIRE_TO_SENT].mean_ns, 4)
    series.hops.append(hops)
    series.work.append(_work(engine, load))


def _work(engine: tick_engine.Engine, load: Load) -> dict[str, int]:
    """What the stages counted; BenchError unless every frame became an order."""
    counters = engine.counters()
    feed, risk, execution = counters["feed.binance"], counters["risk"], counters["execution.binance"]
    work = {
        "frames": feed["frames"],
        "intents": counters["strategy.taker"]["intents"],
        "approved": risk["approved"],
        "sent": execution["sent"],
        "refused": risk["refused"],
        "rejected": execution["rejected"],
        "not_sent": execution["not_sent"],
        "behind": execution["behind"],
        "malformed": feed["malformed"] + feed["gaps"] + feed["crossed"] + feed["overruns"],
    }
    expected = dict.fromkeys(("frames", "intents", "approved", "sent", "rejected"), load.frames.frames)
    if work != dict.fromkeys(work, 0) | expected:
        raise BenchError(f"{load.frames.frames} frames were sent, but the stages counted {work}")
    return work


def run_floor(bench: Bench, load: Load, acks_late: bool = False) -> NDArray[np.int64]:
    """Round trips of the compiled echo, ns, in order; with `acks_late`, frames are acknowledged when the engine does it."""
    with _connections() as (ours, theirs):
        fds = [end.fileno() for end in ours]
        sizes = map(str, (load.frames.frame_bytes, bench.order.frame_bytes, len(_ANSWER)))
        command = [str(bench.program), "echo", *map(str, fds), str(bench.cores[0]), *sizes, str(int(acks_late))]
        with subprocess.Popen(command, pass_fds=fds) as echo:
            for end in ours:
                end.close()
            try:
                return _send(bench, load, theirs)
            finally:
                echo.kill()


def run_engine(bench: Bench, kind: Kind, load: Load) -> tuple[NDArray[np.int64], tick_engine.Engine]:
    """Round trips of the engine, ns, in order; and the engine, stopped, of which only figures are of use."""
    others = sorted(os.sched_getaffinity(0) - {bench.cores[1]})
    yields = len(kind.placement) > len(others)
    own = {name: (bench.cores[0] if len(kind.placement) == 1 else others[n % len(others)]) for n, name in enumerate(kind.placement)}
    with _listener() as listener, tempfile.TemporaryDirectory(dir=bench.folder) as folder, contextlib.ExitStack() as stack:
        port = listener.getsockname()[1]
        config = tick_engine.make_config(kind.transport, port, kind.placement)
        ours, theirs = stack.enter_context(_connections())
        sockets = Sockets(ours.market.fileno(), ours.orders.fileno())
        engine = stack.enter_context(tick_engine.started(config, Path(folder), own, sockets, yields))
        engine.await_books(time.monotonic_ns() + _START_NS)
        time.sleep(_SETTLE_S)
        if kind.transport != "direct":
            theirs = theirs._replace(market=stack.enter_context(_upgraded(listener)))
        trips = _send(bench, load, theirs, engine)
        engine.stop(time.monotonic_ns() + _STOP_NS)
        return trips, engine


def _send(bench: Bench, load: Load, theirs: Ends, engine: tick_engine.Engine | None = None) -> NDArray[np.int64]:
    """Let the peer send every frame over the connections; round trips, ns, in order."""
    out, order, fds = bench.folder / "trips", bench.order, [end.fileno() for end in theirs]
    arguments = [*fds, bench.cores[1], load.frames.path, order.frame_bytes, load.gap_ns, out]
    arguments += [bench.answer, order.id_at, order.id_bytes, _ANSWER.index(_NO_ID)]
    command = [str(bench.program), "send", *map(str, arguments)]
    deadline_ns = time.monotonic_ns() + 30_000_000_000 + load.frames.frames * (load.gap_ns + 1_000_000)
    with subprocess.Popen(command, pass_fds=fds) as peer:
        try:
            while peer.poll() is None:
                if engine is not None:
                    engine.check()
                if time.monotonic_ns() > deadline_ns:
                    raise BenchError(f"{load.frames.frames} round trips were not done in time")
                time.sleep(0.05)
        finally:
            peer.kill()
    if peer.returncode != 0:
        raise BenchError(f"the peer ended with {peer.returncode}")
    trips = np.fromfile(out, np.int64)
    out.unlink()
    if len(trips) != load.frames.frames:
        raise BenchError(f"{load.frames.frames} frames were sent, {len(trips)} were answered")
    return trips[load.warm_up :]


@contextlib.contextmanager
def _listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(30)
        yield listener


@contextlib.contextmanager
def _connections() -> Iterator[tuple[Ends, Ends]]:
    """Both ends, ours and theirs, of a loopback TCP connection for market data and of one for orders."""
    with _connection() as market, _connection() as orders:
        yield Ends(market[0], orders[0]), Ends(market[1], orders[1])


@contextlib.contextmanager
def _connection() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a loopback TCP connection, non-blocking."""
    with _listener() as listener, socket.create_connection(listener.getsockname()) as ours, listener.accept()[0] as theirs:
        for end in (ours, theirs):
            end.setblocking(False)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield ours, theirs


@contextlib.contextmanager
def _upgraded(listener: socket.socket) -> Iterator[socket.socket]:
    """The next connection, after the server's half of its WebSocket upgrade."""
    with listener.accept()[0] as theirs:
        theirs.settimeout(30)
        request = b""
        while b"\r\n\r\n" not in request:
            data = theirs.recv(4096)
            if not data:
                raise BenchError(f"the engine gave its connection up after {request!r}")
            request += data
        fields = dict(line.split(b": ", 1) for line in request.split(b"\r\n")[1:] if b": " in line)
        key = next(value for name, value in fields.items() if name.lower() == b"sec-websocket-key")
        accept = base64.b64encode(hashlib.sha1(key.strip() + _UPGRADE_KEY, usedforsecurity=False).digest())
        theirs.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        theirs.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
            + accept
            + b"\r\n\r\n"
        )
        time.sleep(_SETTLE_S)
        theirs.setblocking(False)
        yield theirs


def _document(bench: Bench, loads: list[Load], series: dict[tuple[str, str], Series], apart: Series) -> dict[str, Any]:
    results: dict[str, Any] = {}
    ratio: dict[str, Any] = {}
    for (kind, load), runs in series.items():
        results.setdefault(kind, {})[load] = runs.summary()
        name = f"{kind}_p50" if load == "back_to_back" else f"{kind}_{load}_p50"
        ratio |= _ratio(name, runs.ratios(runs.floor))
        if runs.floor_acks_late:
            ratio |= _ratio(f"{name}_acks_late", runs.ratios(runs.floor_acks_late))
    results["separate"] = apart.summary()
    ratio |= _ratio("separate_p50", apart.ratios(apart.floor))
    oversubscribed = len(SEPARATE) + 1 > len(os.sched_getaffinity(0))
    results["separate"]["oversubscribed"] = oversubscribed
    results |= {"levels": 2 * SIDE_LEVELS, "frame_bytes": loads[0].frames.frame_bytes, "order_bytes": bench.order.frame_bytes}
    results |= {"rounds": len(apart.engine) if not series else len(series["fused", loads[0].name].engine), "cores": list(bench.cores)}
    results |= {f"{load.name}_ticks": load.frames.frames - load.warm_up for load in loads}
    results["hops_sum_vs_wire_to_sent"] = results["fused"]["back_to_back"]["hops"]["sum_vs_wire_to_sent"]
    floor = {}
    for name in (load.name for load in loads):
        of_load = [runs for (_, its_load), runs in series.items() if its_load == name]
        floor[name] = _median([run for runs in of_load for run in runs.floor])
        floor[f"{name}_acks_late"] = _median([run for runs in of_load for run in runs.floor_acks_late])
    outcome = [results["frame_bytes"], bench.order.frame_bytes, [runs.work for runs in (*series.values(), apart)]]
    return finish("tick-to-trade", results, floor, ratio, outcome)


def _ratio(name: str, ratios: list[float]) -> dict[str, Any]:
    return {name: round(median(ratios), 3), f"{name}_range": [min(ratios), max(ratios)]}


def _summary(trips: NDArray[np.int64]) -> dict[str, float]:
    return {name: float(np.percentile(trips, percent)) for name, percent in _PERCENTILES.items()} | {"max_ns": float(trips.max())}


def _median(runs: list[dict[str, float]]) -> dict[str, Any]:
    return {name: round(median(each[name] for each in runs), 4) for name in runs[0]}


def _say(text: str) -> None:
    print(f"tick-to-trade: {text}", file=sys.stderr, flush=True)
