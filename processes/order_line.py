"""Order line: the way of order requests to a venue and of its word back, over WebSocket or HTTP, chosen by the line's type.

poll(line, now_ns)
    Read what has arrived. Never blocks.
flush(line, kills, firm, venue)
    Write what is queued; orders obey the kill words. Never blocks.
can_send(line)
    1 while requests can be queued, as far as the connection is concerned.
queue(line, lane, tag, kind, deadline_ns, source, offset, length)
    Queue one request in lane ORDERS or CANCELS; `tag` is its id, `kind` its IntentKind. 1, or 0 when there is no room.
settled(line)
    What became of the next request in lane ORDERS whose sending is settled, one at a time: (Settled, its id).
scan(line, codec, box, events)
    Take the next message: how many VENUE_EVENT rows are in `events`, a member of Scanned, or NOTHING.
"""

from __future__ import annotations

from typing import Any

from processes import http_line, ws_line
from processes.line_words import NOTHING, Settled
from shm.dispatch import by_type

__all__ = ["NOTHING", "Settled", "can_send", "flush", "poll", "queue", "scan", "settled"]

#: type of the line -> the module of its kernels
LINES: dict[type, Any] = {ws_line.WsLine: ws_line, http_line.HttpLine: http_line}

poll = by_type(LINES, "poll")
flush = by_type(LINES, "flush")
can_send = by_type(LINES, "can_send")
queue = by_type(LINES, "queue")
settled = by_type(LINES, "settled")
scan = by_type(LINES, "scan")
