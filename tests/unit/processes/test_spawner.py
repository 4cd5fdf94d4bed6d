"""Spawners and the zygote: processes are started, heard of when they end, and none is left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import msgspec
import pytest

from hft.config import ConfigError
from hft.control import ProcessState, ProcessWord, process_word
from processes import run, spawner, zygote
from processes.attach import create_control
from processes.errors import EngineError
from processes.instance import Instance
from processes.spawner import UnitSpawner, ZygoteSpawner, make_spawner
from processes.zygote import Zygote
from shm.segment import process_start
from support.engine import paper_config
from support.engine_fakes import FakeTime, unpinned


def decode(packet: bytes) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(packet)
    return found


class FakeZygote:
    """Stands in for the zygote's Popen; the test speaks for it over `link`."""

    made: ClassVar[list[FakeZygote]] = []

    def __init__(self, command: list[str], pass_fds: list[int], **options: Any) -> None:
        self.link = socket.socket(fileno=os.dup(pass_fds[0]))
        self.killed = False
        self.hangs = False
        FakeZygote.made.append(self)

    def say(self, **packet: Any) -> None:
        self.link.send(msgspec.json.encode(packet))

    def heard(self) -> dict[str, Any]:
        return decode(self.link.recv(1 << 20))

    def wait(self, timeout: float | None = None) -> int:
        if self.hangs and timeout is not None:
            raise subprocess.TimeoutExpired("zygote", timeout)
        return 17

    def kill(self) -> None:
        self.killed = True


class Desk:
    """A ZygoteSpawner with a fake zygote behind it."""

    def __init__(self, spawning: ZygoteSpawner) -> None:
        self.spawner, self.zygote = spawning, FakeZygote.made[-1]
        self.progress: list[tuple[str, int, int]] = []

    def prepare(self) -> None:
        self.spawner.prepare(paper_config(unpinned), lambda *step: self.progress.append(step), lambda: None)

    def spawn(self, name: str, pid: int) -> None:
        self.zygote.say(spawned=name, pid=pid)
        self.spawner.spawn(name, 1)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.setattr(spawner, "subprocess", SimpleNamespace(Popen=FakeZygote, DEVNULL=-3, TimeoutExpired=subprocess.TimeoutExpired))
    instance = Instance("some", tmp_path)
    instance.make_folders()
    made = make_spawner(instance, paper_config(unpinned))
    assert isinstance(made, ZygoteSpawner)
    desk = Desk(made)
    yield desk
    desk.spawner.link.close()
    desk.zygote.link.close()


def test_prepare_hands_over_the_config_and_reports_progress_until_all_is_warm(desk: Desk) -> None:
    desk.zygote.say(what="market", progress=0, of=2)
    desk.zygote.say(what="trade", progress=1, of=2)
    desk.zygote.say(warm=True)
    desk.prepare()
    assert desk.progress == [("market", 0, 2), ("trade", 1, 2)]
    start = desk.zygote.heard()["start"]
    assert start["instance"] == "some" and start["config"] == msgspec.to_builtins(paper_config(unpinned))


def test_zygote_that_fails_to_warm_is_an_error_with_its_reason(desk: Desk) -> None:
    desk.zygote.say(failed="no such strategy")
    with pytest.raises(EngineError, match="no such strategy"):
        desk.prepare()
    assert desk.spawner.link.fileno() == -1, "its end was waited for"


def test_zygote_that_ends_while_warming_is_an_error(desk: Desk) -> None:
    desk.zygote.link.shutdown(socket.SHUT_RDWR)
    with pytest.raises(EngineError, match="ended"):
        desk.prepare()


def test_spawn_returns_when_the_zygote_has_forked(desk: Desk) -> None:
    assert desk.spawner.missing() == ["market", "trade"]
    desk.spawn("trade", 41)
    assert desk.zygote.heard() == {"spawn": "trade", "epoch": 1} and desk.spawner.missing() == ["market"]


def test_zygote_that_does_not_fork_is_an_error(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeTime()
    monkeypatch.setattr(spawner, "time", SimpleNamespace(monotonic=lambda: (clock.sleep(3), clock.monotonic())[1]))
    with pytest.raises(EngineError, match="did not fork trade"):
        desk.spawner.spawn("trade", 1)


def test_spawn_from_a_zygote_that_is_gone_is_an_error(desk: Desk) -> None:
    desk.zygote.link.shutdown(socket.SHUT_RDWR)
    with pytest.raises(EngineError, match="status 17"):
        desk.spawner.spawn("trade", 1)


def test_exits_are_reported_once_and_only_of_the_newest_process_of_a_name(desk: Desk) -> None:
    desk.spawn("trade", 41)
    assert desk.spawner.exited() is None
    desk.zygote.say(exited="trade", pid=40, status=1)
    assert desk.spawner.exited() is None, "an older process of that name"
    desk.zygote.say(exited="trade", pid=41, status=-9)
    assert desk.spawner.exited() == "trade" and desk.spawner.exited() is None and "trade" in desk.spawner.missing()


def test_zygote_that_is_gone_is_an_error_with_its_status(desk: Desk) -> None:
    desk.spawn("trade", 41)
    desk.zygote.link.shutdown(socket.SHUT_RDWR)
    with pytest.raises(EngineError, match="status 17"):
        desk.spawner.exited()


def test_kill_ends_the_process_and_its_exit_is_no_news(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.spawn("trade", 41)
    killed = []

    def kill(pid: int, number: int) -> None:
        killed.append((pid, number))
        desk.zygote.say(exited="trade", pid=pid, status=-9)

    monkeypatch.setattr(spawner, "os", SimpleNamespace(kill=kill))
    desk.spawner.kill("trade")
    assert killed == [(41, signal.SIGKILL)] and desk.spawner.exited() is None and "trade" in desk.spawner.missing()
    desk.spawner.kill("trade")
    assert len(killed) == 1, "there is nothing more to kill"


def test_process_that_outlives_its_kill_is_an_error(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.spawn("trade", 41)
    clock = FakeTime()
    monkeypatch.setattr(spawner, "os", SimpleNamespace(kill=lambda *call: None))
    monkeypatch.setattr(spawner, "time", SimpleNamespace(monotonic=lambda: (clock.sleep(3), clock.monotonic())[1]))
    with pytest.raises(EngineError, match="did not end"):
        desk.spawner.kill("trade")


def test_end_waits_for_processes_then_hangs_up(desk: Desk) -> None:
    desk.spawn("trade", 41)
    desk.zygote.heard()
    desk.zygote.say(exited="trade", pid=41, status=0)
    desk.spawner.end()
    assert desk.zygote.link.recv(1) == b"" and not desk.zygote.killed


def test_end_kills_a_zygote_that_does_not_leave_and_survives_one_that_left(desk: Desk) -> None:
    desk.spawn("trade", 41)
    desk.zygote.link.shutdown(socket.SHUT_RDWR)
    desk.zygote.hangs = True
    desk.spawner.end()
    assert desk.zygote.killed


class Units:
    """A UnitSpawner on real control words, and real processes to point them at."""

    def __init__(self, name: str, folder: Path) -> None:
        self.instance = Instance(name, folder)
        self.segment, self.words = create_control(self.instance)

        def change(sections: dict[str, Any]) -> None:
            unpinned(sections)
            sections["placement"]["spawner"] = "units"

        made = make_spawner(self.instance, paper_config(change))
        assert isinstance(made, UnitSpawner)
        self.spawner = made
        self.children: list[subprocess.Popen[bytes]] = []

    def run(self, row: int) -> subprocess.Popen[bytes]:
        child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
        self.children.append(child)
        self.words[process_word(row, ProcessWord.PID)] = child.pid
        self.words[process_word(row, ProcessWord.STARTED)] = process_start(child.pid)
        return child

    def close(self) -> None:
        for child in self.children:
            child.kill()
            child.communicate()
        self.segment.unlink()
        self.segment.close()


@pytest.fixture
def units(instance_name: str, tmp_path: Path) -> Iterator[Units]:
    units = Units(instance_name, tmp_path)
    yield units
    units.close()


def test_units_are_missing_until_they_have_said_who_they_are(units: Units) -> None:
    units.spawner.spawn("trade", 1)
    assert units.spawner.missing() == ["market", "trade"] and units.spawner.exited() is None
    units.run(1)
    assert units.spawner.missing() == ["market"] and units.spawner.exited() is None


def test_unit_that_ends_is_reported_once(units: Units) -> None:
    child = units.run(1)
    assert units.spawner.exited() is None
    child.communicate()
    assert units.spawner.exited() == "trade" and units.spawner.exited() is None


def test_unit_that_systemd_started_again_is_a_new_one(units: Units) -> None:
    first = units.run(1)
    units.spawner.exited()
    first.communicate()
    units.spawner.exited()
    units.run(1)
    assert units.spawner.exited() is None and units.spawner.missing() == ["market"]


def test_kill_of_a_unit_returns_when_it_is_gone(units: Units) -> None:
    child = units.run(1)
    units.spawner.exited()
    units.spawner.kill("trade")
    assert child.wait() == -signal.SIGKILL
    assert units.words[process_word(1, ProcessWord.STATE)] == ProcessState.ABSENT and units.spawner.exited() is None
    units.spawner.kill("trade")


def test_end_waits_for_units_to_leave(units: Units, monkeypatch: pytest.MonkeyPatch) -> None:
    child = units.run(0)

    def leave(seconds: float) -> None:
        child.communicate()

    monkeypatch.setattr(spawner, "time", SimpleNamespace(monotonic=FakeTime().monotonic, sleep=leave))
    units.spawner.end()
    assert child.returncode == 0


class Supervised:
    """A Zygote in this process, and the supervisor's end of its socket."""

    def __init__(self, folder: Path) -> None:
        self.link, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.theirs = theirs
        start = {"instance": "some", "state_dir": str(folder), "config": msgspec.to_builtins(paper_config(unpinned))}
        self.say(start=start)
        self.link.settimeout(60)

    def say(self, **packet: Any) -> None:
        self.link.send(msgspec.json.encode(packet))

    def heard(self) -> dict[str, Any]:
        return decode(self.link.recv(1 << 20))


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[Supervised]:
    supervised = Supervised(tmp_path)
    yield supervised
    supervised.link.close()
    supervised.theirs.close()


def reaped(zygote: Zygote) -> None:
    while zygote.children:
        zygote.reap()


OUTCOMES = [(None, 0), (SystemExit(5), 5), (SystemExit("text"), 1), (EngineError("no"), 1), (KeyboardInterrupt(), 1)]


@pytest.mark.parametrize(("outcome", "status"), OUTCOMES, ids=lambda value: repr(value))
def test_forked_process_runs_its_stages_and_its_end_is_told(
    supervised: Supervised, monkeypatch: pytest.MonkeyPatch, outcome: BaseException | None, status: int, tmp_path: Path
) -> None:
    def run_process(instance: Instance, config: Any, name: str, epoch: int) -> None:
        (tmp_path / "ran").write_text(f"{instance.name} {name} {epoch}")
        if outcome is not None:
            raise outcome

    monkeypatch.setattr(run, "run_process", run_process)
    made = Zygote(supervised.theirs)
    made.spawn("trade", 7)
    said = supervised.heard()
    assert said["spawned"] == "trade" and said["pid"] in made.children
    reaped(made)
    assert supervised.heard() == {"exited": "trade", "pid": said["pid"], "status": status}
    assert (tmp_path / "ran").read_text() == "some trade 7"


def test_zygote_warms_every_process_then_forks_on_request_until_the_supervisor_hangs_up(
    supervised: Supervised, monkeypatch: pytest.MonkeyPatch
) -> None:
    warmed: list[str] = []
    monkeypatch.setattr(zygote, "_POLL_MS", 3_600_000)  # What ends is told by its signal, not by looking now and then.
    monkeypatch.setattr(run, "warm_process", lambda config, name: warmed.append(name))
    monkeypatch.setattr(run, "run_process", lambda *call: None)
    monkeypatch.setattr(zygote.affinity, "freeze_gc", lambda: 0)
    monkeypatch.setattr(zygote, "die_with_parent", lambda: None)
    monkeypatch.setattr(sys, "argv", ["zygote", str(os.dup(supervised.theirs.fileno()))])
    heard: list[dict[str, Any]] = []

    def supervise() -> None:
        while not heard or "exited" not in heard[-1]:
            heard.append(supervised.heard())
            if heard[-1].get("warm"):
                supervised.say(spawn="trade", epoch=3)
        supervised.theirs.close()
        supervised.link.close()

    supervisor = threading.Thread(target=supervise)
    supervisor.start()
    interrupts = signal.getsignal(signal.SIGINT)
    try:
        zygote.main()
    finally:
        signal.signal(signal.SIGINT, interrupts)
        supervisor.join()
    assert warmed == ["market", "trade"]
    assert [(said.get("what"), said.get("progress")) for said in heard[:3]] == [("market", 0), ("trade", 1), ("", 2)]
    assert heard[3] == {"warm": True} and heard[4]["spawned"] == "trade" and heard[5]["status"] == 0


@pytest.mark.parametrize(
    ("error", "text"), [(ConfigError("strategies.mm: no"), "strategies.mm: no"), (ValueError("odd"), "ValueError('odd')")]
)
def test_zygote_that_cannot_warm_says_why_before_it_ends(
    supervised: Supervised, monkeypatch: pytest.MonkeyPatch, error: Exception, text: str
) -> None:
    def fail(config: Any, name: str) -> None:
        raise error

    monkeypatch.setattr(run, "warm_process", fail)
    monkeypatch.setattr(zygote, "die_with_parent", lambda: None)
    monkeypatch.setattr(sys, "argv", ["zygote", str(os.dup(supervised.theirs.fileno()))])
    interrupts = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(type(error)):
            zygote.main()
    finally:
        signal.signal(signal.SIGINT, interrupts)
    assert supervised.heard()["progress"] == 0 and supervised.heard() == {"failed": text}


def test_children_are_killed_when_the_zygote_ends(supervised: Supervised, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "run_process", lambda *call: signal.pause())
    made = Zygote(supervised.theirs)
    made.spawn("trade", 1)
    (pid,) = made.children
    made.end_children()
    assert made.children == {} and process_start(pid) == 0
