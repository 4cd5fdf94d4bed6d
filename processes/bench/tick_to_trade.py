"""Tick-to-trade bench: times the engine from a market-data frame on the wire to the order's frame on the wire.

    peer (C) ----update--> [recv, decode, book, publish, strategy, risk, journal, encode, send] ----order--> peer
             <--------------------------- [scan, journal, report] <------------------------- refusal of the order

Goals: round trips that a minimal compiled peer sees over loopback TCP, back to back and paced, when caches are colder; one
order an update through the venue's own order entry, on connections of its own; every control on, every journal written; and the
means of the hops inside. Each order is answered once its round trip is over, and has ended before the next update. The path is a
venue's (`tick_paths.py`): Binance's unless another is asked for.
Not goals: log-on, handshakes, a network card.

The floor is the same peer against a compiled program that reads and writes as many bytes on the same two connections.
Each of the engine's runs follows a run of the floor on the same cores, and the median of these pairs' ratios counts.
The engine has the kernel acknowledge a frame after the order has left (`transport/direct.py`), which a plain program does not:
`..._acks_late` are ratios to a floor that does the same. With `tls` the peer, the engine and the floor speak TLS on both
connections, the floor by OpenSSL's own calls: what it does not do is what is measured.

`fused` runs all stages in one spinning process that reads and writes the sockets itself (`direct`), `picows` the same with market
data on the spinning event loop, `separate` one process a stage; of other paths, and under TLS, there is only `fused`. With fewer
cores than spinners those give their core away when idle: `oversubscribed`, and nothing to judge.
"""

from __future__ import annotations

import os
import ssl
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hft.latency import Span
from processes.bench import tick_engine
from processes.bench.report import BenchError, finish, two_cores
from processes.bench.tick_config import fused, separate
from processes.bench.tick_frames import SIDE_LEVELS
from processes.bench.tick_paths import PATHS
from processes.bench.tick_runs import Bench, Kind, Load, make_bench, make_load, run_engine, run_floor

#: Between two paced ticks.
PACE_NS = 200_000

_DEFAULT = "binance"
_PERCENTILES = {"p50_ns": 50.0, "p90_ns": 90.0, "p99_ns": 99.0}
_HOPS = (Span.WIRE_TO_DECODED, Span.DECODED_TO_DECIDED, Span.DECIDED_TO_APPROVED, Span.APPROVED_TO_SENT)


def run(
    rounds: int = 7,
    ticks: int = 20_000,
    paced_ticks: int = 5_000,
    separate_ticks: int = 2_000,
    path: str = _DEFAULT,
    tls: bool = False,
) -> dict[str, Any]:
    """Run the bench; `floor` and `ratio` are None, and nothing is measured, without a C compiler, OpenSSL's headers under TLS, or a
    second core. Raises KeyError for a path that there is not."""
    cores, venue = two_cores(), PATHS[path]
    with tempfile.TemporaryDirectory(prefix="hft-bench-") as name:
        folder = Path(name)
        bench = None if cores is None else make_bench(venue, tls, folder, cores)
        if bench is None:
            return {**finish("tick-to-trade", {}, None, None), "oversubscribed": cores is None}
        together = fused(venue)
        kinds = [Kind("fused", "direct", together)]
        apart = None
        if path == _DEFAULT and not tls:
            kinds.append(Kind("picows", "picows", together))
            apart = Kind("separate", "direct", separate(venue))
        loads = [make_load(bench, "back_to_back", ticks, 0), make_load(bench, "paced", paced_ticks, PACE_NS)]
        _say("compiling or loading kernels")
        for kind in (*kinds, *([apart] if apart else [])):
            tick_engine.warm(folder, venue, kind.transport, kind.placement)
        series = {(kind.name, load.name): Series(load.name) for kind in kinds for load in loads}
        for number in range(rounds):
            for kind in kinds:
                for load in loads:
                    _say(f"round {number + 1} of {rounds}: {kind.name}, {load.name}")
                    _pair(bench, kind, load, series[kind.name, load.name])
        if apart is None:
            document = _document(bench, loads, series, None)
        else:
            document = _document(bench, loads, series, _separately(bench, apart, separate_ticks, min(rounds, 3)))
    if path != _DEFAULT or tls:
        document["results"] |= {"path": path, "tls": _spoken(bench) if tls else False}
    return document


def _separately(bench: Bench, kind: Kind, ticks: int, rounds: int) -> Series:
    series, load = Series("back_to_back"), make_load(bench, "separate", ticks, 0)
    for number in range(rounds):
        _say(f"separate processes, round {number + 1} of {rounds}")
        _pair(bench, kind, load, series)
    return series


def _spoken(bench: Bench) -> dict[str, str]:
    """What all connections spoke, floors' and the engine's; BenchError if not all the same."""
    if len(bench.spoken) != 1:
        raise BenchError(f"the peer's connections did not all speak the same: {sorted(bench.spoken)}")
    protocol, _, library = bench.spoken.pop().partition(", ")
    return {"protocol": protocol, "openssl_of_peer_and_floor": library, "openssl_of_engine": ssl.OPENSSL_VERSION}


class Series:
    """The runs of one kind under one load, each beside its floor's."""

    def __init__(self, load: str) -> None:
        self.load = load
        self.floor: list[dict[str, float]] = []
        self.floor_acks_late: list[dict[str, float]] = []
        self.engine: list[dict[str, float]] = []
        self.hops: list[dict[str, float]] = []
        self.work: list[dict[str, int]] = []

    def ratios(self, floor: list[dict[str, float]]) -> list[float]:
        """Ours to a floor's median round trip, a pair each."""
        return [round(ours["p50_ns"] / least["p50_ns"], 3) for ours, least in zip(self.engine, floor, strict=True)]

    def summary(self) -> dict[str, Any]:
        """Medians over the runs, and every run's median."""
        return _median(self.engine) | {"p50_ns_all": [each["p50_ns"] for each in self.engine], "hops": _median(self.hops)}


def _pair(bench: Bench, kind: Kind, load: Load, series: Series) -> None:
    """A run of each floor, then one of the engine."""
    series.floor.append(_summary(run_floor(bench, load), load))
    if kind.name == "fused":
        series.floor_acks_late.append(_summary(run_floor(bench, load, acks_late=True), load))
    trips, engine = run_engine(bench, kind, load)
    series.engine.append(_summary(trips, load))
    histograms = engine.histograms()
    hops = {span.name.lower().replace("_to_", "→"): round(histograms[span].mean_ns, 1) for span in (*_HOPS, Span.WIRE_TO_SENT)}
    hops["sum_vs_wire_to_sent"] = round(sum(histograms[span].mean_ns for span in _HOPS) / histograms[Span.WIRE_TO_SENT].mean_ns, 4)
    series.hops.append(hops)
    series.work.append(_work(bench, engine, load))


def _work(bench: Bench, engine: tick_engine.Engine, load: Load) -> dict[str, int]:
    """What the stages counted; BenchError unless every frame became an order."""
    counters, venue = engine.counters(), bench.path.venue
    feed, risk, execution = counters[f"feed.{venue}"], counters["risk"], counters[f"execution.{venue}"]
    work = {
        "frames": feed["frames"],
        "intents": counters["strategy.taker"]["intents"],
        "approved": risk["approved"],
        "sent": execution["sent"],
        "refused": risk["refused"],
        "rejected": execution["rejected"],
        "not_sent": execution["not_sent"],
        "behind": execution["behind"],
        "malformed": feed["malformed"] + feed["gaps"] + feed["crossed"] + feed["checksum_bad"] + feed["overruns"],
    }
    expected = dict.fromkeys(("frames", "intents", "approved", "sent", "rejected"), load.frames.frames)
    if work != dict.fromkeys(work, 0) | expected:
        raise BenchError(f"{load.frames.frames} frames were sent, but the stages counted {work}")
    return work


def _document(bench: Bench, loads: list[Load], series: dict[tuple[str, str], Series], apart: Series | None) -> dict[str, Any]:
    results: dict[str, Any] = {}
    ratio: dict[str, Any] = {}
    for (kind, load), runs in series.items():
        results.setdefault(kind, {})[load] = runs.summary()
        name = f"{kind}_p50" if load == "back_to_back" else f"{kind}_{load}_p50"
        ratio |= _ratio(name, runs.ratios(runs.floor))
        if runs.floor_acks_late:
            ratio |= _ratio(f"{name}_acks_late", runs.ratios(runs.floor_acks_late))
    if apart is not None:
        oversubscribed = len(separate(bench.path)) + 1 > len(os.sched_getaffinity(0))
        results["separate"] = apart.summary() | {"oversubscribed": oversubscribed}
        ratio |= _ratio("separate_p50", apart.ratios(apart.floor))
    results |= {"levels": 2 * SIDE_LEVELS, "frame_bytes": loads[0].frames.frame_bytes, "order_bytes": bench.order.wire_bytes}
    results |= {"rounds": len(series["fused", loads[0].name].engine), "cores": list(bench.cores)}
    results |= {f"{load.name}_ticks": load.frames.frames - load.warm_up for load in loads}
    results["hops_sum_vs_wire_to_sent"] = results["fused"]["back_to_back"]["hops"]["sum_vs_wire_to_sent"]
    floor = {}
    for name in (load.name for load in loads):
        of_load = [runs for (_, its_load), runs in series.items() if its_load == name]
        floor[name] = _median([run for runs in of_load for run in runs.floor])
        floor[f"{name}_acks_late"] = _median([run for runs in of_load for run in runs.floor_acks_late])
    worked = [*series.values(), *([] if apart is None else [apart])]
    outcome = [results["frame_bytes"], bench.order.wire_bytes, [runs.work for runs in worked]]
    return finish("tick-to-trade", results, floor, ratio, outcome)


def _ratio(name: str, ratios: list[float]) -> dict[str, Any]:
    return {name: round(median(ratios), 3), f"{name}_range": [min(ratios), max(ratios)]}


def _summary(trips: NDArray[np.int64], load: Load) -> dict[str, float]:
    trips = trips[load.warm_up :]
    return {name: float(np.percentile(trips, percent)) for name, percent in _PERCENTILES.items()} | {"max_ns": float(trips.max())}


def _median(runs: list[dict[str, float]]) -> dict[str, Any]:
    return {name: round(median(each[name] for each in runs), 4) for name in runs[0]}


def _say(text: str) -> None:
    print(f"tick-to-trade: {text}", file=sys.stderr, flush=True)
