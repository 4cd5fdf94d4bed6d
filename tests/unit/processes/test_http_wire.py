"""The HTTP pool against a scripted server, over plain TCP and TLS: every request ends once, and is never sent twice."""

from __future__ import annotations

import random
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest

from hft.http_bytes import HttpCode
from hft.reconnect import AttemptWindow, Backoff, Reconnect
from processes.transport.connect import Settings
from processes.transport.http_pool import HttpConnections, warm
from processes.transport.http_wire import (
    BEGUN,
    BODY_END,
    BODY_START,
    BYTES_IN,
    BYTES_OUT,
    DEADLINE_NS,
    ENDED,
    ERROR,
    OPEN,
    OPENED,
    OUTCOME,
    OUTCOMES,
    PHASE,
    RECEIVED_NS,
    REQUESTS,
    RETRY_AFTER_S,
    SENT_NS,
    STATUS,
    TAG,
    UNSENT,
    WAITING,
    HttpEnd,
    HttpPhase,
    Outcome,
    claim_connection,
    http_flush,
    http_poll,
    make_pool,
    next_response,
    out_start,
    queue_request,
    release_response,
)
from processes.transport.stream import tls_context
from processes.transport.wire import CANCELS, ORDERS
from support.http_peer import Asked, HttpPeer, answer_ok
from support.tls_files import TlsFiles, make_tls_files

SECOND = 1_000_000_000
#: A watchdog, not an expectation.
DEADLINE_S = 30.0


class Result(NamedTuple):
    """What came of a request."""

    tag: int
    outcome: Outcome
    status: int
    body: bytes
    error: int


def request(body: bytes = b"", target: bytes = b"/orders") -> bytes:
    return b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (target, len(body), body)


class Desk:
    """A pool, its connections, a server, and what came out."""

    def __init__(self, peer: HttpPeer, trust: ssl.SSLContext | None, connections: int = 3, reserved: int = 1, **buffers: int) -> None:
        warm()
        self.peer = peer
        self.pool = make_pool(connections, reserved, **buffers)
        window = AttemptWindow(1000)
        self.links = HttpConnections(
            Settings(peer.url, tls=trust),
            self.pool,
            lambda: Reconnect(random.Random(1), Backoff(first_ns=1_000_000, max_ns=2_000_000), window),
        )
        self.kills = np.zeros(4, np.int64)
        self.results: list[Result] = []
        self.taking = True

    def step(self) -> None:
        self.links.tick(time.monotonic_ns())
        self.peer.pump()
        http_flush(self.pool, self.kills, 1, 2)
        self.peer.pump()
        http_poll(self.pool, time.monotonic_ns())
        while self.taking and (k := next_response(self.pool)) >= 0:
            self.results.append(self.result(int(k)))
            release_response(self.pool, k)

    def result(self, k: int) -> Result:
        row = self.pool.connections[k]
        body = self.pool.data[row[BODY_START] : row[BODY_END]].tobytes()
        return Result(int(row[TAG]), Outcome(int(row[OUTCOME])), int(row[STATUS]), body, int(row[ERROR]))

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < deadline, f"gave up waiting: {self.results}, {self.pool.connections}, {self.links.error!r}"
            self.step()

    def until_results(self, count: int) -> list[Result]:
        self.until(lambda: len(self.results) >= count)
        return self.results

    def until_open(self, count: int | None = None) -> None:
        wanted = self.pool.connections.shape[0] if count is None else count
        self.until(lambda: self.links.open_count == wanted == len(self.peer.connections))

    def ask(self, tag: int, data: bytes | None = None, lane: int = ORDERS, deadline_ns: int | None = None) -> int:
        """Queue a request; the connection it is on, or -1."""
        data = request(b"%d" % tag) if data is None else data
        k = int(claim_connection(self.pool, lane))
        if k < 0:
            return -1
        source = np.frombuffer(b"--" + data, np.uint8)
        until_ns = time.monotonic_ns() + 60 * SECOND if deadline_ns is None else deadline_ns
        return k if queue_request(self.pool, k, lane, tag, until_ns, source, 2, len(data)) else -1

    def word(self, k: int, column: int) -> int:
        return int(self.pool.connections[k, column])

    def balanced(self) -> bool:
        """Whether all that was ever queued has ended or is outstanding."""
        words = self.pool.words
        ended = sum(int(words[ENDED + outcome]) for outcome in Outcome)
        return bool(words[REQUESTS] == ended + words[WAITING] and words[UNSENT] >= 0 and words[OUTCOMES] >= 0)

    def close(self) -> None:
        self.links.close()
        self.links.drop()
        self.until(lambda: self.links.closed)
        assert self.balanced() and self.pool.words[WAITING] == self.pool.words[UNSENT] == 0
        self.peer.close()


@pytest.fixture(scope="module")
def tls_files(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    return make_tls_files(tmp_path_factory.mktemp("tls"))


@pytest.fixture(params=["plain", "tls"])
def make(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Makes a desk with all its connections open."""
    desks: list[Desk] = []
    files = request.getfixturevalue("tls_files") if request.param == "tls" else None

    def build(answer: Callable[[Asked], bytes] = answer_ok, receive_buffer_bytes: int | None = None, **settings: int) -> Desk:
        peer = HttpPeer(answer, files.server_context() if files else None, receive_buffer_bytes)
        desk = Desk(peer, tls_context(files.authority) if files else None, **settings)
        desks.append(desk)
        desk.until_open()
        for connected in desk.links._sockets:
            assert connected is not None
            # So that a large request is taken in parts, not into the system's large buffers.
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        return desk

    yield build
    for desk in desks:
        desk.close()


@pytest.fixture
def desk(make: Any) -> Desk:
    made: Desk = make()
    return made


def silent(asked: Asked) -> bytes:
    return b""


def test_a_request_arrives_whole_and_its_answer_comes_back_with_the_tag(desk: Desk) -> None:
    before = time.monotonic_ns()
    desk.taking = False
    k = desk.ask(77, request(b'{"side":"buy"}'))
    desk.until(lambda: next_response(desk.pool) == k)
    assert desk.result(k) == Result(77, Outcome.RESPONSE, 200, b'{"side":"buy"}', HttpEnd.NONE)
    assert before <= desk.word(k, SENT_NS) <= desk.word(k, RECEIVED_NS) <= time.monotonic_ns()
    asked = desk.peer.asked[0]
    assert (asked.method, asked.target, asked.body) == ("POST", "/orders", b'{"side":"buy"}')
    assert claim_connection(desk.pool, ORDERS) != k, "until the answer is released"
    release_response(desk.pool, k)
    assert claim_connection(desk.pool, ORDERS) == k and next_response(desk.pool) == -1


def test_a_connection_is_used_again_and_again(desk: Desk) -> None:
    for tag in range(200):
        assert desk.ask(tag) == 1
        desk.until_results(tag + 1)
    assert [(r.tag, r.body) for r in desk.results] == [(tag, b"%d" % tag) for tag in range(200)]
    assert desk.peer.accepted == 3 and desk.pool.words[OPENED] == 3
    assert desk.pool.words[BYTES_OUT] == sum(len(request(b"%d" % tag)) for tag in range(200))
    assert desk.pool.words[BYTES_IN] > 0


def test_requests_on_several_connections_are_answered_in_any_order(make: Any) -> None:
    desk = make(silent, connections=4, reserved=0)
    for tag in range(4):
        assert desk.ask(tag) == tag
    assert desk.ask(9) == -1, "one request at a time on a connection"
    desk.until(lambda: len(desk.peer.asked) == 4)
    for asked in reversed(desk.peer.asked):
        asked.connection.send(answer_ok(asked))
        desk.until_results(4 - int(asked.body))
    assert [(r.tag, r.body) for r in desk.results] == [(tag, b"%d" % tag) for tag in (3, 2, 1, 0)]


def test_a_request_built_in_place_is_sent_as_it_is(desk: Desk) -> None:
    k = claim_connection(desk.pool, ORDERS)
    data, start = request(b"in place"), out_start(desk.pool, k)
    desk.pool.out[start : start + len(data)] = np.frombuffer(data, np.uint8)
    assert queue_request(desk.pool, k, ORDERS, 5, time.monotonic_ns() + SECOND * 60, desk.pool.out, start, len(data)) == 1
    assert desk.until_results(1)[0].body == b"in place"


@pytest.mark.parametrize("length", [0, -1, 4097])
def test_a_request_that_does_not_fit_is_not_queued(desk: Desk, length: int) -> None:
    assert queue_request(desk.pool, 1, ORDERS, 1, 1 << 62, np.zeros(8192, np.uint8), 0, length) == 0
    assert (desk.pool.words[REQUESTS], desk.word(1, PHASE)) == (0, HttpPhase.FREE)


def test_a_second_request_on_a_connection_is_not_queued(make: Any) -> None:
    desk = make(silent)
    k = desk.ask(1)
    other = np.frombuffer(request(b"other"), np.uint8)
    assert queue_request(desk.pool, k, ORDERS, 2, 1 << 62, other, 0, other.size) == 0
    desk.until(lambda: len(desk.peer.asked) == 1)
    assert queue_request(desk.pool, k, ORDERS, 2, 1 << 62, other, 0, other.size) == 0
    assert (desk.word(k, TAG), desk.pool.words[REQUESTS], desk.peer.asked[0].body) == (1, 1, b"1")


def test_connections_kept_for_cancels_are_not_given_to_orders(make: Any) -> None:
    desk = make(silent, connections=4, reserved=2)
    assert [desk.ask(tag) for tag in (1, 2, 3)] == [2, 3, -1]
    assert [desk.ask(tag, lane=CANCELS) for tag in (4, 5, 6)] == [0, 1, -1]


def test_a_cancel_may_take_a_connection_of_orders(make: Any) -> None:
    desk = make(silent, connections=3, reserved=1)
    assert [desk.ask(tag, lane=CANCELS) for tag in (1, 2, 3)] == [0, 1, 2]


def test_cancels_are_written_before_orders(make: Any) -> None:
    desk = make(connections=3, reserved=0)
    assert desk.ask(1) == 0 and desk.ask(2, lane=CANCELS) == 1
    written: list[int] = []
    desk.peer.answer = lambda asked: written.append(int(asked.body)) or answer_ok(asked)  # type: ignore[func-returns-value]
    http_flush(desk.pool, desk.kills, 1, 2)
    assert desk.word(1, SENT_NS) < desk.word(0, SENT_NS)
    desk.until_results(2)


def test_chunks_are_joined_and_trickling_bytes_make_the_same_response(make: Any) -> None:
    desk = make(silent)
    desk.ask(3)
    desk.until(lambda: len(desk.peer.asked) == 1)
    for (
        byte
    ) in b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 400 Bad\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n":
        assert desk.results == []
        desk.peer.asked[0].connection.send(bytes([byte]))
        desk.step()
    assert desk.until_results(1) == [Result(3, Outcome.RESPONSE, 400, b"hello world", 0)]
    assert desk.links.open_count == 3


def test_a_status_of_any_kind_is_a_response_with_its_retry_after(make: Any) -> None:
    desk = make(lambda asked: b"HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nContent-Length: 2\r\n\r\n{}")
    desk.taking = False
    k = desk.ask(1)
    desk.until(lambda: desk.pool.words[OUTCOMES] == 1)
    assert desk.result(k) == Result(1, Outcome.RESPONSE, 429, b"{}", 0) and desk.word(k, RETRY_AFTER_S) == 7
    desk.taking = True


@pytest.mark.parametrize("how", ["says", "does"])
def test_a_connection_that_ends_after_its_answer_is_opened_again(make: Any, how: str) -> None:
    desk = make(lambda asked: b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n" if how == "says" else answer_ok(asked))
    k = desk.ask(1)
    assert desk.until_results(1)[0].outcome == Outcome.RESPONSE
    if how == "does":
        desk.peer.asked[0].connection.hang_up()
    desk.until(lambda: desk.peer.accepted == 4)
    desk.until_open()
    assert desk.word(k, PHASE) == HttpPhase.FREE


def test_a_response_that_waits_keeps_its_bytes_while_its_connection_is_gone(make: Any) -> None:
    desk = make(lambda asked: b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\nkeep")
    desk.taking = False
    k = desk.ask(1)
    desk.until(lambda: desk.pool.words[OUTCOMES] == 1)
    for _ in range(50):
        desk.step()
    assert desk.result(k).body == b"keep" and desk.links.open_count == 2
    desk.taking = True
    desk.until_open()


@pytest.mark.parametrize("how", ["hang_up", "reset"])
@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhal"], ids=["nothing", "half"])
def test_a_request_whose_connection_ends_before_the_answer_is_lost_and_not_sent_again(make: Any, how: str, said: bytes) -> None:
    desk = make(lambda asked: said)
    k = desk.ask(6)
    desk.until(lambda: len(desk.peer.asked) == 1)
    desk.step()
    getattr(desk.peer.asked[0].connection, how)()
    result = desk.until_results(1)[0]
    assert (result.tag, result.outcome, result.error, result.body) == (6, Outcome.LOST, HttpEnd.LOST, b"")
    desk.until_open()
    for _ in range(50):
        desk.step()
    assert len(desk.peer.asked) == 1 and desk.word(k, PHASE) == HttpPhase.FREE


@pytest.mark.parametrize("how", ["hang_up", "reset"])
def test_a_request_on_a_connection_that_ended_meanwhile_is_known_not_to_be_sent(desk: Desk, how: str) -> None:
    k = desk.ask(8)
    getattr(desk.peer.connections[k], how)()
    assert desk.word(k, OPEN) == 1, "nobody has noticed yet"
    desk.taking = False
    assert http_flush(desk.pool, desk.kills, 1, 2) == 0
    assert desk.result(k) == Result(8, Outcome.NOT_SENT, 0, b"", HttpEnd.LOST)
    desk.taking = True


def test_bytes_nobody_asked_for_are_not_the_next_requests_answer(desk: Desk) -> None:
    k = desk.ask(8)
    desk.peer.connections[k].send(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
    desk.until_results(1)
    assert desk.results == [Result(8, Outcome.NOT_SENT, 0, b"", HttpEnd.UNASKED)]
    assert desk.peer.asked == []


def test_a_connection_that_says_something_while_it_is_free_is_replaced(desk: Desk) -> None:
    desk.peer.connections[2].send(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
    desk.until(lambda: desk.peer.accepted == 4)
    desk.until_open()


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (b"<html>Bad Gateway</html>", HttpCode.NOT_HTTP),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", HttpCode.NO_LENGTH),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 70000\r\n\r\n", HttpCode.TOO_BIG),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx", HttpCode.ENCODED),
    ],
)
def test_what_is_no_response_is_malformed_and_ends_the_connection(make: Any, said: bytes, code: HttpCode) -> None:
    desk = make(lambda asked: said)
    desk.ask(4)
    result = desk.until_results(1)[0]
    assert (result.tag, result.outcome, result.error) == (4, Outcome.MALFORMED, code)
    desk.until(lambda: desk.peer.accepted == 4)


def test_a_response_that_never_ends_is_too_big_and_touches_no_neighbour(make: Any) -> None:
    desk = make(silent, in_bytes=512, connections=3, reserved=0)
    desk.pool.data[1024:] = 7
    k = desk.ask(1, lane=CANCELS)
    desk.ask(2)
    desk.until(lambda: len(desk.peer.asked) == 2)
    desk.peer.connections[1].send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"10\r\n0123456789abcdef\r\n" * 50)
    result = desk.until_results(1)[0]
    assert (k, result.tag, result.outcome, result.error) == (0, 2, Outcome.MALFORMED, HttpCode.TOO_BIG)
    assert (desk.pool.data[1024:] == 7).all()


def test_an_answer_before_the_request_was_whole_is_given_and_the_connection_ended(make: Any) -> None:
    desk = make(silent, receive_buffer_bytes=4096, out_bytes=1 << 19)
    desk.peer.reading = False
    k = desk.ask(1, request(b"x" * 400_000))
    desk.until(lambda: desk.word(k, BEGUN) == 1)
    desk.peer.connections[k].send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
    assert desk.until_results(1) == [Result(1, Outcome.RESPONSE, 413, b"", 0)]
    desk.peer.reading = True
    desk.until(lambda: desk.peer.accepted == 4)
    assert desk.pool.words[UNSENT] == 0


# Deadlines


def test_a_request_nobody_answers_times_out_and_its_connection_is_replaced(make: Any) -> None:
    desk = make(silent)
    k = desk.ask(5)
    desk.until(lambda: len(desk.peer.asked) == 1)
    http_poll(desk.pool, desk.word(k, DEADLINE_NS) - 1)
    assert desk.word(k, PHASE) == HttpPhase.ASKED
    desk.taking = False
    assert http_poll(desk.pool, desk.word(k, DEADLINE_NS)) == 1
    assert desk.result(k) == Result(5, Outcome.TIMED_OUT, 0, b"", HttpEnd.TIMED_OUT) and desk.word(k, OPEN) == 0
    desk.taking = True
    desk.until_open()


def test_an_answer_that_is_there_at_the_deadline_counts(make: Any) -> None:
    desk = make()
    k = desk.ask(5)
    http_flush(desk.pool, desk.kills, 1, 2)
    while not desk.peer.asked:
        desk.peer.pump()
    # Loopback hands over at once what was sent.
    assert http_poll(desk.pool, desk.word(k, DEADLINE_NS)) == 1
    assert desk.result(k).outcome == Outcome.RESPONSE


def test_a_request_that_was_never_begun_by_its_deadline_is_not_sent(desk: Desk) -> None:
    k = desk.ask(5, deadline_ns=1)
    assert http_poll(desk.pool, 1) == 1
    assert desk.result(k) == Result(5, Outcome.NOT_SENT, 0, b"", HttpEnd.TIMED_OUT)
    assert desk.pool.words[UNSENT] == 0


# Kill


@pytest.mark.parametrize("word", [1, 2], ids=["firm", "venue"])
def test_a_kill_stops_orders_and_lets_cancels_pass(make: Any, word: int) -> None:
    desk = make(connections=4, reserved=1)
    desk.kills[word] = 1
    assert [desk.ask(1), desk.ask(2), desk.ask(3, lane=CANCELS)] == [1, 2, 0]
    desk.until_results(3)
    assert sorted(desk.results) == [
        Result(1, Outcome.NOT_SENT, 0, b"", HttpEnd.KILLED),
        Result(2, Outcome.NOT_SENT, 0, b"", HttpEnd.KILLED),
        Result(3, Outcome.RESPONSE, 200, b"3", HttpEnd.NONE),
    ]
    assert [asked.body for asked in desk.peer.asked] == [b"3"] and desk.links.open_count == 4
    desk.kills[word] = 0
    assert desk.ask(4) == 1
    assert desk.until_results(4)[3].outcome == Outcome.RESPONSE, "armed again"


@pytest.mark.parametrize("word", [0, 3])
def test_another_kill_word_stops_nothing(desk: Desk, word: int) -> None:
    desk.kills[word] = 1
    desk.ask(1)
    assert desk.until_results(1)[0].outcome == Outcome.RESPONSE


def test_a_kill_with_an_order_half_sent_ends_its_connection(make: Any) -> None:
    desk = make(silent, receive_buffer_bytes=4096, out_bytes=1 << 19)
    desk.peer.reading = False
    k = desk.ask(1, request(b"x" * 400_000))
    desk.until(lambda: desk.word(k, BEGUN) == 1)
    desk.kills[1] = 1
    assert desk.until_results(1) == [Result(1, Outcome.LOST, 0, b"", HttpEnd.KILLED)]
    desk.peer.reading = True
    desk.until(lambda: desk.peer.accepted == 4)
    assert desk.peer.asked == []


def test_a_kill_with_a_cancel_half_sent_finishes_the_cancel(make: Any) -> None:
    desk = make(receive_buffer_bytes=4096, out_bytes=1 << 19, in_bytes=1 << 19)
    desk.peer.reading = False
    k = desk.ask(1, request(b"x" * 400_000), lane=CANCELS)
    desk.until(lambda: desk.word(k, BEGUN) == 1)
    desk.kills[1] = 1
    desk.peer.reading = True
    assert desk.until_results(1)[0].outcome == Outcome.RESPONSE


# All together


def test_every_request_has_one_outcome_whatever_the_server_does(make: Any) -> None:
    seed = 11
    rng = random.Random(seed)

    def answer(asked: Asked) -> bytes:
        kind = rng.randrange(8)
        if kind == 0:
            asked.connection.reset()
            return b""
        if kind == 1:
            return b"nonsense\r\n"
        if kind == 2:
            return answer_ok(asked).replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1)
        if kind == 3:
            return answer_ok(asked) + b"x"
        return answer_ok(asked)

    desk = make(answer, connections=5, reserved=2)
    tags = 0
    for _ in range(600):
        lane = CANCELS if rng.random() < 0.3 else ORDERS
        tags += desk.ask(tags, lane=lane) >= 0
        desk.kills[2] = rng.random() < 0.1
        if rng.random() < 0.03 and desk.peer.connections:
            rng.choice(desk.peer.connections).hang_up()
        desk.step()
        assert desk.balanced(), f"seed {seed}"
    desk.until(lambda: desk.pool.words[WAITING] == desk.pool.words[OUTCOMES] == 0)
    assert sorted(result.tag for result in desk.results) == list(range(tags)), f"seed {seed}"
    seen = [int(asked.body) for asked in desk.peer.asked]
    assert len(seen) == len(set(seen)), f"seed {seed}: sent twice"
    sent = {result.tag for result in desk.results if result.outcome != Outcome.NOT_SENT}
    assert set(seen) <= sent, f"seed {seed}: said to be not sent, and seen"
    assert all(r.body == b"%d" % r.tag for r in desk.results if r.outcome == Outcome.RESPONSE), f"seed {seed}"
    assert len({result.outcome for result in desk.results}) >= 4, f"seed {seed}"


@pytest.mark.parametrize(("connections", "reserved"), [(0, 0), (2, 2), (2, -1)])
def test_a_pool_without_a_connection_for_orders_is_refused(connections: int, reserved: int) -> None:
    with pytest.raises(ValueError, match="reserved"):
        make_pool(connections, reserved)
