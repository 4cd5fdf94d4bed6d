"""Both transports against a server that somebody else wrote (websockets), plain and over TLS."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import Server, ServerConnection, serve

from processes.transport.connect import LinkEvent
from processes.transport.stream import tls_context
from processes.transport.wire import CLOSE_CODE, ERROR, ORDERS, PINGS_IN, SENT, lane_count, make_wire
from support.tls_files import make_tls_files
from support.ws_drivers import TRANSPORTS, Driver, payloads

SIZES = (0, 1, 125, 126, 127, 65535, 65536, 200_000)


class Stranger:
    """Echoes; a message of "ping" makes it ping and say whether it was answered, "close" makes it close."""

    def __init__(self, ssl_context: Any = None) -> None:
        self.closed_with: list[int | None] = []
        self._server: Server = serve(self._handle, "127.0.0.1", 0, ssl=ssl_context, max_size=None, ping_interval=None)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        scheme = "ws" if ssl_context is None else "wss"
        self.url = f"{scheme}://127.0.0.1:{self._server.socket.getsockname()[1]}/any?token=secret"

    def _handle(self, connection: ServerConnection) -> None:
        try:
            for message in connection:
                if message == "ping":
                    connection.send(f"pong {connection.ping(b'payload').wait(20)}")
                elif message == "close":
                    connection.close(4001, "enough")
                elif message == "fragments":
                    connection.send(["frag", "", "men", "ts"])
                else:
                    connection.send(message)
        except ConnectionClosed:
            pass
        finally:
            self.closed_with.append(connection.protocol.close_rcvd.code if connection.protocol.close_rcvd else None)

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()


@pytest.fixture
def stranger() -> Iterator[Stranger]:
    made = Stranger()
    yield made
    made.close()


@pytest.fixture(params=TRANSPORTS)
def driver(request: pytest.FixtureRequest, stranger: Stranger) -> Iterator[Driver]:
    made = Driver(request.param, stranger.url, make_wire(out_bytes=1 << 19))
    made.until(lambda: LinkEvent.OPENED in made.events)
    yield made
    made.close()


def test_messages_of_every_size_are_echoed(driver: Driver) -> None:
    bodies = [b"x" * size for size in SIZES]
    for body in bodies:
        assert driver.queue(ORDERS, body) == 1
    driver.until(lambda: len(driver.messages) == len(bodies))
    assert payloads(driver.messages) == bodies
    assert lane_count(driver.wire, ORDERS, SENT) == len(bodies)


def test_fragments_of_a_stranger_are_put_together(driver: Driver) -> None:
    driver.queue(ORDERS, b"fragments")
    driver.until(lambda: bool(driver.messages))
    assert payloads(driver.messages) == [b"fragments"]


def test_a_stranger_takes_our_pongs(driver: Driver) -> None:
    driver.queue(ORDERS, b"ping")
    driver.until(lambda: bool(driver.messages))
    assert payloads(driver.messages) == [b"pong True"] and driver.wire.words[PINGS_IN] == 1


def test_a_stranger_that_closes_is_answered(driver: Driver, stranger: Stranger) -> None:
    driver.queue(ORDERS, b"close")
    driver.until(lambda: LinkEvent.ENDED in driver.events)
    assert "close code 4001" in str(driver.link.error) and "secret" not in str(driver.link.error)
    driver.until(lambda: bool(stranger.closed_with))
    assert stranger.closed_with == [4001]


def test_a_stranger_sees_our_close(driver: Driver, stranger: Stranger) -> None:
    driver.link.close(time.monotonic_ns())
    driver.until(lambda: driver.link.closed)
    assert (driver.wire.words[CLOSE_CODE], driver.wire.words[ERROR]) == (1000, 0)
    driver.until(lambda: bool(stranger.closed_with))
    assert stranger.closed_with == [1000]


def test_a_long_conversation_comes_back_in_order(driver: Driver) -> None:
    seed = 3
    rng = np.random.default_rng(seed)
    bodies = [b"%d " % i + b"y" * int(rng.integers(0, 3000)) for i in range(1500)]
    at = 0
    while at < len(bodies):
        at += driver.queue(ORDERS, bodies[at])
        driver.step()
    driver.until(lambda: len(driver.messages) == len(bodies))
    assert payloads(driver.messages) == bodies, f"seed {seed}"


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_stranger_is_spoken_to_over_wss_and_verified(transport: str, tmp_path: Path) -> None:
    files = make_tls_files(tmp_path)
    stranger = Stranger(files.server_context())
    driver = Driver(transport, stranger.url, make_wire(out_bytes=1 << 19), tls=tls_context(files.authority))
    try:
        driver.until(lambda: LinkEvent.OPENED in driver.events)
        for size in SIZES:
            assert driver.queue(ORDERS, b"x" * size) == 1
        driver.until(lambda: len(driver.messages) == len(SIZES))
        assert payloads(driver.messages) == [b"x" * size for size in SIZES]
        assert lane_count(driver.wire, ORDERS, SENT) == len(SIZES)
    finally:
        driver.close()
        stranger.close()
