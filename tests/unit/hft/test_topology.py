"""The table has one producer and one consumer a ring, and polls reports first."""

from __future__ import annotations

import pytest

from hft.topology import RING_SHAPES, build, mermaid
from shm.layout import is_power_of_two


@pytest.mark.parametrize(("venues", "strategies"), [(["binance"], ["mm"]), (["binance", "kraken"], ["mm", "arb", "x"])])
def test_build_gives_each_ring_two_ends_that_exist(venues: list[str], strategies: list[str]) -> None:
    topology = build(venues, strategies)
    names = {stage.name for stage in topology.stages}
    assert len({ring.name for ring in topology.rings}) == len(topology.rings)
    for number, ring in enumerate(topology.rings):
        assert ring.number == number
        assert ring.producer in names and ring.consumer in names
        assert [s.name for s in topology.stages if ring in s.inputs] == [ring.consumer]
        assert [s.name for s in topology.stages if ring in s.outputs] == [ring.producer]


def test_every_stage_polls_reports_before_market_data_before_intents_and_orders() -> None:
    order = {"reports": 0, "market": 1, "tops": 1, "intents": 2, "orders": 2}
    for stage in build(["binance", "kraken"], ["a", "b"]).stages:
        ranks = [order[ring.kind] for ring in stage.inputs]
        assert ranks == sorted(ranks), stage


def test_execution_publishes_to_strategies_in_row_order_then_risk_then_portfolio() -> None:
    outputs = build(["binance"], ["a", "b"]).stage("execution.binance").outputs
    assert [ring.consumer for ring in outputs] == ["strategy.a", "strategy.b", "risk", "portfolio"]


def test_only_risk_produces_orders_and_only_strategies_intents() -> None:
    topology = build(["binance", "kraken"], ["a", "b"])
    assert {ring.producer for ring in topology.rings if ring.kind == "orders"} == {"risk"}
    assert {ring.producer for ring in topology.rings if ring.kind == "intents"} == {"strategy.a", "strategy.b"}


def test_shapes_are_powers_of_two() -> None:
    assert all(is_power_of_two(slots) for _, slots in RING_SHAPES.values())


def test_lookups_name_what_exists_when_they_fail() -> None:
    topology = build(["binance"], ["mm"])
    assert topology.ring("intents.mm.risk").producer == "strategy.mm"
    with pytest.raises(KeyError, match=r"orders\.risk\.binance"):
        topology.ring("nothing")
    with pytest.raises(KeyError, match="portfolio"):
        topology.stage("nothing")


def test_mermaid_draws_every_stage_and_ring() -> None:
    topology = build(["binance"], ["mm"])
    picture = mermaid(topology)
    assert picture.count("-->") == len(topology.rings)
    assert all(stage.name in picture for stage in topology.stages)
