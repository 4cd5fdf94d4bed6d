"""Direct: non-blocking reads and writes on a TCP or TLS connection inside the burst, and WebSocket framing around them."""

from __future__ import annotations

from errno import EAGAIN, EINTR
from socket import TCP_QUICKACK
from typing import Any

import numpy as np
from numpy.typing import NDArray

from processes.transport.inbound import parse, room_for_bytes
from processes.transport.tls import read_socket, write_socket
from processes.transport.wire import (
    ACK_DUE,
    BYTES_IN,
    CANCELS,
    CLOSE_DEADLINE_NS,
    CONTROL,
    FD,
    FRAME_TAIL,
    LEFT,
    LEFT_LANE,
    ORDERS,
    PARSED,
    RAW_TAIL,
    RECEIVED_NS,
    STATE,
    TLS,
    Wire,
    WireError,
    WireState,
    drop_unsent,
    end,
    lane_of,
    note_sent,
    unsent_bytes,
    unsent_start,
    whole_frame_bytes,
)
from shm.atomics import load_acquire
from shm.clock import monotonic_ns
from shm.external import recv, send, set_tcp_option
from shm.jit import njit

#: One call reads no more than this, so that the first message in a flood is not late for the sake of the last.
RECV_BYTES_MAX = 65536

_OPEN = int(WireState.OPEN)
_CLOSING = int(WireState.CLOSING)
_LOST = int(WireError.LOST)
_CLOSE_TIMED_OUT = int(WireError.CLOSE_TIMED_OUT)
_KILLED_HALF_SENT = int(WireError.KILLED_HALF_SENT)


@njit
def direct_poll(wire: Wire, now_ns: int) -> int:
    """Read the socket once; returns how many messages became complete. Never blocks.

    Messages are stamped with the clock read right after recv. `now_ns` only judges deadlines. The end of the connection
    shows in the STATE and ERROR words. With messages waiting and `data` or `frames` full, nothing is read.
    """
    words = wire.words
    if words[STATE] == _CLOSING:
        if now_ns >= words[CLOSE_DEADLINE_NS]:
            end(wire, _CLOSE_TIMED_OUT, 0)
            return 0
    elif words[STATE] != _OPEN:
        return 0
    before = words[FRAME_TAIL]
    if words[PARSED] != words[RAW_TAIL]:
        parse(wire, now_ns)
        if words[FRAME_TAIL] != before:
            return words[FRAME_TAIL] - before
    room = room_for_bytes(wire)
    if room == 0:
        return 0
    if words[TLS] == 0:
        count = recv(words[FD], wire.data, words[RAW_TAIL], min(room, RECV_BYTES_MAX))
    else:
        count = read_socket(words[FD], words[TLS], wire.data, words[RAW_TAIL], min(room, RECV_BYTES_MAX))
    if count > 0:
        words[RECEIVED_NS] = monotonic_ns()
        words[ACK_DUE] = 1
        words[RAW_TAIL] += count
        words[BYTES_IN] += count
        parse(wire, now_ns)
    elif count != -EAGAIN and count != -EINTR:
        end(wire, _LOST, -count)
    return words[FRAME_TAIL] - before


@njit
def acknowledge(wire: Wire) -> None:
    """Have the kernel acknowledge what was read, for a wire that is mostly read; to be called when there is nothing to do.

    By itself the kernel acknowledges inside `recv`, before the caller gets the bytes: 2 of the 10 us of a round trip over
    loopback. From the first call on it leaves that to these calls. None is late by more than the work that the message made,
    so a sender that waits for acknowledgements, by Nagle's rule, is not held up.
    """
    words = wire.words
    if words[ACK_DUE] == 0 or words[STATE] != _OPEN:
        return
    words[ACK_DUE] = 0
    # 1 sends what is due. 0 has the kernel wait with the next one; it forgets that whenever it acknowledges on its own.
    set_tcp_option(words[FD], TCP_QUICKACK, 1)
    set_tcp_option(words[FD], TCP_QUICKACK, 0)


@njit
def direct_flush(wire: Wire, kills: NDArray[Any], firm: int, venue: int) -> int:
    """Write what is queued, as far as the socket takes it: cancels, then orders, then control frames. Never blocks.

    With `kills[firm]` or `kills[venue]` set, whole orders are dropped as NOT_SENT, and an order that is partly sent ends the
    connection. Returns the bytes written, or -WireError when the connection ended here.
    """
    words = wire.words
    if words[STATE] != _OPEN and words[STATE] != _CLOSING:
        return 0
    total = 0
    if words[LEFT] > 0:
        if words[LEFT_LANE] == ORDERS and killed(kills, firm, venue):
            end(wire, _KILLED_HALF_SENT, 0)
            return -_KILLED_HALF_SENT
        total = _write_lane(wire, words[LEFT_LANE], words[LEFT])
        if total < 0 or words[LEFT] > 0:
            return total
    for lane in (CANCELS, ORDERS, CONTROL):
        waiting = unsent_bytes(wire, lane)
        if waiting == 0:
            continue
        if lane == ORDERS and killed(kills, firm, venue):
            drop_unsent(wire, ORDERS)
            continue
        count = _write_lane(wire, lane, waiting)
        if count < 0:
            return count
        total += count
        if count < waiting:
            return total
    return total


@njit
def killed(kills: NDArray[Any], firm: int, venue: int) -> bool:
    """Whether the firm's or the venue's kill word is set."""
    # SYNC kill: pairs with the store_release of 1 by whoever kills; only `arm` clears it.
    return (load_acquire(kills, firm) | load_acquire(kills, venue)) != 0


@njit
def _write_lane(wire: Wire, lane: int, length: int) -> int:
    """Hand up to `length` bytes of a lane to the socket: bytes taken, 0 when it is full, or -WireError."""
    words = wire.words
    if words[TLS] != 0:
        return _write_frames(wire, lane, length)
    count = send(words[FD], lane_of(wire, lane), unsent_start(wire, lane), length)
    if count >= 0:
        note_sent(wire, lane, count)
        return count
    if count == -EAGAIN or count == -EINTR:
        return 0
    end(wire, _LOST, -count)
    return -_LOST


@njit
def _write_frames(wire: Wire, lane: int, length: int) -> int:
    """`_write_lane` under TLS: one frame a write. The frame that OpenSSL may hold a part of is the one that is partly sent."""
    words = wire.words
    total: Any = np.int64(0)
    while total < length:
        if words[LEFT] == 0:
            words[LEFT] = whole_frame_bytes(wire, lane, unsent_start(wire, lane))
            words[LEFT_LANE] = lane
        count = write_socket(words[FD], words[TLS], lane_of(wire, lane), unsent_start(wire, lane), words[LEFT])
        if count == -EAGAIN:
            break
        if count < 0:
            end(wire, _LOST, -count)
            return -_LOST
        note_sent(wire, lane, count)
        total += count
    return total
