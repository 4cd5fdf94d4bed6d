"""Engine: the real stages of a config, process by process as it places them, on private memory and in virtual time.

A process is what runs, sleeps and dies as one. When one dies the others do what the supervisor has them do: trading halts, a new epoch
begins on new rings, hot processes start again from the journals, and the rest keeps its connections.
"""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from hft import control
from hft.config import Config
from hft.topology import RESTARTED_TOGETHER
from processes.burst import TURNS
from processes.instance import Instance
from processes.resources import ScratchResources
from processes.run import ProcessLoop, recover_session
from processes.simulate.network import Access, Network
from processes.stage import ConnectedStage, Stage
from processes.transport.stream import Network as Connections
from shm.pinned import Pinned, pin, resolved
from shm.virtual_clock import VirtualClock

_FILE_BYTES = 1 << 19


class SimulatedProcess:
    """The stages of one process, those of absent venues left out; `stopped_until_ns` is SIGSTOP."""

    def __init__(self, config: Config, name: str, network: Network, chance: Random) -> None:
        self.name = name
        absent = config.venues.keys() - {place.name for place in network.places.values()}
        self.loop = ProcessLoop(config, [s for s in config.placement.processes[name].stages if s.partition(".")[2] not in absent])
        self.access = Access(network)
        self.stopped_until_ns = 0
        self._entropy = Random(chance.random())
        self._turns: dict[str, tuple[Any, Pinned, Any]] = {}  #: stage -> its context, pinned, and the kernel that takes it
        for stage in self.loop.stages:
            if isinstance(stage, ConnectedStage):
                stage.use(Connections(self.access.open_stream, self._entropy.randbytes))

    @property
    def restarts_with_epoch(self) -> bool:
        """Whether a new epoch is a new process here."""
        return any(stage.spec.role in RESTARTED_TOGETHER for stage in self.loop.stages)

    def attach(self, resources: ScratchResources, begins: bool) -> None:
        """Take the rings of an epoch; `begins`: connect too."""
        self.loop.attach(resources)
        self._turns.clear()
        if begins:
            for stage in self.loop.stages:
                if isinstance(stage, ConnectedStage):
                    stage.connect(None, _nothing)

    def turn(self, now_ns: int) -> int:
        """One cycle over the stages, and the cold work after it."""
        done = 0
        for stage in self.loop.stages:
            _, pinned, take_turn = self._turn_of(stage)
            done += take_turn(pinned.cell, now_ns)
        for stage in self.loop.stages:
            done += stage.cold(now_ns)
        return done

    def _turn_of(self, stage: Stage) -> tuple[Any, Pinned, Any]:
        known = self._turns.get(stage.name)
        if known is None or known[0] is not stage.context:
            pinned = pin(stage.pinned_parts())
            known = self._turns[stage.name] = stage.context, pinned, resolved(TURNS[stage.turn], pinned.cell, 0)
        return known

    def die(self) -> None:
        """SIGKILL: sockets close, journals stay as they are."""
        self.access.die()
        for stage in self.loop.stages:
            stage.abandon()


class SimulatedEngine:
    """All processes of a config."""

    def __init__(self, config: Config, folder: Path, network: Network, clock: VirtualClock, chance: Random) -> None:
        self.config, self.network, self.clock, self._chance = config, network, clock, chance
        self.instance = Instance("simulated", folder)
        self.instance.make_folders()
        self.topology = config.topology()
        self.words = np.zeros(control.WORDS, np.int64)
        self.epoch = self.session = 1
        self.processes = {name: SimulatedProcess(config, name, network, chance) for name in config.placement.processes}
        self._restarts_ns = 0
        self._dead: set[str] = set()
        self._stages = self._by_name()
        resources = self._resources()
        for process in self.processes.values():
            process.attach(resources, True)
        self.words[control.READY] = 1

    def _resources(self) -> ScratchResources:
        folder = self.instance.journal_folder(self.epoch)
        resources = ScratchResources(self.topology, len(self.config.instruments), folder, self.epoch, _FILE_BYTES)
        resources.control = self.words
        return resources

    def stage(self, name: str) -> Any:
        """The stage of that name, as it runs now."""
        return self._stages[name]

    @property
    def stages(self) -> list[Any]:
        """All stages, as they run now."""
        return list(self._stages.values())

    def _by_name(self) -> dict[str, Any]:
        return {stage.name: stage for process in self.processes.values() for stage in process.loop.stages}

    @property
    def restarting(self) -> bool:
        """Whether a process is dead and not yet replaced."""
        return bool(self._restarts_ns)

    def turn(self) -> int:
        """A turn of each process that runs, in any order; how much was done."""
        now_ns = self.clock.now_ns
        if self._restarts_ns and now_ns >= self._restarts_ns:
            self._restart()
        order = list(self.processes.values())
        self._chance.shuffle(order)
        return sum(process.turn(now_ns) for process in order if process.name not in self._dead and now_ns >= process.stopped_until_ns)

    def kill(self, names: list[str], restart_after_ns: int) -> None:
        """Processes die; hot ones die with any of them, and all are back after a while."""
        self.words[control.HALT], self.words[control.READY] = 1, 0
        for name, process in self.processes.items():
            if name not in self._dead and (name in names or process.restarts_with_epoch):
                process.die()
                self._dead.add(name)
        self._restarts_ns = self.clock.now_ns + restart_after_ns

    def _restart(self) -> None:
        self._restarts_ns = 0
        self.words[control.BEHIND_RING : control.PROCESS] = 0
        self.epoch += 1
        resources = self._resources()
        for name in self.processes:
            if name in self._dead:
                self.processes[name] = SimulatedProcess(self.config, name, self.network, self._chance)
            else:
                self.processes[name].loop.close(f"epoch {self.epoch} follows")
        self._stages = self._by_name()
        for name, process in self.processes.items():
            recover_session(self.instance, process.loop, self.session, self.epoch)
            process.attach(resources, name in self._dead)
            process.stopped_until_ns = 0
        self._dead.clear()
        self.words[control.EPOCH] = self.epoch
        self.words[control.HALT], self.words[control.READY] = 0, 1

    def end(self) -> None:
        """An orderly end of what runs: journals are closed."""
        for name, process in self.processes.items():
            if name not in self._dead:
                process.loop.close("simulation over")
            process.access.die()


def _nothing() -> None:
    """Direct transports tell nobody."""
