"""Supervisor: one engine from its first segment to its last, over processes that are faked and segments that are real."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from hft import control
from hft.config import Simulator as VenueSimulator
from hft.config import VenueExecution
from hft.control import ProcessState, ProcessWord, process_word
from hft.counters import ExecutionCounter
from hft.records import RiskCode
from processes import instance as instances
from processes import supervisor as supervising
from processes.accounts import Accounts
from processes.errors import EngineError
from processes.instance import write_durably
from processes.operate import arm_engine
from processes.supervisor import DRAIN_TIMEOUT_S, START_TIMEOUT_S
from shm.jit import BUILD
from shm.layout import Geometry, SegmentKind
from shm.segment import HEADER, Segment
from support.engine import paper_config
from support.engine_fakes import FakeGuardianProcess, SupervisedEngine, unpinned

MARKET, TRADE = "market", "trade"


@pytest.fixture
def engine(instance_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SupervisedEngine]:
    with SupervisedEngine(instance_name, tmp_path, monkeypatch) as engine:
        yield engine


def rings(engine: SupervisedEngine, epoch: int) -> set[str]:
    return {f"e{epoch}.{ring.name}" for ring in engine.supervisor.topology.rings}


def test_start_creates_every_segment_and_lets_processes_trade(engine: SupervisedEngine) -> None:
    tables = {"control", "latency", "positions", *(f"counters.{stage.name}" for stage in engine.supervisor.topology.stages)}
    assert set(engine.segments()) == tables | rings(engine, 1)
    assert engine.spawner.log == [("spawn", MARKET, 1), ("spawn", TRADE, 1)] and engine.progress == [("all", 1, 1)]
    assert (engine.words[control.READY], engine.words[control.HALT], engine.words[control.EPOCH]) == (1, 0, 1)
    assert engine.state() == "RUNNING" and engine.words[control.SUPERVISOR_BEAT] > 0
    assert not engine.words[control.KILL_FIRM : control.BEHIND_RING].any()


def test_engine_file_says_what_runs(engine: SupervisedEngine) -> None:
    said = engine.instance.read_engine()
    assert said is not None
    assert (said["epoch"], said["session"], said["restarts"], said["failure"]) == (1, 1, 0, None)
    assert said["venues"] == ["binance"] and said["strategies"] == ["mm"]
    assert said["instruments"][0] == {"name": "BTC-USDT.BINANCE", "price_decimals": 2, "qty_decimals": 5, "tick_units": 1, "lot_units": 1}
    assert [process["name"] for process in said["processes"]] == [MARKET, TRADE]


def test_close_unlinks_everything_and_can_be_repeated(engine: SupervisedEngine) -> None:
    for _ in range(2):
        engine.supervisor.close()
        assert engine.segments() == [] and engine.state() == "STOPPED"
    assert engine.spawner.ended


def test_second_start_is_refused_and_leaves_the_first_alone(engine: SupervisedEngine) -> None:
    before = engine.segments()
    with pytest.raises(EngineError, match="already running"):
        engine.new_supervisor().start()
    assert engine.segments() == before and engine.state() == "RUNNING"


def test_next_run_is_a_new_epoch_and_session(engine: SupervisedEngine) -> None:
    engine.supervisor.stop()
    engine.supervisor.close()
    engine.spawner.supervisor = engine.supervisor = engine.new_supervisor()
    engine.supervisor.start()
    assert engine.supervisor.epoch == engine.supervisor.session == 2 and rings(engine, 2) <= set(engine.segments())


@pytest.mark.parametrize(
    ("change", "session"),
    [({}, 1), ({"state": "STOPPED"}, 1), ({"finished": True}, 2), ({"mode": "live"}, 2), ({"instruments": []}, 2)],
)
def test_session_of_an_engine_that_ended_without_stopping_goes_on(engine: SupervisedEngine, change: dict[str, Any], session: int) -> None:
    left = engine.instance.read_engine()
    assert left is not None
    engine.supervisor.close()
    write_durably(engine.instance.engine_file, msgspec.json.encode(left | change))
    engine.spawner.supervisor = engine.supervisor = engine.new_supervisor()
    engine.supervisor.start()
    said = engine.instance.read_engine()
    assert said is not None and (said["epoch"], said["session"]) == (2, session)


def test_session_goes_on_after_a_crash_loop_and_a_start_that_failed_but_not_after_stop_or_if_told_so(
    engine: SupervisedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def again(new_session: bool = False) -> int:
        engine.spawner.supervisor = engine.supervisor = engine.new_supervisor()
        engine.supervisor._new_session = new_session
        engine.supervisor.start()
        return engine.supervisor.session

    engine.supervisor._fail("crash loop")
    engine.supervisor.stop()
    engine.supervisor.close()
    assert again() == 1
    engine.supervisor.close()
    engine.spawner.stillborn.append(TRADE)
    with pytest.raises(EngineError, match="ended while starting"):
        again()
    assert again() == 1, "the start that failed took nothing over"
    engine.supervisor.close()
    assert again(new_session=True) == 5
    engine.supervisor.stop()
    engine.supervisor.close()
    assert again() == 6


def test_account_is_held_while_the_engine_runs_and_refused_to_another_instance(
    instance_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "copy"):
        path = tmp_path / f"{name}.toml"
        path.touch(0o600)
        path.write_text(f'key = "{instance_name}"\nsecret = "s"\n')
    order_entry = VenueExecution(order_url="ws://127.0.0.1/", rest_url="http://127.0.0.1/", credentials=str(tmp_path / "one.toml"))
    config = msgspec.structs.replace(paper_config(), execution={"binance": order_entry})
    copied = msgspec.structs.replace(
        config, execution={"binance": msgspec.structs.replace(order_entry, credentials=str(tmp_path / "copy.toml"))}
    )
    one, other = Accounts(), Accounts()
    one.take(config)
    with pytest.raises(
        EngineError, match=r"execution.binance.credentials: an engine on this host trades with the key of .*copy.toml already"
    ):
        other.take(copied)
    one.release()
    other.take(copied)
    other.release()
    with SupervisedEngine(instance_name, tmp_path, monkeypatch) as engine:
        engine.supervisor.close()
        engine.spawner.supervisor = engine.supervisor = engine.new_supervisor()
        before = engine.instance.engine_file.read_bytes()
        engine.supervisor.config = copied
        one.take(config)
        with pytest.raises(EngineError, match="already"):
            engine.supervisor.start()
        assert engine.segments() == [] and engine.instance.engine_file.read_bytes() == before
        one.release()


def test_session_is_unfinished_on_disk_before_an_order_may_leave(
    instance_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[bool, int]] = []
    engine = SupervisedEngine(instance_name, tmp_path, monkeypatch)

    def write(path: Path, data: bytes) -> None:
        told.append((msgspec.json.decode(data)["finished"], int(engine.words[control.READY])))
        write_durably(path, data)

    monkeypatch.setattr(supervising, "write_durably", write)
    with engine:
        assert told[0] == (True, 0) and (False, 0) in told and (True, 1) not in told
        said = engine.instance.read_engine()
        assert said is not None and (said["state"], said["finished"], engine.words[control.READY]) == ("RUNNING", False, 1)


def test_session_at_a_simulated_account_does_not_go_on(instance_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with SupervisedEngine(instance_name, tmp_path, monkeypatch) as engine:
        left = engine.instance.read_engine()
        engine.supervisor.close()
        assert left is not None
        write_durably(engine.instance.engine_file, msgspec.json.encode(left))
        supervisor = engine.new_supervisor()
        order_entry = VenueExecution(order_url="ws://127.0.0.1/", rest_url="http://127.0.0.1/")
        supervisor.config = msgspec.structs.replace(supervisor.config, execution={"binance": order_entry})
        assert supervisor._unfinished_session() == 1, "an account that outlives the engine"
        simulated = msgspec.structs.replace(supervisor.config.venues["binance"], simulator=VenueSimulator(synthetic_seed=1))
        supervisor.config = msgspec.structs.replace(supervisor.config, venues={"binance": simulated})
        assert supervisor._unfinished_session() is None


def test_segments_of_a_supervisor_that_was_killed_are_reclaimed(engine: SupervisedEngine) -> None:
    engine.supervisor.close()
    left = Segment.create(f"hft.{engine.instance.name}.e1.orphan", 1, Geometry(SegmentKind.WORDS, 8, 8), 64, 1)
    left.array(0, "<i8", 1)[0] = 5
    _disown(left)
    engine.spawner.supervisor = engine.supervisor = engine.new_supervisor()
    engine.supervisor.start()
    assert "e1.orphan" not in engine.segments()


def _disown(segment: Segment) -> None:
    """Make a segment look as if its creator were gone."""
    path = Path("/dev/shm") / segment.name
    data = bytearray(path.read_bytes())
    offset = (HEADER.fields or {})["owner_pid"][1]
    data[offset : offset + 16] = (2**22 - 1).to_bytes(8, "little") + (1).to_bytes(8, "little")
    path.write_bytes(bytes(data))
    segment.close()


@pytest.mark.parametrize("fault", ["stillborn", "silent"])
def test_start_that_fails_takes_everything_down_again(
    instance_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    engine = SupervisedEngine(instance_name, tmp_path, monkeypatch)
    getattr(engine.spawner, fault).append(TRADE)
    began_ns = engine.clock.now_ns
    with pytest.raises(EngineError, match="trade ended while starting" if fault == "stillborn" else "did not start within"):
        engine.supervisor.start()
    assert engine.segments() == [] and engine.state() == "STOPPED" and engine.spawner.ended
    assert fault == "stillborn" or engine.clock.now_ns - began_ns >= START_TIMEOUT_S * 1e9
    engine.spawner.supervisor = engine.supervisor = engine.new_supervisor()
    engine.spawner.silent.clear()
    with engine:
        assert engine.state() == "RUNNING"


def test_mixed_build_hash_refuses_to_trade(instance_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = SupervisedEngine(instance_name, tmp_path, monkeypatch)
    engine.spawner.builds["market"] = BUILD + 1
    with pytest.raises(EngineError, match="R084 BUILD_MISMATCH: process market"):
        engine.supervisor.start()
    assert engine.segments() == [] and engine.state() == "STOPPED" and engine.spawner.ended


def test_a_process_that_comes_back_as_another_build_ends_the_engine(engine: SupervisedEngine) -> None:
    engine.spawner.builds[TRADE] = BUILD + 1
    engine.spawner.die(TRADE)
    engine.supervisor.turn()
    assert engine.supervisor.state == "STOPPING" and "R084" in str(engine.supervisor.failure)
    assert engine.words[control.READY] == 0 and engine.words[control.HALT] == 1


LATCHES = [
    ({}, []),
    ({"firm": {}}, [control.KILL_FIRM]),
    ({"venue.binance": {}}, [control.kill_venue(0)]),
    ({"strategy.mm": {}}, [control.kill_strategy(0)]),
    ({"venue.gone": {}}, [control.KILL_FIRM]),
    ({"instrument.ETH-USDT.BINANCE": {}}, [control.reduce_instrument(1)]),
    ({"instrument.GONE-USDT.BINANCE": {}}, [control.KILL_FIRM]),
    ({"strategy.mm": {}, "strategy.gone": {}}, [control.KILL_FIRM, control.kill_strategy(0)]),
]


@pytest.mark.parametrize(("latch", "words"), LATCHES)
def test_latched_kills_are_set_before_anything_trades(
    instance_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, latch: dict[str, Any], words: list[int]
) -> None:
    engine = SupervisedEngine(instance_name, tmp_path, monkeypatch)
    engine.instance.write_kill(latch)
    with engine:
        found = [word for word in control.latching_words() if engine.words[word]]
        assert found == words and engine.words[control.READY] == 1


def test_what_a_stop_loss_made_reduce_only_is_latched_with_its_name(engine: SupervisedEngine) -> None:
    engine.words[control.reduce_instrument(1)] = RiskCode.STOP_LOSS
    engine.supervisor.turn()
    found = {scope: entry["reason"] for scope, entry in engine.instance.read_kill().items()}
    assert found == {"instrument.ETH-USDT.BINANCE": "R076 STOP_LOSS"}


def test_damaged_latch_kills_the_firm(instance_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = SupervisedEngine(instance_name, tmp_path, monkeypatch)
    engine.instance.make_folders()
    engine.instance.kill_file.write_bytes(b"{")
    with engine:
        assert engine.words[control.KILL_FIRM] == 1


def test_what_a_breaker_killed_is_latched_with_its_name_until_it_is_armed(engine: SupervisedEngine) -> None:
    word = control.kill_strategy(0)
    engine.words[control.KILL_FIRM] = 1
    engine.words[word] = RiskCode.REJECT_STORM
    for _ in range(2):
        engine.supervisor.turn()
        assert {scope: entry["reason"] for scope, entry in engine.instance.read_kill().items()} == {"strategy.mm": "R063 REJECT_STORM"}
    arm_engine(engine.instance, "understood")
    engine.supervisor.turn()
    assert engine.instance.read_kill() == {} and engine.words[word] == 0
    engine.words[word] = RiskCode.REPEATED_EXECUTION
    engine.supervisor.turn()
    assert [entry["reason"] for entry in engine.instance.read_kill().values()] == ["R053 REPEATED_EXECUTION"]


def test_what_is_armed_and_trips_again_between_two_turns_is_latched_again(engine: SupervisedEngine) -> None:
    word = control.kill_strategy(0)
    for again in ("", " again"):
        engine.words[word] = RiskCode.REJECT_STORM
        engine.supervisor.turn()
        assert list(engine.instance.read_kill()) == ["strategy.mm"], f"tripped{again}"
        arm_engine(engine.instance, "understood")
        assert engine.words[word] == 0 and engine.instance.read_kill() == {}


def test_breaker_and_a_kill_of_another_process_are_both_latched(engine: SupervisedEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    with ExitStack() as other:
        latch = other.enter_context(engine.instance.changing_kill())
        latch["firm"] = {"reason": "a test"}
        monkeypatch.setattr(instances, "time", SimpleNamespace(sleep=lambda seconds: other.close()))
        engine.words[control.kill_strategy(0)] = RiskCode.REJECT_STORM
        engine.supervisor.turn()
    assert set(engine.instance.read_kill()) == {"firm", "strategy.mm"}


def test_breaker_that_somebody_arms_while_it_is_latched_is_not_latched(engine: SupervisedEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    def armed() -> None:
        engine.words[control.latching_words()] = 0
        arming.close()

    with ExitStack() as arming:
        arming.enter_context(engine.instance.changing_kill())
        monkeypatch.setattr(instances, "time", SimpleNamespace(sleep=lambda seconds: armed()))
        engine.words[control.kill_strategy(0)] = RiskCode.REJECT_STORM
        engine.supervisor.turn()
    assert engine.instance.read_kill() == {}


def test_core_that_the_host_does_not_have_is_refused_before_anything_is_made(
    instance_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change(sections: dict[str, Any]) -> None:
        unpinned(sections)
        sections["placement"]["processes"][TRADE]["core"] = 4000

    engine = SupervisedEngine(instance_name, tmp_path, monkeypatch, change)
    with pytest.raises(EngineError, match="core 4000 is not available"):
        engine.supervisor.start()
    assert engine.segments() == [] and not engine.instance.folder.exists()


def test_turn_beats_and_leaves_a_healthy_engine_alone(engine: SupervisedEngine) -> None:
    engine.clock.now_ns += 1_000_000_000
    engine.supervisor.turn()
    assert engine.words[control.SUPERVISOR_BEAT] == engine.clock.now_ns
    assert engine.supervisor.epoch == 1 and engine.supervisor.state == "RUNNING"


def test_dead_hot_process_starts_again_on_new_rings_while_the_feed_goes_on(engine: SupervisedEngine) -> None:
    engine.spawner.log.clear()
    engine.words[control.BEHIND_RING + 3] = 1
    halted = []
    spawn = engine.spawner.spawn
    engine.spawner.spawn = lambda *call: (halted.append((int(engine.words[control.HALT]), int(engine.words[control.READY]))), spawn(*call))  # type: ignore[method-assign,assignment]
    engine.spawner.die(TRADE)
    engine.supervisor.turn()
    assert engine.spawner.log == [("kill", TRADE), ("spawn", TRADE, 2)] and halted == [(1, 0)], "nobody trades meanwhile"
    assert rings(engine, 2) <= set(engine.segments()) and not rings(engine, 1) & set(engine.segments())
    assert (engine.words[control.EPOCH], engine.words[control.HALT], engine.words[control.READY]) == (2, 0, 1)
    assert engine.words[control.BEHIND_RING + 3] == 0, "the ring that was behind is gone"
    said = engine.instance.read_engine()
    assert said is not None and (said["epoch"], said["session"], said["restarts"], said["state"]) == (2, 1, 1, "RUNNING")


@pytest.mark.parametrize("state", [ProcessState.LEAVING, ProcessState.STOPPED])
def test_processes_that_leave_together_are_one_restart(engine: SupervisedEngine, state: ProcessState) -> None:
    engine.spawner.silent.append(MARKET)
    engine.clock.on_sleep = lambda: engine.spawner.say(MARKET, engine.supervisor.epoch)
    engine.words[process_word(0, ProcessWord.STATE)] = state
    engine.spawner.die(TRADE)
    engine.supervisor.turn()
    assert (engine.supervisor.epoch, engine.supervisor.restart_count, engine.state()) == (2, 1, "RUNNING")
    assert ("kill", MARKET) in engine.spawner.log and ("spawn", MARKET, 2) in engine.spawner.log


def test_dead_feed_takes_the_hot_processes_with_it(engine: SupervisedEngine) -> None:
    engine.spawner.log.clear()
    engine.spawner.die(MARKET)
    engine.supervisor.turn()
    assert {call for call in engine.spawner.log if call[0] == "kill"} == {("kill", MARKET), ("kill", TRADE)}
    assert {call for call in engine.spawner.log if call[0] == "spawn"} == {("spawn", MARKET, 2), ("spawn", TRADE, 2)}


def test_kills_outlive_a_restart(engine: SupervisedEngine) -> None:
    engine.words[control.KILL_FIRM] = engine.words[control.kill_strategy(0)] = 1
    engine.spawner.die(TRADE)
    engine.supervisor.turn()
    assert engine.supervisor.state == "RUNNING"
    assert engine.words[control.KILL_FIRM] == engine.words[control.kill_strategy(0)] == 1


@pytest.mark.parametrize(("age_ms", "epoch"), [(2000, 1), (2001, 2)])
def test_process_without_a_heartbeat_for_too_long_is_killed_and_restarted(engine: SupervisedEngine, age_ms: int, epoch: int) -> None:
    engine.spawner.silent.append(TRADE)
    beat_ns = int(engine.words[process_word(1, ProcessWord.BEAT)])
    engine.clock.now_ns = beat_ns + age_ms * 1_000_000
    engine.clock.on_sleep = lambda: engine.spawner.say(TRADE, engine.supervisor.epoch)
    engine.supervisor.turn()
    assert engine.supervisor.epoch == epoch and (("kill", TRADE) in engine.spawner.log) == (epoch == 2)
    assert engine.supervisor.state == "RUNNING"


def test_process_that_ends_while_restarting_is_one_more_cause(engine: SupervisedEngine) -> None:
    engine.spawner.stillborn += [TRADE, TRADE]
    engine.spawner.die(TRADE)
    engine.supervisor.turn()
    assert engine.supervisor.state == "RUNNING" and engine.supervisor.epoch == 4 and engine.supervisor.restart_count == 3


def test_crash_loop_ends_the_engine_instead_of_flapping(engine: SupervisedEngine) -> None:
    for _ in range(engine.supervisor.config.engine.restarts_max - 1):
        engine.spawner.die(TRADE)
        engine.supervisor.turn()
        assert engine.supervisor.state == "RUNNING"
    engine.spawner.die(TRADE)
    engine.supervisor.turn()
    assert engine.supervisor.state == "STOPPING" and "crash loop" in str(engine.supervisor.failure)
    assert engine.supervisor.restart_count == engine.supervisor.config.engine.restarts_max - 1


def test_restarts_long_ago_are_no_crash_loop(engine: SupervisedEngine) -> None:
    for _ in range(15):
        engine.clock.now_ns += 16_000_000_000
        engine.spawner.exited()
        engine.spawner.die(TRADE)
        engine.supervisor.turn()
    assert engine.supervisor.state == "RUNNING" and engine.supervisor.restart_count == 15


def test_restart_that_cannot_finish_ends_the_engine(engine: SupervisedEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*anything: object) -> None:
        raise EngineError("no room")

    monkeypatch.setattr(supervising.segments, "create_rings", refuse)
    engine.spawner.die(TRADE)
    engine.supervisor.turn()
    assert engine.supervisor.state == "STOPPING" and engine.supervisor.failure == "no room"
    assert (engine.words[control.HALT], engine.words[control.READY]) == (1, 0)


def test_dead_simulator_ends_the_engine(engine: SupervisedEngine) -> None:
    engine.supervisor._simulators.victim = "binance"  # type: ignore[union-attr,assignment]
    engine.supervisor.turn()
    assert engine.supervisor.state == "STOPPING" and engine.supervisor.failure == "simulator of binance ended"


def _working(engine: SupervisedEngine) -> Any:
    name = f"hft.{engine.instance.name}.counters.execution.binance"
    segment = next(segment for segment in engine.supervisor._tables if segment.name == name)
    return segment.array(0, "<i8", ExecutionCounter.WORKING + 1)


def test_stop_halts_cancels_and_waits_for_working_orders(engine: SupervisedEngine) -> None:
    counters = _working(engine)
    counters[ExecutionCounter.WORKING] = 3
    seen = []

    def drain() -> None:
        seen.append((int(engine.words[control.HALT]), int(engine.words[control.CANCEL_ALL]), int(engine.words[control.STOP])))
        counters[ExecutionCounter.WORKING] -= 1

    engine.clock.on_sleep = drain
    engine.supervisor.stop()
    assert seen == [(1, 1, 0)] * 3, "no process leaves before the orders are cancelled"
    engine.supervisor.halt_processes()
    assert engine.words[control.STOP] == 1 and engine.spawner.ended


def test_stop_waits_no_longer_than_it_says_for_orders_that_stay(engine: SupervisedEngine, capfd: pytest.CaptureFixture[str]) -> None:
    _working(engine)[ExecutionCounter.WORKING] = 2
    began_ns = engine.clock.now_ns
    engine.supervisor.stop()
    assert DRAIN_TIMEOUT_S * 1e9 <= engine.clock.now_ns - began_ns < (DRAIN_TIMEOUT_S + 0.1) * 1e9
    assert "orders still working at stop" in capfd.readouterr().err


def test_units_are_waited_for_as_long_as_they_take(instance_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def change(sections: dict[str, Any]) -> None:
        unpinned(sections)
        sections["placement"]["spawner"] = "units"

    told = []
    monkeypatch.setattr(supervising, "ready", told.append)
    engine = SupervisedEngine(instance_name, tmp_path, monkeypatch, change)
    engine.spawner.silent += [MARKET, TRADE]
    until_ns = engine.clock.now_ns + int(10 * START_TIMEOUT_S * 1e9)

    def come_late() -> None:
        engine.clock.now_ns += 1_000_000_000
        if engine.clock.now_ns > until_ns:
            for name in (MARKET, TRADE):
                engine.spawner.say(name, 1)

    engine.clock.on_sleep = come_late
    with engine:
        assert engine.state() == "RUNNING" and told == ["waiting for stages", "epoch 1"]


def guarded(sections: dict[str, Any]) -> None:
    unpinned(sections)
    sections["guardian"] = {}


def test_an_engine_with_a_guardian_trades_only_when_it_guards_and_looks_after_it(
    instance_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SupervisedEngine(instance_name, tmp_path, monkeypatch, guarded) as engine:
        guardian: Any = engine.supervisor._guardian
        assert guardian.log == ["look", "await"]
        engine.supervisor.turn()
        assert guardian.log[2:] == ["look"]
    assert guardian.log[-1] == "close" and engine.state() == "STOPPED"


def test_an_engine_whose_guardian_does_not_guard_does_not_start(
    instance_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(guardian: Any, beat: Any) -> None:
        raise EngineError("the guardian does not guard")

    engine = SupervisedEngine(instance_name, tmp_path, monkeypatch, guarded)
    monkeypatch.setattr(FakeGuardianProcess, "await_guarding", refuse)
    with pytest.raises(EngineError, match="does not guard"):
        engine.supervisor.start()
    assert engine.segments() == [] and engine.state() == "STOPPED" and engine.spawner.log == []


def test_orders_that_still_work_at_the_stop_are_told_to_the_guardian(engine: SupervisedEngine) -> None:
    segment = next(s for s in engine.supervisor._tables if s.name.endswith("counters.execution.binance"))
    segment.array(0, "<i8", ExecutionCounter.WORKING + 1)[ExecutionCounter.WORKING] = 3
    engine.supervisor.stop()
    engine.supervisor.close()
    said = engine.instance.read_engine()
    assert said is not None and (said["state"], said["orders_left"]) == ("STOPPED", 3)
