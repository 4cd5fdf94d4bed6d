"""Tick engine: runs the engine's own stages, in processes of their own, for the tick-to-trade benchmark.

Everything is the engine's, order entry at the venue included, but for two things: sockets are given, open and logged on, and nobody
supervises. Beside HTTP order entry the private stream is open and silent. Stages sit on shared segments of a random instance and write
real journals. The processes are forked, so kernels compiled or loaded in the parent are there already.
"""

from __future__ import annotations

import os
import secrets
import socket
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from hft import control
from hft.config import Config
from hft.control import ProcessState, ProcessWord, process_word
from hft.tables import build_tables
from processes import affinity
from processes.attach import create_control
from processes.bench.report import BenchError
from processes.bench.tick_config import EPOCH, JOURNAL_FILE_MB, Placement, make_config
from processes.bench.tick_path import VenuePath
from processes.burst import TURNS, burst, group, groups_of
from processes.feed import UTC_NS
from processes.feed_stage import FeedStage
from processes.instance import Instance
from processes.resources import Resources, ScratchResources, SharedResources
from processes.run import BURST_NS
from processes.segments import create_rings, create_tables
from processes.stages import make_stage
from processes.transport import connect
from processes.transport.http_wire import RESERVED, open_connection
from processes.transport.loop import close_loop, new_loop, run_turns
from processes.transport.wire import TLS, Wire, open_wire
from processes.venue_sending import READY
from processes.venue_stage import VenueStage
from shm import observe
from shm.clock import realtime_ns
from shm.pinned import Pinned, pin, resolved
from shm.segment import Segment

#: Each stage's next journal file is touched before the first tick.
_PREPARING_TURNS = 160

#: Polls between two turns of cold work on an event loop: about as long as a burst.
_POLLS_PER_TURN = 1024
_CYCLES_MAX = 1 << 30

#: Of each asset: more than all orders of a run take.
_ACCOUNT_HAS = Decimal(10**9)


class Sockets(NamedTuple):
    """Open sockets by their descriptors, and under TLS their SSL pointers. Orders leave by HTTP on any, else on the only one."""

    market: int  #: -1: the feed connects by itself
    orders: tuple[int, ...]
    market_tls: int = 0
    orders_tls: tuple[int, ...] = ()


class StageGroup:
    """The stages of one process, and the burst over them."""

    def __init__(self, path: VenuePath, config: Config, names: Sequence[str]) -> None:
        self.path = path
        self.tables = build_tables(config)
        self.topology = config.topology()
        self.stages = [make_stage(self.topology.stage(name), config, self.tables) for name in names]
        self.feed = next((stage for stage in self.stages if isinstance(stage, FeedStage)), None)
        self.execution = next((stage for stage in self.stages if isinstance(stage, VenueStage)), None)
        self._pinned: Pinned | None = None
        self._burst: Any = burst
        self._cells: list[Pinned] = []
        #: both ends of a private stream beside HTTP order entry
        self._private: tuple[socket.socket, socket.socket] | None = None

    def attach(self, resources: Resources) -> None:
        """Put every stage on these resources and give the feed its book."""
        for stage in self.stages:
            stage.attach(resources)
        if self.feed is not None:
            ctx = self.feed.context
            data = np.frombuffer(bytearray(self.path.snapshot()), np.uint8)
            if self.path.give_snapshot(ctx.book, data, time.monotonic_ns(), ctx.staging) == 0:
                raise BenchError("the feed refused the snapshot")
            # It has no link, and so reads no clocks by itself.
            ctx.words[UTC_NS] = realtime_ns() - time.monotonic_ns()

    def open(self, sockets: Sockets) -> None:
        """Use these sockets for what is read and what is sent; the account is logged on, and nothing of it is left to ask for."""
        if self.feed is not None and not self.feed.uses_event_loop:
            _open(self.feed.wire, sockets.market, sockets.market_tls)
        if self.execution is None:
            return
        self.path.admit(self.execution.desk.codec)
        self.execution.agreement.began = dict.fromkeys(self.tables.assets, _ACCOUNT_HAS)
        self.execution.agreement.say_balances()
        self.execution.context.words[READY] = 1
        ends = list(zip(sockets.orders, sockets.orders_tls or [0] * len(sockets.orders), strict=True))
        if not self.execution.desk.http_orders:
            ((fd, pointer),) = ends
            _open(self.execution.wire, fd, pointer)
            return
        pool = self.execution.context.line.pool
        for k, (fd, pointer) in enumerate(ends, int(pool.words[RESERVED])):
            open_connection(pool, k, fd, pointer)
        self._private = socket.socketpair()
        self._private[0].setblocking(False)
        _open(self.execution.wire, self._private[0].fileno(), 0)

    def cell(self) -> Any:
        """The pinned contexts, pinned anew when a stage has another one."""
        if self._pinned is None or any(stage.changed for stage in self.stages):
            self._cells = [pin(stage.pinned_parts()) for stage in self.stages]
            groups = [group(TURNS[stage.turn], (pinned.cell,)) for stage, pinned in zip(self.stages, self._cells, strict=True)]
            self._pinned = pin(groups_of(groups))
            self._burst = resolved(burst, self._pinned.cell, 0, 0, 0, 0)
            for stage in self.stages:
                stage.changed = False
        return self._pinned.cell

    def turn(self, idle_max: int) -> int:
        """A burst, and the cold work after it."""
        now_ns = time.monotonic_ns()
        done = int(burst(self.cell(), now_ns + BURST_NS, _CYCLES_MAX, idle_max, 0)) + self.cold()
        self.cell()
        return done

    def cold(self) -> int:
        """The cold work of every stage."""
        return sum(stage.cold(time.monotonic_ns()) for stage in self.stages)

    def cycle(self) -> None:
        """One cycle, for messages that an event loop brought."""
        assert self._pinned is not None
        self._burst(self._pinned.cell, 0, 1, 1, 0)

    def close(self) -> None:
        """Close the journals."""
        for stage in self.stages:
            stage.on_close("bench")


def _open(wire: Wire, fd: int, pointer: int) -> None:
    open_wire(wire, fd, secrets.randbits(62))
    wire.words[TLS] = pointer


def warm(folder: Path, path: VenuePath, transport: str, placement: Placement) -> None:
    """Compile, or load, every kernel of a placement by running it on scratch memory."""
    config = make_config(path, placement, transport)
    connect.warm()
    if transport == "picows":
        from processes.transport import picows_transport

        picows_transport.warm()
    for name, names in placement.items():
        scratch = folder / f"{transport}-{name}"
        stages = StageGroup(path, config, names)
        stages.attach(ScratchResources(stages.topology, len(stages.tables.instruments), scratch))
        stages.turn(2)
        stages.close()


class Engine:
    """A running engine; made by `started`."""

    def __init__(self, path: VenuePath, config: Config, instance: Instance) -> None:
        self.path, self.config, self.instance = path, config, instance
        self.topology = config.topology()
        tables = build_tables(config)
        self.segments: list[Segment] = []
        segment, self.control = create_control(instance)
        self.segments.append(segment)
        self.tables = create_tables(instance, self.topology, len(tables.instruments))
        self.segments += self.tables
        self.rings = create_rings(instance, self.topology, EPOCH)
        self.segments += self.rings
        self.pids: dict[int, str] = {}

    def await_books(self, deadline_ns: int) -> None:
        """Wait until every process runs and every ring's consumer has taken in the books; then let strategies trade."""
        rows = [process_word(row, ProcessWord.STATE) for row in range(len(self.config.placement.processes))]
        while not all(self.control[row] == ProcessState.RUNNING for row in rows) or not self._settled():
            self.check()
            if time.monotonic_ns() > deadline_ns:
                raise BenchError(f"the engine was not ready in time{self._logs()}")
            time.sleep(0.005)
        self.control[control.READY] = 1

    def _settled(self) -> bool:
        states = {ring.name: observe.ring_state(ring) for ring in self.rings}
        markets = [state for name, state in states.items() if ".market." in name]
        return all(state.published > 0 for state in markets) and all(state.unread == 0 for state in states.values())

    def check(self) -> None:
        """Raise BenchError if a process ended."""
        for pid, name in self.pids.items():
            if os.waitpid(pid, os.WNOHANG)[0]:
                del self.pids[pid]
                raise BenchError(f"the process {name!r} ended{self._logs()}")

    def stop(self, deadline_ns: int) -> None:
        """Let every process leave and wait for it; BenchError if one failed."""
        self.control[control.STOP] = 1
        while self.pids and time.monotonic_ns() < deadline_ns:
            for pid, name in list(self.pids.items()):
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    del self.pids[pid]
                    if status:
                        raise BenchError(f"the process {name!r} failed{self._logs()}")
            time.sleep(0.001)
        if self.pids:
            raise BenchError(f"{', '.join(self.pids.values())} did not stop in time{self._logs()}")

    def counters(self) -> dict[str, dict[str, int]]:
        """Each stage's counters by name."""
        found = zip(self.topology.stages, self.tables, strict=False)
        return {stage.name: observe.counters(segment) for stage, segment in found}

    def histograms(self) -> list[observe.Histogram]:
        """One histogram a span."""
        segment = next(segment for segment in self.tables if segment.name.endswith(".latency"))
        return observe.histograms(segment)

    def _logs(self) -> str:
        texts = [path.read_text(errors="replace")[-4000:] for path in sorted(self.instance.folder.glob("*.log"))]
        return ":\n" + "\n".join(texts) if any(texts) else ""

    def discard(self) -> None:
        """End what still runs, and remove the segments."""
        for pid in self.pids:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
        self.pids.clear()
        for segment in self.segments:
            segment.close()
            segment.unlink()


@contextmanager
def started(
    path: VenuePath, config: Config, folder: Path, cores: Mapping[str, int | None], sockets: Sockets, yields: bool = False
) -> Iterator[Engine]:
    """An engine with one process for each entry of the config's placement, on `cores`; `sockets` are what they read and write.

    With `yields`, a process without work gives its core away. On leaving, whatever still runs is ended.
    """
    instance = Instance(f"bench{os.getpid()}-{secrets.token_hex(4)}", folder)
    instance.make_folders()
    engine = Engine(path, config, instance)
    try:
        for row, (name, process) in enumerate(config.placement.processes.items()):
            pid = os.fork()
            if pid == 0:
                _be_process(engine, row, name, process.stages, cores[name], sockets, yields)
            engine.pids[pid] = name
        yield engine
    finally:
        engine.discard()


def _be_process(engine: Engine, row: int, name: str, stages: Sequence[str], core: int | None, sockets: Sockets, yields: bool) -> NoReturn:
    """The forked process: run the stages until told to stop; never returns."""
    status = 1
    parent = os.getppid()
    try:
        log = os.open(engine.instance.folder / f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(log, 2)
        if core is not None:
            affinity.pin(core)
        stage_group = StageGroup(engine.path, engine.config, stages)
        tables = stage_group.tables
        resources = SharedResources(
            engine.instance, stage_group.topology, len(tables.instruments), EPOCH, engine.control, JOURNAL_FILE_MB << 20
        )
        stage_group.attach(resources)
        for _ in range(_PREPARING_TURNS):
            stage_group.cold()
        affinity.freeze_gc()

        def goes_on() -> bool:
            return not engine.control[control.STOP] and os.getppid() == parent

        _run(stage_group, engine.control, row, sockets, yields, goes_on)
        stage_group.close()
        status = 0
    finally:
        if status:
            os.write(2, traceback.format_exc().encode())
        os._exit(status)


def _run(group_: StageGroup, words: NDArray[np.int64], row: int, sockets: Sockets, yields: bool, goes_on: Callable[[], bool]) -> None:
    running = process_word(row, ProcessWord.STATE)
    feed = group_.feed
    group_.open(sockets)
    if feed is not None and feed.uses_event_loop:
        loop = new_loop(True, _POLLS_PER_TURN)
        feed.connect(loop, group_.cycle)
        words[running] = ProcessState.RUNNING

        def turn() -> bool:
            group_.turn(1)
            return goes_on()

        run_turns(loop, turn)
        feed.disconnect(time.monotonic_ns())
        close_loop(loop)
        return
    words[running] = ProcessState.RUNNING
    while goes_on():
        if group_.turn(1 if yields else _CYCLES_MAX) == 0 and yields:
            os.sched_yield()
