"""Codecs: every venue's order entry behind one name, chosen by the codec's type, in kernels as in Python.

    encode(codec, orders, i, wire_id, ref_wire_id, utc_ns, out, at)
        Write the request of ORDER row `i` at `out[at:]`: the offset after it, or a member of Encoded. `wire_id` is the client id
        of the new order, `ref_wire_id` that of the order which is canceled or replaced.
    scan_private(codec, data, start, end, received_ns, out)
        Read one WebSocket message of the private connection: how many VENUE_EVENT rows are in `out`, or a member of Scanned.
    scan_response(codec, kind, order_id, status, data, start, end, received_ns, out)
        The same of an HTTP answer to the request of IntentKind `kind` with this id; venues with HTTP order entry only.
    may_send(codec, kind, instrument, now_ns, utc_ns)
        How many ns to wait before a request of IntentKind `kind` may leave, by the venue's own limits; 0: none.
    note_sent(codec, kind, instrument, now_ns, utc_ns)
        Count such a request against the venue's limits.

Adding a venue adds a row to `CODECS`.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

from shm.dispatch import by_type


class Encoded(IntEnum):
    """Why `encode` wrote nothing; what it wrote ends at a positive offset."""

    NOT_EXPRESSIBLE = -1  #: the venue has no such order
    SPLIT = -2  #: a REPLACE that takes two requests: cancel first, and the new order when that is through


class Scanned(IntEnum):
    """Why a scan gives no events."""

    IGNORED = 0
    COLD = -1  #: for `AccountSession.take`
    MALFORMED = -2


#: type of the codec -> what has its kernels as attributes
CODECS: dict[type, Any] = {}

encode = by_type(CODECS, "encode")
scan_private = by_type(CODECS, "scan_private")
scan_response = by_type(CODECS, "scan_response")
may_send = by_type(CODECS, "may_send")
note_sent = by_type(CODECS, "note_sent")
