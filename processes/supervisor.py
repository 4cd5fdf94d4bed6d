"""Supervisor: creates segments, starts and watches processes, restarts them on new rings, stops in order.

It holds no kernel and imports no numba: what it does must work while every stage is frozen.

    STARTING -> RUNNING <-> RESTARTING -> STOPPING -> stopped
                   |_________________________^ a crash loop, a dead simulator or a signal
"""

from __future__ import annotations

import fcntl
import os
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from hft import control
from hft.config import Config, VenueExecution, with_absolute_paths
from hft.control import ProcessState, ProcessWord, process_word
from hft.counters import ExecutionCounter
from hft.tables import build_tables
from hft.topology import RESTARTED_TOGETHER
from processes import attach, segments
from processes.accounts import Accounts
from processes.credentials import read_credentials
from processes.errors import EngineError
from processes.guardian_process import GuardianProcess
from processes.instance import Instance, next_epoch, write_durably
from processes.limit_set import begin_with
from processes.logs import log
from processes.notify import ready, stopping, watchdog
from processes.operate import latch_tripped, latch_words
from processes.simulators import Simulators
from processes.spawner import Spawner, make_spawner
from shm.jit import BUILD
from shm.segment import Segment, process_start, reclaim

#: A crash loop: `engine.restarts_max` restarts in this long, and the engine stops instead of flapping.
RESTARTS_WINDOW_S = 60.0
START_TIMEOUT_S = 60.0
DRAIN_TIMEOUT_S = 3.0
TURN_S = 0.01

Progress = Callable[[str, int, int], None]


class Supervisor:
    """One engine, from its first segment to its last."""

    def __init__(self, instance: Instance, config: Config, config_file: Path, progress: Progress, new_session: bool = False) -> None:
        """With `new_session` positions begin flat, also when the engine before this one left its session unfinished."""
        self.instance, self.config_file, self.progress = instance, config_file, progress
        self._new_session = new_session
        self.finished = False  #: nothing of this session is left to go on with
        self.config = with_absolute_paths(config, config_file.parent)
        self.file_hash = config.hash()
        self.tables = build_tables(config)
        self.topology = config.topology()
        self.state = "STARTING"
        self.epoch = 0
        self.session = 0
        self.restarts: deque[float] = deque()
        self.restart_count = 0
        self.failure: str | None = None
        self.orders_left = 0  #: that still worked when it stopped
        self._latching = np.array(control.latching_words())
        self._lock: int | None = None
        self._accounts = Accounts()
        self._tables: list[Segment] = []
        self._rings: list[Segment] = []
        self._simulators: Simulators | None = None
        self._spawner: Spawner | None = None
        self._guardian: GuardianProcess | None = None

    def start(self) -> None:
        """Bring the engine up to RUNNING; on failure everything made so far is taken down again."""
        _check_cores(self.config)
        _check_keys(self.config)
        self.instance.make_folders()
        self._accounts.take(self.config)
        try:
            self._take_lock()
        except EngineError:
            self._accounts.release()
            raise
        for found in reclaim(self.instance.prefix):
            log("segment reclaimed", segment=found.name, why=found.reason)
        try:
            self._create()
            self._launch()
        except BaseException:
            self.close()
            raise

    def _take_lock(self) -> None:
        self._lock = os.open(self.instance.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            self._lock = None
            raise EngineError(f"instance {self.instance.name!r} is already running (state in {self.instance.folder})") from error

    def _create(self) -> None:
        self.epoch = next_epoch(self.instance.state_dir, self.config.engine.mode)
        self.session = self._unfinished_session() or self.epoch
        self.finished = self.session == self.epoch
        segment, self.words = attach.create_control(self.instance)
        self._tables = [segment, *segments.create_tables(self.instance, self.topology, len(self.tables.instruments))]
        self._rings = segments.create_rings(self.instance, self.topology, self.epoch)
        self.words[control.EPOCH] = self.epoch
        for word in latch_words(self.instance.read_kill(), self._describe()):
            self.words[word] = 1
        begin_with(self.instance, self.config, self.words)

    def _unfinished_session(self) -> int | None:
        """The session that an engine did not stop in order: positions go on from its journals. None if there is none.

        An account at a simulator ends with it, and trade ids begin again: its session does not go on.
        """
        before = self.instance.read_engine()
        if before is None or before.get("finished", True) or self._new_session:
            return None
        venues = self.config.venues
        gone = [name for name, one in self.config.execution.items() if isinstance(one, VenueExecution) and venues[name].simulator]
        now = self._describe()
        changed = [key for key in ("mode", "venues", "strategies", "instruments") if before.get(key) != now[key]]
        if gone or changed:
            log("session ends with its engine", session=before.get("session"), accounts_gone=gone, changed=changed)
            return None
        log("session goes on", session=before["session"], because="its engine ended without stopping")
        return int(before["session"])

    def _launch(self) -> None:
        self.words[control.SUPERVISOR_BEAT] = time.monotonic_ns()
        self._write_engine()
        self._spawner = make_spawner(self.instance, self.config)
        self._simulators = Simulators(self.instance, self.config, self.config_file)
        self.config = self._simulators.start()
        self._write_engine()
        if self.config.placement.spawner == "units":
            ready("waiting for stages")  # systemd starts them only once the engine says so.
        if self.config.guardian is not None and self.config.placement.spawner == "zygote":
            self._guardian = GuardianProcess(self.instance, self.config_file, self.file_hash)
            self._guardian.look()
        self._spawner.prepare(self.config, self.progress, self._beat)
        if self._guardian is not None:
            self._guardian.await_guarding(self._beat)
        for name in self.config.placement.processes:
            self._spawner.spawn(name, self.epoch)
        if gone := self._await_running():
            raise EngineError(f"process {gone} ended while starting; see {self.instance.folder / 'log'}")
        self._enter_running()

    def _beat(self) -> None:
        self.words[control.SUPERVISOR_BEAT] = time.monotonic_ns()
        watchdog()

    def _enter_running(self) -> None:
        if self.finished:
            # On disk before an order may leave: a supervisor that is killed right after must not be taken for one that left nothing.
            self.finished = False
            self._write_engine()
        self.words[control.HALT] = 0
        self.words[control.READY] = 1
        self.state = "RUNNING"
        self._write_engine()
        ready(f"epoch {self.epoch}")
        log("running", epoch=self.epoch)

    def _await_running(self) -> str | None:
        """Wait until every process reports RUNNING on this epoch; the name of one that ended or hung on the way."""
        deadline = time.monotonic() + (START_TIMEOUT_S if self.config.placement.spawner == "zygote" else float("inf"))
        while not all(self._is_running(row) for row in range(len(self.config.placement.processes))):
            self._beat()
            if gone := self._exited() or self._hung():
                return gone
            if time.monotonic() > deadline:
                raise EngineError(f"processes did not start within {START_TIMEOUT_S:g} s; see {self.instance.folder / 'log'}")
            time.sleep(0.002)
        return None

    def _is_running(self, row: int) -> bool:
        words = self.words
        is_ours = words[process_word(row, ProcessWord.EPOCH)] == self.epoch
        runs = bool(is_ours and self._state(row) == ProcessState.RUNNING)
        if runs and words[process_word(row, ProcessWord.BUILD)] != BUILD:
            name = list(self.config.placement.processes)[row]
            raise EngineError(
                f"R084 BUILD_MISMATCH: process {name} has loaded other sources than the supervisor; nothing trades until all are one build"
            )
        return runs

    def _state(self, row: int) -> int:
        return int(self.words[process_word(row, ProcessWord.STATE)])

    def _exited(self) -> str | None:
        assert self._spawner is not None
        return self._spawner.exited()

    def turn(self) -> None:
        """One turn of watching; call until `state` is STOPPING, then `stop`."""
        self._beat()
        assert self._simulators is not None
        if dead := self._simulators.dead():
            self._fail(f"simulator of {dead} ended")
            return
        self._latch_breakers()
        if self._guardian is not None:
            self._guardian.look()
        gone = self._exited() or self._hung()
        if gone is not None and self.state == "RUNNING":
            self._restart(gone)

    def _latch_breakers(self) -> None:
        """Latch what a breaker or a stop-loss of risk has stopped, so that it stays so when the engine is started anew."""
        if (self.words[self._latching] > 1).any():
            latch_tripped(self.instance, self.words, self._describe())

    def _hung(self) -> str | None:
        """A process whose heartbeat is too old; it is killed, so that it cannot come back in the middle of a restart."""
        limit_ns = self.config.engine.heartbeat_timeout_ms * 1_000_000
        for row, name in enumerate(self.config.placement.processes):
            age_ns = time.monotonic_ns() - int(self.words[process_word(row, ProcessWord.BEAT)])
            if self._state(row) in (ProcessState.RUNNING, ProcessState.LEAVING) and age_ns > limit_ns:
                log("process hung", process=name, age_ns=age_ns)
                assert self._spawner is not None
                self._spawner.kill(name)
                return name
        return None

    def _restart(self, gone: str) -> None:
        """Restart until everything runs; a process that ends or hangs meanwhile is one more cause, up to a crash loop."""
        cause: str | None = gone
        while cause is not None:
            if self._is_crash_loop():
                self._fail(f"{cause} and others ended {len(self.restarts)} times in {RESTARTS_WINDOW_S:g} s: crash loop")
                return
            try:
                cause = self._restart_once(cause)
            except EngineError as error:
                self._fail(str(error))
                return
        self._enter_running()

    def _is_crash_loop(self) -> bool:
        now = time.monotonic()
        self.restarts.append(now)
        while self.restarts[0] < now - RESTARTS_WINDOW_S:
            self.restarts.popleft()
        return len(self.restarts) >= self.config.engine.restarts_max

    def _restart_once(self, gone: str) -> str | None:
        """New epoch, new rings: hot processes start again, feeds and portfolio keep their sockets and marks and switch."""
        self.state = "RESTARTING"
        self.restart_count += 1
        self.words[control.HALT], self.words[control.READY] = 1, 0
        log("restarting", because=gone, epoch=self.epoch)
        assert self._spawner is not None
        ends = []
        for row, (name, process) in enumerate(self.config.placement.processes.items()):
            # Whoever is on its way out, too: waiting for its end would make of it a cause of its own.
            leaves = self._state(row) > ProcessState.RUNNING
            is_hot = any(self.topology.stage(stage).role in RESTARTED_TOGETHER for stage in process.stages)
            if name == gone or leaves or is_hot:
                ends.append(name)
        self._spawner.kill(*ends)
        while self._exited() is not None:
            pass  # What else has ended starts again with it.
        self.words[control.BEHIND_RING : control.PROCESS] = 0  # Of the old rings; what they missed is in the journals.
        old, self.epoch = self._rings, next_epoch(self.instance.state_dir, self.config.engine.mode)
        self._rings = segments.create_rings(self.instance, self.topology, self.epoch)
        self.words[control.EPOCH] = self.epoch
        self._write_engine()
        for name in self._spawner.missing():
            row = list(self.config.placement.processes).index(name)
            self.words[process_word(row, ProcessWord.STATE)] = ProcessState.ABSENT  # Not what the dead one said of itself.
            self._spawner.spawn(name, self.epoch)
        try:
            return self._await_running()
        finally:
            for segment in old:
                segment.unlink()
                segment.close()

    def _fail(self, why: str) -> None:
        log("engine failed", why=why)
        self.failure = why
        self.state = "STOPPING"

    def stop(self) -> None:
        """Cancel all, drain, stop every process. `close` unlinks."""
        self.state = "STOPPING"
        stopping()
        self.words[control.HALT], self.words[control.READY] = 1, 0
        self.words[control.CANCEL_ALL] = 1
        deadline = time.monotonic() + DRAIN_TIMEOUT_S
        while self._working_orders() > 0 and time.monotonic() < deadline and self._exited() is None:
            self._beat()
            time.sleep(TURN_S)
        self.orders_left = self._working_orders()
        if self.orders_left:
            log("orders still working at stop", orders=self.orders_left)
        self.finished = self.failure is None

    def halt_processes(self) -> None:
        """Have every process leave its loop; those that do not are killed."""
        self.words[control.STOP] = 1
        if self._spawner is not None:
            self._spawner.end()

    def _working_orders(self) -> int:
        total = 0
        for segment in self._tables:
            if segment.name.startswith(f"{self.instance.prefix}counters.execution."):
                total += int(segment.array(0, "<i8", ExecutionCounter.WORKING + 1)[ExecutionCounter.WORKING])
        return total

    def close(self) -> None:
        """Unlink every segment and free the instance; safe to call twice."""
        if self._spawner is not None:
            self.words[control.STOP] = 1
            self._spawner.end()
        if self._simulators is not None:
            self._simulators.stop()
        for segment in [*self._rings, *self._tables]:
            segment.unlink()
            segment.close()
        self._rings, self._tables = [], []
        if self._lock is not None:
            self.state = "STOPPED"
            self._write_engine()
            self._accounts.release()
            os.close(self._lock)
            self._lock = None
        if self._guardian is not None:
            self._guardian.close()

    def _describe(self) -> dict[str, Any]:
        tables = self.tables
        rows = tables.instrument_rows
        scale = [
            {key: int(rows[i][key]) for key in ("price_decimals", "qty_decimals", "tick_units", "lot_units")} for i in range(len(rows))
        ]
        return {
            "pid": os.getpid(),
            "started": process_start(os.getpid()),
            "instance": self.instance.name,
            "config_file": str(self.config_file),
            "config_hash": self.config.hash(),
            "config": msgspec.to_builtins(self.config),
            "mode": self.config.engine.mode,
            "state": self.state,
            "epoch": self.epoch,
            "session": self.session,
            "restarts": self.restart_count,
            "failure": self.failure,
            "finished": self.finished,
            "orders_left": self.orders_left,
            "venues": list(tables.venues),
            "strategies": list(tables.strategies),
            "instruments": [{"name": name, **scale[i]} for i, name in enumerate(tables.instruments)],
            "base_currency": self.config.firm.base_currency,
            "base_rates_e8": [int(rate) for rate in rows["base_rate_e8"]],
            "file_hash": self.file_hash,
            "simulators": self._simulators.urls if self._simulators is not None else {},
            "processes": [{"name": name, "stages": list(p.stages), "core": p.core} for name, p in self.config.placement.processes.items()],
        }

    def _write_engine(self) -> None:
        write_durably(self.instance.engine_file, msgspec.json.encode(self._describe()))


def _check_cores(config: Config) -> None:
    available = os.sched_getaffinity(0)
    for name, process in config.placement.processes.items():
        if process.core is not None and process.core not in available:
            raise EngineError(f"placement.processes.{name}.core: core {process.core} is not available here; there are {sorted(available)}")


def _check_keys(config: Config) -> None:
    """Read every key file that the config names: what is wrong with one is said before anything starts."""
    named = [venue.credentials for venue in config.venues.values()]
    named += [section.credentials for section in config.execution.values() if isinstance(section, VenueExecution)]
    named += [] if config.guardian is None else list(config.guardian.credentials.values())
    for path in named:
        if path is not None:
            read_credentials(Path(path))
