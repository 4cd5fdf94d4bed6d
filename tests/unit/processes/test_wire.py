"""A wire's buffers without any socket: bytes put in and taken out by hand."""

from __future__ import annotations

import random

import numpy as np
import pytest

from hft.websocket import FrameCode
from processes.transport.inbound import parse, room_for_bytes
from processes.transport.wire import (
    CANCELS,
    CONTROL,
    DEAF,
    ERROR,
    FRAME_HEAD,
    FRAME_TAIL,
    LEFT,
    NOT_SENT,
    ORDERS,
    PINGS_IN,
    PONGS_DROPPED,
    QUEUED,
    RAW_TAIL,
    REFUSED,
    SENT,
    STATE,
    UNKNOWN,
    Wire,
    WireError,
    WireState,
    drop_unsent,
    end,
    error_name,
    lane_count,
    make_wire,
    next_message,
    note_sent,
    open_wire,
    queue_text,
    release_message,
    start_close,
    unsent_bytes,
    unsent_start,
)
from support.ws_peer import close_frame, frame, read_frame


def opened(**sizes: int) -> Wire:
    wire = make_wire(**sizes)
    open_wire(wire, -1, 12345)
    return wire


def queue(wire: Wire, lane: int, body: bytes) -> int:
    return int(queue_text(wire, lane, np.frombuffer(body, np.uint8), 0, len(body)))


def put(wire: Wire, data: bytes) -> int:
    """As much of `data` as there is room for; returns how much."""
    count = min(int(room_for_bytes(wire)), len(data))
    tail = int(wire.words[RAW_TAIL])
    wire.data[tail : tail + count] = np.frombuffer(data[:count], np.uint8)
    wire.words[RAW_TAIL] += count
    parse(wire, 0)
    return count


def take(wire: Wire) -> bytes | None:
    row = next_message(wire)
    if row < 0:
        return None
    offset, size = (int(value) for value in wire.frames[row, :2])
    body = wire.data[offset : offset + size].tobytes()
    release_message(wire)
    return body


def drain(wire: Wire, lane: int, count: int) -> bytes:
    """The next `count` bytes of a lane, as a socket would take them."""
    at = int(unsent_start(wire, lane))
    data = {ORDERS: wire.out, CANCELS: wire.cancel_out, CONTROL: wire.control_out}[lane][at : at + count].tobytes()
    note_sent(wire, lane, count)
    return data


def counts(wire: Wire, lane: int) -> tuple[int, ...]:
    return tuple(lane_count(wire, lane, counter) for counter in (QUEUED, SENT, NOT_SENT, UNKNOWN))


def test_a_wire_that_was_never_opened_takes_nothing() -> None:
    wire = make_wire()
    assert queue(wire, ORDERS, b"x") == 0 and wire.words[REFUSED] == 1
    assert next_message(wire) == -1


@pytest.mark.parametrize("sizes", [{"messages_max": 0}, {"messages_max": 3}, {"message_bytes_max": 1}, {"out_bytes": 1}])
def test_sizes_that_make_no_sense_are_refused(sizes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be"):
        make_wire(**sizes)


def test_a_leftover_longer_than_the_buffer_is_refused() -> None:
    wire = make_wire(message_bytes_max=128)
    with pytest.raises(ValueError, match="behind the upgrade"):
        open_wire(wire, -1, 1, bytes(wire.data.size + 1))


@pytest.mark.parametrize("seed", range(6))
def test_messages_are_the_same_however_slowly_they_are_taken(seed: int) -> None:
    rng = random.Random(seed)
    wire = opened(message_bytes_max=2000, messages_max=4)
    expected, stream, got = [], b"", []
    for _ in range(250):
        body = rng.randbytes(rng.choice((0, 1, 125, 126, 1999, 2000)))
        cut = rng.randrange(len(body) + 1)
        if rng.random() < 0.4:
            stream += frame(1, body[:cut], fin=False) + frame(9, b"p") + frame(0, body[cut:])
        else:
            stream += frame(1, body)
        expected.append(body)
    at, held = 0, 0
    while len(got) < len(expected):
        moved = put(wire, stream[at : at + rng.randrange(1, 5000)])
        at += moved
        held = 0 if moved else held + 1
        for _ in range(rng.randrange(3) if held < 3 else 5):
            body = take(wire)
            if body is not None:
                got.append(body)
    assert got == expected, f"seed {seed}"
    assert wire.words[STATE] == WireState.OPEN


def test_a_message_interrupted_by_many_pings_is_moved_down_and_stays_whole() -> None:
    wire = opened(message_bytes_max=128)
    ping = frame(9, bytes(125))
    stream = frame(1, b"ab", fin=False) + ping * 400 + frame(0, b"cd", fin=False) + ping * 400 + frame(0, b"ef") + frame(1, b"next")
    highest, at = 0, 0
    while at < len(stream):
        at += put(wire, stream[at : at + 999])
        highest = max(highest, int(wire.words[RAW_TAIL]))
    assert (take(wire), take(wire), take(wire)) == (b"abcdef", b"next", None)
    assert len(stream) > wire.data.size > highest


def test_nothing_is_read_over_messages_that_nobody_took() -> None:
    wire = opened(message_bytes_max=128, messages_max=2)
    stream = b"".join(frame(1, bytes([i]) * 128) for i in range(1, 200)) * 10
    at = 0
    while moved := put(wire, stream[at:]):
        at += moved
    assert room_for_bytes(wire) == 0 and wire.words[FRAME_TAIL] - wire.words[FRAME_HEAD] == 2
    assert take(wire) == b"\x01" * 128 and take(wire) == b"\x02" * 128
    parse(wire, 0)
    assert take(wire) == b"\x03" * 128


@pytest.mark.parametrize("seed", range(8))
def test_every_queued_frame_leaves_whole_or_is_accounted_for(seed: int) -> None:
    rng = random.Random(seed)
    wire = opened(out_bytes=1500, cancel_out_bytes=1500)
    model: dict[int, list[bytes]] = {ORDERS: [], CANCELS: []}  # lane -> bodies not yet wholly sent
    stream = {ORDERS: b"", CANCELS: b""}
    sent: dict[int, list[bytes]] = {ORDERS: [], CANCELS: []}
    dropped = {ORDERS: 0, CANCELS: 0}
    for _ in range(1500):
        lane = rng.choice((ORDERS, CANCELS))
        if rng.random() < 0.5:
            body = rng.randbytes(rng.choice((0, 3, 125, 126, 400)))
            if queue(wire, lane, body):
                model[lane].append(body)
        elif rng.random() < 0.05:
            half = int(wire.words[LEFT]) > 0 and wire.words[LEFT + 1] == lane
            assert drop_unsent(wire, lane) == len(model[lane]) - half, f"seed {seed}"
            dropped[lane] += len(model[lane]) - half
            del model[lane][1 if half else 0 :]
        else:
            lane = int(wire.words[LEFT + 1]) if wire.words[LEFT] else lane
            most = int(unsent_bytes(wire, lane))
            stream[lane] += drain(wire, lane, rng.randrange(most + 1))
            while found := read_frame(stream[lane]):
                assert found[0].payload == model[lane].pop(0) and found[0].key is not None, f"seed {seed}"
                sent[lane].append(found[0].payload)
                stream[lane] = stream[lane][found[1] :]
    end(wire, int(WireError.DROPPED), 0)
    for lane in (ORDERS, CANCELS):
        total, out, kept_back, unknown = counts(wire, lane)
        assert out == len(sent[lane]) and unknown == (1 if stream[lane] else 0), f"seed {seed}"
        assert kept_back == dropped[lane] + len(model[lane]) - unknown, f"seed {seed}"
        assert total == out + kept_back + unknown, f"seed {seed}"


def test_a_lane_takes_a_frame_that_just_fits_and_refuses_one_byte_more() -> None:
    assert queue(opened(out_bytes=128), ORDERS, bytes(122)) == 1
    assert queue(opened(out_bytes=128), ORDERS, bytes(123)) == 0


def test_pongs_never_take_the_room_of_the_close() -> None:
    wire = opened()
    put(wire, frame(9, bytes(125)) * 200)
    assert wire.words[PINGS_IN] == 200 and wire.words[PONGS_DROPPED] > 0
    before = int(unsent_bytes(wire, CONTROL))
    start_close(wire, 1000, 5)
    assert unsent_bytes(wire, CONTROL) == before + 8 and wire.words[STATE] == WireState.CLOSING
    data = drain(wire, CONTROL, before + 8)
    while found := read_frame(data):
        last, data = found[0], data[found[1] :]
    assert (last.opcode, last.payload) == (8, (1000).to_bytes(2, "big"))


def test_a_close_of_the_peer_drops_orders_and_cancels_that_wait() -> None:
    wire = opened()
    queue(wire, ORDERS, b"order")
    queue(wire, CANCELS, b"cancel")
    put(wire, close_frame(1001))
    assert (counts(wire, ORDERS), counts(wire, CANCELS)) == ((1, 0, 1, 0), (1, 0, 1, 0))
    assert queue(wire, ORDERS, b"more") == 0
    end(wire, int(WireError.LOST), 0)
    assert (wire.words[ERROR], wire.words[STATE]) == (WireError.NONE, WireState.CLOSED)


def test_after_an_error_nothing_more_is_heard_and_the_first_error_stays() -> None:
    wire = opened()
    put(wire, frame(3) + frame(1, b"x"))
    put(wire, frame(1, b"y"))
    end(wire, int(WireError.LOST), 104)
    assert next_message(wire) == -1 and wire.words[DEAF] == 1
    assert wire.words[ERROR] == FrameCode.RESERVED_OPCODE


def test_opening_again_forgets_the_old_connection_and_keeps_the_counts() -> None:
    wire = opened()
    put(wire, frame(1, b"whole") + frame(1, b"part")[:3])
    queue(wire, ORDERS, b"order")
    end(wire, int(WireError.LOST), 0)
    open_wire(wire, -1, 1, frame(1, b"new"), 77)
    parse(wire, 0)
    row = next_message(wire)
    assert wire.frames[row, 3] == 77 and take(wire) == b"new" and take(wire) is None
    assert unsent_bytes(wire, ORDERS) == 0 and counts(wire, ORDERS) == (1, 0, 1, 0)


def test_errors_have_names() -> None:
    assert (error_name(1201), error_name(1109), error_name(0), error_name(9)) == ("LOST", "TOO_BIG", "NONE", "9")
