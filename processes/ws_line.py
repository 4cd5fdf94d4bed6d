"""WebSocket line: order requests and private messages on one wire; see `order_line`.

Whether a request left is known frame by frame: ids wait in `queued` in the order of their frames, and the wire counts which of
those were sent, which were not, and which one was half sent when the connection ended.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hft.venues.codecs import Scanned, scan_private
from processes.cold_box import ColdBox, put_message
from processes.line_words import NOTHING, Settled
from processes.transport.direct import direct_flush, direct_poll
from processes.transport.wire import (
    COUNTERS,
    NOT_SENT,
    ORDERS,
    SENT,
    STATE,
    UNKNOWN,
    Wire,
    WireState,
    next_message,
    queue_text,
    release_message,
)
from shm.jit import njit

_OPEN, _COLD, _NOTHING = int(WireState.OPEN), int(Scanned.COLD), NOTHING
_NO_NEWS, _LEFT, _UNSENT, _UNKNOWN = (int(outcome) for outcome in Settled)
_COUNTERS = COUNTERS + 4 * ORDERS

# Cells of WsLine.words.
DIRECT = 0  #: 1 if the wire is read and written in the burst
HEAD = 1  #: ids ever taken from `queued`
TAIL = 2  #: ids ever put there
SENT_SEEN = 3
NOT_SENT_SEEN = 4
UNKNOWN_SEEN = 5


class WsLine(NamedTuple):
    """One private WebSocket; made by `new_ws_line`."""

    wire: Wire
    queued: NDArray[np.int64]  #: ids of requests whose frames are not yet known to have left, oldest first; a circle
    words: NDArray[np.int64]


def new_ws_line(wire: Wire, direct: bool, requests_max: int) -> WsLine:
    """A line on a wire; at most `requests_max`, a power of two, wait to be settled."""
    words = np.zeros(8, np.int64)
    words[DIRECT] = direct
    words[SENT_SEEN] = wire.words[_COUNTERS + SENT]
    words[NOT_SENT_SEEN] = wire.words[_COUNTERS + NOT_SENT]
    words[UNKNOWN_SEEN] = wire.words[_COUNTERS + UNKNOWN]
    return WsLine(wire, np.zeros(requests_max, np.int64), words)


@njit
def poll(line: WsLine, now_ns: int) -> None:
    """See `order_line`."""
    if line.words[DIRECT] != 0:
        direct_poll(line.wire, now_ns)


@njit
def flush(line: WsLine, kills: NDArray[Any], firm: int, venue: int) -> None:
    """See `order_line`."""
    if line.words[DIRECT] != 0:
        direct_flush(line.wire, kills, firm, venue)


@njit
def can_send(line: WsLine) -> int:
    """See `order_line`."""
    return 1 if line.wire.words[STATE] == _OPEN else 0


@njit
def queue(line: WsLine, lane: int, tag: int, kind: int, deadline_ns: int, source: NDArray[Any], offset: int, length: int) -> int:
    """See `order_line`."""
    words = line.words
    if lane == ORDERS and words[TAIL] - words[HEAD] == len(line.queued):
        return 0
    if queue_text(line.wire, lane, source, offset, length) == 0:
        return 0
    if lane == ORDERS:
        line.queued[words[TAIL] & (len(line.queued) - 1)] = tag
        words[TAIL] += 1
    return 1


@njit
def settled(line: WsLine) -> tuple[int, int]:
    """See `order_line`."""
    words, counters = line.words, line.wire.words
    if words[HEAD] == words[TAIL]:
        return _NO_NEWS, 0
    if words[SENT_SEEN] < counters[_COUNTERS + SENT]:
        words[SENT_SEEN] += 1
        return _LEFT, _take(line)
    # A half-sent frame is the oldest of those that did not leave whole.
    if words[UNKNOWN_SEEN] < counters[_COUNTERS + UNKNOWN]:
        words[UNKNOWN_SEEN] += 1
        return _UNKNOWN, _take(line)
    if words[NOT_SENT_SEEN] < counters[_COUNTERS + NOT_SENT]:
        words[NOT_SENT_SEEN] += 1
        return _UNSENT, _take(line)
    return _NO_NEWS, 0


@njit
def _take(line: WsLine) -> int:
    tag = line.queued[line.words[HEAD] & (len(line.queued) - 1)]
    line.words[HEAD] += 1
    return tag


@njit
def scan(line: WsLine, codec: Any, box: ColdBox, events: NDArray[Any]) -> int:
    """See `order_line`."""
    row = next_message(line.wire)
    if row < 0:
        return _NOTHING
    frame = line.wire.frames[row]
    start, end = frame[0], frame[0] + frame[1]
    count = scan_private(codec, line.wire.data, start, end, frame[3], events)
    if count == _COLD and not put_message(box, line.wire.data, start, end):
        return _NOTHING
    release_message(line.wire)
    return count
