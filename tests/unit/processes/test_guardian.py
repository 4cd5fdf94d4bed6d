"""Guardian: cancels and proves at a simulated venue whatever the engine, the disk or its own reporting do; over a real control segment."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hft import control
from hft.control import ProcessWord, process_word
from hft.sweep import Verdict
from hft.venues.interface import Call
from processes import guardian as guarding
from processes import guardian_report, guardian_venue, guardian_watch, operate
from processes.calls import Answer
from processes.errors import EngineError
from processes.guardian import Guardian
from processes.guardian_report import await_verdict, read_report
from processes.instance import Instance
from processes.operate import arm_engine, kill_scope
from support.engine import ROOT, paper_config
from support.engine_fakes import SupervisedEngine, unpinned
from support.guarded_venues import STEP_NS, GuardedVenue

MS, SECOND_NS = 1_000_000, 1_000_000_000


def at_venue(sections: dict[str, Any]) -> None:
    """Orders go to Binance at a place of this machine where nobody listens; a guardian's key is a simulator's."""
    unpinned(sections)
    sections["execution"]["binance"] = {
        "kind": "venue",
        "order_url": "ws://127.0.0.1:1/",
        "rest_url": "http://127.0.0.1:1/",
        "credentials": "keys/binance.toml",
    }
    sections["guardian"] = {"heartbeat_max_ms": 5000, "confirm_ms": 5000}


class Carried:
    """Stands in for `Calls`: a simulator in virtual time answers, or nobody."""

    venue: GuardedVenue
    hears = True

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self._answers: list[Answer] = []

    idle = True

    def add(self, calls: list[Call]) -> None:
        for call in calls:
            self.venue.calls.append(call)
            status, body, retry_ns = self.venue._answer(call) if self.hears else (0, b"", 0)
            self._answers.append(Answer(call.tag, status, body, "" if self.hears else "refused", retry_ns))

    def poll(self, now_ns: int) -> list[Answer]:
        answers, self._answers = self._answers, []
        return answers

    def close(self) -> None:
        self._answers = []


class Guarded:
    """A guardian of an engine, with a clock of the venue's."""

    def __init__(self, engine: SupervisedEngine, monkeypatch: pytest.MonkeyPatch) -> None:
        self.engine, self.monkeypatch = engine, monkeypatch
        self.venue = GuardedVenue("binance")
        Carried.venue, Carried.hears = self.venue, True
        monkeypatch.setattr(guardian_venue, "Calls", Carried)
        monkeypatch.setattr(guardian_venue, "read_credentials", lambda path: guardian_venue.guardian_credentials("binance"))
        monkeypatch.setattr(guardian_venue, "time", self)
        self.guardian = Guardian(engine.instance, engine.config)
        self.base_ns = time.monotonic_ns()
        self.run(0.1)

    def time_ns(self) -> int:
        return self.venue.now_ns + 1_800_000_000 * SECOND_NS

    @property
    def now_ns(self) -> int:
        return self.base_ns + self.venue.now_ns

    def beat(self) -> None:
        words = self.engine.words
        words[control.SUPERVISOR_BEAT] = self.now_ns
        for row in range(2):
            words[process_word(row, ProcessWord.BEAT)] = self.now_ns

    def run(self, seconds: float, beats: bool = True) -> None:
        for _ in range(int(seconds * SECOND_NS) // STEP_NS):
            if beats:
                self.beat()
            self.guardian.turn(self.now_ns)
            self.venue.driver.now_ns += STEP_NS

    @property
    def report(self) -> dict[str, Any]:
        found = read_report(self.engine.instance)
        assert found is not None
        return found


@pytest.fixture
def engine(instance_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SupervisedEngine]:
    monkeypatch.setattr("processes.supervisor._check_keys", lambda config: None)
    monkeypatch.setattr("processes.accounts.Accounts.take", lambda accounts, config: None)
    with SupervisedEngine(instance_name, tmp_path, monkeypatch, at_venue) as engine:
        yield engine


@pytest.fixture
def guarded(engine: SupervisedEngine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Guarded]:
    made = Guarded(engine, monkeypatch)
    yield made
    made.guardian.close()


def cancels(guarded: Guarded) -> int:
    return sum(call.method == "DELETE" for call in guarded.venue.calls)


def test_nothing_is_said_to_a_venue_that_is_not_killed(guarded: Guarded) -> None:
    guarded.venue.place()
    guarded.run(3)
    assert guarded.venue.calls == [] and guarded.venue.open_orders() == 1
    assert guarded.report["state"] == "WATCHING"


@pytest.mark.parametrize("word", [control.KILL_FIRM, control.kill_venue(0)])
def test_a_kill_word_cancels_within_one_look_and_the_verdict_follows(guarded: Guarded, word: int) -> None:
    guarded.venue.place()
    guarded.engine.words[word] = 1
    guarded.guardian.turn(guarded.now_ns)
    assert guarded.venue.open_orders() == 0
    guarded.run(1)
    assert guarded.report["state"] == Verdict.PENDING.value
    guarded.run(3)
    (venue,) = guarded.report["venues"]
    assert (guarded.report["state"], venue["verdict"], venue["open_orders"]) == ("NO OPEN ORDERS", "NO OPEN ORDERS", 0)


def test_a_latch_cancels_without_any_engine(guarded: Guarded) -> None:
    guarded.venue.place()
    guarded.engine.supervisor.close()
    guarded.monkeypatch.setattr(guardian_watch, "is_alive", lambda engine: False)
    guarded.monkeypatch.setattr(operate, "is_alive", lambda engine: False)
    kill_scope(guarded.engine.instance, "firm", "a test")
    guarded.run(4, beats=False)
    assert guarded.venue.open_orders() == 0 and guarded.report["state"] == "NO OPEN ORDERS"


def test_a_latch_is_found_by_a_guardian_that_starts_after_it(engine: SupervisedEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    kill_scope(engine.instance, "firm", "before")
    guarded = Guarded(engine, monkeypatch)
    assert cancels(guarded) > 0 and guarded.report["kills"]["firm"]["reason"] == "before"
    guarded.guardian.close()


@pytest.mark.parametrize("scope", ["strategy.mm", "instrument.BTC-USDT.BINANCE"])
def test_what_stops_less_than_a_venue_is_left_to_the_engine(guarded: Guarded, scope: str) -> None:
    kill_scope(guarded.engine.instance, scope, "a test")
    guarded.run(1)
    assert guarded.venue.calls == [] and guarded.report["state"] == "WATCHING"


def test_a_word_that_nobody_latched_is_latched_so_that_the_kill_outlives_the_engine(guarded: Guarded) -> None:
    guarded.engine.words[control.KILL_FIRM] = 2070
    guarded.run(0.5)
    assert guarded.engine.instance.read_kill() == {}, "whoever set it latches it first"
    guarded.run(2)
    assert guarded.engine.instance.read_kill()["firm"]["reason"] == "R070 DAILY_LOSS"
    assert guarded.engine.words[control.KILL_FIRM] == 2070


def test_arming_ends_the_sweep_and_is_not_taken_back(guarded: Guarded) -> None:
    kill_scope(guarded.engine.instance, "firm", "a test")
    guarded.run(3)
    arm_engine(guarded.engine.instance, "fixed")
    guarded.venue.place()
    said = len(guarded.venue.calls)
    guarded.run(5)
    assert len(guarded.venue.calls) == said and guarded.engine.instance.read_kill() == {}
    assert guarded.report["state"] == "WATCHING" and not guarded.engine.words[control.KILL_FIRM]


def test_a_supervisor_that_does_not_beat_is_killed_latched_and_swept(guarded: Guarded) -> None:
    guarded.venue.place()
    guarded.run(6, beats=False)
    assert guarded.engine.words[control.KILL_FIRM] == 1
    latch = guarded.engine.instance.read_kill()["firm"]["reason"]
    assert latch.startswith("guardian: ") and "has not beaten" in latch
    assert guarded.venue.open_orders() == 0
    assert guarded.report["kills"]["firm"]["by_guardian"] is True


def test_kill_path_has_no_shared_code_with_reporting(guarded: Guarded) -> None:
    """I8: the kill switch crashed, and the bot kept ordering."""

    def broken(*arguments: Any, **named: Any) -> Any:
        raise AttributeError("'NoneType' object has no attribute 'send'")

    for name in ("log", "watchdog"):
        guarded.monkeypatch.setattr(guarding, name, broken)
    for name in ("describe", "state_of", "write_report"):
        guarded.monkeypatch.setattr(guardian_report, name, broken)
    guarded.venue.place()
    guarded.engine.words[control.KILL_FIRM] = 1
    guarded.run(4)
    assert guarded.venue.open_orders() == 0
    assert guarded.guardian.venues[0].verdict is Verdict.CLEAN
    guarded.monkeypatch.undo()


def test_a_guardian_imports_nothing_of_the_stages_that_could_hang() -> None:
    script = "import sys, processes.guardian, processes.operate; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    loaded = set(done.stdout.split())
    stages = {
        f"processes.{name}" for name in ("burst", "execution", "risk", "run", "stage", "stages", "strategy", "supervisor", "venue_stage")
    }
    assert not loaded & (stages | {"numba", "llvmlite"})
    assert not {name for name in loaded if name.split(".")[0] == "strategies"}


def test_flat_only_when_venue_confirms(guarded: Guarded) -> None:
    """I10: the kill reported flat while an order survived."""
    guarded.venue.place()
    Carried.hears = False
    kill_scope(guarded.engine.instance, "firm", "a test")
    guarded.run(9)
    (venue,) = guarded.report["venues"]
    assert (venue["verdict"], venue["open_orders"], venue["clean_answers"]) == ("NOT CONFIRMED", None, 0)
    assert "refused" in venue["why"] and guarded.venue.open_orders() == 1
    Carried.hears = True
    guarded.run(12)
    assert guarded.report["state"] == "NO OPEN ORDERS" and guarded.venue.open_orders() == 0


def test_a_venue_whose_code_is_broken_keeps_no_other_from_being_swept(guarded: Guarded) -> None:
    class Broken:
        name, busy, problem, sweep, killed_ns, verdict = "broken", False, "", None, 0, Verdict.UNCONFIRMED

        def open(self, view: Any) -> None:
            raise AttributeError("open")

        def turn(self, *arguments: Any) -> None:
            raise AttributeError("turn")

        def close(self) -> None:
            pass

    guarded.guardian.venues.insert(0, Broken())  # type: ignore[arg-type]
    guarded.venue.place()
    guarded.engine.words[control.KILL_FIRM] = 1
    guarded.run(4)
    assert guarded.venue.open_orders() == 0
    verdicts = {venue["name"]: venue["verdict"] for venue in guarded.report["venues"]}
    assert verdicts == {"broken": "NOT CONFIRMED", "binance": "NO OPEN ORDERS"} and guarded.report["state"] == "NOT CONFIRMED"


def test_a_disk_that_takes_no_latch_stops_no_cancel(guarded: Guarded) -> None:
    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    guarded.monkeypatch.setattr(Instance, "write_kill", full)
    guarded.monkeypatch.setattr(guardian_report, "write_report", full)
    guarded.venue.place()
    guarded.run(7, beats=False)
    assert guarded.engine.words[control.KILL_FIRM] == 1 and guarded.venue.open_orders() == 0
    assert "No space left" in guarded.guardian.document()["problem"]


def test_await_verdict_wants_a_guardian_that_lives_and_has_seen_this_kill(guarded: Guarded) -> None:
    instance = guarded.engine.instance
    kill_scope(instance, "firm", "a test")
    guarded.run(4)
    found = await_verdict(instance, "firm")
    assert (found["verdict"], [venue["name"] for venue in found["venues"]]) == ("NO OPEN ORDERS", ["binance"])
    instance.guardian_file.write_bytes(msgspec.json.encode({**guarded.report, "started": 1}))
    with pytest.raises(EngineError, match="NOT CONFIRMED: no guardian runs"):
        await_verdict(instance, "firm")


def test_a_config_without_a_guardian_guards_nothing(tmp_path: Path) -> None:
    assert paper_config(unpinned).guardian is None
    with pytest.raises(EngineError, match="guardian: missing"):
        guarding.run_guardian(Instance("some", tmp_path), ROOT / "tests" / "support" / "paper.toml", False)
