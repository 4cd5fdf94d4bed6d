"""The direct transport's flush against a socket that takes exactly what a test says."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator

import numpy as np
import pytest

from processes.transport import direct
from processes.transport.wire import (
    ACK_DUE,
    CANCELS,
    ERROR,
    NOT_SENT,
    ORDERS,
    SENT,
    STATE,
    UNKNOWN,
    Wire,
    WireError,
    WireState,
    lane_count,
    make_wire,
    note_sent,
    open_wire,
    queue_text,
)


@pytest.fixture
def takes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Bytes that each write takes, in turn; after the last one, everything. What was written is in `written`."""
    amounts: list[int] = []

    def write_lane(wire: Wire, lane: int, length: int) -> int:
        count = min(amounts.pop(0), length) if amounts else length
        written.append((int(lane), int(count)))
        note_sent(wire, lane, count)
        return count

    written.clear()
    monkeypatch.setattr(direct, "_write_lane", write_lane)
    return amounts


written: list[tuple[int, int]] = []


def flush(wire: Wire, killed: bool = False) -> int:
    body = getattr(direct.direct_flush, "py_func", direct.direct_flush)
    return int(body(wire, np.array([0, int(killed)], np.int64), 0, 1))


def wire_with(*lanes: int) -> Wire:
    wire = make_wire()
    open_wire(wire, -1, 99)
    for lane in lanes:
        assert queue_text(wire, lane, np.zeros(10, np.uint8), 0, 10) == 1
    return wire


def test_a_frame_partly_sent_is_finished_before_any_other_lane_is_touched(takes: list[int]) -> None:
    wire = wire_with(ORDERS, ORDERS)
    takes += [5]
    assert flush(wire) == 5
    assert queue_text(wire, CANCELS, np.zeros(10, np.uint8), 0, 10) == 1
    takes += [4]
    assert flush(wire) == 4
    assert flush(wire) == 7 + 16 + 16
    assert written == [(ORDERS, 5), (ORDERS, 4), (ORDERS, 7), (CANCELS, 16), (ORDERS, 16)]


def test_a_lane_that_the_socket_does_not_take_whole_stops_the_flush(takes: list[int]) -> None:
    wire = wire_with(CANCELS, ORDERS)
    takes += [16 - 1]
    assert flush(wire) == 15
    assert written == [(CANCELS, 15)]


def test_a_kill_between_two_flushes_keeps_the_sent_and_drops_the_rest(takes: list[int]) -> None:
    wire = wire_with(ORDERS, ORDERS, ORDERS)
    takes += [16]
    assert flush(wire) == 16
    assert flush(wire, killed=True) == 0
    assert [lane_count(wire, ORDERS, counter) for counter in (SENT, NOT_SENT, UNKNOWN)] == [1, 2, 0]
    assert wire.words[STATE] == WireState.OPEN


def test_a_kill_with_one_byte_out_ends_the_connection_and_writes_nothing_more(takes: list[int]) -> None:
    wire = wire_with(ORDERS, ORDERS, CANCELS)
    takes += [16, 1]
    assert flush(wire) == 17
    assert flush(wire, killed=True) == -WireError.KILLED_HALF_SENT
    assert written == [(CANCELS, 16), (ORDERS, 1)]
    assert [lane_count(wire, ORDERS, counter) for counter in (SENT, NOT_SENT, UNKNOWN)] == [0, 1, 1]
    assert (wire.words[STATE], wire.words[ERROR]) == (WireState.CLOSED, WireError.KILLED_HALF_SENT)
    assert flush(wire) == 0


def test_a_kill_with_a_cancel_half_out_finishes_the_cancel(takes: list[int]) -> None:
    wire = wire_with(CANCELS, ORDERS)
    takes += [7]
    flush(wire)
    assert flush(wire, killed=True) == 9
    assert (lane_count(wire, CANCELS, SENT), lane_count(wire, ORDERS, NOT_SENT), wire.words[STATE]) == (1, 1, WireState.OPEN)


#: The kernel acknowledges after 40 ms at the latest; an attempt that took longer says nothing.
ATTEMPT_NS = 20_000_000
ATTEMPTS = 50


@pytest.fixture
def tcp() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Sender and receiver of a TCP connection over loopback."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as sender:
        receiver = listener.accept()[0]
        with receiver:
            yield sender, receiver


def unacknowledged(sender: socket.socket) -> int:
    """tcpi_unacked of linux/tcp.h: segments that the sender has no acknowledgement of."""
    return int(struct.unpack_from("<I", sender.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104), 24)[0])


def test_what_is_read_is_acknowledged_when_asked_for_and_not_before(tcp: tuple[socket.socket, socket.socket]) -> None:
    sender, receiver = tcp
    wire = make_wire()
    open_wire(wire, receiver.fileno(), 99)
    direct.acknowledge(wire)
    for _ in range(ATTEMPTS):
        began_ns = time.monotonic_ns()
        sender.sendall(bytes((0x81, 1, 65)))
        while direct.direct_poll(wire, 0) == 0:
            pass
        before = unacknowledged(sender), int(wire.words[ACK_DUE])
        direct.acknowledge(wire)
        if time.monotonic_ns() - began_ns < ATTEMPT_NS:
            break
    else:
        pytest.fail(f"no attempt of {ATTEMPTS} was quick enough")
    assert before == (1, 1)
    assert (unacknowledged(sender), int(wire.words[ACK_DUE])) == (0, 0)


def test_nothing_is_asked_of_a_connection_that_ended() -> None:
    wire = make_wire()
    open_wire(wire, -1, 99)
    wire.words[STATE] = WireState.CLOSED
    direct.acknowledge(wire)
    assert wire.words[ACK_DUE] == 1
