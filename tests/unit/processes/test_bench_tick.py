"""Does the peer of the tick-to-trade bench answer the order that it got, and are frames, orders and answers what each venue's own code
reads and writes?"""

from __future__ import annotations

import os
import shutil
import socket
import ssl
from pathlib import Path

import numpy as np
import pytest

from hft.counters import FeedCounter
from hft.http_bytes import HttpCode, read_response
from hft.orders import order_id
from hft.records import MARKET, ORDER, VENUE_EVENT, IntentKind, Side, TimeInForce, VenueEventKind, VenueReason
from hft.tables import build_tables
from hft.venues.codecs import encode, scan_private, scan_response
from hft.venues.feeds import on_frame
from hft.venues.markets import MarketOrder, open_market
from hft.websocket import Opcode, write_frame
from processes.bench import report, tick_to_trade
from processes.bench.report import COMPILERS
from processes.bench.tick_config import EPOCH, Order, fused, make_config, order_of
from processes.bench.tick_frames import server_frame, write_frames
from processes.bench.tick_path import NO_ID, VenuePath
from processes.bench.tick_paths import PATHS
from processes.bench.tick_runs import Bench, Load, Peer, make_bench, run_floor
from processes.bench.tick_wires import connections, secured
from processes.stages import make_stage
from processes.venue_sending import EVENTS_MAX
from processes.venue_stage import VenueStage

with_compiler = pytest.mark.skipif(not any(map(shutil.which, COMPILERS)), reason="no C compiler")
each_path = pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
FRAMES = 3
DEADLINE_S = 30.0


def bench_of(path: VenuePath, folder: Path, over_tls: bool = False) -> Bench:
    core = min(os.sched_getaffinity(0))
    bench = make_bench(path, over_tls, folder, (core, core))
    if bench is None:
        pytest.skip("no OpenSSL headers")
    return bench


def few(bench: Bench, frames: int) -> Load:
    return Load("few", write_frames(bench.folder / "frames", bench.path.updates(frames)), 1, 0)


def read(end: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length:
        part = end.recv(length - len(data))
        assert part, f"the peer ended the connection after {len(data)} of {length} bytes"
        data += part
    return data


@with_compiler
@each_path
def test_the_peer_answers_each_order_by_its_id(path: VenuePath, tmp_path: Path) -> None:
    bench = bench_of(path, tmp_path)
    load = few(bench, FRAMES)
    identities = [f"{n + 1:016x}".encode()[-bench.order.id_bytes :] if bench.order.id_bytes else b"" for n in range(FRAMES)]
    # Before the peer waits for them: the first one compiles a kernel.
    orders = [order_on_the_wire(bench.order, identity) for identity in identities]
    with connections(bench.path.connections) as (ours, theirs), Peer(bench, load, theirs) as peer:
        for end in (ours.market, *ours.orders):
            end.settimeout(DEADLINE_S)
        peer.go()
        for n, identity in enumerate(identities):
            assert read(ours.market, load.frames.frame_bytes)[0] == 0x81
            asked = ours.orders[-n % len(ours.orders)]
            asked.sendall(orders[n])
            assert read(asked, len(path.refusal)) == path.refusal.replace(len(identity) * NO_ID, identity)
        trips = peer.ended()
        assert len(trips) == FRAMES and (trips > 0).all()
    assert bench.spoken == {"TCP"}


@with_compiler
def test_a_frame_whose_order_does_not_come_is_told_and_the_next_one_sent(tmp_path: Path) -> None:
    bench = bench_of(PATHS["coinbase"], tmp_path)
    load, order = few(bench, 2), order_on_the_wire(bench.order, b"")
    with connections(bench.path.connections) as (ours, theirs), Peer(bench, load, theirs) as peer:
        for end in (ours.market, *ours.orders):
            end.settimeout(DEADLINE_S)
        peer.go()
        read(ours.market, 2 * load.frames.frame_bytes)
        ours.orders[0].sendall(order)
        read(ours.orders[0], len(bench.path.refusal))
        missed, trip = peer.ended()
    assert missed == -1 and trip > 0


def order_on_the_wire(order: Order, identity: bytes) -> bytes:
    """As long as an order, with an id where the engine has it: a masked frame, or, where nothing is an id, any bytes."""
    if not identity:
        return order.wire_bytes * b"."
    header = 8
    text = bytearray(b"." * (order.wire_bytes - header))
    text[order.id_at - header : order.id_at - header + order.id_bytes] = identity
    frame = np.zeros(order.wire_bytes, np.uint8)
    source = np.frombuffer(bytes(text), np.uint8)
    assert write_frame(frame, 0, 1, 0x1234_5678, source, 0, len(source)) == order.wire_bytes
    return frame.tobytes()


@with_compiler
@pytest.mark.parametrize("acks_late", [False, True])
@pytest.mark.parametrize("over_tls", [False, True])
def test_the_floor_moves_as_many_bytes_as_the_engine(tmp_path: Path, over_tls: bool, acks_late: bool) -> None:
    bench = bench_of(PATHS["binance"], tmp_path, over_tls)
    assert (run_floor(bench, few(bench, FRAMES), acks_late) > 0).sum() == FRAMES
    (protocol,) = bench.spoken
    assert protocol.startswith("TLSv1." if over_tls else "TCP")


@with_compiler
def test_the_engines_end_speaks_tls_to_the_peer(tmp_path: Path) -> None:
    bench = bench_of(PATHS["binance"], tmp_path, over_tls=True)
    assert bench.tls is not None
    with connections(bench.path.connections) as (ours, theirs), Peer(bench, few(bench, 1), theirs) as peer:
        market, pointer = secured(ours.market, bench.tls)
        orders, _ = secured(ours.orders[0], bench.tls)
        with market, orders:
            peer.go()
            assert pointer and isinstance(market, ssl.SSLSocket) and isinstance(orders, ssl.SSLSocket)
            (protocol,) = bench.spoken
            assert protocol.startswith(f"{market.version()} {market.cipher()[0]}, ")  # type: ignore[index]


@each_path
def test_an_order_is_as_the_venues_own_codec_writes_it_each_time_as_long(path: VenuePath) -> None:
    order, stage = order_of(path), execution_of(path)
    path.admit(stage.desk.codec)
    for number in (1, 2, 99_999):
        text = request_of(stage, path, order_id(EPOCH, 0, number), path.bid_ticks + number % 512)
        header = 0 if stage.desk.http_orders else 8
        assert len(text) + header == order.wire_bytes < 1500
        at = order.id_at - header
        assert text[at : at + order.id_bytes] == path.id_text(order_id(EPOCH, 0, number))


def execution_of(path: VenuePath) -> VenueStage:
    config = make_config(path, fused(path))
    stage = make_stage(config.topology().stage(f"execution.{path.venue}"), config, build_tables(config))
    assert isinstance(stage, VenueStage)
    return stage


def request_of(stage: VenueStage, path: VenuePath, identity: int, price_ticks: int) -> bytes:
    order, out = np.zeros(1, ORDER), np.zeros(4096, np.uint8)
    order["price_ticks"], order["qty_lots"], order["side"], order["tif"] = price_ticks, path.qty_lots, Side.BUY, TimeInForce.IOC
    order["kind"], order["order_id"] = IntentKind.NEW, identity
    return out[: int(encode(stage.desk.codec, order, 0, identity, 0, 1_787_610_117_110_183_000, out, 0))].tobytes()


@each_path
def test_the_refusal_ends_the_order_that_it_is_about(path: VenuePath) -> None:
    stage, identity = execution_of(path), order_id(EPOCH, 0, 7)
    codec, events = stage.desk.codec, np.zeros(EVENTS_MAX, VENUE_EVENT)
    path.admit(codec)
    request_of(stage, path, identity, path.bid_ticks)
    id_text = path.id_text(identity)
    answer = path.refusal.replace(len(id_text) * NO_ID, id_text) if id_text else path.refusal
    data = np.frombuffer(bytearray(answer), np.uint8)
    if stage.desk.http_orders:
        code, status, start, end, keep_alive, _ = read_response(data, 0, len(data), len(data))
        assert (code, keep_alive) == (HttpCode.WHOLE, 1)
        count = scan_response(codec, int(IntentKind.NEW), identity, status, data, start, end, 1, events)
    else:
        start = 4 if len(data) - 2 > 125 else 2
        assert server_frame(answer[start:]) == answer
        count = scan_private(codec, data, start, len(data), 1, events)
    assert count == 1 and events[0]["kind"] == VenueEventKind.REJECTED and events[0]["request_id"] == identity
    assert events[0]["reason"] == VenueReason.INSUFFICIENT_BALANCE


@each_path
def test_the_venues_feed_follows_every_update_of_the_market(path: VenuePath, tmp_path: Path) -> None:
    config = make_config(path, fused(path))
    tables, counters, out = build_tables(config), np.zeros(len(FeedCounter), np.int64), np.zeros(1 << 15, MARKET)
    rows = tables.rows_of_venue(path.venue)
    symbols = [tables.symbols[row] for row in rows]
    feed = open_market(
        path.venue, MarketOrder(config.venues[path.venue], tables.instrument_rows, symbols, rows, counters, None, lambda: 0)
    ).feed
    assert path.give_snapshot(feed, np.frombuffer(bytearray(path.snapshot()), np.uint8), 1, out) > 0
    bids = set()
    # Past the turn of the walk, where levels come back into the book at its far ends.
    for number, text in enumerate(path.updates(600)):
        count = on_frame(feed, np.frombuffer(bytearray(text), np.uint8), 0, len(text), int(Opcode.TEXT), 2 + number, out)
        assert count >= 20, number
        bids.add(int(out[count - 1]["price_ticks"]))
    wrong = (FeedCounter.MALFORMED, FeedCounter.GAPS, FeedCounter.CROSSED, FeedCounter.CHECKSUM_BAD)
    assert [int(counters[each]) for each in wrong] == [0, 0, 0, 0]
    assert len(bids) > 500 and max(bids) == path.bid_ticks + 512
    assert write_frames(tmp_path / "frames", path.updates(600)).frames == 600


def test_without_a_compiler_or_its_headers_nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "_knows", lambda compiler, header: False)
    monkeypatch.setattr(tick_to_trade, "two_cores", lambda: (0, 1))
    document = tick_to_trade.run(path="kraken", tls=True)
    assert document["floor"] is None and document["ratio"] is None and document["results"] == {}


def test_a_path_that_there_is_not_is_refused() -> None:
    with pytest.raises(KeyError):
        tick_to_trade.run(path="nyse")
