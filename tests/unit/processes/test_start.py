"""Start: a supervisor in the foreground until time or a signal ends it, or behind; both end with a report."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from processes import logs, start
from processes.errors import EngineError
from processes.instance import write_durably
from processes.start import print_end, start_detached, start_foreground
from shm.segment import process_start
from support.engine import PAPER
from support.engine_fakes import SupervisedEngine


@pytest.fixture
def engine(instance_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SupervisedEngine]:
    """Nothing started yet; time passes only when someone sleeps."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    engine = SupervisedEngine(instance_name, tmp_path, monkeypatch)

    def make(*arguments: Any) -> Any:
        engine.supervisor = engine.new_supervisor()
        engine.spawner.supervisor = engine.supervisor
        engine.supervisor.progress = arguments[3]
        return engine.supervisor

    monkeypatch.setattr(start, "Supervisor", make)
    monkeypatch.setattr(start, "time", engine.clock)
    monkeypatch.setattr(start, "load_with_authorities", lambda path: engine.config)
    monkeypatch.setattr(logs, "to_file", lambda path: None)
    yield engine
    engine.supervisor.close()
    for number, handler in before.items():
        signal.signal(number, handler)


def test_run_for_some_seconds_ends_with_a_report_and_nothing_left(engine: SupervisedEngine, capsys: pytest.CaptureFixture[str]) -> None:
    began_ns = engine.clock.now_ns
    document = start_foreground(engine.instance, PAPER, 2.0, quiet=True)
    assert 2.0 <= (engine.clock.now_ns - began_ns) / 1e9 < 2.2
    assert document["state"] == "STOPPED" and document["latency"]["spans"] and engine.segments() == []
    reports = engine.instance.folder / "reports"
    assert json.loads((reports / "1.json").read_text())["epoch"] == 1 and len(list((reports / "1.hgrm").iterdir())) == 6
    print_end(document)
    printed = capsys.readouterr()
    assert "P&L" in printed.out and "wire→sent" in printed.out and printed.err == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_the_run_in_order(engine: SupervisedEngine, number: int) -> None:
    engine.clock.on_sleep = lambda: os.kill(os.getpid(), number) if engine.supervisor.state == "RUNNING" else None
    assert start_foreground(engine.instance, PAPER, None, quiet=True)["state"] == "STOPPED"
    assert engine.segments() == [] and engine.spawner.ended


def test_signal_while_starting_takes_everything_down(engine: SupervisedEngine) -> None:
    engine.spawner.silent.append("trade")
    engine.clock.on_sleep = lambda: os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(EngineError, match="SIGTERM while starting"):
        start_foreground(engine.instance, PAPER, None, quiet=True)
    assert engine.segments() == [] and engine.state() == "STOPPED"


def test_engine_that_fails_ends_with_the_reason(engine: SupervisedEngine) -> None:
    engine.clock.on_sleep = lambda: engine.spawner.die("trade")
    with pytest.raises(EngineError, match="crash loop"):
        start_foreground(engine.instance, PAPER, None, quiet=True)
    assert engine.segments() == []


def test_screen_tells_progress_and_one_living_line(
    engine: SupervisedEngine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    start_foreground(engine.instance, PAPER, 1.0, quiet=False)
    err = capsys.readouterr().err
    assert "loading kernels [########################] 1/1 all" in err and "running: instance" in err and "\r" not in err
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    start_foreground(engine.instance, PAPER, 1.0, quiet=False)
    err = capsys.readouterr().err
    assert "P&L 0.00000000 USDT  1 s left" in err and err.count("\r\033[Ksent") == 2


class Child:
    """Stands in for a detached supervisor's Popen; it is this process, and runs when told."""

    pid = os.getpid()
    returncode: int | None = None
    commands: ClassVar[list[list[str]]] = []

    def __init__(self, command: list[str], **options: Any) -> None:
        assert options["start_new_session"]
        Child.commands.append(command)

    def poll(self) -> int | None:
        return self.returncode


@pytest.fixture
def detached(engine: SupervisedEngine, monkeypatch: pytest.MonkeyPatch) -> SupervisedEngine:
    monkeypatch.setattr(start, "subprocess", SimpleNamespace(Popen=Child, DEVNULL=-3))
    monkeypatch.setattr(Child, "commands", [])
    monkeypatch.setattr(Child, "returncode", None)
    return engine


def test_detached_start_returns_when_the_engine_trades(detached: SupervisedEngine) -> None:
    detached.clock.on_sleep = detached.supervisor.start
    document = start_detached(detached.instance, PAPER, 30)
    assert document["state"] == "RUNNING"
    (command,) = Child.commands
    where = ["--instance", detached.instance.name, "--state-dir", str(detached.instance.state_dir)]
    assert command[2:] == ["processes.cli", "start", "--config", str(PAPER), "--json", *where, "--for", "30"]


def test_detached_start_is_refused_while_an_engine_runs(detached: SupervisedEngine) -> None:
    with detached, pytest.raises(EngineError, match="already running"):
        start_detached(detached.instance, PAPER, None)
    assert Child.commands == []


def test_detached_engine_that_ends_while_starting_is_an_error(detached: SupervisedEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    detached.clock.on_sleep = lambda: monkeypatch.setattr(Child, "returncode", 1)
    with pytest.raises(EngineError, match="ended with status 1 while starting"):
        start_detached(detached.instance, PAPER, None)


def test_detached_engine_that_never_starts_is_ended(detached: SupervisedEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    killed = []
    monkeypatch.setattr(start, "os", SimpleNamespace(kill=lambda *call: killed.append(call)))
    with pytest.raises(EngineError, match="did not start within 300 s"):
        start_detached(detached.instance, PAPER, None)
    assert killed == [(os.getpid(), signal.SIGTERM)]


def test_what_an_engine_of_before_wrote_is_not_taken_for_the_new_one(detached: SupervisedEngine) -> None:
    detached.instance.make_folders()
    old = {"pid": os.getpid() + 1, "started": process_start(1) + 1, "state": "RUNNING"}
    write_durably(detached.instance.engine_file, json.dumps(old).encode())
    detached.clock.on_sleep = detached.supervisor.start
    assert start_detached(detached.instance, PAPER, None)["epoch"] == 1
