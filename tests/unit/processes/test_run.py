"""Run: a process warms on scratch memory, runs its stages on the epoch's segments, and leaves when it is told to."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from hft import control
from hft.config import load
from hft.control import ProcessState, ProcessWord, process_word
from hft.journal_reader import JournalReader
from hft.records import JournalKind
from processes import affinity, idle, run
from processes.errors import EngineError
from processes.instance import write_durably
from processes.resources import ScratchResources, SharedResources
from processes.run import ORPHAN_NS, ProcessLoop, run_process, run_single_stage, warm_process
from processes.segments import create_rings
from processes.stage import Stage
from shm.ring import tail_sequence
from shm.segment import process_start
from support.engine import ROOT, paper_config
from support.engine_fakes import SupervisedEngine, unpinned

ROWS = {"market": 0, "trade": 1}


def dead_ends(sections: dict[str, Any]) -> None:
    """A venue on a port where nobody listens: connecting fails at once."""
    unpinned(sections)
    sections["venues"]["binance"] |= {"stream_url": "ws://127.0.0.1:9", "rest_url": "http://127.0.0.1:9"}


def dead_ends_with_picows(sections: dict[str, Any]) -> None:
    dead_ends(sections)
    sections["venues"]["binance"]["transport"] = "picows"


class Running:
    """A supervised engine, of which one process really runs, in this process; `at_turn` is called when it idles."""

    def __init__(self, engine: SupervisedEngine, monkeypatch: pytest.MonkeyPatch) -> None:
        self.engine, self.words = engine, engine.words
        self.turns = 0
        self.at_turn: Callable[[int], None] = lambda turn: self.stop() if turn >= 3 else None
        self.words[control.SUPERVISOR_BEAT] = time.monotonic_ns()
        # The event loop of picows brings its own idling.
        for name in idle.BY_NAME:
            monkeypatch.setitem(idle.BY_NAME, name, lambda: self.rest)
        monkeypatch.setattr(idle, "busy_spin", lambda: self.rest)

    def rest(self, done: int) -> None:
        self.turns += 1
        self.words[control.SUPERVISOR_BEAT] = time.monotonic_ns()
        self.at_turn(self.turns)

    def stop(self) -> None:
        self.words[control.STOP] = 1

    def word(self, name: str, word: ProcessWord) -> int:
        return int(self.words[process_word(ROWS[name], word)])

    def run(self, name: str) -> None:
        run_process(self.engine.instance, self.engine.config, name, self.engine.supervisor.epoch)

    def new_epoch(self) -> None:
        """What the supervisor does to the words and rings in a restart."""
        supervisor = self.engine.supervisor
        supervisor._rings += create_rings(self.engine.instance, supervisor.topology, supervisor.epoch + 1)
        supervisor.epoch += 1
        supervisor._write_engine()
        self.words[control.EPOCH] = supervisor.epoch

    def journal(self, stage: str, epoch: int = 1) -> list[Any]:
        return list(JournalReader(self.engine.instance.journal_folder(epoch), stage, epoch).entries())


@pytest.fixture
def signals() -> Iterator[None]:
    """Signal handlers as they were."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(params=[dead_ends])
def running(
    request: pytest.FixtureRequest, instance_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signals: None
) -> Iterator[Running]:
    with SupervisedEngine(instance_name, tmp_path, monkeypatch, request.param) as engine:
        yield Running(engine, monkeypatch)


def test_process_says_who_it_is_runs_and_stops_at_the_stop_word(running: Running) -> None:
    states = []
    running.at_turn = lambda turn: (states.append(running.word("trade", ProcessWord.STATE)), turn >= 3 and running.stop())[0]
    running.run("trade")
    assert states == [ProcessState.RUNNING] * 3 and running.word("trade", ProcessWord.STATE) == ProcessState.STOPPED
    assert running.word("trade", ProcessWord.PID) == os.getpid()
    assert running.word("trade", ProcessWord.STARTED) == process_start(os.getpid())
    assert (running.word("trade", ProcessWord.EPOCH), running.word("trade", ProcessWord.CORE)) == (1, -1)
    assert running.word("trade", ProcessWord.BURSTS) == 3 and running.word("trade", ProcessWord.BEAT) > 0


def test_process_says_that_it_leaves_before_it_closes_anything(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    states = []
    close = ProcessLoop.close

    def closing(loop: ProcessLoop, reason: str) -> None:
        states.append(running.word("trade", ProcessWord.STATE))
        close(loop, reason)

    monkeypatch.setattr(ProcessLoop, "close", closing)
    running.run("trade")
    assert states == [ProcessState.LEAVING]


def test_every_stage_closes_its_journal_with_the_reason(running: Running) -> None:
    running.run("trade")
    for stage in ("strategy.mm", "risk", "execution.binance"):
        entries = running.journal(stage)
        assert entries[0].kind == JournalKind.SESSION and entries[0].json()["epoch"] == 1
        assert entries[-1].kind == JournalKind.END and entries[-1].json() == {"reason": "stop"}


@pytest.mark.parametrize("running", [dead_ends, dead_ends_with_picows], indirect=True)
def test_feed_that_cannot_connect_goes_on_telling_that_no_book_is_valid(running: Running) -> None:
    told = []
    topology = running.engine.config.topology()

    def look(turn: int) -> None:
        if turn >= 8:
            running.stop()

    running.at_turn = look
    running.run("market")
    entries = running.journal("feed.binance")
    told = [row for entry in entries if entry.kind == JournalKind.MARKET for row in entry.records()]
    rings = len(topology.stage("feed.binance").outputs)
    assert len(told) == 2 * rings and entries[-1].json() == {"reason": "stop"}
    assert running.word("market", ProcessWord.STATE) == ProcessState.STOPPED


def test_signal_ends_the_process_in_order(running: Running) -> None:
    running.at_turn = lambda turn: os.kill(os.getpid(), signal.SIGTERM) if turn == 2 else None
    running.run("trade")
    assert running.word("trade", ProcessWord.STATE) == ProcessState.STOPPED
    assert running.journal("risk")[-1].json() == {"reason": "signal"}


def test_process_without_a_supervisor_ends(running: Running) -> None:
    def orphan(turn: int) -> None:
        if turn == 2:
            running.words[control.SUPERVISOR_BEAT] = time.monotonic_ns() - ORPHAN_NS - 1

    running.at_turn = orphan
    running.run("trade")
    assert running.journal("risk")[-1].json() == {"reason": "the supervisor is gone"}


def test_hot_process_leaves_when_the_epoch_changes(running: Running) -> None:
    running.at_turn = lambda turn: running.new_epoch() if turn == 2 else None
    running.run("trade")
    assert running.journal("risk")[-1].json() == {"reason": "epoch 2 follows"} and running.word("trade", ProcessWord.EPOCH) == 1


def test_feed_and_portfolio_switch_to_the_new_epochs_rings(running: Running) -> None:
    def switch(turn: int) -> None:
        if turn == 2:
            running.new_epoch()
        if turn == 6:
            running.stop()

    running.at_turn = switch
    running.run("market")
    assert running.word("market", ProcessWord.EPOCH) == 2
    assert [running.journal("portfolio", epoch)[-1].json()["reason"] for epoch in (1, 2)] == ["epoch 2 follows", "stop"]


def test_failure_shows_in_the_state_and_is_raised(running: Running) -> None:
    def fail(turn: int) -> None:
        raise EngineError("broken")

    running.at_turn = fail
    with pytest.raises(EngineError, match="broken"):
        running.run("trade")
    assert running.word("trade", ProcessWord.STATE) == ProcessState.FAILED


def test_ring_that_another_process_holds_cannot_be_taken(running: Running) -> None:
    running.run("trade")
    running.words[control.STOP] = 0
    running.engine.supervisor.epoch = 1
    with pytest.raises(Exception, match="acquired before|there is a journal"):
        running.run("trade")


def test_what_the_host_refuses_is_logged_and_the_process_runs(
    running: Running, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    process = running.engine.config.placement.processes["trade"]
    asked = []
    for name in ("pin", "set_fifo", "lock_memory"):
        monkeypatch.setattr(affinity, name, lambda *value, name=name: asked.append((name, *value)) or f"{name}: not permitted")
    monkeypatch.setattr(affinity, "freeze_gc", lambda: asked.append(("freeze_gc",)))
    monkeypatch.setattr(run.gc, "get_freeze_count", lambda: 0)
    config = running.engine.config
    placement = replace(config.placement, freeze_gc=True, processes={"trade": replace(process, core=1, fifo_priority=9, lock_memory=True)})
    run._place(replace(config, placement=placement), placement.processes["trade"], "trade")
    assert asked == [("pin", 1), ("set_fifo", 9), ("lock_memory",), ("freeze_gc",)]
    assert "pin: not permitted" in capfd.readouterr().err


@pytest.mark.parametrize("name", ["market", "trade"])
def test_warming_touches_no_segment(name: str) -> None:
    before = set(os.listdir("/dev/shm"))
    warm_process(paper_config(unpinned), name)
    assert not {found for found in set(os.listdir("/dev/shm")) - before if str(os.getpid()) in found}


def test_loop_pins_again_when_a_stage_changed_its_context(tmp_path: Path) -> None:
    loop = ProcessLoop(paper_config(), ["risk"])
    loop.attach(ScratchResources(loop.topology, 2, tmp_path))
    first = loop.cell()
    assert loop.cell() is first
    stage: Stage = loop.stages[0]
    stage.context.common.words[2] = 1  # ROTATE
    assert stage.cold(1) == 1 and stage.changed
    assert loop.cell() is not first and not stage.changed
    loop.close("test over")
    assert sorted(path.name for path in tmp_path.glob("*.journal")) == ["risk.000001.journal", "risk.000002.journal"]


def test_stage_command_runs_the_process_that_has_exactly_this_stage_of_the_running_config(
    instance_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "engine.toml"
    file.write_text((ROOT / "configs" / "bare-metal.toml").read_text())
    bare = load(file)
    with SupervisedEngine(instance_name, tmp_path, monkeypatch, unpinned) as engine:
        engine.supervisor.file_hash = bare.hash()
        engine.supervisor._write_engine()
        calls: list[tuple[Any, ...]] = []
        monkeypatch.setattr(run, "warm_process", lambda config, name: calls.append(("warm", name)))
        monkeypatch.setattr(run, "run_process", lambda instance, config, name, epoch: calls.append(("run", name, epoch)))
        run_single_stage(engine.instance, file, "risk")
        process = next(name for name, process in bare.placement.processes.items() if process.stages == ["risk"])
        assert calls == [("warm", process), ("run", process, 1)]
        calls.clear()
        with pytest.raises(EngineError, match="no process of placement.processes runs exactly the stage 'riks'"):
            run_single_stage(engine.instance, file, "riks")
        said = engine.instance.read_engine()
        assert said is not None
        write_durably(engine.instance.engine_file, msgspec.json.encode(said | {"file_hash": "other"}))
        with pytest.raises(EngineError, match="is not the config that instance"):
            run_single_stage(engine.instance, file, "risk")
        assert calls == []


def test_ring_segments_begin_empty(running: Running) -> None:
    topology = running.engine.config.topology()
    resources = SharedResources(running.engine.instance, topology, 2, 1, running.words, 1 << 20)
    ring = topology.ring("orders.risk.binance")
    assert tail_sequence(resources.producer(ring)) == 0 and resources.consumer(ring).slots.size == 1024
    resources.close()
