"""The simulation itself, as plain Python: a clock that is set, a network in between, and faults that checks must see."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator

import pytest
from click.testing import CliRunner

from hft.sim.venue import frame_bytes
from processes import venue_stage
from processes.cli import main
from processes.errors import EngineError
from processes.simulate import command as simulate_command
from processes.simulate.checks import is_new_order, order_id
from processes.simulate.command import Campaign, campaign, command_of
from processes.simulate.scenario import VENUES, config_of
from processes.simulate.server_end import Frame, Request
from processes.simulate.simulation import CLOCK, Bounds, Outcome, simulate
from shm import external
from shm.clock import monotonic_ns, realtime_ns
from shm.jit import JIT_ENABLED
from shm.virtual_clock import VirtualClock

#: Kernels that another test has loaded keep the host's clock: compiled, simulations run in processes of their own.
pytestmark = pytest.mark.skipif(JIT_ENABLED, reason="tests/simulation runs it compiled")

SHORT = Bounds(safety_s=1.0)


@pytest.fixture(autouse=True)
def virtual_time(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(external, "read_clock", CLOCK.read)
    monkeypatch.setattr(VirtualClock, "install", lambda clock: None)
    yield


def test_the_clock_stands_still_until_it_is_set() -> None:
    CLOCK.now_ns = 5
    assert (monotonic_ns(), monotonic_ns()) == (5, 5)
    CLOCK.now_ns += 2
    assert monotonic_ns() == 7 and realtime_ns() > 1_800_000_000 * 10**9


@pytest.mark.parametrize("venue", VENUES)
def test_a_seed_trades_at_a_venue_and_does_the_same_twice(venue: str) -> None:
    first, second = simulate(3, (venue,), SHORT), simulate(3, (venue,), SHORT)
    assert first.violation == "" and first.orders > 0
    assert first == second


def test_seeds_differ() -> None:
    assert len({simulate(seed, ("binance",), SHORT).trace for seed in (1, 2, 3)}) == 3


def test_seeds_at_one_to_three_venues_hold_with_all_faults() -> None:
    outcomes = [simulate(seed, (), SHORT) for seed in range(20, 32)]
    assert [outcome.violation for outcome in outcomes if outcome.violation] == []
    assert {len(outcome.venues) for outcome in outcomes} == {1, 3}
    assert max(outcome.epochs for outcome in outcomes) > 1
    assert any(name.startswith("network") for outcome in outcomes for name in outcome.faults)
    assert any(name.startswith("venue") for outcome in outcomes for name in outcome.faults)


def test_a_config_has_all_venues_and_trades_at_those_asked_for() -> None:
    config = config_of(("kraken",), 1)
    assert [name.rpartition(".")[2].lower() for name in config.instruments] == list(VENUES)
    assert config.strategies["trader"].instruments == ["BTC-EUR.KRAKEN"]


def test_a_campaign_tells_what_broke_and_how_to_see_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def simulated(seed: int, venues: tuple[str, ...]) -> Outcome:
        broken = "S4: nobody knows x" if seed == 8 else ""
        return Outcome(seed, list(venues), trace=str(seed), virtual_s=1.0, orders=2, epochs=2, faults={"network: cut": 3}, violation=broken)

    monkeypatch.setattr(simulate_command, "simulate", simulated)
    document = campaign(7, 3, ("kraken",))
    assert not document["passed"] and document["seeds"] == 3 and document["repeated"] == 1 and document["different"] == []
    assert document["faults"] == {"network: cut": {"times": 9, "violations": 1}}
    assert [row["command"] for row in document["violations"]] == ["hftctl simulate --seed 8 --venue kraken"]
    result = CliRunner().invoke(main, ["simulate", "--seed", "7", "--seeds", "3", "--venue", "kraken"])
    assert result.exit_code == 1 and "seed 8 at 0.000 s: S4: nobody knows x" in result.stdout and "network: cut" in result.stdout
    result = CliRunner().invoke(main, ["simulate", "--seed", "1", "--json"])
    assert result.exit_code == 0 and json.loads(result.stdout)["passed"]


@pytest.mark.parametrize("seeds", [1, 5, 14])
def test_every_seed_is_simulated_once_in_order_whatever_process_does_it(monkeypatch: pytest.MonkeyPatch, seeds: int) -> None:
    monkeypatch.setattr(simulate_command, "CHUNK", 4)
    monkeypatch.setattr(simulate_command, "TWICE_EVERY", 5)
    monkeypatch.setattr(simulate_command, "simulate", lambda seed, venues: Outcome(seed, [], trace=str(seed), orders=seed))
    pairs = list(simulate_command._simulated(range(3, 3 + seeds), 3, ()))
    assert [one.seed for one, _ in pairs] == list(range(3, 3 + seeds))
    assert [one.seed for one, again in pairs if again is not None] == list(range(3, 3 + seeds, 5))


def test_a_seed_that_ends_its_process_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def simulated(seed: int, venues: tuple[str, ...]) -> Outcome:
        if seed == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return Outcome(seed, [])

    monkeypatch.setattr(simulate_command, "simulate", simulated)
    with pytest.raises(EngineError, match="simulated seed 3 ended with status -9; again: hftctl simulate --seed 3"):
        campaign(1, 5, ())


def test_a_seed_that_does_not_do_the_same_twice_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    traces = iter("ab")
    monkeypatch.setattr(simulate_command, "simulate", lambda seed, venues: Outcome(seed, [], trace=next(traces)))
    assert campaign(1, 1, ())["different"] == [1]


def test_the_trace_of_a_campaign_is_of_all_its_seeds() -> None:
    one, other = Campaign(), Campaign()
    for seed in (1, 2):
        one.add(Outcome(seed, [], trace=str(seed)))
        other.add(Outcome(seed, [], trace="1"))
    assert one.document(1, (), 1.0)["trace"] != other.document(1, (), 1.0)["trace"]
    assert command_of(5, ()) == "hftctl simulate --seed 5"


def test_our_ids_are_known_at_every_venue() -> None:
    assert order_id("000001000000000b") == 0x1_0000_0000_0B
    assert order_id("x00001000000000b") == order_id("somebody") == order_id("") == 0
    prefix = venue_stage.installation()
    digits = f"{prefix << 64 | 7:032x}"
    assert order_id("-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))) == 7


def test_requests_for_new_orders_are_told_from_others() -> None:
    assert is_new_order(Frame(1, b'{"id":"1","method":"order.place","params":{}}'))
    assert is_new_order(Frame(1, b'{"method":"amend_order","params":{}}'))
    assert is_new_order(Request("POST", "/orders", {}, b""))
    assert not is_new_order(Frame(1, b'{"id":"1","method":"order.cancel","params":{}}'))
    assert not is_new_order(Request("DELETE", "/orders/client:x", {}, b""))


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
def test_frames_are_of_the_length_that_they_say(size: int) -> None:
    whole = frame_bytes(1, b"x" * size)
    assert whole.endswith(b"x" * size) and whole[0] == 0x81 and len(whole) - size == (2 if size < 126 else 4 if size < 65536 else 10)
