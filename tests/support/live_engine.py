"""Live engine: `hftctl start` in real processes, watched and stopped by a test, and everything it leaves behind."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import tomllib
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from processes.chaos.sections import Sections, write_config
from processes.instance import Instance
from processes.status import read_status
from support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
PAPER = Path(__file__).with_name("paper.toml")
HFTCTL = (sys.executable, "-m", "processes.cli")
#: Kernels may have to be compiled first.
START_S = 240.0
#: Names this engine in the environment of every process that it starts, whoever its parent is by now.
_MARK = "HFT_TEST_INSTANCE"


def paper(change: Callable[[Sections], None] | None = None) -> Sections:
    """paper.toml as sections, changed by `change`; journal files are small, because restarts make many."""
    sections = tomllib.loads(PAPER.read_text())
    sections["engine"]["journal_file_mb"] = 4
    if change is not None:
        change(sections)
    return sections


def hftctl(*arguments: object, timeout_s: float = 120.0) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    command = [*HFTCTL, *(str(argument) for argument in arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=timeout_s, check=False)


class LiveEngine:
    """One `hftctl start` after another, on one instance of its own."""

    def __init__(self, folder: Path, sections: Sections | None = None) -> None:
        self.folder = folder
        self.name = f"t{os.getpid()}-{secrets.token_hex(4)}"
        self.state_dir = folder / "state"
        self.instance = Instance(self.name, self.state_dir)
        self.config = write_config(folder / "engine.toml", sections if sections is not None else paper())
        self.process: subprocess.Popen[bytes] | None = None
        self.stdout, self.stderr = folder / "start.out", folder / "start.err"

    @property
    def where(self) -> tuple[str, ...]:
        """The options that name this instance."""
        return "--instance", self.name, "--state-dir", str(self.state_dir)

    def ctl(self, command: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Run an hftctl command on this instance."""
        return hftctl(command, *arguments, *self.where)

    def ctl_json(self, command: str, *arguments: object) -> dict[str, Any]:
        """The document that a command prints; it must succeed and print nothing else."""
        done = self.ctl(command, *arguments, "--json")
        assert done.returncode == 0, f"{command}: exit {done.returncode}: {done.stderr}"
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    def spawn(self, *arguments: object, out: str = "start.out") -> subprocess.Popen[bytes]:
        """Start an hftctl command on this instance in the background, its stdout in a file of the folder."""
        command = [*HFTCTL, *(str(argument) for argument in arguments), *self.where]
        environment = os.environ | {_MARK: self.name}
        with open(self.folder / out, "wb") as stdout, open(self.stderr, "ab") as stderr:
            return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, env=environment)

    def start(self, *options: object) -> None:
        """`hftctl start`; returns at once."""
        assert self.process is None or self.process.poll() is not None
        self.process = self.spawn("start", "--config", self.config, "--json", *options)

    def await_running(self) -> dict[str, Any]:
        """Wait for RUNNING; return the status."""
        return wait_until(self._running, START_S, "the engine runs")

    def _running(self) -> dict[str, Any] | None:
        assert self.process is not None
        assert self.process.poll() is None, f"start ended with {self.process.returncode}: {self.log_text()}"
        engine = self.instance.read_engine()
        return self.status() if engine and engine["pid"] == self.process.pid and engine["state"] == "RUNNING" else None

    def status(self) -> dict[str, Any]:
        """The status, read in this process."""
        return read_status(self.instance)

    def engine(self) -> dict[str, Any]:
        """engine.json."""
        found = self.instance.read_engine()
        assert found is not None
        return found

    def pid_of(self, process: str) -> int:
        """Pid of a stage process by its name in the placement."""
        return next(stage["pid"] for stage in self.status()["stages"] if stage["process"] == process)

    def await_frames(self, count: int, deadline_s: float = 40) -> None:
        """Wait until the first venue's feed has taken so many more frames: the market goes on for that long."""
        last = self.status()["venues"][0]["frames"] + count
        wait_until(lambda: self.status()["venues"][0]["frames"] > last, deadline_s, f"{count} more frames (see {self.log_text()})")

    def await_orders(self, key: str, count: int, deadline_s: float = 40.0) -> dict[str, Any]:
        """Wait until the status counts at least `count` orders of a kind; return the status."""

        def enough() -> dict[str, Any] | None:
            status = self.status()
            return status if status["orders"][key] >= count else None

        return wait_until(enough, deadline_s, f"{count} orders {key} (see {self.log_text()})")

    def stop(self) -> int:
        """SIGTERM to the supervisor; its exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def report(self) -> dict[str, Any]:
        """What `start --json` printed at its end."""
        document: dict[str, Any] = json.loads(self.stdout.read_text())
        return document

    def simulator(self, path: str, body: dict[str, Any] | None = None, venue: str = "binance") -> dict[str, Any]:
        """Ask a simulator's control port: GET, or POST with a body."""
        url = self.engine()["simulators"][venue]["control"] + path
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(url, data=data, timeout=10) as answer:
            document: dict[str, Any] = json.loads(answer.read())
            return document

    def processes(self) -> list[int]:
        """Pids of everything that descends from this engine and still runs."""
        mark = f"{_MARK}={self.name}".encode()
        return [int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit() and mark in _environment(folder)]

    def segments(self) -> list[str]:
        """What this instance has in shared memory."""
        return sorted(path.name for path in Path("/dev/shm").glob(f"hft.{self.name}.*"))

    def log_text(self) -> str:
        """The end of everything that was logged, for a failure's message."""
        files = [self.stderr, *sorted((self.instance.folder / "log").glob("*.jsonl"))]
        return "\n".join(f"{path.name}: ...{path.read_text()[-1500:]}" for path in files if path.exists())

    def logged(self, event: str) -> list[dict[str, Any]]:
        """The lines of the log with this event, from every process."""
        files = [self.stderr, *sorted((self.instance.folder / "log").glob("*.jsonl"))]
        lines = [line for path in files if path.exists() for line in path.read_text().splitlines() if line.startswith("{")]
        return [line for line in map(json.loads, lines) if line["event"] == event]

    def end(self) -> None:
        """Stop what still runs, by pid, and free what it left; for a test that has failed."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        for name in self.segments():
            (Path("/dev/shm") / name).unlink(missing_ok=True)


def _environment(folder: Path) -> bytes:
    try:
        return (folder / "environ").read_bytes()
    except OSError:
        return b""


@contextmanager
def live_engine(folder: Path, sections: Sections | None = None) -> Iterator[LiveEngine]:
    """An engine for a test to start; afterwards it is stopped, and nothing of it may be left."""
    engine = LiveEngine(folder, sections)
    try:
        yield engine
        if engine.process is not None:
            engine.stop()
        wait_until(lambda: not engine.processes(), 10, f"no process of the engine is left ({engine.processes()})")
        assert engine.segments() == []
    finally:
        engine.end()
