"""Codecs: every venue's order entry behind one name, chosen by the codec's type, in kernels as in Python.

    encode(codec, orders, i, wire_id, ref_wire_id, utc_ns, out, at)
        Write the request of ORDER row `i` at `out[at:]`: the offset after it, or a member of Encoded. `wire_id` is the client id
        of the new order, `ref_wire_id` that of the order which is canceled or replaced. A CANCEL_ALL never comes here: execution cancels
    order by order, because no venue has a request that spares the orders of others at the same account.
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

from typing import Any

from hft.venues.binance import kernels as binance
from hft.venues.binance.orders import BinanceCodec
from hft.venues.coinbase import kernels as coinbase
from hft.venues.coinbase.orders import CoinbaseCodec
from hft.venues.kraken import kernels as kraken
from hft.venues.kraken.orders import KrakenCodec
from hft.venues.outcomes import Encoded, Scanned
from shm.dispatch import by_type

__all__ = ["CODECS", "Encoded", "Scanned", "encode", "may_send", "note_sent", "scan_private", "scan_response"]

#: type of the codec -> what has its kernels as attributes
CODECS: dict[type, Any] = {BinanceCodec: binance, CoinbaseCodec: coinbase, KrakenCodec: kraken}

encode = by_type(CODECS, "encode")
scan_private = by_type(CODECS, "scan_private")
scan_response = by_type(CODECS, "scan_response")
may_send = by_type(CODECS, "may_send")
note_sent = by_type(CODECS, "note_sent")
