"""HTTP wire: the buffers of a pool of kept-alive HTTP/1.1 connections to one host, for order entry by REST on the hot path.

Requests are written, and responses read, by kernels; `processes/transport/http_pool.py` opens the connections and opens them
again. One row of `connections` is one connection, with at most one request outstanding:

    CLOSED --open_connection--> FREE --queue_request--> ASKED --http_flush, http_poll--> ANSWERED --release_response--> FREE
       ^---------------------------'---------------------------------------------------------------'  or CLOSED, if it ended

Every request ends in exactly one outcome, which comes back with the tag it was queued under; nothing is ever sent twice.
The first connections of the pool are kept for cancels. A cancel may take any.

One thread owns a pool; nothing here is shared between processes.
"""

from __future__ import annotations

from enum import IntEnum
from errno import EAGAIN
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hft.http_bytes import HttpCode, read_response
from processes.transport.direct import killed
from processes.transport.tls import read_socket, write_socket
from processes.transport.wire import CANCELS, ORDERS, copy_bytes
from shm.clock import monotonic_ns
from shm.jit import njit


class HttpPhase(IntEnum):
    """Where a connection is in its life."""

    CLOSED = 0  #: there is none; another may be opened
    FREE = 1
    ASKED = 2  #: a request is queued, or sent and not answered
    ANSWERED = 3  #: its outcome waits for `release_response`


class Outcome(IntEnum):
    """What became of a request."""

    RESPONSE = 1  #: a whole response, of whatever status
    NOT_SENT = 2  #: not one byte of it left
    LOST = 3  #: it left in whole or in part, then the connection ended; unknown
    TIMED_OUT = 4  #: it left in whole or in part, and no response came by its deadline; unknown
    MALFORMED = 5  #: what came is no response, ERROR says why (HttpCode); unknown


class HttpEnd(IntEnum):
    """Why a connection ended, or a request was not sent, besides `hft.http_bytes.HttpCode`."""

    NONE = 0
    LOST = 1401  #: the peer ended it, or the network did; ERRNO says more if it is not 0
    TIMED_OUT = 1402
    KILLED = 1403  #: a kill word was set before the order had left whole
    UNASKED = 1404  #: bytes came that answer no request
    DROPPED = 1405  #: this end gave it up


class HttpPool(NamedTuple):
    """The buffers; see the module. Made by `make_pool`."""

    data: NDArray[Any]  #: uint8, inbound: IN_BYTES a connection, one after the other
    out: NDArray[Any]  #: uint8, outbound: OUT_BYTES a connection
    connections: NDArray[Any]  #: int64 [n, COLUMNS]
    words: NDArray[Any]  #: int64, see below


# Columns of `connections`.
PHASE = 0  #: HttpPhase
OPEN = 1  #: 1 while the socket may be used
FD = 2
TLS = 3  #: SSL pointer, 0 on plain TCP
LANE = 4  #: ORDERS or CANCELS, of the request
TAG = 5  #: the caller's name for the request
DEADLINE_NS = 6
LENGTH = 7  #: bytes of the request
SENT = 8  #: bytes of it handed over
BEGUN = 9  #: 1 once a byte of it may have left
FILLED = 10  #: bytes received in answer
OUTCOME = 11  #: Outcome
ERROR = 12  #: HttpEnd or HttpCode: why the connection ended or the request was not sent
ERRNO = 13  #: with LOST: errno, or 0 for an end of the stream
STATUS = 14  #: with RESPONSE, as are the next three
BODY_START = 15  #: offset in `data`
BODY_END = 16
RETRY_AFTER_S = 17  #: 0: the peer named none
SENT_NS = 18  #: CLOCK_MONOTONIC when the last byte of the request had been handed over; 0 before
RECEIVED_NS = 19  #: CLOCK_MONOTONIC when the newest bytes of the answer left the socket; 0 before
COLUMNS = 24

# Words of the pool.
IN_BYTES = 0
OUT_BYTES = 1
RESERVED = 2  #: how many connections, from the first, are kept for cancels
UNSENT = 3  #: requests with bytes to hand over
WAITING = 4  #: connections that are ASKED
OUTCOMES = 5  #: connections that are ANSWERED
BYTES_IN = 6
BYTES_OUT = 7
REQUESTS = 8  #: ever queued
OPENED = 9  #: connections ever opened
ENDED = 16  #: + Outcome: requests that ended so
WORDS = 32

_EAGAIN = EAGAIN
_CLOSED, _FREE, _ASKED, _ANSWERED = (int(phase) for phase in HttpPhase)
_RESPONSE, _NOT_SENT, _LOST, _TIMED_OUT, _MALFORMED = (int(outcome) for outcome in Outcome)
_NONE, _END_LOST, _END_TIMED_OUT, _KILLED, _UNASKED, _DROPPED = (int(end) for end in HttpEnd)
_WHOLE = int(HttpCode.WHOLE)
_MORE = int(HttpCode.MORE)


def make_pool(connections: int, reserved: int, in_bytes: int = 1 << 16, out_bytes: int = 1 << 12) -> HttpPool:
    """A pool of CLOSED connections in plain memory; `reserved` of them are kept for cancels.

    A response longer than `in_bytes` ends as MALFORMED (HttpCode.TOO_BIG); a request longer than `out_bytes` is not queued.
    """
    if not 0 <= reserved < connections or in_bytes < 128 or out_bytes < 128:
        raise ValueError(
            f"a pool needs 0 <= reserved < connections and buffers of 128 bytes, was {connections}, {reserved}, {in_bytes}, {out_bytes}"
        )
    words = np.zeros(WORDS, np.int64)
    words[IN_BYTES], words[OUT_BYTES], words[RESERVED] = in_bytes, out_bytes, reserved
    rows = np.zeros((connections, COLUMNS), np.int64)
    rows[:, FD] = -1
    return HttpPool(np.zeros(connections * in_bytes, np.uint8), np.zeros(connections * out_bytes, np.uint8), rows, words)


def open_connection(pool: HttpPool, k: int, fd: int, pointer: int) -> None:
    """Make the CLOSED connection `k` FREE on an open socket; `pointer` is its SSL pointer, or 0."""
    row = pool.connections[k]
    assert row[PHASE] == HttpPhase.CLOSED, f"connection {k} is in phase {row[PHASE]}"
    row[:] = 0
    row[FD], row[TLS], row[OPEN], row[PHASE] = fd, pointer, 1, HttpPhase.FREE
    pool.words[OPENED] += 1


@njit
def claim_connection(pool: HttpPool, lane: int) -> int:
    """A FREE connection for a request of that lane (ORDERS or CANCELS of `wire.py`), or -1. It stays FREE until `queue_request`."""
    first = 0 if lane == CANCELS else pool.words[RESERVED]
    for k in range(first, pool.connections.shape[0]):
        if pool.connections[k, PHASE] == _FREE:
            return k
    return -1


@njit
def out_start(pool: HttpPool, k: int) -> int:
    """Where connection `k`'s bytes begin in `out`: a request may be built there, and queued from there."""
    return k * pool.words[OUT_BYTES]


@njit
def queue_request(pool: HttpPool, k: int, lane: int, tag: int, deadline_ns: int, source: NDArray[Any], offset: int, length: int) -> int:
    """Queue the request `source[offset:offset+length]` on a FREE connection, in `lane`, to be answered by `deadline_ns`.

    Returns 1, or 0 when the connection is not FREE or the request does not fit; nothing is queued then. The outcome comes back
    with `tag`.
    """
    row = pool.connections
    if row[k, PHASE] != _FREE or length < 1 or length > pool.words[OUT_BYTES]:
        return 0
    copy_bytes(pool.out, out_start(pool, k), source, offset, length)
    for column in range(LANE, COLUMNS):
        row[k, column] = 0
    row[k, LANE] = lane
    row[k, TAG] = tag
    row[k, DEADLINE_NS] = deadline_ns
    row[k, LENGTH] = length
    row[k, PHASE] = _ASKED
    pool.words[UNSENT] += 1
    pool.words[WAITING] += 1
    pool.words[REQUESTS] += 1
    return 1


@njit
def http_flush(pool: HttpPool, kills: NDArray[Any], firm: int, venue: int) -> int:
    """Write what is queued, as far as the sockets take it, cancels first; returns the bytes written. Never blocks.

    With `kills[firm]` or `kills[venue]` set, orders that have not begun to leave end as NOT_SENT, and the connection of one
    that has is ended: LOST.
    """
    return _flush(pool, kills, firm, venue) if pool.words[UNSENT] != 0 else 0


@njit
def http_poll(pool: HttpPool, now_ns: int) -> int:
    """Read what answers have arrived, and judge deadlines by `now_ns`; returns how many outcomes are waiting. Never blocks."""
    if pool.words[WAITING] != 0:
        _poll(pool, now_ns)
    return pool.words[OUTCOMES]


@njit
def next_response(pool: HttpPool) -> int:
    """A connection whose outcome waits, or -1. Its row and the body in `data` stay as they are until `release_response`."""
    return _first_answered(pool) if pool.words[OUTCOMES] != 0 else -1


@njit
def release_response(pool: HttpPool, k: int) -> None:
    """Give the outcome of `next_response` back: the connection is FREE again, or CLOSED if it ended."""
    row = pool.connections
    row[k, PHASE] = _FREE if row[k, OPEN] else _CLOSED
    pool.words[OUTCOMES] -= 1


@njit
def end_connection(pool: HttpPool, k: int, error: int, errno: int) -> None:
    """The connection is gone, because of `error`: its request, if there is one, ends as LOST, or as NOT_SENT if no byte left."""
    row = pool.connections
    if row[k, PHASE] == _ASKED:
        outcome = _LOST if row[k, BEGUN] else _NOT_SENT
        if row[k, BEGUN] and error == _END_TIMED_OUT:
            outcome = _TIMED_OUT
        _finish(pool, k, outcome)
    elif row[k, PHASE] == _FREE:
        row[k, PHASE] = _CLOSED
    if row[k, OPEN]:
        row[k, OPEN] = 0
        row[k, ERROR] = error
        row[k, ERRNO] = errno


@njit
def check_free(pool: HttpPool) -> int:
    """Notice the end of connections that are FREE, which `http_poll` passes over; returns how many ended. For cold code."""
    ended: Any = np.int64(0)
    for k in range(pool.connections.shape[0]):
        if pool.connections[k, PHASE] == _FREE:
            ended += not _is_quiet(pool, k)
    return ended


@njit
def _flush(pool: HttpPool, kills: NDArray[Any], firm: int, venue: int) -> int:
    row = pool.connections
    total: Any = np.int64(0)
    for lane in (CANCELS, ORDERS):
        for k in range(row.shape[0]):
            if row[k, PHASE] != _ASKED or row[k, LANE] != lane or row[k, SENT] == row[k, LENGTH]:
                continue
            if lane == ORDERS and killed(kills, firm, venue):
                if row[k, BEGUN]:
                    end_connection(pool, k, _KILLED, 0)
                else:
                    _finish(pool, k, _NOT_SENT)
                    row[k, ERROR] = _KILLED
                continue
            # A peer that has hung up is noticed here, where the request is still known not to have been sent.
            if row[k, BEGUN] or _is_quiet(pool, k):
                total += _send(pool, k)
    return total


@njit
def _is_quiet(pool: HttpPool, k: int) -> bool:
    """Whether the connection is there and has said nothing unasked; ends it otherwise."""
    row = pool.connections
    count = read_socket(row[k, FD], row[k, TLS], pool.data, k * pool.words[IN_BYTES], pool.words[IN_BYTES])
    if count == -_EAGAIN:
        return True
    if count > 0:
        end_connection(pool, k, _UNASKED, 0)
    else:
        end_connection(pool, k, _END_LOST, -count)
    return False


@njit
def _send(pool: HttpPool, k: int) -> int:
    """Hand over what the socket takes of a request; returns the bytes."""
    row = pool.connections
    before = row[k, SENT]
    while row[k, SENT] < row[k, LENGTH]:
        if row[k, TLS] != 0:
            # What OpenSSL does with the bytes of a write that is not taken whole cannot be told.
            row[k, BEGUN] = 1
        left = row[k, LENGTH] - row[k, SENT]
        count = write_socket(row[k, FD], row[k, TLS], pool.out, out_start(pool, k) + row[k, SENT], left)
        if count == -_EAGAIN:
            break
        if count < 0:
            end_connection(pool, k, _END_LOST, -count)
            break
        row[k, BEGUN] = 1
        row[k, SENT] += count
    if row[k, SENT] == row[k, LENGTH]:
        row[k, SENT_NS] = monotonic_ns()
        pool.words[UNSENT] -= 1
    pool.words[BYTES_OUT] += row[k, SENT] - before
    return row[k, SENT] - before


@njit
def _poll(pool: HttpPool, now_ns: int) -> None:
    row = pool.connections
    for k in range(row.shape[0]):
        if row[k, PHASE] != _ASKED:
            continue
        if row[k, BEGUN]:
            _receive(pool, k)
        if row[k, PHASE] == _ASKED and now_ns >= row[k, DEADLINE_NS]:
            end_connection(pool, k, _END_TIMED_OUT, 0)


@njit
def _receive(pool: HttpPool, k: int) -> None:
    row = pool.connections
    start = k * pool.words[IN_BYTES]
    limit = start + pool.words[IN_BYTES]
    filled = start + row[k, FILLED]
    count = read_socket(row[k, FD], row[k, TLS], pool.data, filled, limit - filled)
    if count == -_EAGAIN:
        return
    if count <= 0:
        end_connection(pool, k, _END_LOST, -count)
        return
    row[k, RECEIVED_NS] = monotonic_ns()
    row[k, FILLED] += count
    pool.words[BYTES_IN] += count
    code, status, body_start, body_end, keep_alive, retry_after_s = read_response(pool.data, start, filled + count, limit)
    if code == _MORE:
        return
    if code != _WHOLE:
        _finish(pool, k, _MALFORMED)
        end_connection(pool, k, code, 0)
        return
    row[k, STATUS] = status
    row[k, BODY_START] = body_start
    row[k, BODY_END] = body_end
    row[k, RETRY_AFTER_S] = retry_after_s
    # A peer that answers before it has the whole request cannot be asked again.
    if not keep_alive or row[k, SENT] < row[k, LENGTH]:
        row[k, OPEN] = 0
    _finish(pool, k, _RESPONSE)


@njit
def _finish(pool: HttpPool, k: int, outcome: int) -> None:
    """The request of an ASKED connection has come to its end."""
    row = pool.connections
    if row[k, SENT] < row[k, LENGTH]:
        pool.words[UNSENT] -= 1
    row[k, OUTCOME] = outcome
    row[k, PHASE] = _ANSWERED
    pool.words[WAITING] -= 1
    pool.words[OUTCOMES] += 1
    pool.words[ENDED + outcome] += 1


@njit
def _first_answered(pool: HttpPool) -> int:
    for k in range(pool.connections.shape[0]):
        if pool.connections[k, PHASE] == _ANSWERED:
            return k
    return -1
