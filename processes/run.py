"""Run: builds a process's stages, warms them on scratch memory, and loops until told to stop."""

from __future__ import annotations

import gc
import os
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from hft import control
from hft.config import Config, Process, load
from hft.control import ProcessState, ProcessWord, process_word
from hft.tables import build_tables
from processes import affinity, idle
from processes.attach import engine_of, open_control
from processes.burst import TURNS, burst, group, groups_of, type_of
from processes.carried import recover_counted, warm_counting
from processes.errors import EngineError
from processes.instance import Instance
from processes.logs import log
from processes.notify import ready, watchdog
from processes.recovery import known_balances, open_orders, orders_left, recover_positions, venue_past, warm_recovery
from processes.resources import Resources, ScratchResources, SharedResources
from processes.stage import ConnectedStage, Stage
from processes.stages import DecidingStage, RiskStage, make_stage
from processes.transport.loop import close_loop, new_loop, run_turns
from processes.venue_stage import VenueStage
from shm.jit import BUILD
from shm.pinned import Pinned, pin, resolved
from shm.segment import process_start

#: A burst returns to Python at least this often, to beat and to do cold work.
BURST_NS = 1_000_000
#: A process that backs off leaves its burst after this many idle cycles; one that spins uses the whole burst.
IDLE_CYCLES = 8
_CYCLES_MAX = 1 << 30
#: Without a supervisor for this long, a process stops: nobody could halt it.
ORPHAN_NS = 2_000_000_000


class ProcessLoop:
    """The stages of one process under one burst."""

    def __init__(self, config: Config, names: list[str]) -> None:
        self.config = config
        self.tables = build_tables(config)
        self.topology = config.topology()
        self.stages: list[Stage] = [make_stage(self.topology.stage(name), config, self.tables) for name in names]
        self._pinned: Pinned | None = None
        self._cells: list[Pinned] = []
        self._burst: Any = burst

    def attach(self, resources: Resources) -> None:
        """Put every stage on these resources."""
        for stage in self.stages:
            stage.attach(resources)

    def _pin(self) -> None:
        """Pin each stage's context, and the groups of them."""
        groups = []
        self._cells = []
        for kind, turn in TURNS.items():
            alike: dict[Any, list[Any]] = {}
            for stage in self.stages:
                if stage.turn == kind:
                    pinned = pin(stage.pinned_parts())
                    self._cells.append(pinned)
                    alike.setdefault(type_of(pinned.cell), []).append(pinned.cell)
            groups += [group(turn, tuple(cells)) for cells in alike.values()]
        self._pinned = pin(groups_of(groups))
        self._burst = resolved(burst, self._pinned.cell, 0, 0, 0, 0)
        for stage in self.stages:
            stage.changed = False

    def cell(self) -> Any:
        """The pinned contexts, for the burst."""
        if self._pinned is None or any(stage.changed for stage in self.stages):
            self._pin()
        assert self._pinned is not None
        return self._pinned.cell

    def cycle(self) -> None:
        """One cycle on the contexts that the newest turn left: they change in turns only, and asking costs as much as a stage."""
        assert self._pinned is not None
        self._burst(self._pinned.cell, 0, 1, 1, 0)

    def turn(self, until_ns: int, cycles_max: int = _CYCLES_MAX, idle_max: int = _CYCLES_MAX) -> int:
        """One burst and the cold work after it."""
        cell = self.cell()
        done = int(self._burst(cell, until_ns, cycles_max, idle_max, 0))
        now_ns = time.monotonic_ns()
        for stage in self.stages:
            done += stage.cold(now_ns)
        self.cell()
        return done

    def close(self, reason: str) -> None:
        """Close every stage, the producers first."""
        for stage in self.stages:
            stage.on_close(reason)


def warm_process(config: Config, name: str) -> None:
    """Load the process's burst by running it on scratch memory; never on a live segment."""
    loop = ProcessLoop(config, config.placement.processes[name].stages)
    with tempfile.TemporaryDirectory(prefix="hft-warm-") as folder:
        loop.attach(ScratchResources(loop.topology, len(loop.tables.instruments), Path(folder)))
        loop.turn(0, cycles_max=4)
        for stage in loop.stages:
            stage.warm()
        warm_recovery(loop.tables)
        warm_counting(loop.tables)
        loop.close("warmed")


def run_process(instance: Instance, config: Config, name: str, epoch: int) -> None:
    """Run the process called `name` in the placement until told to stop. Called in a process of its own."""
    row = list(config.placement.processes).index(name)
    process = config.placement.processes[name]
    segment, words = open_control(instance)
    words[process_word(row, ProcessWord.PID)] = os.getpid()
    words[process_word(row, ProcessWord.STARTED)] = process_start(os.getpid())
    words[process_word(row, ProcessWord.BUILD)] = BUILD
    words[process_word(row, ProcessWord.STATE)] = ProcessState.STARTING
    _place(config, process, name)
    loop = ProcessLoop(config, process.stages)
    runner = Runner(instance, loop, process, row, words)
    try:
        recover(instance, loop, epoch)
        runner.switch(epoch)
        runner.run()
    except BaseException:
        words[process_word(row, ProcessWord.STATE)] = ProcessState.FAILED
        raise
    finally:
        segment.close()


def recover(instance: Instance, loop: ProcessLoop, epoch: int) -> None:
    """After a restart, begin with the positions that the session's earlier epochs left."""
    session = int(engine_of(instance)["session"])
    if session != epoch:
        recover_session(instance, loop, session, epoch)


def recover_session(instance: Instance, loop: ProcessLoop, session: int, epoch: int) -> None:
    """Begin with the positions that epochs [session, epoch) left."""
    deciding = [stage for stage in loop.stages if isinstance(stage, DecidingStage)]
    if deciding:
        positions = recover_positions(instance, loop.tables, session, epoch)
        left = orders_left(instance, loop.config, session, epoch)
        for stage in deciding:
            stage.positions = positions.copy()
            stage.adopted = [one for one in left if stage.goes_on_with(one)]
            if isinstance(stage, RiskStage):
                stage.counted = recover_counted(instance, loop.tables, loop.topology, session, epoch)
            if isinstance(stage, VenueStage):
                stage.bookings.past = venue_past(instance, stage.spec.subject, session, epoch)
                stage.bookings.since_epoch = session
                stage.agreement.began = known_balances(instance, stage.spec.subject, session, epoch)
        gone = open_orders(instance, loop.tables, epoch)
        log("recovered", session=session, epoch=epoch, fills=int(positions["fills"].sum()), orders_left=gone, adopted=len(left))


def _place(config: Config, process: Process, name: str) -> None:
    """Pin, prioritise, lock and freeze as configured; what the host refuses is logged, never hidden."""
    refused = []
    if process.core is not None and (why := affinity.pin(process.core)):
        refused.append(why)
    if process.fifo_priority is not None and (why := affinity.set_fifo(process.fifo_priority)):
        refused.append(why)
    if process.lock_memory and (why := affinity.lock_memory()):
        refused.append(why)
    if config.placement.freeze_gc and not gc.get_freeze_count():
        affinity.freeze_gc()
    log("process placed", process=name, core=process.core, refused=refused)


class Runner:
    """Loops a process's stages under its idle strategy, beats, and follows the control words."""

    def __init__(self, instance: Instance, loop: ProcessLoop, process: Process, row: int, words: NDArray[np.int64]) -> None:
        self.instance, self.loop, self.process, self.row = instance, loop, process, row
        self.words = words
        self.epoch = 0
        self.restarts_with_epoch = any(stage.spec.role in ("strategy", "risk", "execution") for stage in loop.stages)
        self._resources: SharedResources | None = None
        self._stopping = False
        self._rest = idle.busy_spin()
        self._idle_max = 1

    def switch(self, epoch: int) -> None:
        """Take the rings of `epoch`; feeds keep their sockets, the portfolio its positions."""
        file_bytes = self.loop.config.engine.journal_file_mb << 20
        tables = self.loop.tables
        resources = SharedResources(self.instance, self.loop.topology, len(tables.instruments), epoch, self.words, file_bytes)
        if self._resources is not None:
            self.loop.close(f"epoch {epoch} follows")
            recover(self.instance, self.loop, epoch)
        self.loop.attach(resources)
        if self._resources is not None:
            self._resources.close()
        self._resources = resources
        self.epoch = epoch
        self._say(ProcessWord.EPOCH, epoch)
        log("on epoch", epoch=epoch, stages=[stage.name for stage in self.loop.stages])

    def _say(self, word: ProcessWord, value: int) -> None:
        self.words[process_word(self.row, word)] = value

    def run(self) -> None:
        """Until the STOP word, SIGTERM, a new epoch that this process restarts with, or a dead supervisor."""
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        spins = self.process.idle == "busy_spin"
        self._rest = idle.BY_NAME[self.process.idle]()
        self._idle_max = _CYCLES_MAX if spins else IDLE_CYCLES
        self._say(ProcessWord.CORE, -1 if self.process.core is None else self.process.core)
        self._say(ProcessWord.BEAT, time.monotonic_ns())
        connected = [stage for stage in self.loop.stages if isinstance(stage, ConnectedStage)]
        event_loop = new_loop(spins) if any(stage.uses_event_loop for stage in connected) else None
        if event_loop is not None:
            # The loop itself waits, for bytes or the next turn; a burst must not keep it from its sockets.
            self._rest, self._idle_max = idle.busy_spin(), 1
        for stage in connected:
            stage.connect(event_loop, self.loop.cycle)
        self._say(ProcessWord.STATE, ProcessState.RUNNING)
        ready(f"on epoch {self.epoch}")
        if event_loop is None:
            while self._turn():
                pass
        else:
            run_turns(event_loop, self._turn)
        self._say(ProcessWord.STATE, ProcessState.LEAVING)
        self.loop.close(self._reason_to_leave())
        for stage in connected:
            stage.disconnect(time.monotonic_ns())
        if event_loop is not None:
            close_loop(event_loop)
        self._say(ProcessWord.STATE, ProcessState.STOPPED)

    def _turn(self) -> bool:
        """One burst, cold work, a beat and the idle strategy; False when it is time to leave."""
        if self._reason_to_leave():
            return False
        done = self.loop.turn(time.monotonic_ns() + BURST_NS, idle_max=self._idle_max)
        self._say(ProcessWord.BEAT, time.monotonic_ns())
        self.words[process_word(self.row, ProcessWord.BURSTS)] += 1
        self.words[process_word(self.row, ProcessWord.WORKED)] += done
        watchdog()
        self._rest(done)
        return True

    def _reason_to_leave(self) -> str:
        words = self.words
        if words[control.STOP]:
            return "stop"
        if self._stopping:
            return "signal"
        if time.monotonic_ns() - int(words[control.SUPERVISOR_BEAT]) > ORPHAN_NS:
            return "the supervisor is gone"
        epoch = int(words[control.EPOCH])
        if epoch != self.epoch:
            if self.restarts_with_epoch:
                return f"epoch {epoch} follows"
            self.switch(epoch)
        return ""

    def _on_signal(self, number: int, frame: object) -> None:
        self._stopping = True


def run_single_stage(instance: Instance, config_file: Path, name: str) -> None:
    """`hftctl stage`: find the process that runs this stage in the placement, warm it, and run it under the running engine."""
    engine = engine_of(instance)
    config = load(config_file)
    if config.hash() != _configured_hash(engine):
        raise EngineError(f"{config_file} is not the config that instance {instance.name!r} runs ({engine['config_file']})")
    process = next((process for process, placed in config.placement.processes.items() if placed.stages == [name]), None)
    if process is None:
        raise EngineError(f"{config_file}: no process of placement.processes runs exactly the stage {name!r}")
    running = msgspec.convert(engine["config"], Config)
    warm_process(running, process)
    run_process(instance, running, process, int(engine["epoch"]))


def _configured_hash(engine: dict[str, object]) -> object:
    return engine["file_hash"]
