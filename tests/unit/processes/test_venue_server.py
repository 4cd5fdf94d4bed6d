"""The venue server on real sockets: TLS, orders, stalled connections and answers that never come."""

import asyncio
import json
import ssl
import time

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from hft.sim.binance.keys import ALICE_KEY
from processes.authority import Authority
from processes.errors import EngineError
from processes.venue_server import Simulator
from processes.venue_sim import Options, make_venue
from support.binance_trader import LIMIT, hmac_sign


def run(client, tls=None, **options):
    """Serve a synthetic Binance in this loop while `client(simulator, urls)` runs."""

    async def main():
        simulator = Simulator(make_venue("binance", Options(synthetic=1, **options)), False, tls)
        urls = await simulator.start(0)
        try:
            async with asyncio.timeout(60):
                return await client(simulator, urls)
        finally:
            await simulator.stop()

    return asyncio.run(main())


def order(client_id):
    params = {**LIMIT, "newClientOrderId": client_id, "apiKey": ALICE_KEY, "timestamp": time.time_ns() // 1_000_000}
    params["signature"] = hmac_sign("&".join(f"{name}={params[name]}" for name in sorted(params)))
    return json.dumps({"id": client_id, "method": "order.place", "params": params})


async def http(url, method, target, headers=(), tls=None):
    """Return (reader, writer) after sending a request on a connection of its own."""
    port = int(url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
    lines = [f"{method} {target} HTTP/1.1", "Host: x", *headers, "", ""]
    writer.write("\r\n".join(lines).encode())
    return reader, writer


async def control(urls, **fault):
    body = json.dumps(fault)
    port = int(urls["control"].rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"POST /fault HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode())
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 200"), answer


def test_orders_go_over_tls_and_plain_text_is_not_spoken(tmp_path):
    authority = Authority(tmp_path)
    trusting = ssl.create_default_context(cafile=authority.ca_file)

    async def client(simulator, urls):
        assert urls["ws"].startswith("wss://") and urls["http"].startswith("https://") and urls["control"].startswith("http://")
        async with connect(urls["ws"] + "/ws-api/v3", ssl=trusting) as api:
            await api.send(order("over-tls"))
            reply = json.loads(await api.recv())
            assert (reply["id"], reply["status"], reply["result"]["status"]) == ("over-tls", 200, "NEW")
        reader, writer = await http(urls["http"], "GET", "/api/v3/time", ["Connection: close"], trusting)
        assert (await reader.read()).startswith(b"HTTP/1.1 200")
        writer.close()
        with pytest.raises((OSError, EOFError, ConnectionClosed)):
            reader, writer = await http(urls["http"], "GET", "/api/v3/time")
            await reader.readexactly(1)
        writer.close()
        with pytest.raises(ssl.SSLCertVerificationError):
            async with connect(urls["ws"] + "/ws-api/v3", ssl=ssl.create_default_context()):
                pass

    run(client, authority.server_context())


@pytest.mark.parametrize("secure", [False, True])
def test_a_stalled_connection_says_nothing_and_then_goes_on(tmp_path, secure):
    authority = Authority(tmp_path) if secure else None
    trusting = ssl.create_default_context(cafile=authority.ca_file) if authority else None

    async def client(simulator, urls):
        async with connect(urls["ws"] + "/ws-api/v3", ping_interval=None, ssl=trusting) as api:
            await control(urls, kind="half_open", sockets="private", for_ms=400)
            began = time.monotonic()
            await api.send(order("stalled"))
            assert json.loads(await api.recv())["id"] == "stalled"
            assert time.monotonic() - began > 0.3

    run(client, authority.server_context() if authority else None)


def test_an_answer_that_is_lost_leaves_the_connection_open_or_not():
    async def client(simulator, urls):
        params = "&".join(f"{name}={value}" for name, value in {**LIMIT, "timestamp": time.time_ns() // 1_000_000}.items())
        target = f"/api/v3/order?{params}&signature={hmac_sign(params)}"
        await control(urls, kind="lose_ack")
        reader, writer = await http(urls["http"], "POST", target, [f"X-MBX-APIKEY: {ALICE_KEY}"])
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.2)
        assert len(simulator.venue.state(0)["exchange"]["accounts"]["alice"]["open_orders"]) == 1
        writer.close()
        await control(urls, kind="lose_ack", hang_up=True)
        reader, writer = await http(urls["http"], "POST", target, [f"X-MBX-APIKEY: {ALICE_KEY}"])
        try:
            assert await reader.read() == b""
        except ConnectionResetError:
            pass
        assert len(simulator.venue.state(0)["exchange"]["accounts"]["alice"]["open_orders"]) == 2
        writer.close()

    run(client)


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (None, "No such file"),
        (b"{}", "accounts .*: Expected `array`"),
        (b'[{"name":"a","keys":[{"key":"k"}]}]', "needs a secret or a public_key"),
    ],
)
def test_a_file_of_accounts_that_is_not_valid_is_refused(tmp_path, body, complaint):
    file = tmp_path / "accounts.json"
    if body is not None:
        file.write_bytes(body)
    with pytest.raises(EngineError, match=complaint):
        make_venue("binance", Options(accounts=str(file)))


def test_a_file_of_accounts_replaces_the_default_ones(tmp_path):
    file = tmp_path / "accounts.json"
    file.write_text('[{"name":"zoe","balances":{"USDT":"10"},"keys":[{"key":"k","secret":"s"}]}]')
    state = make_venue("binance", Options(accounts=str(file))).state(0)
    assert state["exchange"]["accounts"]["zoe"]["balances"] == {"USDT": {"free": "10.00000000", "hold": "0.00000000"}}


@pytest.mark.parametrize("code", [0, 1001, 1012])
def test_a_dropped_connection_ends_with_the_code_that_was_asked_for(code):
    async def client(simulator, urls):
        async with connect(urls["ws"] + "/ws-api/v3", ping_interval=None) as api:
            if not code:
                await control(urls, kind="half_open", for_ms=60_000)
            await control(urls, kind="disconnect", code=code)
            with pytest.raises(ConnectionClosed) as caught:
                await api.recv()
            assert (caught.value.rcvd.code if caught.value.rcvd else 0) == code

    run(client)
