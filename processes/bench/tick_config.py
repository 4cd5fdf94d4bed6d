"""Tick config: the config of the engine under the tick-to-trade benchmark, and what its orders are like on the wire."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from hft.config import Config, parse
from hft.orders import order_id
from hft.records import ORDER, IntentKind, Side, TimeInForce
from hft.tables import build_tables
from hft.venues.codecs import encode
from hft.websocket import frame_bytes
from processes.bench.one_market import tables_of
from processes.bench.report import BenchError
from processes.bench.tick_path import VenuePath
from processes.stages import make_stage
from processes.venue_stage import VenueStage

EPOCH = 1

#: stages of each process
Placement = Mapping[str, Sequence[str]]

#: Journal files are this large.
JOURNAL_FILE_MB = 32

#: Room for any venue's request.
_REQUEST_BYTES_MAX = 4096

_CONFIG = """
[engine]
mode = "paper"
journal_file_mb = {journal_file_mb}

[venues.{venue}]
stream_url = "ws://127.0.0.1:{port}/"
rest_url = "http://127.0.0.1/"
transport = "{transport}"
silence_ms = 86400000
simulator = {{ synthetic_seed = 1 }}

{one_market}
[strategies.taker]
code = "bench_taker"
instruments = ["{instrument}"]
timer_ms = 60000
params = {{ qty_lots = {qty_lots} }}

[execution.{venue}]
kind = "venue"
order_url = "ws://127.0.0.1/"
rest_url = "http://127.0.0.1/"
ack_timeout_ms = 60000
{keys}
"""


def stages_of(path: VenuePath) -> tuple[str, ...]:
    """The stages of an engine that trades at one venue."""
    return (f"feed.{path.venue}", "strategy.taker", "risk", f"execution.{path.venue}", "portfolio")


def fused(path: VenuePath) -> Placement:
    """All stages in one process."""
    return {"engine": stages_of(path)}


def separate(path: VenuePath) -> Placement:
    """One process a stage."""
    return {name.partition(".")[0]: (name,) for name in stages_of(path)}


def make_config(path: VenuePath, placement: Placement, transport: str = "direct", port: int = 1) -> Config:
    """The engine's config: limits that approve every order of the bench, all controls on."""
    text = _CONFIG.format(
        venue=path.venue,
        one_market=tables_of(path.market),
        instrument=path.market.instrument,
        qty_lots=path.qty_lots,
        keys=path.keys,
        journal_file_mb=JOURNAL_FILE_MB,
        port=port,
        transport=transport,
    )
    for name, stages in placement.items():
        text += f'\n[placement.processes.{name}]\nstages = {list(stages)}\nidle = "busy_spin"\n'
    return parse(text, "the tick-to-trade bench")


class Order(NamedTuple):
    """An order as it is on the wire: a WebSocket frame or an HTTP request."""

    wire_bytes: int
    id_at: int  #: where in it the text begins that tells which order it is, masked
    id_bytes: int  #: 0: the connection tells


def order_of(path: VenuePath) -> Order:
    """What every order of a path is like on the wire."""
    config = make_config(path, fused(path))
    stage = make_stage(config.topology().stage(f"execution.{path.venue}"), config, build_tables(config))
    assert isinstance(stage, VenueStage)
    desk = stage.desk
    path.admit(desk.codec)
    order, text = np.zeros(1, ORDER), np.zeros(_REQUEST_BYTES_MAX, np.uint8)
    order["price_ticks"], order["qty_lots"], order["side"], order["tif"] = path.bid_ticks, path.qty_lots, Side.BUY, TimeInForce.IOC
    order["kind"], order["order_id"] = IntentKind.NEW, order_id(EPOCH, 0, 1)
    length = int(encode(desk.codec, order, 0, order[0]["order_id"], 0, time.time_ns(), text, 0))
    if length <= 0:
        raise BenchError(f"{path.venue} has no request for the order of the bench")
    id_text = path.id_text(order_id(EPOCH, 0, 1))
    whole = length if desk.http_orders else int(frame_bytes(length, 1))
    return Order(whole, whole - length + text[:length].tobytes().index(id_text), len(id_text))
