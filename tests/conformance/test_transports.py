"""Every transport does the same over a wire, whatever the peer does."""

from __future__ import annotations

import random
import ssl
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest

from hft.websocket import CloseCode, FrameCode
from processes.transport.connect import LinkEvent
from processes.transport.stream import tls_context
from processes.transport.wire import (
    BYTES_IN,
    CANCELS,
    CLOSE_CODE,
    CONTROL,
    ERROR,
    MESSAGES_IN,
    NOT_SENT,
    ORDERS,
    PINGS_IN,
    PONGS_IN,
    QUEUED,
    REFUSED,
    SENT,
    STATE,
    UNKNOWN,
    WireError,
    WireState,
    lane_count,
    make_wire,
    unsent_bytes,
)
from support.tls_files import TlsFiles, make_tls_files
from support.ws_drivers import TRANSPORTS, Driver, payloads
from support.ws_peer import Peer, close_frame, frame, switching

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class Pair:
    """A driver and its peer, connected."""

    def __init__(self, transport: str, peer: Peer, trust: ssl.SSLContext | None, **wire: Any) -> None:
        self.peer = peer
        self.driver = Driver(transport, self.peer.url, make_wire(**wire), tls=trust)

    def open(self) -> None:
        self.until(lambda: LinkEvent.OPENED in self.driver.events)

    def until(self, condition: Any) -> None:
        self.driver.until(condition, self.peer.pump)

    def until_messages(self, count: int) -> None:
        self.until(lambda: len(self.driver.messages) >= count)

    def settle(self, steps: int = 20) -> None:
        """A few more steps, for what must not happen."""
        for _ in range(steps):
            self.driver.step()
            self.peer.pump()

    def word(self, index: int) -> int:
        return int(self.driver.wire.words[index])

    def count(self, lane: int, counter: int) -> int:
        return lane_count(self.driver.wire, lane, counter)

    def close(self) -> None:
        self.driver.close()
        self.peer.close()


@pytest.fixture(params=[*TRANSPORTS, "direct_tls"])
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def tls_files(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    return make_tls_files(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def trust(transport: str, request: pytest.FixtureRequest) -> ssl.SSLContext | None:
    """The client's TLS context, where the transport is to speak TLS."""
    return tls_context(request.getfixturevalue("tls_files").authority) if transport.endswith("_tls") else None


@pytest.fixture
def make_peer(transport: str, request: pytest.FixtureRequest) -> Callable[..., Peer]:
    tls = request.getfixturevalue("tls_files").server_context() if transport.endswith("_tls") else None
    return partial(Peer, tls=tls)


@pytest.fixture
def make(transport: str, trust: ssl.SSLContext | None, make_peer: Callable[..., Peer]) -> Iterator[Any]:
    pairs: list[Pair] = []

    def build(peer: Peer | None = None, **wire: Any) -> Pair:
        pair = Pair(transport, peer or make_peer(), trust, **wire)
        pairs.append(pair)
        pair.open()
        return pair

    yield build
    for pair in pairs:
        pair.close()


@pytest.fixture
def pair(make: Any) -> Pair:
    made: Pair = make()
    return made


def pattern(size: int, seed: int = 7) -> bytes:
    return random.Random(seed).randbytes(size)


# Handshake


def test_upgrade_request_is_what_the_rfc_asks_for(pair: Pair) -> None:
    lines = pair.peer.request.decode().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines[1:] if line)}
    assert lines[0] == "GET /stream?streams=a/b HTTP/1.1"
    assert headers["host"] == f"127.0.0.1:{pair.peer.port}"
    assert (headers["upgrade"].lower(), headers["connection"].lower(), headers["sec-websocket-version"]) == ("websocket", "upgrade", "13")
    assert "sec-websocket-extensions" not in headers


def test_frames_right_behind_the_upgrade_are_not_lost(make: Any, make_peer: Callable[..., Peer]) -> None:
    peer = make_peer(answer=lambda request: switching(request) + frame(TEXT, b"early") + frame(TEXT, b"bird")[:3])
    pair = make(peer)
    peer.send(frame(TEXT, b"bird")[3:])
    pair.until_messages(2)
    assert payloads(pair.driver.messages) == [b"early", b"bird"]


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (lambda r: b"HTTP/1.1 429 Too Many\r\nRetry-After: 5\r\nContent-Length: 4\r\n\r\nslow", "UpgradeRefused", ["429", "101"]),
        (lambda r: b"HTTP/1.1 302 Found\r\nLocation: http://elsewhere/\r\nContent-Length: 0\r\n\r\n", "UpgradeRefused", ["302"]),
        (lambda r: switching(r).replace(b"Accept: ", b"Accept: x"), "UpgradeInvalid", []),
        (lambda r: switching(r).replace(b"Upgrade: websocket", b"Upgrade: h2c"), "UpgradeInvalid", []),
        (lambda r: b"SSH-2.0-OpenSSH\r\n\r\n", "", []),
    ],
    ids=["429", "redirect", "accept", "protocol", "not_http"],
)
def test_a_server_that_does_not_upgrade_is_refused_and_tried_again(
    transport: str, trust: Any, make_peer: Callable[..., Peer], answer: Any, error: str, words: list[str]
) -> None:
    peer = make_peer(answer=answer)
    driver = Driver(transport, peer.url, tls=trust)
    try:
        driver.until(lambda: LinkEvent.FAILED in driver.events, peer.pump)
        text = str(driver.link.error)
        assert type(driver.link.error).__name__ == error or not error
        assert peer.url.split("?")[0] in text and "streams=" not in text, text
        assert all(word in text for word in words), text
        assert driver.wire.words[STATE] == WireState.IDLE
        if error != "UpgradeRefused" or "302" in text:
            peer.answer = switching
            driver.until(lambda: LinkEvent.OPENED in driver.events, peer.pump)
    finally:
        driver.close()
        peer.close()


def test_a_port_nobody_listens_on_is_a_failed_attempt(transport: str, trust: Any, make_peer: Callable[..., Peer]) -> None:
    peer = make_peer()
    peer.close()
    driver = Driver(transport, peer.url, tls=trust)
    driver.until(lambda: driver.events.count(LinkEvent.FAILED) >= 3)
    assert type(driver.link.error).__name__ == "ConnectFailed" and "refused" in str(driver.link.error)
    driver.close()


def test_a_server_that_says_nothing_runs_into_the_deadline(transport: str, trust: Any, make_peer: Callable[..., Peer]) -> None:
    peer = make_peer(answer=lambda request: b"")
    driver = Driver(transport, peer.url, timeout_ns=50_000_000, tls=trust)
    driver.until(lambda: LinkEvent.FAILED in driver.events, peer.pump)
    assert type(driver.link.error).__name__ == "DeadlineExceeded"
    driver.close()
    peer.close()


# Inbound


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 300_000])
def test_messages_of_every_length_form_arrive_as_they_were(pair: Pair, size: int) -> None:
    body = pattern(size)
    before = time.monotonic_ns()
    pair.peer.send(frame(BINARY, body))
    pair.until_messages(1)
    message = pair.driver.messages[0]
    assert (message.opcode, message.payload) == (BINARY, body)
    assert before <= message.received_ns <= time.monotonic_ns()


def test_coalesced_frames_come_out_one_by_one_in_order(pair: Pair) -> None:
    bodies = [pattern(size, size) for size in range(0, 400, 3)]
    pair.peer.send(b"".join(frame(TEXT, body) for body in bodies))
    pair.until_messages(len(bodies))
    assert payloads(pair.driver.messages) == bodies


def test_bytes_that_trickle_in_one_at_a_time_make_the_same_messages(pair: Pair) -> None:
    stream = frame(TEXT, b"abc") + frame(TEXT, pattern(130)) + frame(PING, b"hm") + frame(TEXT, b"d", fin=False) + frame(0, b"ef")
    for i in range(len(stream)):
        arrived = pair.word(BYTES_IN)
        pair.peer.send(stream[i : i + 1])
        if pair.driver.transport.startswith("direct"):
            pair.until(lambda arrived=arrived: pair.word(BYTES_IN) == arrived + 1)
        else:
            pair.settle(2)
    pair.until_messages(3)
    assert payloads(pair.driver.messages) == [b"abc", pattern(130), b"def"]
    pair.until(lambda: len(pair.peer.frames) == 1)
    assert (pair.peer.frames[0].opcode, pair.peer.frames[0].payload) == (PONG, b"hm")


def test_any_chopping_of_a_stream_makes_the_same_messages(pair: Pair) -> None:
    seed = 20240808
    rng = random.Random(seed)
    expected, stream = [], b""
    for _ in range(60):
        body = rng.randbytes(rng.choice((0, 5, 125, 126, 700, 70_000)))
        pieces = sorted(rng.randrange(len(body) + 1) for _ in range(rng.randrange(3)))
        parts = [body[a:b] for a, b in zip([0, *pieces], [*pieces, len(body)], strict=True)]
        for i, part in enumerate(parts):
            if rng.random() < 0.2:
                stream += frame(PING, b"p")
            stream += frame(TEXT if i == 0 else 0, part, fin=i == len(parts) - 1)
        expected.append(body)
    at = 0
    while at < len(stream):
        step = rng.choice((1, 2, 13, 1000, 50_000))
        pair.peer.send(stream[at : at + step])
        at += step
        pair.settle(1)
    pair.until_messages(len(expected))
    assert payloads(pair.driver.messages) == expected, f"seed {seed}"


def test_fragments_are_put_together_around_control_frames(pair: Pair) -> None:
    parts = [pattern(size, size) for size in (3, 0, 70_000, 126)]
    stream = frame(BINARY, parts[0], fin=False) + frame(PING, b"1") + frame(0, parts[1], fin=False) + frame(PONG)
    stream += frame(0, parts[2], fin=False) + frame(0, parts[3]) + frame(TEXT, b"next")
    pair.peer.send(stream)
    pair.until_messages(2)
    assert [(m.opcode, m.payload) for m in pair.driver.messages] == [(BINARY, b"".join(parts)), (TEXT, b"next")]
    assert (pair.word(PINGS_IN), pair.word(PONGS_IN)) == (1, 1)


def test_text_that_is_not_utf8_is_passed_on_as_bytes(pair: Pair) -> None:
    pair.peer.send(frame(TEXT, b"\xff\xc0\x80 \xed\xa0\x80"))
    pair.until_messages(1)
    assert pair.driver.messages[0].payload == b"\xff\xc0\x80 \xed\xa0\x80"


def test_a_stream_much_longer_than_the_buffer_goes_through(make: Any) -> None:
    pair = make(message_bytes_max=4096, messages_max=8)
    bodies = [pattern(1 + size * 37 % 4096, size) for size in range(400)]
    pair.peer.send(b"".join(frame(TEXT, body) for body in bodies))
    pair.until_messages(len(bodies))
    assert payloads(pair.driver.messages) == bodies
    assert pair.word(MESSAGES_IN) == len(bodies)


# Ping, pong, close


def test_pings_are_answered_with_their_payload_and_a_fresh_mask(pair: Pair) -> None:
    bodies = [b"", b"x", pattern(125)]
    pair.peer.send(b"".join(frame(PING, body) for body in bodies))
    pair.until(lambda: len(pair.peer.frames) == 3)
    assert [(f.opcode, f.fin, f.payload) for f in pair.peer.frames] == [(PONG, True, body) for body in bodies]
    assert all(f.key is not None for f in pair.peer.frames) and len({f.key for f in pair.peer.frames}) == 3


def test_unsolicited_pongs_are_counted_and_nothing_else(pair: Pair) -> None:
    pair.peer.send(frame(PONG, b"hello") + frame(TEXT, b"x"))
    pair.until_messages(1)
    assert pair.word(PONGS_IN) == 1 and pair.word(STATE) == WireState.OPEN


def test_a_flood_of_pings_neither_blocks_nor_grows(pair: Pair) -> None:
    pair.peer.reading = False
    pair.peer.send(frame(PING, pattern(125)) * 40_000 + frame(TEXT, b"after"))
    pair.until_messages(1)
    assert pair.word(PINGS_IN) == 40_000
    pair.peer.reading = True
    pair.until(lambda: unsent_bytes(pair.driver.wire, CONTROL) == 0)
    assert pair.word(STATE) == WireState.OPEN


@pytest.mark.parametrize("code", [None, 1000, 1001, 1008, 1012, 3000, 4999])
def test_a_close_of_the_peer_is_answered_in_kind_and_the_link_begins_again(pair: Pair, code: int | None) -> None:
    pair.peer.send(frame(TEXT, b"last") + close_frame(code, b"" if code is None else b"bye"))
    pair.until(lambda: bool(pair.peer.frames))
    answer = pair.peer.frames[0]
    assert answer.opcode == CLOSE and answer.key is not None
    assert answer.payload == (b"" if code is None else code.to_bytes(2, "big"))
    assert payloads(pair.driver.messages) == [b"last"]
    pair.peer.hang_up()
    pair.until(lambda: LinkEvent.ENDED in pair.driver.events)
    assert pair.word(CLOSE_CODE) == (code or CloseCode.NO_STATUS) and pair.word(ERROR) == WireError.NONE
    assert "closed" in str(pair.driver.link.error)
    pair.until(lambda: pair.driver.events.count(LinkEvent.OPENED) == 2)
    pair.peer.send(frame(TEXT, b"again"))
    pair.until_messages(2)
    assert pair.driver.messages[-1].payload == b"again"


def test_closing_sends_what_is_queued_first_and_waits_for_the_answer(pair: Pair) -> None:
    assert pair.driver.queue(CANCELS, b"cancel") == 1
    pair.driver.link.close(time.monotonic_ns())
    assert pair.driver.queue(ORDERS, b"too late") == 0
    pair.until(lambda: len(pair.peer.frames) == 2)
    assert [(f.opcode, f.payload) for f in pair.peer.frames] == [(TEXT, b"cancel"), (CLOSE, (1000).to_bytes(2, "big"))]
    pair.peer.send(frame(TEXT, b"still talking") + close_frame(1000))
    pair.until(lambda: bool(pair.word(CLOSE_CODE)))
    assert payloads(pair.driver.messages) == [b"still talking"]
    pair.peer.hang_up()
    pair.until(lambda: pair.driver.link.closed)
    assert pair.word(ERROR) == WireError.NONE
    pair.settle()
    assert pair.peer.accepted == 1


def test_a_peer_that_never_answers_a_close_is_given_up(make: Any) -> None:
    pair = make(close_wait_ns=20_000_000)
    pair.driver.link.close(time.monotonic_ns())
    pair.until(lambda: pair.driver.link.closed)
    assert pair.word(ERROR) == WireError.CLOSE_TIMED_OUT


# Protocol errors


@pytest.mark.parametrize(
    ("bad", "code", "told"),
    [
        (frame(TEXT, b"x", reserved=4), FrameCode.RESERVED_BIT, 1002),
        (frame(TEXT, b"x", reserved=2), FrameCode.RESERVED_BIT, 1002),
        (frame(TEXT, b"x", reserved=1), FrameCode.RESERVED_BIT, 1002),
        (frame(3, b"x"), FrameCode.RESERVED_OPCODE, 1002),
        (frame(11, b"x"), FrameCode.RESERVED_OPCODE, 1002),
        (frame(TEXT, b"x", key=b"abcd"), FrameCode.MASKED, 1002),
        (frame(PING, b"x", fin=False), FrameCode.CONTROL_FRAGMENTED, 1002),
        (frame(PING, pattern(126)), FrameCode.CONTROL_TOO_LONG, 1002),
        (frame(TEXT, pattern(125), form=2), FrameCode.LENGTH_NOT_MINIMAL, 1002),
        (frame(TEXT, pattern(65535), form=8), FrameCode.LENGTH_NOT_MINIMAL, 1002),
        (b"\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff", FrameCode.LENGTH_NEGATIVE, 1002),
        (frame(0, b"x"), FrameCode.UNEXPECTED_CONTINUATION, 1002),
        (frame(TEXT, b"x", fin=False) + frame(TEXT, b"y"), FrameCode.UNFINISHED_MESSAGE, 1002),
        (frame(CLOSE, b"x"), FrameCode.BAD_CLOSE, 1002),
        (close_frame(999), FrameCode.BAD_CLOSE, 1002),
        (close_frame(1005), FrameCode.BAD_CLOSE, 1002),
        (close_frame(2999), FrameCode.BAD_CLOSE, 1002),
        (frame(TEXT, pattern(4097)), FrameCode.TOO_BIG, 1009),
        (b"\x81\x7f\x00\x00\x00\x01\x00\x00\x00\x00", FrameCode.TOO_BIG, 1009),
        (frame(TEXT, pattern(4000), fin=False) + frame(0, pattern(97)), FrameCode.TOO_BIG, 1009),
    ],
    ids=lambda value: value.name if isinstance(value, FrameCode) else "",
)
def test_a_peer_that_breaks_the_protocol_is_told_and_left(make: Any, bad: bytes, code: FrameCode, told: int) -> None:
    pair = make(message_bytes_max=4096)
    pair.peer.send(frame(TEXT, b"good") + bad + frame(TEXT, b"never seen"))
    pair.until(lambda: LinkEvent.ENDED in pair.driver.events)
    assert pair.word(ERROR) == code or (pair.driver.transport == "picows" and pair.word(ERROR) == WireError.REFUSED_BY_PARSER)
    assert payloads(pair.driver.messages) == [b"good"]
    pair.driver.link.close(time.monotonic_ns())
    assert [(f.opcode, f.payload[:2]) for f in pair.peer.frames] == [(CLOSE, told.to_bytes(2, "big"))]


def test_orders_not_yet_sent_when_the_peer_breaks_the_protocol_are_dropped(pair: Pair) -> None:
    def both(message: Any) -> None:
        pair.driver.queue(ORDERS, b"order")
        pair.driver.queue(CANCELS, b"cancel")

    pair.driver.on_message = both
    pair.peer.send(frame(TEXT, b"go") + frame(3, b"x"))
    pair.until(lambda: LinkEvent.ENDED in pair.driver.events)
    for lane in (ORDERS, CANCELS):
        outcome = pair.count(lane, SENT), pair.count(lane, NOT_SENT), pair.count(lane, UNKNOWN)
        assert pair.count(lane, QUEUED) in (0, 1) and sum(outcome) == pair.count(lane, QUEUED) and pair.count(lane, UNKNOWN) == 0
    assert all(f.opcode == CLOSE for f in pair.peer.frames)


# Lost connections


@pytest.mark.parametrize("how", ["hang_up", "reset"])
@pytest.mark.parametrize("partial", [b"", b"\x81", frame(TEXT, pattern(300))[:200], frame(TEXT, b"abc", fin=False)])
def test_a_connection_that_breaks_is_lost_and_opened_again(pair: Pair, how: str, partial: bytes) -> None:
    pair.peer.send(frame(TEXT, b"whole") + partial)
    pair.until_messages(1)
    getattr(pair.peer, how)()
    pair.until(lambda: LinkEvent.ENDED in pair.driver.events)
    assert pair.word(ERROR) == WireError.LOST or pair.word(STATE) != WireState.CLOSED
    assert "LOST" in str(pair.driver.link.error)
    assert payloads(pair.driver.messages) == [b"whole"]
    pair.until(lambda: pair.driver.events.count(LinkEvent.OPENED) == 2)
    pair.peer.send(frame(TEXT, b"fresh"))
    pair.until_messages(2)
    assert payloads(pair.driver.messages) == [b"whole", b"fresh"]


def test_nothing_is_taken_to_send_on_a_lost_connection(pair: Pair) -> None:
    pair.peer.reset()
    pair.until(lambda: pair.word(STATE) == WireState.CLOSED)
    refused = pair.word(REFUSED)
    assert pair.driver.queue(ORDERS, b"order") == 0
    assert pair.word(REFUSED) == refused + 1


# Outbound


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536])
def test_texts_leave_whole_masked_and_with_the_shortest_length(make: Any, size: int) -> None:
    pair = make(out_bytes=1 << 18)
    body = pattern(size)
    assert pair.driver.queue(ORDERS, body) == 1
    pair.until(lambda: bool(pair.peer.frames))
    sent = pair.peer.frames[0]
    assert (sent.fin, sent.opcode, sent.payload) == (True, TEXT, body)
    assert sent.key is not None
    assert (pair.count(ORDERS, QUEUED), pair.count(ORDERS, SENT)) == (1, 1)


def test_masks_differ_from_frame_to_frame_and_connection_to_connection(pair: Pair) -> None:
    keys = set()
    for connection in (1, 2):
        for _ in range(50):
            assert pair.driver.queue(ORDERS, b"x") == 1
        pair.until(lambda: len(pair.peer.frames) == 50)
        keys |= {f.key for f in pair.peer.frames}
        pair.peer.hang_up()
        pair.until(lambda connection=connection: pair.driver.events.count(LinkEvent.OPENED) == connection + 1)
    assert len(keys) >= 99


def test_cancels_leave_before_orders_and_orders_before_pongs(pair: Pair) -> None:
    def reply(message: Any) -> None:
        for lane, body in ((ORDERS, b"order 1"), (ORDERS, b"order 2"), (CANCELS, b"cancel 1"), (CANCELS, b"cancel 2")):
            assert pair.driver.queue(lane, body) == 1

    pair.driver.on_message = reply
    pair.peer.send(frame(PING, b"p") + frame(TEXT, b"go"))
    pair.until(lambda: len(pair.peer.frames) == 5)
    bodies = [f.payload for f in pair.peer.frames if f.opcode == TEXT]
    assert bodies == [b"cancel 1", b"cancel 2", b"order 1", b"order 2"]
    assert pair.peer.frames[-1].opcode == PONG or pair.driver.transport == "picows"


def test_a_peer_that_stops_reading_fills_the_lanes_and_nothing_is_lost_when_it_reads_again(
    make: Any, make_peer: Callable[..., Peer]
) -> None:
    pair = make(make_peer(receive_buffer_bytes=4096), out_bytes=1 << 16)
    pair.peer.reading = False
    sent: list[bytes] = []
    while True:
        body = b"%06d" % len(sent) + pattern(997)
        if not pair.driver.queue(ORDERS, body):
            before = pair.count(ORDERS, SENT)
            pair.settle(50)
            if pair.count(ORDERS, SENT) == before:
                break
            continue
        sent.append(body)
        pair.driver.step()
    assert pair.driver.queue(ORDERS, body) == 0 and pair.word(STATE) == WireState.OPEN
    assert pair.driver.queue(CANCELS, b"cancel") == 1, "the order lane is full, the cancel lane is not"
    pair.peer.reading = True
    pair.until(lambda: len(pair.peer.frames) == len(sent) + 1)
    bodies = [f.payload for f in pair.peer.frames]
    assert [body for body in bodies if body != b"cancel"] == sent
    assert bodies.index(b"cancel") < len(sent), "the cancel overtook the orders that waited"
    assert pair.count(ORDERS, SENT) == len(sent) and pair.count(ORDERS, QUEUED) == len(sent)


def stuff(pair: Pair) -> None:
    """Queue orders until the socket takes no more and at least two whole ones wait."""
    while pair.count(ORDERS, QUEUED) - pair.count(ORDERS, SENT) < 3:
        assert pair.driver.queue(ORDERS, pattern(20_000)) == 1
        pair.settle(3)


@pytest.mark.parametrize("word", [1, 2], ids=["firm", "venue"])
def test_a_kill_drops_whole_orders_and_lets_cancels_pass(pair: Pair, word: int) -> None:
    pair.driver.kill_words[word] = 1
    for _ in range(3):
        assert pair.driver.queue(ORDERS, b"order") == 1
    assert pair.driver.queue(CANCELS, b"cancel") == 1
    pair.until(lambda: bool(pair.peer.frames))
    pair.settle()
    assert [f.payload for f in pair.peer.frames] == [b"cancel"]
    assert (pair.count(ORDERS, NOT_SENT), pair.count(ORDERS, SENT), pair.word(STATE)) == (3, 0, WireState.OPEN)
    pair.driver.kill_words[word] = 0
    assert pair.driver.queue(ORDERS, b"armed again") == 1
    pair.until(lambda: len(pair.peer.frames) == 2)
    assert pair.peer.frames[1].payload == b"armed again"


@pytest.mark.parametrize("word", [0, 3])
def test_another_kill_word_stops_nothing(pair: Pair, word: int) -> None:
    pair.driver.kill_words[word] = 1
    assert pair.driver.queue(ORDERS, b"order") == 1
    pair.until(lambda: bool(pair.peer.frames))


def test_a_kill_with_an_order_half_sent_ends_the_connection(make: Any, make_peer: Callable[..., Peer]) -> None:
    pair = make(make_peer(receive_buffer_bytes=4096), out_bytes=1 << 17)
    pair.peer.reading = False
    stuff(pair)
    sent = pair.count(ORDERS, SENT)
    queued = pair.count(ORDERS, QUEUED)
    pair.driver.kill_words[1] = 1
    pair.until(lambda: LinkEvent.ENDED in pair.driver.events)
    assert "KILLED_HALF_SENT" in str(pair.driver.link.error)
    assert (pair.count(ORDERS, SENT), pair.count(ORDERS, UNKNOWN)) == (sent, 1)
    assert pair.count(ORDERS, NOT_SENT) == queued - sent - 1
    pair.driver.link.close(time.monotonic_ns())
    pair.peer.reading = True
    deadline = time.monotonic() + 20
    while not pair.peer.client_gone and time.monotonic() < deadline:
        pair.peer.pump()
    assert len(pair.peer.frames) <= sent, "the peer never sees the rest of the half-sent order"


def test_every_frame_ever_queued_is_accounted_for_when_the_connection_breaks(make: Any, make_peer: Callable[..., Peer]) -> None:
    pair = make(make_peer(receive_buffer_bytes=4096), out_bytes=1 << 17)
    pair.peer.reading = False
    stuff(pair)
    assert pair.driver.queue(CANCELS, b"cancel") == 1
    pair.peer.reset()
    pair.until(lambda: LinkEvent.ENDED in pair.driver.events)
    for lane in (ORDERS, CANCELS, CONTROL):
        assert pair.count(lane, QUEUED) == sum(pair.count(lane, counter) for counter in (SENT, NOT_SENT, UNKNOWN))
    assert pair.count(ORDERS, UNKNOWN) == 1 and pair.count(CANCELS, NOT_SENT) == 1
    assert np.all(pair.driver.wire.words[16:24] >= 0)
