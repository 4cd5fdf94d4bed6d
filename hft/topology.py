"""Topology: every stage and ring of the engine in one table, the picture as data.

Segments, processes, `hftctl status` and the picture in `docs/architecture.md` are read from it. A ring is named
`<what>.<producer>.<consumer>` and has exactly one of each; a fan-out is several rings.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import numpy as np

from hft import records

#: ring kind -> (record, slots). Powers of two; half a market ring holds the whole of a deep book.
RING_SHAPES = {
    "market": (records.MARKET, 32768),
    "tops": (records.MARKET, 4096),
    "intents": (records.INTENT, 1024),
    "orders": (records.ORDER, 1024),
    "reports": (records.REPORT, 4096),
}

#: An orders ring refuses new orders when fewer slots than this are free: they are kept for cancels.
ORDER_SLOTS_FOR_CANCELS = 128


class RingSpec(NamedTuple):
    """One single-producer single-consumer ring."""

    number: int  #: row in the table; INPUT.ring
    name: str
    kind: str  #: key of RING_SHAPES: "market" has every level, "tops" best prices, validity and trades only
    producer: str  #: stage name
    consumer: str  #: stage name

    @property
    def shape(self) -> tuple[np.dtype[Any], int]:
        """Its record and slots."""
        return RING_SHAPES[self.kind]


class StageSpec(NamedTuple):
    """One stage and its rings, inputs in the order in which they are polled: reports first."""

    name: str
    role: str  #: feed, strategy, risk, execution or portfolio
    subject: str  #: the venue's or strategy's name; "" for risk and portfolio
    inputs: tuple[RingSpec, ...]
    outputs: tuple[RingSpec, ...]


class Topology(NamedTuple):
    """The whole table."""

    rings: tuple[RingSpec, ...]
    stages: tuple[StageSpec, ...]

    def ring(self, name: str) -> RingSpec:
        """The ring called `name`; KeyError names what exists."""
        for ring in self.rings:
            if ring.name == name:
                return ring
        raise KeyError(f"no ring {name!r}; there are {', '.join(ring.name for ring in self.rings)}")

    def stage(self, name: str) -> StageSpec:
        """The stage called `name`; KeyError names what exists."""
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise KeyError(f"no stage {name!r}; there are {', '.join(stage.name for stage in self.stages)}")


#: Roles that restart together, on new rings, when one of them dies.
RESTARTED_TOGETHER = ("strategy", "risk", "execution")

_POLL_ORDER = {"reports": 0, "market": 1, "tops": 1, "intents": 2, "orders": 2}


def build(venues: Sequence[str], strategies: Sequence[str], at_venue: Collection[str] = ()) -> Topology:
    """The topology of these venues (lower case) and strategies; `at_venue` are those whose orders are filled there, not on paper."""
    rings: list[RingSpec] = []

    def ring(kind: str, producer: str, consumer: str, name: str) -> None:
        rings.append(RingSpec(len(rings), name, kind, producer, consumer))

    for venue in venues:
        feed, execution = f"feed.{venue}", f"execution.{venue}"
        for strategy in strategies:
            ring("market", feed, f"strategy.{strategy}", f"market.{venue}.{strategy}")
        if venue not in at_venue:
            ring("market", feed, execution, f"market.{venue}.execution")
        ring("tops", feed, "risk", f"market.{venue}.risk")
        ring("tops", feed, "portfolio", f"market.{venue}.portfolio")
        for strategy in strategies:
            ring("reports", execution, f"strategy.{strategy}", f"reports.{venue}.{strategy}")
        ring("reports", execution, "risk", f"reports.{venue}.risk")
        ring("reports", execution, "portfolio", f"reports.{venue}.portfolio")
        ring("orders", "risk", execution, f"orders.risk.{venue}")
    for strategy in strategies:
        ring("intents", f"strategy.{strategy}", "risk", f"intents.{strategy}.risk")
        ring("reports", "risk", f"strategy.{strategy}", f"reports.risk.{strategy}")

    def stage(role: str, subject: str = "") -> StageSpec:
        name = f"{role}.{subject}" if subject else role
        inputs = sorted((r for r in rings if r.consumer == name), key=lambda r: (_POLL_ORDER[r.kind], r.number))
        return StageSpec(name, role, subject, tuple(inputs), tuple(r for r in rings if r.producer == name))

    stages = [stage("feed", venue) for venue in venues]
    stages += [stage("strategy", strategy) for strategy in strategies]
    stages += [stage("risk")]
    stages += [stage("execution", venue) for venue in venues]
    stages += [stage("portfolio")]
    return Topology(tuple(rings), tuple(stages))


def mermaid(topology: Topology) -> str:
    """The picture, for the docs: stages as boxes, rings as labelled arrows."""
    lines = ["flowchart LR"]
    lines += [f'  {stage.name.replace(".", "_")}["{stage.name}"]' for stage in topology.stages]
    lines += [f"  {r.producer.replace('.', '_')} -- {r.kind} --> {r.consumer.replace('.', '_')}" for r in topology.rings]
    return "\n".join(lines)
