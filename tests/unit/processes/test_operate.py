"""Operate: kills reach their word and their latch whatever state the engine is in, and only `arm` takes them back."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hft import control
from processes import instance as instances
from processes import operate
from processes.attach import attach_control, engine_of, is_alive, open_control
from processes.errors import EngineError, NotRunning
from processes.instance import Instance, write_durably
from processes.operate import arm_engine, kill_scope, latch_words, print_armed, stop_engine
from support.engine_fakes import SupervisedEngine

SCOPES = [("firm", control.KILL_FIRM), ("venue.binance", control.kill_venue(0)), ("strategy.mm", control.kill_strategy(0))]
SCOPES += [("instrument.ETH-USDT.BINANCE", control.reduce_instrument(1))]


@pytest.fixture
def engine(instance_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SupervisedEngine]:
    with SupervisedEngine(instance_name, tmp_path, monkeypatch) as engine:
        yield engine


def killed(engine: SupervisedEngine) -> list[int]:
    return [word for word in control.latching_words() if engine.words[word]]


@pytest.mark.parametrize(("scope", "word"), SCOPES)
def test_kill_sets_the_scopes_word_and_latches_it(engine: SupervisedEngine, scope: str, word: int) -> None:
    document = kill_scope(engine.instance, scope, "a test")
    assert killed(engine) == [word] and engine.instance.read_kill()[scope]["reason"] == "a test"
    assert (document["scope"], document["latched"], document["running"]) == (scope, True, True) and document["set_after_ns"] >= 0


def test_kill_twice_keeps_the_first_reason_and_both_scopes(engine: SupervisedEngine) -> None:
    for scope, reason in (("firm", "first"), ("firm", "second"), ("strategy.mm", "third")):
        kill_scope(engine.instance, scope, reason)
    latch = engine.instance.read_kill()
    assert {scope: entry["reason"] for scope, entry in latch.items()} == {"firm": "first", "strategy.mm": "third"}
    assert killed(engine) == [control.KILL_FIRM, control.kill_strategy(0)]


@pytest.mark.parametrize(
    ("scope", "message"),
    [
        ("venue.nyse", "no venue 'nyse'; there are binance"),
        ("strategy.x", "no strategy 'x'; there are mm"),
        ("instrument.X", "no instrument 'X'; there are BTC-USDT.BINANCE, ETH-USDT.BINANCE"),
    ],
)
def test_kill_of_an_unknown_name_changes_nothing_and_says_what_there_is(engine: SupervisedEngine, scope: str, message: str) -> None:
    with pytest.raises(EngineError, match=message):
        kill_scope(engine.instance, scope, "a test")
    assert killed(engine) == [] and engine.instance.read_kill() == {}


def test_kill_without_an_engine_is_latched_for_the_next_one(tmp_path: Path) -> None:
    instance = Instance("some", tmp_path)
    assert kill_scope(instance, "firm", "a test")["running"] is False
    assert list(instance.read_kill()) == ["firm"]
    with pytest.raises(EngineError, match="kill the firm instead"):
        kill_scope(instance, "venue.binance", "a test")


def test_kill_of_an_engine_that_has_stopped_is_latched(engine: SupervisedEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    engine.supervisor.close()
    monkeypatch.setattr(operate, "is_alive", lambda engine: False)
    assert kill_scope(engine.instance, "venue.binance", "a test")["running"] is False
    assert list(engine.instance.read_kill()) == ["venue.binance"]


def test_kill_is_latched_even_when_the_words_are_gone(engine: SupervisedEngine) -> None:
    # The supervisor has unlinked everything and is about to end.
    engine.supervisor.close()
    with pytest.raises(EngineError):
        kill_scope(engine.instance, "firm", "a test")
    assert list(engine.instance.read_kill()) == ["firm"]


def on_wait(monkeypatch: pytest.MonkeyPatch, called: Callable[[], None]) -> None:
    """What whoever holds the latch does while another waits for it."""
    monkeypatch.setattr(instances, "time", SimpleNamespace(sleep=lambda seconds: called()))


def test_kill_and_what_another_process_latches_at_the_same_time_are_both_kept(
    engine: SupervisedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as other:
        latch = other.enter_context(engine.instance.changing_kill())
        latch["strategy.mm"] = {"reason": "R063 REJECT_STORM"}
        on_wait(monkeypatch, other.close)
        kill_scope(engine.instance, "firm", "a test")
    assert set(engine.instance.read_kill()) == {"firm", "strategy.mm"}


def test_kill_at_the_same_time_as_arm_comes_whole_after_it(engine: SupervisedEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    def meanwhile() -> None:
        # The kill waits for whoever arms, who goes on to clear its word.
        engine.words[control.latching_words()] = 0
        arming.close()

    kill_scope(engine.instance, "strategy.mm", "before")
    with ExitStack() as arming:
        arming.enter_context(engine.instance.changing_kill()).clear()
        on_wait(monkeypatch, meanwhile)
        kill_scope(engine.instance, "firm", "a test")
    assert killed(engine) == [control.KILL_FIRM] and list(engine.instance.read_kill()) == ["firm"]


def test_arm_keeps_others_from_the_latch_from_before_it_clears_words_until_the_file_is_gone(
    engine: SupervisedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[int] = []
    on_wait(monkeypatch, lambda: waited.append(1))
    written = operate.write_durably

    def in_between(path: Path, data: bytes) -> None:
        assert killed(engine) == [] and list(engine.instance.read_kill()) == ["firm"]
        with engine.instance.changing_kill():
            written(path, data)

    kill_scope(engine.instance, "firm", "a test")
    monkeypatch.setattr(operate, "write_durably", in_between)
    arm_engine(engine.instance, "fixed")
    assert waited and engine.instance.read_kill() == {}


def test_somebody_frozen_at_the_latch_keeps_no_kill_from_it(engine: SupervisedEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[int] = []
    on_wait(monkeypatch, lambda: waits.append(1))
    with engine.instance.changing_kill():
        kill_scope(engine.instance, "firm", "a test")
        assert killed(engine) == [control.KILL_FIRM] and list(engine.instance.read_kill()) == ["firm"]
    assert len(waits) == instances.LATCH_TRIES and list(engine.instance.read_kill()) == ["firm"]


def test_arm_clears_every_kill_and_no_other_word(engine: SupervisedEngine) -> None:
    for scope, _ in SCOPES:
        kill_scope(engine.instance, scope, "a test")
    engine.words[control.BEHIND_RING + 4] = 1
    before = engine.words.copy()
    assert arm_engine(engine.instance, "fixed") == {"cleared": sorted(scope for scope, _ in SCOPES), "accepted": [], "reason": "fixed"}
    assert killed(engine) == [] and engine.instance.read_kill() == {} and not engine.instance.kill_file.exists()
    before[control.latching_words()] = 0
    assert (engine.words == before).all(), "a consumer that is behind is still behind"


def test_arm_has_a_venue_that_differs_taken_as_it_is_and_leaves_the_rest_to_its_execution(
    engine: SupervisedEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.words[control.venue_differs(0)] = 2
    armed = arm_engine(engine.instance, "a deposit")
    assert armed["accepted"] == ["binance"] and engine.words[control.venue_accept(0)] == 1
    assert engine.words[control.venue_differs(0)] == 2, "the venue is asked again first"
    print_armed(armed)
    assert capsys.readouterr().out == "armed; cleared nothing; balances of binance are taken as they are\n"


@pytest.mark.parametrize("reason", ["", " ", "\n\t"])
def test_arm_without_a_reason_is_refused(engine: SupervisedEngine, reason: str) -> None:
    kill_scope(engine.instance, "firm", "a test")
    with pytest.raises(EngineError, match="--reason"):
        arm_engine(engine.instance, reason)
    assert killed(engine) == [control.KILL_FIRM] and list(engine.instance.read_kill()) == ["firm"]


def test_arm_without_an_engine_clears_the_latch(tmp_path: Path) -> None:
    instance = Instance("some", tmp_path)
    kill_scope(instance, "firm", "a test")
    assert arm_engine(instance, "fixed")["cleared"] == ["firm"] and instance.read_kill() == {}
    assert arm_engine(instance, "again")["cleared"] == []


def test_latch_words_takes_what_it_does_not_know_for_the_firm() -> None:
    known = {"venues": ["a", "b"], "strategies": ["s"]}
    latch: dict[str, Any] = {scope: {} for scope in ["firm", "venue.b", "strategy.s", "venue.c", "strategy.", "nonsense"]}
    words = [control.KILL_FIRM, control.kill_venue(1), control.kill_strategy(0), *[control.KILL_FIRM] * 3]
    assert latch_words(latch, known) == words


def test_stop_asks_the_supervisor_and_waits_until_it_is_gone(engine: SupervisedEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []
    lives = iter([True, True, False])
    monkeypatch.setattr(operate, "os", SimpleNamespace(kill=lambda *call: sent.append(call)))
    monkeypatch.setattr(operate, "time", engine.clock)
    monkeypatch.setattr(operate, "is_alive", lambda engine: next(lives))
    pid = engine_of(engine.instance)["pid"]
    assert stop_engine(engine.instance) == {"state": "stopped", "instance": engine.instance.name}
    assert sent == [(pid, signal.SIGTERM)]


def test_stop_gives_up_on_a_supervisor_that_does_not_end(engine: SupervisedEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operate, "os", SimpleNamespace(kill=lambda *call: None))
    monkeypatch.setattr(operate, "time", engine.clock)
    monkeypatch.setattr(operate, "is_alive", lambda engine: next(itertools.repeat(True)))
    with pytest.raises(EngineError, match="has not stopped after 30 s"):
        stop_engine(engine.instance)


def test_engine_of_tells_a_running_engine_from_what_one_left(engine: SupervisedEngine, tmp_path: Path) -> None:
    found = engine_of(engine.instance)
    assert is_alive(found) and found["instance"] == engine.instance.name
    write_durably(engine.instance.engine_file, b'{"pid": %d, "started": 1}' % found["pid"])
    with pytest.raises(NotRunning, match="no engine runs"):
        engine_of(engine.instance)
    with pytest.raises(NotRunning):
        engine_of(Instance("none", tmp_path))
    with pytest.raises(NotRunning):
        stop_engine(Instance("none", tmp_path))


def test_control_words_are_shared_and_their_absence_is_an_error(engine: SupervisedEngine) -> None:
    with attach_control(engine.instance) as words:
        words[control.HALT] = 7
        assert engine.words[control.HALT] == 7
    with pytest.raises(EngineError, match="nosuch"):
        open_control(Instance("nosuch", engine.instance.state_dir))
