"""HTTP line: order requests over a pool of HTTP connections, private messages on a WebSocket beside it; see `order_line`."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hft.records import VenueEventKind, VenueEventSource, VenueReason
from hft.venues.codecs import scan_response
from processes import ws_line
from processes.cold_box import ColdBox
from processes.line_words import Settled
from processes.transport.http_wire import (
    BODY_END,
    BODY_START,
    LANE,
    OUTCOME,
    PHASE,
    RECEIVED_NS,
    SENT_NS,
    STATUS,
    TAG,
    HttpPhase,
    HttpPool,
    Outcome,
    claim_connection,
    http_flush,
    http_poll,
    next_response,
    queue_request,
    release_response,
)
from processes.transport.wire import ORDERS
from shm.jit import njit

_ASKED, _ANSWERED = int(HttpPhase.ASKED), int(HttpPhase.ANSWERED)
_RESPONSE, _NOT_SENT = int(Outcome.RESPONSE), int(Outcome.NOT_SENT)
_NO_NEWS, _LEFT, _UNSENT, _ = (int(outcome) for outcome in Settled)
_SAYS_UNKNOWN, _REPLY, _TIMEOUT = int(VenueEventKind.UNKNOWN), int(VenueEventSource.REPLY), int(VenueReason.TIMEOUT)

# Columns of HttpLine.requests.
KIND = 0  #: IntentKind of the connection's request
TOLD = 1  #: 1 once it was said that it left


class HttpLine(NamedTuple):
    """A pool and a private stream; made by `new_http_line`."""

    pool: HttpPool
    stream: ws_line.WsLine  #: private messages; nothing is ordered on it
    requests: NDArray[np.int64]  #: [connection, column]


def new_http_line(pool: HttpPool, stream: ws_line.WsLine) -> HttpLine:
    """A line on a pool, with its private stream."""
    return HttpLine(pool, stream, np.zeros((pool.connections.shape[0], 2), np.int64))


@njit
def poll(line: HttpLine, now_ns: int) -> None:
    """See `order_line`."""
    http_poll(line.pool, now_ns)
    ws_line.poll(line.stream, now_ns)


@njit
def flush(line: HttpLine, kills: NDArray[Any], firm: int, venue: int) -> None:
    """See `order_line`."""
    http_flush(line.pool, kills, firm, venue)
    ws_line.flush(line.stream, kills, firm, venue)


@njit
def can_send(line: HttpLine) -> int:
    """See `order_line`."""
    return 1 if claim_connection(line.pool, ORDERS) >= 0 else 0


@njit
def queue(line: HttpLine, lane: int, tag: int, kind: int, deadline_ns: int, source: NDArray[Any], offset: int, length: int) -> int:
    """See `order_line`."""
    k = claim_connection(line.pool, lane)
    if k < 0 or queue_request(line.pool, k, lane, tag, deadline_ns, source, offset, length) == 0:
        return 0
    line.requests[k, KIND] = kind
    line.requests[k, TOLD] = 0
    return 1


@njit
def settled(line: HttpLine) -> tuple[int, int]:
    """See `order_line`. What left and got no answer is told as an event by `scan`."""
    rows = line.pool.connections
    for k in range(rows.shape[0]):
        if rows[k, PHASE] != _ASKED and rows[k, PHASE] != _ANSWERED:
            continue
        if rows[k, LANE] != ORDERS:
            continue
        if rows[k, SENT_NS] != 0 and line.requests[k, TOLD] == 0:
            line.requests[k, TOLD] = 1
            return _LEFT, rows[k, TAG]
        if rows[k, PHASE] == _ANSWERED and rows[k, OUTCOME] == _NOT_SENT:
            tag = rows[k, TAG]
            release_response(line.pool, k)
            return _UNSENT, tag
    return _NO_NEWS, 0


@njit
def scan(line: HttpLine, codec: Any, box: ColdBox, events: NDArray[Any]) -> int:
    """See `order_line`."""
    pool = line.pool
    k = next_response(pool)
    if k < 0:
        return ws_line.scan(line.stream, codec, box, events)
    row = pool.connections[k]
    if row[OUTCOME] == _NOT_SENT and row[LANE] == ORDERS:
        return 0  # `settled` tells it.
    count = 1
    if row[OUTCOME] == _RESPONSE:
        kind, tag, status = line.requests[k, KIND], row[TAG], row[STATUS]
        count = scan_response(codec, kind, tag, status, pool.data, row[BODY_START], row[BODY_END], row[RECEIVED_NS], events)
    else:
        _unanswered(events, row[TAG])
    release_response(pool, k)
    return count


@njit
def _unanswered(events: NDArray[Any], tag: int) -> None:
    """Make the first event say that nobody knows what became of a request."""
    event = events[0]
    event["order_id"] = 0
    event["request_id"] = tag
    event["venue_key"] = 0
    event["cum_lots"] = -1
    event["exchange_ns"] = 0
    event["reason"] = _TIMEOUT
    event["venue_code"] = 0
    event["kind"] = _SAYS_UNKNOWN
    event["source"] = _REPLY
    event["instrument"] = -1
