"""Spawner: starts stage processes, through the zygote, or by waiting for systemd's units."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

import msgspec

from hft.config import Config
from hft.control import ProcessState, ProcessWord, process_word
from processes.attach import open_control
from processes.errors import EngineError
from processes.instance import Instance
from processes.logs import log
from shm.segment import Owner, is_alive

_PACKET_BYTES = 1 << 20
_END_TIMEOUT_S = 5.0

Progress = Callable[[str, int, int], None]


class Spawner(Protocol):
    """Starts, ends and reports on stage processes by their placement name."""

    def prepare(self, config: Config, progress: Progress, beat: Callable[[], None]) -> None:
        """Take the config with its final URLs; with the zygote, return when every kernel is warm."""

    def spawn(self, name: str, epoch: int) -> None:
        """Start a process on the rings of `epoch`."""

    def kill(self, *names: str) -> None:
        """End processes at once, and return when all of them are gone."""

    def exited(self) -> str | None:
        """The name of a process that has ended since last asked, or None."""

    def missing(self) -> list[str]:
        """Processes that do not run."""

    def end(self) -> None:
        """Wait for all to leave their loops, kill those that do not."""


def make_spawner(instance: Instance, config: Config) -> Spawner:
    """The spawner that the placement names."""
    if config.placement.spawner == "units":
        return UnitSpawner(instance, config)
    return ZygoteSpawner(instance, config)


class ZygoteSpawner:
    """Asks the zygote to fork, and hears from it what ended."""

    def __init__(self, instance: Instance, config: Config) -> None:
        """Start the zygote; it imports while the simulators start."""
        self.instance = instance
        self.names = list(config.placement.processes)
        self.pids: dict[str, int] = {}
        self._ended: list[str] = []
        self.link, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-m", "processes.zygote", str(theirs.fileno())]
        with open(instance.folder / "log" / "processes.jsonl", "ab") as log_file:
            self.zygote = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=log_file, stderr=log_file)
        theirs.close()

    def prepare(self, config: Config, progress: Progress, beat: Callable[[], None]) -> None:
        start = {"instance": self.instance.name, "state_dir": str(self.instance.state_dir), "config": msgspec.to_builtins(config)}
        try:
            self._tell(start=start)
            self.link.settimeout(0.2)
            while True:
                beat()
                try:
                    packet = self.link.recv(_PACKET_BYTES)
                except TimeoutError:
                    continue
                said: dict[str, Any] = msgspec.json.decode(packet) if packet else {"failed": "ended"}
                if "failed" in said:
                    raise EngineError(f"zygote: {said['failed']}; see {self.instance.folder / 'log'}")
                if said.get("warm"):
                    break
                progress(said["what"], said["progress"], said["of"])
        except BaseException:
            self.end()
            raise
        self.link.setblocking(False)

    def _hear(self, timeout_s: float = 0.0) -> None:
        self.link.settimeout(timeout_s)
        while True:
            try:
                packet = self.link.recv(_PACKET_BYTES)
            except (TimeoutError, BlockingIOError):
                return
            if not packet:
                self._zygote_gone()
                return
            said: dict[str, Any] = msgspec.json.decode(packet)
            if "exited" in said and self.pids.get(said["exited"]) == said["pid"]:
                log("process ended", process=said["exited"], pid=said["pid"], status=said["status"])
                del self.pids[said["exited"]]
                self._ended.append(said["exited"])
            elif "spawned" in said:
                self.pids[said["spawned"]] = said["pid"]
                log("process spawned", process=said["spawned"], pid=said["pid"])
            self.link.settimeout(0.0)

    def _tell(self, **packet: Any) -> None:
        try:
            self.link.send(msgspec.json.encode(packet))
        except OSError:
            self._zygote_gone()

    def _zygote_gone(self) -> None:
        raise EngineError(f"the zygote ended with status {self.zygote.wait()}")

    def spawn(self, name: str, epoch: int) -> None:
        self.link.settimeout(None)
        self._tell(spawn=name, epoch=epoch)
        deadline = time.monotonic() + _END_TIMEOUT_S
        while name not in self.pids and name not in self._ended:
            if time.monotonic() > deadline:
                raise EngineError(f"the zygote did not fork {name} within {_END_TIMEOUT_S:g} s")
            self._hear(0.05)

    def kill(self, *names: str) -> None:
        left = {name: self.pids[name] for name in names if name in self.pids}
        for pid in left.values():
            with suppress(ProcessLookupError):  # It may just have ended by itself.
                os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + _END_TIMEOUT_S
        for name, pid in left.items():
            while name in self.pids:
                if time.monotonic() > deadline:
                    raise EngineError(f"process {name} (pid {pid}) did not end within {_END_TIMEOUT_S:g} s of SIGKILL")
                self._hear(0.02)
            self._ended.remove(name)

    def exited(self) -> str | None:
        self._hear()
        return self._ended.pop() if self._ended else None

    def missing(self) -> list[str]:
        return [name for name in self.names if name not in self.pids]

    def end(self) -> None:
        deadline = time.monotonic() + _END_TIMEOUT_S
        try:
            while self.pids and time.monotonic() < deadline:
                self._hear(0.02)
        except (EngineError, OSError) as error:
            log("zygote gone at the end", error=str(error))
        self.link.close()  # The zygote kills what is left and ends.
        try:
            self.zygote.wait(_END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.zygote.kill()
            self.zygote.wait()


class UnitSpawner:
    """systemd starts `hftctl stage NAME`; this one only watches the heartbeat blocks."""

    def __init__(self, instance: Instance, config: Config) -> None:
        self.names = list(config.placement.processes)
        self._segment, self.words = open_control(instance)
        self._seen: dict[str, Owner] = {}

    def prepare(self, config: Config, progress: Progress, beat: Callable[[], None]) -> None:
        """Nothing: each unit warms its own stage, and reads the config from engine.json."""

    def _owner(self, name: str) -> Owner:
        row = self.names.index(name)
        return Owner(int(self.words[process_word(row, ProcessWord.PID)]), int(self.words[process_word(row, ProcessWord.STARTED)]))

    def spawn(self, name: str, epoch: int) -> None:
        """systemd's business: Restart=always brings it back, and it reads the epoch from the control words."""

    def kill(self, *names: str) -> None:
        owners = {name: self._owner(name) for name in names}
        for owner in owners.values():
            if is_alive(owner):
                with suppress(ProcessLookupError):  # It may just have ended by itself.
                    os.kill(owner.pid, signal.SIGKILL)
        for name, owner in owners.items():
            while is_alive(owner):
                time.sleep(0.001)
            self.words[process_word(self.names.index(name), ProcessWord.STATE)] = ProcessState.ABSENT
            self._seen.pop(name, None)

    def exited(self) -> str | None:
        for name in self.names:
            owner = self._owner(name)
            if is_alive(owner):
                self._seen[name] = owner
            elif self._seen.get(name) == owner:
                del self._seen[name]
                return name
        return None

    def missing(self) -> list[str]:
        return [name for name in self.names if not is_alive(self._owner(name))]

    def end(self) -> None:
        deadline = time.monotonic() + _END_TIMEOUT_S
        while time.monotonic() < deadline and any(is_alive(self._owner(name)) for name in self.names):
            time.sleep(0.01)
        self._segment.close()
