"""Tick runs: one run of the tick-to-trade benchmark: the compiled peer against the engine, or against its floor."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from processes.bench import tick_engine
from processes.bench.report import BenchError, compile_c
from processes.bench.tick_config import Order, Placement, make_config, order_of
from processes.bench.tick_engine import Sockets
from processes.bench.tick_frames import Frames, write_frames
from processes.bench.tick_path import NO_ID, VenuePath
from processes.bench.tick_wires import Ends, Tls, connections, listening, make_tls, secured, upgraded

_SOURCE = Path(__file__).with_name("tick_peer.c")
_START_NS, _STOP_NS = 60_000_000_000, 20_000_000_000
#: What stages need at most to see that they may trade, when they share a core.
_SETTLE_S = 0.05


class Kind(NamedTuple):
    """A way to run the engine."""

    name: str
    transport: str
    placement: Placement


class Bench(NamedTuple):
    """What all runs share; made by `make_bench`."""

    path: VenuePath
    program: Path
    folder: Path
    cores: tuple[int, int]
    order: Order
    answer: Path  #: file with what ends an order
    tls: Tls | None
    spoken: set[str]  #: what the peer said its connections speak


class Load(NamedTuple):
    """Frames to send: the first `warm_up` are not counted."""

    name: str
    frames: Frames
    warm_up: int
    gap_ns: int


def make_bench(path: VenuePath, over_tls: bool, folder: Path, cores: tuple[int, int]) -> Bench | None:
    """Compile the peer and write its files into `folder`; None without a C compiler, or without OpenSSL's headers under TLS."""
    program = compile_c(_SOURCE, folder, "openssl/ssl.h", ("-DOVER_TLS", "-lssl", "-lcrypto")) if over_tls else compile_c(_SOURCE, folder)
    if program is None:
        return None
    answer = folder / "answer"
    answer.write_bytes(path.refusal)
    tls = make_tls(folder / "authority") if over_tls else None
    return Bench(path, program, folder, cores, order_of(path), answer, tls, set())


def make_load(bench: Bench, name: str, ticks: int, gap_ns: int) -> Load:
    """So many ticks after a tenth as many that warm up, one every `gap_ns`; 0: back to back."""
    warm_up = max(1, ticks // 10)
    return Load(name, write_frames(bench.folder / f"{name}.frames", bench.path.updates(warm_up + ticks)), warm_up, gap_ns)


def run_floor(bench: Bench, load: Load, acks_late: bool = False) -> NDArray[np.int64]:
    """Round trips of the compiled echo, ns, as `Peer.trips`; with `acks_late`, frames are acknowledged when the engine does it."""
    with connections(bench.path.connections) as (ours, theirs):
        fds = ours.fds
        sizes = (load.frames.frame_bytes, bench.order.wire_bytes, len(bench.path.refusal), int(acks_late))
        command = [bench.program, "echo", *_named(fds), bench.cores[0], *sizes] + ([] if bench.tls is None else [bench.tls.ca_file])
        with subprocess.Popen(list(map(str, command)), pass_fds=fds) as echo:
            for end in (ours.market, *ours.orders):
                end.close()
            try:
                with Peer(bench, load, theirs) as peer:
                    return peer.trips()
            finally:
                echo.kill()


def run_engine(bench: Bench, kind: Kind, load: Load) -> tuple[NDArray[np.int64], tick_engine.Engine]:
    """Round trips of the engine, ns, as `Peer.trips`; and the engine, stopped, of which only figures are of use."""
    others = sorted(os.sched_getaffinity(0) - {bench.cores[1]})
    yields = len(kind.placement) > len(others)
    own = {name: (bench.cores[0] if len(kind.placement) == 1 else others[n % len(others)]) for n, name in enumerate(kind.placement)}
    with listening() as listener, tempfile.TemporaryDirectory(dir=bench.folder) as folder, contextlib.ExitStack() as stack:
        config = make_config(bench.path, kind.placement, kind.transport, listener.getsockname()[1])
        ours, theirs = stack.enter_context(connections(bench.path.connections))
        connects_itself = kind.transport != "direct"
        # The peer shakes hands before there are processes that could do nothing else meanwhile.
        peer = None if connects_itself else stack.enter_context(Peer(bench, load, theirs))
        sockets = stack.enter_context(_given(bench, ours))
        engine = stack.enter_context(tick_engine.started(bench.path, config, Path(folder), own, sockets, yields))
        engine.await_books(time.monotonic_ns() + _START_NS)
        time.sleep(_SETTLE_S)
        if peer is None:
            peer = stack.enter_context(Peer(bench, load, theirs._replace(market=stack.enter_context(upgraded(listener)))))
        trips = peer.trips(engine)
        engine.stop(time.monotonic_ns() + _STOP_NS)
        return trips, engine


@contextlib.contextmanager
def _given(bench: Bench, ours: Ends) -> Iterator[Sockets]:
    """Our ends as the engine takes them, after the handshakes if there are any."""
    if bench.tls is None:
        market, *orders = ours.fds
        yield Sockets(market, tuple(orders))
        return
    with contextlib.ExitStack() as stack:
        pairs = [secured(end, bench.tls) for end in (ours.market, *ours.orders)]
        fds = [stack.enter_context(end).fileno() for end, _ in pairs]
        pointers = [pointer for _, pointer in pairs]
        yield Sockets(fds[0], tuple(fds[1:]), pointers[0], tuple(pointers[1:]))


def _named(fds: list[int]) -> tuple[str, str]:
    """Descriptors as the peer takes them: of market data, of orders."""
    return str(fds[0]), ",".join(map(str, fds[1:]))


class Peer:
    """The compiled peer at the far ends of the connections; ends with the `with`."""

    def __init__(self, bench: Bench, load: Load, theirs: Ends) -> None:
        self._bench, self._load = bench, load
        self._out, order = bench.folder / "trips", bench.order
        fds = theirs.fds
        arguments = [*_named(fds), bench.cores[1], load.frames.path, order.wire_bytes, load.gap_ns, self._out]
        arguments += [bench.answer, order.id_at, order.id_bytes, bench.path.refusal.index(order.id_bytes * NO_ID)]
        arguments += [] if bench.tls is None else [bench.tls.certificate, bench.tls.key]
        command = [str(bench.program), "send", *map(str, arguments)]
        self._process = subprocess.Popen(command, pass_fds=fds, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.__exit__(None, None, None)

    def go(self) -> None:
        """Let it begin to send, once its connections are open."""
        assert self._process.stdin is not None and self._process.stdout is not None
        protocol = self._process.stdout.readline().decode().strip()
        if not protocol:
            raise BenchError("the peer has no connections")
        self._bench.spoken.add(protocol)
        self._process.stdin.write(b"\n")

    def trips(self, engine: tick_engine.Engine | None = None) -> NDArray[np.int64]:
        """Let it send every frame; round trips, ns, in order, -1 where no order came."""
        self.go()
        return self.ended(engine)

    def ended(self, engine: tick_engine.Engine | None = None) -> NDArray[np.int64]:
        """`trips`, once it was let go. Raises BenchError when it does not end well, or in time."""
        frames = self._load.frames.frames
        deadline_ns = time.monotonic_ns() + 30_000_000_000 + frames * (self._load.gap_ns + 1_000_000)
        while self._process.poll() is None:
            if engine is not None:
                engine.check()
            if time.monotonic_ns() > deadline_ns:
                counted = "" if engine is None else f"; the stages counted {engine.counters()}"
                raise BenchError(f"{frames} round trips were not done in time{counted}")
            time.sleep(0.05)
        if self._process.returncode != 0:
            raise BenchError(f"the peer ended with {self._process.returncode}")
        trips = np.fromfile(self._out, np.int64)
        self._out.unlink()
        if len(trips) != frames:
            raise BenchError(f"{frames} frames were sent, {len(trips)} were answered")
        return trips
