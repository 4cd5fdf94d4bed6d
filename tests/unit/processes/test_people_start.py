"""Start: a run ends with its report and nothing left behind, however it ends; behind or in front."""

from __future__ import annotations

import io
import itertools
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hft.config import ConfigError
from hft.latency import SPANS
from processes import logs, start
from processes.errors import EngineError
from processes.instance import write_durably
from processes.start import print_end, start_detached, start_foreground
from support.engine import PAPER
from support.engine_fakes import FakeTime, SupervisedEngine

Progress = Callable[[str, int, int], None]


class Terminal(io.StringIO):
    """A stderr that is a terminal."""

    def isatty(self) -> bool:
        return True


class Foreground:
    """`start_foreground` over a real supervisor of fake processes, on a clock that jumps."""

    def __init__(self, engine: SupervisedEngine, monkeypatch: pytest.MonkeyPatch) -> None:
        self.engine, self.instance = engine, engine.instance
        monkeypatch.setattr(start, "time", engine.clock)
        monkeypatch.setattr(start, "Supervisor", self._supervisor)

    def _supervisor(self, instance: Any, config: Any, config_file: Path, progress: Progress, new_session: bool) -> Any:
        assert config_file.is_absolute() and not new_session
        self.engine.supervisor.progress = progress
        return self.engine.supervisor

    def run(self, seconds: float | None = 1.0, quiet: bool = True) -> dict[str, Any]:
        return start_foreground(self.instance, PAPER, seconds, quiet)

    def at_sleep(self, number: int, do: Callable[[], None]) -> None:
        """Do something at the `number`th time that anyone sleeps. A run that goes on for long after it fails instead of hanging."""
        count = itertools.count(1)

        def slept() -> None:
            now = next(count)
            assert now < number + 10_000, "the run does not end"
            if now == number:
                do()

        self.engine.clock.on_sleep = slept

    def assert_nothing_is_left(self) -> None:
        assert self.engine.segments() == [] and self.engine.spawner.ended and self.engine.state() == "STOPPED"


@pytest.fixture
def foreground(instance_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Foreground]:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    monkeypatch.setattr(logs, "_file", None)
    engine = SupervisedEngine(instance_name, tmp_path, monkeypatch)
    yield Foreground(engine, monkeypatch)
    engine.supervisor.close()
    for number, handler in handlers.items():
        signal.signal(number, handler)
    if logs._file is not None:
        os.close(logs._file)


def test_run_ends_by_itself_with_a_report(foreground: Foreground, capsys: pytest.CaptureFixture[str]) -> None:
    began_ns = foreground.engine.clock.now_ns
    document = foreground.run(3.0, quiet=False)
    assert 3.0 <= (foreground.engine.clock.now_ns - began_ns) * 1e-9 < 3.1
    assert (document["state"], document["session"], document["restarts"]) == ("STOPPED", 1, 0)
    assert [span["name"] for span in document["latency"]["spans"]] == list(SPANS)
    reports = foreground.instance.folder / "reports"
    kept = json.loads((reports / "1.json").read_text())
    assert kept["latency"] == document["latency"] and kept["pnl"] == document["pnl"]
    assert len(list((reports / "1.hgrm").glob("*.hgrm"))) == len(SPANS)
    foreground.assert_nothing_is_left()
    out, err = capsys.readouterr()
    assert out == "" and "\x1b" not in err
    assert err.splitlines() == [
        f"loading kernels [{'#' * 24}] 1/1 all",
        f"running: instance {foreground.instance.name}, epoch 1, mode paper; Ctrl-C stops",
    ]
    print_end(document)
    out = capsys.readouterr().out
    assert "STOPPED, mode paper" in out and "wire→sent" in out


def test_quiet_run_says_nothing_and_logs_to_its_file(foreground: Foreground, capfd: pytest.CaptureFixture[str]) -> None:
    foreground.run()
    assert capfd.readouterr() == ("", "")
    events = [json.loads(line)["event"] for line in (foreground.instance.folder / "log" / "supervisor.jsonl").read_text().splitlines()]
    assert "running" in events


def test_terminal_sees_a_bar_then_one_line_that_lives(foreground: Foreground, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    foreground.run(2.0, quiet=False)
    text = terminal.getvalue()
    pictures = [line for line in text.split("\r\033[K") if line.startswith("sent ")]
    assert text.startswith("\r\033[Kloading kernels [") and text.endswith("\n")
    assert pictures[0] == "sent 0  filled 0  working 0  P&L 0.00000000 USDT  2 s left"
    assert 3 <= len(pictures) <= 5  # Two a second, not one a turn.


def test_bar_stays_on_its_line_until_it_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    screen = start._Screen(quiet=False)
    for done in range(3):
        screen.progress("risk", done, 2)
    screen.progress("none", 0, 0)
    bars = [line.partition("]")[0].count("#") for line in terminal.getvalue().split("\r\033[K")[1:]]
    assert bars == [0, 12, 24, 0] and terminal.getvalue().count("\n") == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_a_run_without_an_end_in_order(foreground: Foreground, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    foreground.at_sleep(200, lambda: os.kill(os.getpid(), number))
    document = foreground.run(None, quiet=False)
    assert document["state"] == "STOPPED" and "s left" not in terminal.getvalue()
    assert (foreground.instance.folder / "reports" / "1.json").exists()
    foreground.assert_nothing_is_left()


def test_engine_that_fails_is_an_error_after_its_report(foreground: Foreground) -> None:
    def lose_simulator() -> None:
        foreground.engine.supervisor._simulators.victim = "binance"  # type: ignore[union-attr]

    foreground.at_sleep(3, lose_simulator)
    with pytest.raises(EngineError, match="simulator of binance ended; see .*log"):
        foreground.run(60.0)
    assert (foreground.instance.folder / "reports" / "1.json").exists()
    foreground.assert_nothing_is_left()


def test_signal_while_starting_takes_everything_down_and_a_second_one_does_not_disturb(foreground: Foreground) -> None:
    foreground.engine.spawner.silent = ["trade"]
    foreground.at_sleep(2, lambda: os.kill(os.getpid(), signal.SIGTERM))
    end = foreground.engine.spawner.end

    def end_disturbed() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        end()

    foreground.engine.spawner.end = end_disturbed  # type: ignore[method-assign]
    with pytest.raises(EngineError, match="SIGTERM while starting"):
        foreground.run()
    foreground.assert_nothing_is_left()
    assert list((foreground.instance.folder / "reports").iterdir()) == []


def test_report_that_cannot_be_written_still_leaves_nothing(foreground: Foreground, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(start, "write_durably", full)
    with pytest.raises(OSError, match="No space left"):
        foreground.run()
    foreground.assert_nothing_is_left()


def test_config_that_cannot_be_used_makes_no_folder(foreground: Foreground, tmp_path: Path) -> None:
    broken = tmp_path / "broken.toml"
    broken.write_text("[engine]\n")
    with pytest.raises(ConfigError):
        start_foreground(foreground.instance, broken, None, quiet=True)
    with pytest.raises(ConfigError):
        start_detached(foreground.instance, broken, None)
    assert not foreground.instance.folder.exists()


class Child:
    """A started `hftctl start`: it is this process, and `code` is how it ended."""

    def __init__(self) -> None:
        self.pid, self.returncode, self.command = os.getpid(), None, list[str]()
        self.options: dict[str, Any] = {}

    def __call__(self, command: list[str], **options: Any) -> Child:
        self.command, self.options = command, options
        return self

    def poll(self) -> int | None:
        return self.returncode


class Detached:
    """`start_detached` with a child that is not started, on a clock of its own."""

    def __init__(self, engine: SupervisedEngine, monkeypatch: pytest.MonkeyPatch) -> None:
        self.engine, self.instance, self.child, self.clock = engine, engine.instance, Child(), FakeTime()
        self.killed: list[tuple[int, int]] = []
        monkeypatch.setattr(start, "time", self.clock)
        monkeypatch.setattr(start, "subprocess", SimpleNamespace(Popen=self.child, DEVNULL=subprocess.DEVNULL))
        monkeypatch.setattr(start, "os", SimpleNamespace(kill=lambda pid, number: self.killed.append((pid, number))))

    def run(self, seconds: float | None = None) -> dict[str, Any]:
        return start_detached(self.instance, PAPER, seconds)

    def at_sleep(self, number: int, do: Callable[[], None]) -> None:
        count = itertools.count(1)
        self.clock.on_sleep = lambda: do() if next(count) == number else None


@pytest.fixture
def detached(instance_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Detached]:
    engine = SupervisedEngine(instance_name, tmp_path, monkeypatch)
    yield Detached(engine, monkeypatch)
    engine.supervisor.close()


def test_detached_start_returns_the_status_once_it_trades(detached: Detached) -> None:
    detached.at_sleep(3, detached.engine.supervisor.start)
    status = detached.run(5.0)
    assert (status["instance"], status["state"]) == (detached.instance.name, "RUNNING")
    command = detached.child.command
    assert command[1:4] == ["-m", "processes.cli", "start"] and "--json" in command and "--detach" not in command
    for flag, value in (
        ("--config", PAPER),
        ("--instance", detached.instance.name),
        ("--state-dir", detached.instance.state_dir),
        ("--for", 5.0),
    ):
        assert command[command.index(flag) + 1] == str(value)
    assert detached.child.options["start_new_session"] is True and detached.child.options["stdin"] == subprocess.DEVNULL
    assert detached.killed == []


def test_detached_start_goes_on_without_an_end_and_past_an_old_engine(detached: Detached) -> None:
    detached.instance.make_folders()
    old = {"pid": os.getpid(), "started": 1, "state": "RUNNING"}  # Of a process that had the child's pid before it.
    write_durably(detached.instance.engine_file, json.dumps(old).encode())
    detached.at_sleep(1, detached.engine.supervisor.start)
    assert detached.run()["state"] == "RUNNING"
    assert "--for" not in detached.child.command


def test_detached_start_of_a_running_instance_is_refused(detached: Detached) -> None:
    detached.engine.supervisor.start()
    with pytest.raises(EngineError, match=rf"already running \(pid {os.getpid()}\)"):
        detached.run()
    assert detached.child.command == []


def test_detached_start_of_an_engine_that_ends_says_where_to_look(detached: Detached) -> None:
    def end() -> None:
        detached.child.returncode = 1  # type: ignore[assignment]

    detached.at_sleep(2, end)
    with pytest.raises(EngineError, match="ended with status 1 while starting; see .*log"):
        detached.run()
    assert detached.killed == []


def test_detached_start_that_takes_too_long_is_ended(detached: Detached) -> None:
    with pytest.raises(EngineError, match="did not start within 300 s"):
        detached.run()
    assert detached.killed == [(os.getpid(), signal.SIGTERM)]
