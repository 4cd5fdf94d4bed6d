"""Wire: the buffers of one WebSocket connection, which is all that codecs and stages see of it.

Inbound, `data` holds bytes and `frames` is a bounded queue of the complete messages in them:

    data    | consumed | message | message | fragments so far | dead | partial frame | free ...
                         ^ frames[head]      ^ MESSAGE_START ^ _END    ^ PARSED        ^ RAW_TAIL

Outbound there are three lanes of whole, masked frames. Cancels leave before orders, and orders before control frames, so that a
CLOSE is the last frame of all. A frame that is partly sent is finished before any other lane is looked at.

A connection is IDLE, then OPEN, CLOSING (a CLOSE was queued or received, or the peer broke the protocol) and CLOSED. Only an
OPEN one takes frames to send. Each frame that was ever queued ends up in one of its lane's counters: SENT, NOT_SENT (not one
byte of it left) or UNKNOWN (some bytes left when the connection ended).

One thread owns a wire; nothing here is shared between processes.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hft.websocket import CloseCode, FrameCode, Opcode, frame_bytes, next_mask_key, read_header, write_frame
from shm.jit import njit


class WireState(IntEnum):
    """Where a connection is in its life."""

    IDLE = 0
    OPEN = 1
    CLOSING = 2
    CLOSED = 3


class WireError(IntEnum):
    """Why a connection ended, besides `hft.websocket.FrameCode`, which says how the peer broke the protocol."""

    NONE = 0  #: by a close handshake
    LOST = 1201  #: the peer ended it, or the network did, without a close handshake; ERRNO says more if it is not 0
    CLOSE_TIMED_OUT = 1202  #: the peer did not answer a CLOSE, or did not end the connection after it
    KILLED_HALF_SENT = 1203  #: a kill found an order partly sent
    OVERRUN = 1204  #: nobody took the messages
    REFUSED_BY_PARSER = 1205  #: the peer broke the protocol; the library that parsed it does not say how
    DROPPED = 1206  #: this end gave it up


class Wire(NamedTuple):
    """One connection's buffers; see the module. Made by `make_wire`, emptied by `open_wire`."""

    data: NDArray[Any]  #: uint8, inbound bytes
    frames: NDArray[Any]  #: int64 [n, 4]: offset and bytes of a message in `data`, Opcode, received_ns; n is a power of two
    words: NDArray[Any]  #: int64, see below
    out: NDArray[Any]  #: uint8, lane ORDERS
    cancel_out: NDArray[Any]  #: uint8, lane CANCELS
    control_out: NDArray[Any]  #: uint8, lane CONTROL: PONG and CLOSE


ORDERS, CANCELS, CONTROL = 0, 1, 2  #: lanes
LANES = 3

# Words about this connection, zeroed by `open_wire`.
STATE = 0  #: WireState
ERROR = 1  #: WireError or FrameCode
ERRNO = 2  #: errno of a LOST connection, 0 for an orderly end of the stream
CLOSE_CODE = 3  #: the peer's close code, NO_STATUS if it gave none, 0 if it sent no CLOSE
CLOSE_DEADLINE_NS = 4  #: when CLOSING is given up
FD = 5  #: socket, of the direct transport
MASK_STATE = 6  #: see `next_mask_key`
RAW_TAIL = 7  #: end of the bytes in `data`
PARSED = 8  #: the next frame header
MESSAGE_START = 9  #: where the fragments of an unfinished message begin; -1 if there is none
MESSAGE_END = 10
MESSAGE_OPCODE = 11
FRAME_HEAD = 12  #: messages released
FRAME_TAIL = 13  #: messages queued
RECEIVED_NS = 14  #: CLOCK_MONOTONIC when the newest bytes left the socket
DEAF = 15  #: 1: the peer said CLOSE or broke the protocol; nothing more is read from it
LEFT = 16  #: bytes not yet sent of a frame that is partly sent
LEFT_LANE = 17
_LANE_ENDS = 18  #: + 2 * lane: first unsent byte, + 1: end of the queued bytes
TLS = 24  #: SSL pointer of a TLS connection of the direct transport, 0 on plain TCP; see `processes/transport/tls.py`
ACK_DUE = 25  #: 1: `acknowledge` has something to do, of the direct transport

# Words that last as long as the wire.
MESSAGE_BYTES_MAX = 32
CLOSE_WAIT_NS = 33
BYTES_IN = 34
BYTES_OUT = 35
FRAMES_IN = 36
MESSAGES_IN = 37
PINGS_IN = 38
PONGS_IN = 39
PONGS_DROPPED = 40  #: pings that were not answered for want of room
REFUSED = 41  #: calls of `queue_text` that returned 0
OPENED = 42  #: connections opened
COUNTERS = 44  #: + 4 * lane: QUEUED, SENT, NOT_SENT, UNKNOWN
QUEUED, SENT, NOT_SENT, UNKNOWN = 0, 1, 2, 3
WORDS = 64

_CONNECTION_WORDS = 32
_CLOSE_FRAME_BYTES = 8
_IDLE, _OPEN, _CLOSING, _CLOSED = (int(state) for state in WireState)
_NONE = int(WireError.NONE)
_LOST = int(WireError.LOST)
_KILLED_HALF_SENT = int(WireError.KILLED_HALF_SENT)
_TOO_BIG = int(FrameCode.TOO_BIG)
_TEXT = int(Opcode.TEXT)
_CLOSE = int(Opcode.CLOSE)
_PONG = int(Opcode.PONG)
_CODE_NO_STATUS = int(CloseCode.NO_STATUS)
_CODE_TOO_BIG = int(CloseCode.TOO_BIG)
_CODE_PROTOCOL_ERROR = int(CloseCode.PROTOCOL_ERROR)


def make_wire(
    message_bytes_max: int = 1 << 20,
    messages_max: int = 1024,
    out_bytes: int = 1 << 16,
    cancel_out_bytes: int = 1 << 14,
    close_wait_ns: int = 1_000_000_000,
) -> Wire:
    """An IDLE wire in plain memory.

    A message longer than `message_bytes_max`, fragments together, breaks the connection (FrameCode.TOO_BIG). `messages_max`
    must be a power of two. A CLOSING connection is given up after `close_wait_ns`.
    """
    if messages_max < 1 or messages_max & (messages_max - 1):
        raise ValueError(f"messages_max must be a power of two, was {messages_max}")
    if message_bytes_max < 128 or out_bytes < 128 or cancel_out_bytes < 128:
        raise ValueError("message_bytes_max, out_bytes and cancel_out_bytes must be at least 128")
    words = np.zeros(WORDS, np.int64)
    words[MESSAGE_BYTES_MAX] = message_bytes_max
    words[CLOSE_WAIT_NS] = close_wait_ns
    words[MESSAGE_START] = -1
    return Wire(
        # Twice the longest message and more: what compaction keeps is then always less than half.
        data=np.zeros(2 * message_bytes_max + 65536, np.uint8),
        frames=np.zeros((messages_max, 4), np.int64),
        words=words,
        out=np.zeros(out_bytes, np.uint8),
        cancel_out=np.zeros(cancel_out_bytes, np.uint8),
        control_out=np.zeros(4096, np.uint8),
    )


def open_wire(wire: Wire, fd: int, mask_seed: int, leftover: bytes = b"", now_ns: int = 0) -> None:
    """Make the wire OPEN on a new connection; `leftover` are bytes that came right behind the HTTP upgrade, at `now_ns`.

    `mask_seed` is 63 bits of entropy. The counters go on. Raises ValueError when the leftover does not fit.
    """
    if len(leftover) > wire.data.size:
        raise ValueError(f"{len(leftover)} bytes behind the upgrade, the buffer holds {wire.data.size}")
    words = wire.words
    words[:_CONNECTION_WORDS] = 0
    words[FD] = fd
    words[MASK_STATE] = mask_seed or 1
    words[MESSAGE_START] = -1
    wire.data[: len(leftover)] = np.frombuffer(leftover, np.uint8)
    words[RAW_TAIL] = len(leftover)
    words[RECEIVED_NS] = now_ns
    words[OPENED] += 1
    words[ACK_DUE] = 1
    words[STATE] = WireState.OPEN


def lane_count(wire: Wire, lane: int, counter: int) -> int:
    """A lane's QUEUED, SENT, NOT_SENT or UNKNOWN frames since the wire was made."""
    return int(wire.words[COUNTERS + 4 * lane + counter])


def error_name(code: int) -> str:
    """The name of a value of the ERROR word."""
    for kind in (WireError, FrameCode):
        for member in kind:
            if member == code:
                return member.name
    return str(code)


@njit
def next_message(wire: Wire) -> int:
    """Row in `frames` of the oldest complete message, or -1. It and its bytes stay until `release_message`."""
    head = wire.words[FRAME_HEAD]
    if head == wire.words[FRAME_TAIL]:
        return -1
    return head & (wire.frames.shape[0] - 1)


@njit
def release_message(wire: Wire) -> None:
    """Give the message of `next_message` back."""
    wire.words[FRAME_HEAD] += 1


@njit
def queue_text(wire: Wire, lane: int, source: NDArray[Any], offset: int, length: int) -> int:
    """Queue one TEXT frame of `source[offset:offset+length]` on the ORDERS or CANCELS lane.

    Returns 1, or 0 when the connection is not OPEN or the lane has no room; nothing is queued then.
    """
    words = wire.words
    at: Any = np.int64(-1)
    if words[STATE] == _OPEN:
        at = _room_in_lane(wire, lane, frame_bytes(length, 1))
    if at < 0:
        words[REFUSED] += 1
        return 0
    words[_LANE_ENDS + 2 * lane + 1] = write_frame(lane_of(wire, lane), at, _TEXT, next_mask_key(words, MASK_STATE), source, offset, length)
    words[COUNTERS + 4 * lane + QUEUED] += 1
    return 1


@njit
def start_close(wire: Wire, code: int, now_ns: int) -> None:
    """Queue a CLOSE frame behind whatever is queued already; an OPEN connection becomes CLOSING. `code` 1005 sends none."""
    words = wire.words
    if words[STATE] != _OPEN:
        return
    at = _room_in_lane(wire, CONTROL, _CLOSE_FRAME_BYTES)
    lane = wire.control_out
    length = 0 if code == _CODE_NO_STATUS else 2
    if length:
        lane[at + 6] = (code >> 8) & 0xFF
        lane[at + 7] = code & 0xFF
    words[_LANE_ENDS + 2 * CONTROL + 1] = write_frame(lane, at, _CLOSE, next_mask_key(words, MASK_STATE), lane, at + 6, length)
    words[COUNTERS + 4 * CONTROL + QUEUED] += 1
    words[STATE] = _CLOSING
    words[CLOSE_DEADLINE_NS] = now_ns + words[CLOSE_WAIT_NS]


@njit
def fail(wire: Wire, code: int, now_ns: int) -> None:
    """The peer broke the protocol: hear no more of it, drop what was not sent, and tell it by a CLOSE frame."""
    words = wire.words
    if words[ERROR] == _NONE:
        words[ERROR] = code
    words[DEAF] = 1
    drop_unsent(wire, CANCELS)
    drop_unsent(wire, ORDERS)
    start_close(wire, _CODE_TOO_BIG if code == _TOO_BIG else _CODE_PROTOCOL_ERROR, now_ns)


@njit
def end(wire: Wire, code: int, errno: int) -> None:
    """The connection is gone, for the reason `code`: CLOSED; account for every frame that did not leave whole.

    LOST after the peer's CLOSE is an orderly end; the first error is kept.
    """
    words = wire.words
    if words[STATE] == _CLOSED:
        return
    for lane in range(LANES):
        drop_unsent(wire, lane)
    if words[LEFT] > 0:
        words[COUNTERS + 4 * words[LEFT_LANE] + UNKNOWN] += 1
        words[LEFT] = 0
    if words[ERROR] == _NONE and not (code == _LOST and words[CLOSE_CODE] != 0):
        words[ERROR] = code
        words[ERRNO] = errno
    words[DEAF] = 1
    words[STATE] = _CLOSED


@njit
def drop_unsent(wire: Wire, lane: int) -> int:
    """Take back the frames of a lane of which no byte was sent; returns how many, which are counted as NOT_SENT."""
    words = wire.words
    ends = _LANE_ENDS + 2 * lane
    start = words[ends]
    if words[LEFT] > 0 and words[LEFT_LANE] == lane:
        start += words[LEFT]
    at = start
    dropped = 0
    while at < words[ends + 1]:
        at += whole_frame_bytes(wire, lane, at)
        dropped += 1
    words[ends + 1] = start
    words[COUNTERS + 4 * lane + NOT_SENT] += dropped
    return dropped


@njit
def note_sent(wire: Wire, lane: int, count: int) -> None:
    """`count` more bytes of a lane were handed to the socket."""
    words = wire.words
    words[BYTES_OUT] += count
    ends = _LANE_ENDS + 2 * lane
    while count > 0:
        if words[LEFT] == 0:
            words[LEFT] = whole_frame_bytes(wire, lane, words[ends])
            words[LEFT_LANE] = lane
        step = min(count, words[LEFT])
        words[ends] += step
        words[LEFT] -= step
        count -= step
        if words[LEFT] == 0:
            words[COUNTERS + 4 * lane + SENT] += 1


@njit
def next_outbound(wire: Wire, held_bytes: int, orders_killed: bool) -> tuple[int, int, int]:
    """The next whole frame to hand over, for a transport that buffers: (lane, offset, bytes), or a lane of -1 if there is none.

    `held_bytes` is what the transport still holds of the frame given before: until that is 0 there is no next one. With
    `orders_killed`, whole orders are dropped, and one that is held ends the connection, which the caller then aborts.
    """
    words = wire.words
    if words[STATE] != _OPEN and words[STATE] != _CLOSING:
        return -1, 0, 0
    if words[LEFT] > 0:
        # Under TLS what is held is longer than what was given.
        note_sent(wire, words[LEFT_LANE], words[LEFT] - min(held_bytes, words[LEFT]))
        if words[LEFT] > 0:
            if words[LEFT_LANE] == ORDERS and orders_killed:
                end(wire, _KILLED_HALF_SENT, 0)
            return -1, 0, 0
    for lane in (CANCELS, ORDERS, CONTROL):
        if lane == ORDERS and orders_killed:
            drop_unsent(wire, ORDERS)
        if unsent_bytes(wire, lane) > 0:
            at = unsent_start(wire, lane)
            words[LEFT] = whole_frame_bytes(wire, lane, at)
            words[LEFT_LANE] = lane
            return lane, at, words[LEFT]
    return -1, 0, 0


@njit(inline="always")
def lane_of(wire: Wire, lane: int) -> NDArray[Any]:
    """The bytes of a lane. Inlined, because a kernel may not return an array that it was not given as an argument."""
    if lane == ORDERS:
        return wire.out
    if lane == CANCELS:
        return wire.cancel_out
    return wire.control_out


@njit
def unsent_bytes(wire: Wire, lane: int) -> int:
    """Bytes queued on a lane and not yet handed to the socket."""
    return wire.words[_LANE_ENDS + 2 * lane + 1] - wire.words[_LANE_ENDS + 2 * lane]


@njit
def unsent_start(wire: Wire, lane: int) -> int:
    """Offset of the first unsent byte in a lane."""
    return wire.words[_LANE_ENDS + 2 * lane]


@njit
def whole_frame_bytes(wire: Wire, lane: int, at: int) -> int:
    """Bytes of the queued frame that begins at `at` in a lane."""
    lane_bytes = lane_of(wire, lane)
    _, _, payload, size, _ = read_header(lane_bytes, at, lane_bytes.size, 1, lane_bytes.size)
    return payload + size - at


@njit
def queue_pong(wire: Wire, start: int, size: int) -> None:
    """Answer the ping whose payload is `data[start:start+size]`, if the connection is OPEN and there is room."""
    words = wire.words
    if words[STATE] != _OPEN:
        return
    # Room for the CLOSE frame is never given away.
    at = _room_in_lane(wire, CONTROL, frame_bytes(size, 1) + _CLOSE_FRAME_BYTES)
    if at < 0:
        words[PONGS_DROPPED] += 1
        return
    words[_LANE_ENDS + 2 * CONTROL + 1] = write_frame(wire.control_out, at, _PONG, next_mask_key(words, MASK_STATE), wire.data, start, size)
    words[COUNTERS + 4 * CONTROL + QUEUED] += 1


@njit
def _room_in_lane(wire: Wire, lane: int, need: int) -> int:
    """Offset at which `need` bytes may be queued, or -1."""
    words = wire.words
    ends = _LANE_ENDS + 2 * lane
    lane_bytes = lane_of(wire, lane)
    queued = words[ends + 1] - words[ends]
    if queued + need > lane_bytes.size:
        return -1
    if queued == 0 or words[ends + 1] + need > lane_bytes.size:
        copy_bytes(lane_bytes, 0, lane_bytes, words[ends], queued)
        words[ends] = 0
        words[ends + 1] = queued
    return words[ends + 1]


@njit
def copy_bytes(target: NDArray[Any], at: int, source: NDArray[Any], offset: int, count: int) -> None:
    """Copy `source[offset:offset+count]` to `target[at:]`; within one array, only to a lower or the same offset."""
    # Unsigned indices are never wrapped around, so that this loop becomes vector instructions.
    into, out_of = np.uint64(at), np.uint64(offset)
    for i in range(np.uint64(count)):
        target[into + np.uint64(i)] = source[out_of + np.uint64(i)]
