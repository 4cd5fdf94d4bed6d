"""WebSocket line: each order request is settled once, as what the wire counted of its frame."""

from __future__ import annotations

import numpy as np
import pytest

from processes import order_line
from processes.line_words import Settled
from processes.transport.wire import (
    CANCELS,
    ORDERS,
    Wire,
    WireError,
    drop_unsent,
    end,
    make_wire,
    note_sent,
    open_wire,
    start_close,
    unsent_bytes,
)
from processes.ws_line import WsLine, new_ws_line

TEXT = np.frombuffer(b'{"id":"1"}', np.uint8)


def opened() -> tuple[Wire, WsLine]:
    wire = make_wire(message_bytes_max=256, messages_max=4, out_bytes=1024, cancel_out_bytes=256)
    line = new_ws_line(wire, False, 4)
    open_wire(wire, -1, 1)
    return wire, line


def queue(line: WsLine, tag: int, lane: int = ORDERS) -> int:
    return int(order_line.queue(line, lane, tag, 1, 0, TEXT, 0, len(TEXT)))


def news(line: WsLine) -> list[tuple[Settled, int]]:
    found = []
    while True:
        what, tag = order_line.settled(line)
        if what == Settled.NOTHING:
            return found
        found.append((Settled(int(what)), int(tag)))


def frame_bytes(wire: Wire) -> int:
    return int(unsent_bytes(wire, ORDERS))


def test_requests_leave_in_the_order_of_their_frames() -> None:
    wire, line = opened()
    assert queue(line, 11) and queue(line, 12)
    assert news(line) == []
    note_sent(wire, ORDERS, frame_bytes(wire) // 2)
    assert news(line) == [(Settled.LEFT, 11)]
    note_sent(wire, ORDERS, frame_bytes(wire))
    assert news(line) == [(Settled.LEFT, 12)]


def test_a_connection_that_ends_leaves_one_unknown_and_the_rest_unsent() -> None:
    wire, line = opened()
    assert queue(line, 11)
    whole = frame_bytes(wire)
    assert queue(line, 12) and queue(line, 13)
    note_sent(wire, ORDERS, whole + 3)
    end(wire, int(WireError.LOST), 0)
    assert news(line) == [(Settled.LEFT, 11), (Settled.UNKNOWN, 12), (Settled.UNSENT, 13)]
    assert order_line.can_send(line) == 0 and queue(line, 14) == 0


def test_orders_that_a_kill_took_back_are_unsent() -> None:
    wire, line = opened()
    assert queue(line, 11) and queue(line, 12)
    drop_unsent(wire, ORDERS)
    assert news(line) == [(Settled.UNSENT, 11), (Settled.UNSENT, 12)]
    assert queue(line, 13) and news(line) == []


def test_cancels_are_not_settled() -> None:
    wire, line = opened()
    assert queue(line, 11, CANCELS)
    note_sent(wire, CANCELS, int(unsent_bytes(wire, CANCELS)))
    assert news(line) == []


def test_no_more_requests_wait_than_there_is_room_for() -> None:
    wire, line = opened()
    assert all(queue(line, tag) for tag in range(1, 5)) and queue(line, 5) == 0
    note_sent(wire, ORDERS, frame_bytes(wire))
    assert len(news(line)) == 4 and queue(line, 5)


@pytest.mark.parametrize("earlier", [0, 3])
def test_a_line_on_a_wire_with_a_past_counts_from_where_it_stands(earlier: int) -> None:
    wire, line = opened()
    for tag in range(earlier):
        queue(line, tag)
    note_sent(wire, ORDERS, frame_bytes(wire))
    later = new_ws_line(wire, False, 4)
    assert queue(later, 21) and news(later) == []
    start_close(wire, 1000, 0)
    note_sent(wire, ORDERS, frame_bytes(wire))
    assert news(later) == [(Settled.LEFT, 21)]
