"""The Binance simulator on real sockets, as strangers see it: the `websockets` package and urllib."""

import asyncio
import gzip
import json
import os
import re
import signal
import socket
import sys
import time
import urllib.error
import urllib.request

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from processes.capture import NOTES
from processes.errors import EngineError
from processes.venue_server import Simulator
from processes.venue_sim import Options, make_venue, serve_from_cli
from support.coinbasesim import signed as coinbase_signed
from support.naive_follower import NaiveFollower

STREAMS = "/stream?streams=btcusdt@depth@100ms/btcusdt@bookTicker/btcusdt@trade"
CLI_DEFAULTS = {
    "port": 0,
    "recording": None,
    "synthetic": None,
    "pace": "recorded",
    "rate": 1.0,
    "symbols": "BTCUSDT,ETHUSDT",
    "as_recorded": False,
    "loop": False,
    "no_limits": False,
    "tls": False,
    "authority": None,
    "accounts": None,
}


def run(options: Options, client, **serving):
    """Serve in this loop while `client(simulator, urls)` runs."""

    async def main():
        simulator = Simulator(make_venue(serving.get("venue", "binance"), options), waits_for_clients=options.pace == "max")
        urls = await simulator.start(serving.get("port", 0))
        try:
            async with asyncio.timeout(60):
                return await client(simulator, urls)
        finally:
            await simulator.stop()

    return asyncio.run(main())


async def get(url: str, data: bytes | None = None, method: str | None = None):
    """Return (status, headers, body) as urllib sees them."""

    def ask():
        request = urllib.request.Request(url, data=data, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, dict(answer.headers), answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, dict(error.headers), error.read()

    return await asyncio.to_thread(ask)


def narrow(urls) -> socket.socket:
    """Return a connected socket whose small receive buffer fills soon."""
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    plain.connect(("127.0.0.1", int(urls["ws"].rpartition(":")[2])))
    return plain


def test_a_strangers_client_follows_a_synthetic_book_exactly():
    async def client(simulator, urls):
        follower = NaiveFollower()
        async with connect(urls["ws"] + STREAMS) as stream:
            follower.message(json.dumps(json.loads(await stream.recv())["data"]))
            status, _, body = await get(urls["http"] + "/api/v3/depth?symbol=BTCUSDT&limit=5000")
            assert status == 200
            synced = False
            while follower.compared < 100:
                follower.message(json.dumps(json.loads(await stream.recv())["data"]))
                if not synced:
                    follower.snapshot(body)
                    synced = True
        return follower

    follower = run(Options(synthetic=11, pace="20"), client)
    assert (follower.gaps, follower.crossed, follower.unequal) == (0, 0, [])


@pytest.mark.parametrize("pace", ["max", "200"])
def test_a_real_recording_reaches_the_client_whole_and_unchanged(recorded, pace):
    path = recorded("binance_spot/btcusdt_20240808.gz")
    with gzip.open(path, "rb") as file:
        lines = [line.rstrip(b"\n").partition(b" ")[2] for line in file]
    expected = [line for line in lines if line.startswith(b'{"stream"')]
    snapshot = next(line for line in lines if line.startswith(b'{"lastUpdateId"'))

    async def client(simulator, urls):
        received = []
        async with connect(urls["ws"] + STREAMS) as stream:
            received.append((await stream.recv()).encode())
            assert (await get(urls["http"] + "/api/v3/depth?symbol=BTCUSDT&limit=1000"))[2] == snapshot
            while len(received) < len(expected):
                received.append((await stream.recv()).encode())
            state = json.loads((await get(urls["control"] + "/state"))[2])
        return received, state

    received, state = run(Options(recording=(str(path),), pace=pace, as_recorded=True), client)
    assert received == expected
    assert state["finished"] and state["counters"]["frames"] == len(expected)


@pytest.mark.parametrize("pace", ["max", "20"])
def test_a_real_coinbase_recording_reaches_the_client_change_by_change(recorded, pace):
    path = recorded("coinbase/level2_ticker_matches_2021.ws")
    lines = [json.loads(line.partition(b" ")[2]) for line in path.read_bytes().splitlines() if line[:1].isdigit()]
    products = [line["product_id"] for line in lines if line["type"] == "snapshot"]
    expected = {product: [] for product in products}
    for line in lines:
        if line["type"] == "l2update":
            expected[line["product_id"]] += [(side, float(price), float(size)) for side, price, size in line["changes"]]

    async def client(simulator, urls):
        told = {product: [] for product in products}
        headers = coinbase_signed("alice-view", "GET", "/users/self/verify", b"", time.time_ns())
        keys = {
            "key": "cb-access-key",
            "signature": "cb-access-sign",
            "timestamp": "cb-access-timestamp",
            "passphrase": "cb-access-passphrase",
        }
        ask = {"type": "subscribe", "product_ids": products, "channels": ["level2"], **{name: headers[of] for name, of in keys.items()}}
        async with connect(urls["ws"], max_size=None) as stream:
            await stream.send(json.dumps(ask))
            while sum(map(len, told.values())) < changed:
                message = json.loads(await stream.recv())
                if message["type"] == "l2update":
                    told[message["product_id"]] += [(side, float(price), float(size)) for side, price, size in message["changes"]]
        return told

    # A change to what a level is already is none.
    books = {
        (line["product_id"], side, float(price)): float(size)
        for line in lines
        if line["type"] == "snapshot"
        for side, name in (("buy", "bids"), ("sell", "asks"))
        for price, size in line[name]
    }
    wanted = {product: [] for product in products}
    for product, changes in expected.items():
        for side, price, size in changes:
            if books.get((product, side, price), 0.0) != size:
                books[product, side, price] = size
                wanted[product].append((side, price, size))
    changed = sum(map(len, wanted.values()))
    told = run(Options(recording=(str(path),), pace=pace), client, venue="coinbase")
    assert told == wanted


def test_subscriptions_limits_and_a_clean_close_work_over_the_wire():
    async def client(simulator, urls):
        async with connect(urls["ws"] + "/ws") as stream:
            await stream.send(json.dumps({"method": "SUBSCRIBE", "params": ["btcusdt@bookTicker"], "id": 1}))
            assert json.loads(await stream.recv()) == {"result": None, "id": 1}
            assert set(json.loads(await stream.recv())) == {"u", "s", "b", "B", "a", "A"}
            await (await stream.ping())
            await stream.send(["{", "}"])  # fragmented
        assert stream.close_code == 1000
        async with connect(urls["ws"] + "/ws") as stream:
            for _ in range(6):
                await stream.send("{}")
            with pytest.raises(ConnectionClosed) as caught:
                while True:
                    await stream.recv()
            assert caught.value.rcvd.code == 1008
        with pytest.raises(InvalidStatus) as refused:
            async with connect(urls["ws"] + "/elsewhere"):
                pass
        assert refused.value.response.status_code == 404
        while simulator.clients:
            await asyncio.sleep(0)
        assert simulator.venue.sessions() == []

    run(Options(synthetic=1), client)


def test_too_big_and_binary_messages_end_the_connection():
    async def client(simulator, urls):
        for message, code in (("x" * 70_000, 1009), (b"\x00", 1003)):
            async with connect(urls["ws"] + "/ws") as stream:
                await stream.send(message)
                with pytest.raises(ConnectionClosed) as caught:
                    await stream.recv()
                assert caught.value.rcvd.code == code

    run(Options(synthetic=1), client)


def test_injected_disconnect_and_shutdown_reach_the_client():
    async def client(simulator, urls):
        async with connect(urls["ws"] + "/ws") as stream:
            assert (await get(urls["control"] + "/fault", b'{"kind":"server_shutdown","after_ms":20}'))[0] == 200
            assert json.loads(await stream.recv())["e"] == "serverShutdown"
            with pytest.raises(ConnectionClosed) as caught:
                await stream.recv()
            assert caught.value.rcvd.code == 1001
        async with connect(urls["ws"] + STREAMS) as stream:
            await stream.recv()
            assert (await get(urls["control"] + "/fault", b'{"kind":"disconnect"}'))[0] == 200
            with pytest.raises(ConnectionClosed) as caught:
                while True:
                    await stream.recv()
            assert caught.value.rcvd is None

    run(Options(synthetic=1), client)


def test_looping_closes_the_connection_and_the_next_one_sees_the_same_again(recorded):
    path = recorded("binance_spot/ethusdt_20240808.gz")

    async def client(simulator, urls):
        firsts = []
        for _ in range(2):
            count = 0
            async with connect(urls["ws"] + "/ws/ethusdt@trade") as stream:
                firsts.append(json.loads(await stream.recv())["t"])
                with pytest.raises(ConnectionClosed) as caught:
                    while True:
                        await stream.recv()
                        count += 1
            assert caught.value.rcvd.code == 1001 and count == 6105
        return firsts

    first, second = run(Options(recording=(str(path),), pace="max", loop=True), client)
    assert first == second


def test_at_max_pace_a_client_that_stops_reading_is_waited_for():
    async def client(simulator, urls):
        async with connect(urls["ws"] + STREAMS, max_queue=4, close_timeout=0.1, sock=narrow(urls)) as stream:
            await stream.recv()
            while not simulator.clients[0].paused:
                await asyncio.sleep(0)
            position = simulator.venue.state(0)["position_ns"]
            await asyncio.sleep(0.3)
            assert simulator.venue.state(0)["position_ns"] == position
            last_u = 0
            while simulator.venue.state(0)["position_ns"] == position or not last_u:
                message = json.loads(await stream.recv())["data"]
                if "U" in message:
                    assert not last_u or message["U"] == last_u + 1
                    last_u = message["u"]

    run(Options(synthetic=1, pace="max"), client)


def test_a_client_that_never_reads_is_dropped_when_playback_does_not_wait(monkeypatch):
    monkeypatch.setattr("processes.venue_server.BACKLOG_BYTES_MAX", 100_000)

    async def client(simulator, urls):
        async with connect(urls["ws"] + STREAMS, max_queue=1, close_timeout=0.1, sock=narrow(urls)):
            while simulator.venue.counters["slow_clients"] == 0:
                await asyncio.sleep(0.05)
        return simulator.venue.sessions()

    assert run(Options(synthetic=1, pace="5000"), client) == []


def test_rest_keeps_connections_and_answers_pipelined_and_broken_requests():
    async def client(simulator, urls):
        port = int(urls["http"].rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /api/v3/ping HTTP/1.1\r\nHost: x\r\n\r\nHEAD /api/v3/ping HTTP/1.1\r\nHost: x\r\n\r\n")
        writer.write(b"GET /api/v3/depth?symbol=NOPE HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answers = await reader.read()
        writer.close()
        assert re.findall(rb"HTTP/1.1 (\d+)", answers) == [b"200", b"405", b"400"]
        assert answers.endswith(b'{"code":-1121,"msg":"Invalid symbol."}')
        for broken, status in (
            (b"nonsense\r\n\r\n", b"400"),
            (b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 20_000, b"431"),
            (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100_000, b"413"),
            (b"GET / HT", None),
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(broken)
            if status is None:
                writer.write_eof()
            answer = await reader.read()
            writer.close()
            assert status is None or answer.split(b" ")[1] == status, broken[:40]

    run(Options(synthetic=1), client)


def test_slow_rest_answers_come_late_and_in_order():
    async def client(simulator, urls):
        await get(urls["control"] + "/fault", b'{"kind":"slow","delay_ms":150,"for_ms":60000}')
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert (await get(urls["http"] + "/api/v3/ping"))[2] == b"{}"
        assert loop.time() - began >= 0.15

    run(Options(synthetic=1), client)


def test_ports_are_next_to_each_other_and_a_taken_one_is_an_error():
    async def client(simulator, urls):
        return urls

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(EngineError, match=f"no free port from {port}: .*address already in use"):
            run(Options(synthetic=1), client, port=port)
    urls = run(Options(synthetic=1), client, port=port)
    assert urls["ws"] == f"ws://127.0.0.1:{port}" and len(set(urls.values())) == 4


@pytest.mark.parametrize(
    ("venue", "options", "complaint"),
    [
        ("nosuch", {}, "venue must be binance"),
        ("kraken", {"symbols": "BTCUSDT"}, "symbols must be some of BTC/USD"),
        ("kraken", {"symbols": None, "recording": __file__}, "test_venue_sim.py line 1: "),
        ("kraken", {"symbols": None, "recording": "/x", "synthetic": 1}, "found both"),
        ("coinbase", {"symbols": "BTCUSDT"}, "symbols must be some of BTC-USD"),
        ("coinbase", {"symbols": None, "recording": __file__}, "test_venue_sim.py line 1: "),
        ("coinbase", {"symbols": None, "recording": "/x", "synthetic": 1}, "found both"),
        ("binance", {"pace": "fast"}, "pace must be"),
        ("binance", {"symbols": "BTCUSDT,NOPE"}, "symbols must be some of BTCUSDT, ETHUSDT, SOLUSDT"),
        ("binance", {"symbols": ""}, "symbols must be"),
        ("binance", {"symbols": "BTCUSDT,BTCUSDT"}, "each once"),
        ("binance", {"rate": 1e9}, "rate must be within"),
        ("binance", {"recording": "/nowhere/x.gz"}, "recording /nowhere/x.gz: no such capture"),
        ("binance", {"recording": "/"}, "no such capture"),
        ("binance", {"recording": "/x", "synthetic": 1}, "found both"),
        ("binance", {"recording": __file__}, "test_venue_sim.py line 1: expected a receive time"),
    ],
)
def test_bad_options_are_refused_before_anything_is_served(capsys, venue, options, complaint):
    with pytest.raises(EngineError, match=complaint):
        serve_from_cli(venue, {**CLI_DEFAULTS, **options})
    assert capsys.readouterr().out == ""


KRAKEN_BOOK = (
    b'{"channel":"book","type":"%s","data":[{"symbol":"BTC/USD","bids":[{"price":1,"qty":%s}],"asks":[],"checksum":0,'
    b'"timestamp":"2026-08-24T22:21:10Z"}]}\n'
)
BINANCE_TRADE = (
    b'1723161253937085768 {"stream":"btcusdt@trade","data":{"e":"trade","E":1,"s":"BTCUSDT","t":1,"p":"1","q":"1","T":1,"m":true}}\n'
)
COINBASE_BOOK = b'{"type":"snapshot","product_id":"BTC-USD","bids":[["1.00","1"]],"asks":[]}\n'
#: What a recording cannot be, and what is said of it.
DAMAGED = {
    "cut": (lambda packed, plain: packed[: len(packed) // 2], r"unreadable.*the file is cut off after line"),
    "flipped": (
        lambda packed, plain: packed[:12] + bytes(byte ^ 255 for byte in packed[12:]),
        r"unreadable: .*damaged",
    ),
    "zstandard": (lambda packed, plain: b"\x28\xb5\x2f\xfd" + packed, r"unreadable: .*zstandard files are not read"),
    "junk line": (lambda packed, plain: plain + b"\n\xff\xfe {\n", r"line 102: "),
}


@pytest.mark.parametrize("damage", DAMAGED)
@pytest.mark.parametrize(
    ("venue", "line"), [("binance", BINANCE_TRADE), ("kraken", KRAKEN_BOOK % (b"snapshot", b"1")), ("coinbase", COINBASE_BOOK)]
)
def test_damaged_recordings_are_refused_with_the_file_and_the_line(capsys, tmp_path, venue, line, damage):
    plain = line * 100
    damaged, complaint = DAMAGED[damage]
    path = tmp_path / "one.gz"
    path.write_bytes(damaged(gzip.compress(plain), plain))
    with pytest.raises(EngineError, match=rf"one\.gz.*{complaint}"):
        serve_from_cli(venue, {**CLI_DEFAULTS, "symbols": None, "recording": path})
    assert capsys.readouterr().out == ""


def test_recordings_of_another_venue_are_refused_with_how_they_begin(tmp_path):
    path = tmp_path / "one.jsonl"
    path.write_bytes(b"\n" + BINANCE_TRADE)
    with pytest.raises(EngineError, match=r"there is no book snapshot of BTC/USD, .*; one\.jsonl line 2 is b'1723161253937085768 {"):
        serve_from_cli("kraken", {**CLI_DEFAULTS, "symbols": None, "recording": path})
    path.write_bytes(b"1723161253937085768 " + KRAKEN_BOOK % (b"snapshot", b"1"))
    with pytest.raises(EngineError, match=r"no market data found \(1 other lines\); one\.jsonl line 1 is b'1723161253937085768 {"):
        serve_from_cli("binance", {**CLI_DEFAULTS, "symbols": None, "recording": path})


@pytest.mark.parametrize("qty", [b'"many"', b'"NaN"', b"null", b"{}"])
def test_places_in_recorded_folders_are_those_in_their_segments(tmp_path, qty):
    (tmp_path / NOTES).write_bytes(b"")
    (tmp_path / "1.gz").write_bytes(gzip.compress(KRAKEN_BOOK % (b"snapshot", b"1")))
    (tmp_path / "2.gz").write_bytes(gzip.compress(b"\n" + KRAKEN_BOOK % (b"update", b"2") + KRAKEN_BOOK % (b"update", qty)))
    with pytest.raises(EngineError, match=r"^2\.gz line 3: expected a message of WebSocket v2, found b'{\"channel"):
        serve_from_cli("kraken", {**CLI_DEFAULTS, "symbols": None, "recording": tmp_path})


class Terminal:
    """A stdout whose reader sends `number` to this process as soon as it has a line."""

    def __init__(self, number):
        self.number, self.text = number, ""

    def write(self, text):
        self.text += text

    def flush(self):
        os.kill(os.getpid(), self.number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serving_says_where_in_one_line_and_ends_on_a_signal(monkeypatch, number):
    before = signal.getsignal(number)
    terminal = Terminal(number)
    monkeypatch.setattr(sys, "stdout", terminal)
    serve_from_cli("binance", {**CLI_DEFAULTS, "synthetic": 1})
    urls = json.loads(terminal.text)
    assert urls.keys() == {"ready", "http", "ws", "control"} and urls["ready"] is True and terminal.text.count("\n") == 1
    for url in (urls["http"], urls["ws"], urls["control"]):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=10)
    signal.signal(number, before)
