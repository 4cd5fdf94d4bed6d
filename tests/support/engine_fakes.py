"""Fakes for a supervisor: processes that exist only as their words, simulators that only die, and a clock that jumps."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import pytest

from hft.config import Config
from hft.control import ProcessState, ProcessWord, process_word
from processes import supervisor as supervising
from processes.instance import Instance
from processes.supervisor import Supervisor
from shm.jit import BUILD
from support.engine import paper_config


class FakeTime:
    """Stands in for the `time` module; sleeping takes no time of ours. `on_sleep` is called at each sleep."""

    def __init__(self) -> None:
        self.now_ns = time.monotonic_ns()
        self.on_sleep: Callable[[], None] = lambda: None

    def monotonic(self) -> float:
        return self.now_ns * 1e-9

    def monotonic_ns(self) -> int:
        return self.now_ns

    def time_ns(self) -> int:
        return self.now_ns

    def sleep(self, seconds: float) -> None:
        self.now_ns += int(seconds * 1e9)
        self.on_sleep()


class FakeSpawner:
    """Processes that report RUNNING as soon as they are spawned, unless told otherwise."""

    def __init__(self, clock: FakeTime) -> None:
        self.clock = clock
        self.supervisor: Supervisor
        self.log: list[tuple[Any, ...]] = []
        self.running: dict[str, int] = {}
        self.stillborn: list[str] = []  #: each name here ends once instead of running
        self.silent: list[str] = []  #: each name here never reports
        self.builds: dict[str, int] = {}  #: of each name here that has loaded other sources
        self.ended = False
        self._exits: list[str] = []
        self._pids = itertools.count(1)

    def prepare(self, config: Config, progress: Callable[[str, int, int], None], beat: Callable[[], None]) -> None:
        beat()
        progress("all", 1, 1)

    def spawn(self, name: str, epoch: int) -> None:
        self.log.append(("spawn", name, epoch))
        if name in self.stillborn:
            self.stillborn.remove(name)
            self._exits.append(name)
            return
        self.running[name] = next(self._pids)
        if name not in self.silent:
            self.say(name, epoch)

    def say(self, name: str, epoch: int) -> None:
        """The process reports RUNNING on an epoch, with a beat of now."""
        row, words = list(self.supervisor.config.placement.processes).index(name), self.supervisor.words
        words[process_word(row, ProcessWord.BUILD)] = self.builds.get(name, BUILD)
        words[process_word(row, ProcessWord.EPOCH)] = epoch
        words[process_word(row, ProcessWord.STATE)] = ProcessState.RUNNING
        words[process_word(row, ProcessWord.BEAT)] = self.clock.now_ns
        words[process_word(row, ProcessWord.PID)] = self.running[name]

    def die(self, name: str) -> None:
        self.running.pop(name, None)
        self._exits.append(name)

    def kill(self, *names: str) -> None:
        for name in names:
            self.log.append(("kill", name))
            self.running.pop(name, None)

    def exited(self) -> str | None:
        # Those that keep their rings switch to the new epoch by themselves.
        for name in self.running:
            if name not in self.silent:
                self.say(name, self.supervisor.epoch)
        return self._exits.pop() if self._exits else None

    def missing(self) -> list[str]:
        return [name for name in self.supervisor.config.placement.processes if name not in self.running]

    def end(self) -> None:
        self.ended = True
        self.running.clear()


class FakeSimulators:
    """Simulators that start nothing; `victim` is the venue whose simulator is found dead."""

    def __init__(self, instance: Instance, config: Config, config_file: Path) -> None:
        self.config, self.urls, self.victim, self.stopped = config, dict[str, Any](), None, False

    def start(self) -> Config:
        return self.config

    def dead(self) -> str | None:
        return self.victim

    def stop(self) -> None:
        self.stopped = True


class FakeGuardianProcess:
    """A guardian that is there at once; `log` is what was asked of it."""

    def __init__(self, instance: Instance, config_file: Path, config_hash: str) -> None:
        self.log: list[str] = []

    def look(self) -> None:
        self.log.append("look")

    def await_guarding(self, beat: Callable[[], None]) -> None:
        self.log.append("await")

    def close(self) -> None:
        self.log.append("close")


def unpinned(sections: dict[str, Any]) -> None:
    """No cores, no frozen heap, no simulator: nothing that touches this process or starts another."""
    for process in sections["placement"]["processes"].values():
        process.pop("core", None)
        process["idle"] = "sleeping"
    sections["placement"]["freeze_gc"] = False
    sections["venues"]["binance"].pop("simulator", None)
    sections["engine"]["journal_file_mb"] = 1


class SupervisedEngine:
    """A real supervisor on real segments over fake processes; leave the `with` and all is closed."""

    def __init__(
        self, name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[dict[str, Any]], None] = unpinned
    ) -> None:
        self.clock = FakeTime()
        self.spawner = FakeSpawner(self.clock)
        monkeypatch.setattr(supervising, "time", self.clock)
        monkeypatch.setattr(supervising, "Simulators", FakeSimulators)
        monkeypatch.setattr(supervising, "GuardianProcess", FakeGuardianProcess)
        monkeypatch.setattr(supervising, "make_spawner", lambda instance, config: self.spawner)
        self.instance = Instance(name, folder)
        self.config = paper_config(change)
        self.progress: list[tuple[str, int, int]] = []
        self.supervisor = self.new_supervisor()
        self.spawner.supervisor = self.supervisor

    def new_supervisor(self) -> Supervisor:
        return Supervisor(self.instance, self.config, Path("engine.toml"), lambda *step: self.progress.append(step))

    @property
    def words(self) -> Any:
        return self.supervisor.words

    def segments(self) -> list[str]:
        """Names of this instance's segments, without the prefix."""
        prefix = f"hft.{self.instance.name}."
        return sorted(path.name.removeprefix(prefix) for path in Path("/dev/shm").glob(f"{prefix}*"))

    def state(self) -> str:
        """What engine.json says."""
        engine = self.instance.read_engine()
        assert engine is not None
        return str(engine["state"])

    def __enter__(self) -> Self:
        self.supervisor.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.supervisor.close()
