"""Kraken orders: writes WebSocket messages from prepared pieces; a token authenticates them, nothing is signed.

    {"method":"add_order","params":{"order_type":"limit","side":"buy","symbol":"BTC/USD","time_in_force":"gtc","post_only":true,
     "stp_type":"cancel_newest","limit_price":61837.6,"order_qty":0.00100000,"cl_ord_id":"<16 hex digits>",
     "deadline":"2026-01-01T00:00:00.000000Z","token":".."},"req_id":123}
    {"method":"amend_order","params":{"cl_ord_id":"..","limit_price":61837.5,"order_qty":0.00200000,"deadline":"..","token":".."},..}
    {"method":"cancel_order","params":{"cl_ord_id":[".."],"token":".."},..}

REPLACE amends in place: `order_qty` is the whole size, what was filled included, and the order keeps its ids. CANCEL_ALL cannot be
said: the venue's `cancel_all` ends every order of the account, whoever's. `req_id` is the ORDER's id. Until cold code has put a token
in, nothing can be sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hft.records import IntentKind, OrderFlag, Side, TimeInForce
from hft.units import as_int
from hft.venues.kraken.errors import Errors, new_errors
from hft.venues.kraken.limits import new_limits
from hft.venues.kraken.private_tables import PrivateTables, new_private_tables
from hft.venues.outcomes import Encoded
from hft.venues.symbols import Symbols, new_symbols, packed
from hft.venues.text import put_bytes, put_decimal, put_hex
from shm.jit import njit

#: Self-trade preventions that the venue has.
STP_TYPES = ("cancel_newest", "cancel_oldest", "cancel_both")

#: Bounds of `deadline`, from now.
DEADLINE_MIN_MS, DEADLINE_MAX_MS = 500, 60_000

#: Longest token, and longest request; whoever encodes gives this much room.
TOKEN_BYTES_MAX = 256
REQUEST_BYTES_MAX = 1024

# Rows of KrakenCodec.pieces.
_PRICE, _QTY, _CLIENT, _DEADLINE, _TOKEN, _REQUEST, _AMEND, _CANCEL_ONE = range(8)
_PIECE_BYTES = 64

# Heads of new orders, by instrument, side and variant; a variant is a time in force or post-only, and with 4 more reduce-only.
_VARIANTS = ('"gtc"', '"ioc"', '"fok"', '"gtc","post_only":true')
_HEAD_BYTES = 224

# Cells of KrakenCodec.words.
TOKEN_BYTES, DEADLINE_NS = 0, 1

_NEW, _CANCEL, _REPLACE = int(IntentKind.NEW), int(IntentKind.CANCEL), int(IntentKind.REPLACE)
_GTC, _IOC, _FOK = int(TimeInForce.GTC), int(TimeInForce.IOC), int(TimeInForce.FOK)
_BUY, _POST_ONLY, _REDUCE_ONLY = int(Side.BUY), int(OrderFlag.POST_ONLY), int(OrderFlag.REDUCE_ONLY)
_NOT_EXPRESSIBLE = int(Encoded.NOT_EXPRESSIBLE)
_QUOTE, _CLOSE_BRACE = 34, 125
_DAY_S, _SECOND_US = 86_400, 1_000_000


class KrakenCodec(NamedTuple):
    """Prepared requests of one API key; made by `new_codec`."""

    instruments: NDArray[Any]  #: INSTRUMENT rows
    symbols: Symbols
    heads: NDArray[Any]  #: uint8 [instrument, side 0 buy | 1 sell, variant, _HEAD_BYTES]
    head_bytes: NDArray[Any]
    pieces: NDArray[Any]  #: uint8 [piece, _PIECE_BYTES]
    piece_bytes: NDArray[Any]
    token: NDArray[Any]  #: uint8: of this connection, see `set_token`
    words: NDArray[Any]  #: int64: bytes of the token, ns to the deadline
    limits: NDArray[Any]  #: int64, see `limits.py`
    errors: Errors
    private: PrivateTables


def new_codec(
    instruments: NDArray[Any],
    symbols: Sequence[str],
    rows: Sequence[int],
    request_window_ms: int = 5000,
    stp_type: str = "cancel_newest",
    tier: str = "starter",
) -> KrakenCodec:
    """A codec for `symbols`; `rows` are their rows in `instruments`. Raises ValueError for an unknown `stp_type` or `tier`, or a
    window that the venue does not take."""
    if stp_type not in STP_TYPES:
        raise ValueError(f"stp_type: expected one of {STP_TYPES}, was {stp_type!r}")
    if not DEADLINE_MIN_MS <= request_window_ms <= DEADLINE_MAX_MS:
        raise ValueError(f"request_window_ms: expected {DEADLINE_MIN_MS} to {DEADLINE_MAX_MS}, was {request_window_ms}")
    shape = (len(instruments), 2, 2 * len(_VARIANTS))
    heads, head_bytes = np.zeros((*shape, _HEAD_BYTES), np.uint8), np.zeros(shape, np.int64)
    for row, symbol in zip(rows, symbols, strict=True):
        for side, name in enumerate(("buy", "sell")):
            heads[row, side], head_bytes[row, side] = packed(_heads(symbol, name, stp_type), _HEAD_BYTES)
    pieces, piece_bytes = packed(_pieces(), _PIECE_BYTES)
    return KrakenCodec(
        instruments=instruments,
        symbols=new_symbols(instruments, symbols, rows),
        heads=heads,
        head_bytes=head_bytes,
        pieces=pieces,
        piece_bytes=piece_bytes,
        token=np.zeros(TOKEN_BYTES_MAX, np.uint8),
        words=np.array([0, request_window_ms * 1_000_000], np.int64),
        limits=new_limits(len(instruments), tier),
        errors=new_errors(),
        private=new_private_tables(len(instruments), symbols, rows),
    )


def _heads(symbol: str, side: str, stp_type: str) -> list[bytes]:
    head = f'{{"method":"add_order","params":{{"order_type":"limit","side":"{side}","symbol":"{symbol}","stp_type":"{stp_type}"'
    return [f'{head},"time_in_force":{variant}{reduce}'.encode() for reduce in ("", ',"reduce_only":true') for variant in _VARIANTS]


def _pieces() -> list[bytes]:
    return [
        b',"limit_price":',
        b',"order_qty":',
        b',"cl_ord_id":"',
        b',"deadline":"',
        b',"token":"',
        b'"},"req_id":',
        b'{"method":"amend_order","params":{"cl_ord_id":"',
        b'{"method":"cancel_order","params":{"cl_ord_id":["',
    ]


def set_token(codec: KrakenCodec, token: str) -> None:
    """Put the token of the connection in; "" takes it out. Raises ValueError for what cannot be a token."""
    data = token.encode()
    if len(data) > TOKEN_BYTES_MAX or not token.isascii() or not all(33 <= byte < 127 and byte not in b'"\\' for byte in data):
        raise ValueError(f"a token has at most {TOKEN_BYTES_MAX} printable characters")
    codec.token[: len(data)] = np.frombuffer(data, np.uint8)
    codec.words[TOKEN_BYTES] = len(data)


@njit
def encode(
    codec: KrakenCodec, orders: NDArray[Any], i: int, wire_id: int, ref_wire_id: int, utc_ns: int, out: NDArray[Any], at: int
) -> int:
    """Write the request of ORDER row `i` at `out[at:]`, which has REQUEST_BYTES_MAX bytes; the offset after it, or an Encoded.

    NEW uses `wire_id`, CANCEL and REPLACE `ref_wire_id`; CANCEL_ALL is NOT_EXPRESSIBLE.
    """
    kind = as_int(orders[i]["kind"])
    if codec.words[TOKEN_BYTES] == 0:
        return _NOT_EXPRESSIBLE
    if kind == _NEW:
        at = _put_new(codec, orders, i, wire_id, out, at)
        if at < 0:
            return _NOT_EXPRESSIBLE
        at = _put_deadline(codec, utc_ns, out, at)
        at = _put_piece(codec, _TOKEN, out, at)
    elif kind == _REPLACE:
        at = _put_piece(codec, _AMEND, out, at)
        at = put_hex(ref_wire_id, out, at)
        out[at] = _QUOTE
        at = _put_numbers(codec, orders, i, out, at + 1)
        at = _put_deadline(codec, utc_ns, out, at)
        at = _put_piece(codec, _TOKEN, out, at)
    elif kind == _CANCEL:
        at = _put_piece(codec, _CANCEL_ONE, out, at)
        at = put_hex(ref_wire_id, out, at)
        out[at], out[at + 1] = _QUOTE, 93
        at = _put_piece(codec, _TOKEN, out, at + 2)
    else:
        return _NOT_EXPRESSIBLE
    at = put_bytes(codec.token, 0, codec.words[TOKEN_BYTES], out, at)
    at = _put_piece(codec, _REQUEST, out, at)
    at = put_decimal(as_int(orders[i]["order_id"]), 0, out, at)
    out[at] = _CLOSE_BRACE
    return at + 1


@njit
def _variant(tif: int, flags: int) -> int:
    """The prepared variant, or -1: the venue has no post-only order that does not rest."""
    reduce = 4 if flags & _REDUCE_ONLY else 0
    if flags & _POST_ONLY:
        return 3 + reduce if tif == _GTC else -1
    if tif == _IOC:
        return 1 + reduce
    return 2 + reduce if tif == _FOK else reduce


@njit
def _put_piece(codec: KrakenCodec, piece: int, out: NDArray[Any], at: int) -> int:
    return put_bytes(codec.pieces[piece], 0, codec.piece_bytes[piece], out, at)


@njit
def _put_new(codec: KrakenCodec, orders: NDArray[Any], i: int, wire_id: int, out: NDArray[Any], at: int) -> int:
    row, side = as_int(orders[i]["instrument"]), 0 if orders[i]["side"] == _BUY else 1
    variant = _variant(as_int(orders[i]["tif"]), as_int(orders[i]["flags"]))
    if variant < 0:
        return -1
    at = put_bytes(codec.heads[row, side, variant], 0, codec.head_bytes[row, side, variant], out, at)
    at = _put_numbers(codec, orders, i, out, at)
    at = _put_piece(codec, _CLIENT, out, at)
    at = put_hex(wire_id, out, at)
    out[at] = _QUOTE
    return at + 1


@njit
def _put_numbers(codec: KrakenCodec, orders: NDArray[Any], i: int, out: NDArray[Any], at: int) -> int:
    scale = codec.instruments[as_int(orders[i]["instrument"])]
    at = _put_piece(codec, _PRICE, out, at)
    at = put_decimal(as_int(orders[i]["price_ticks"]) * scale["tick_units"], scale["price_decimals"], out, at)
    at = _put_piece(codec, _QTY, out, at)
    return put_decimal(as_int(orders[i]["qty_lots"]) * scale["lot_units"], scale["qty_decimals"], out, at)


@njit
def _put_deadline(codec: KrakenCodec, utc_ns: int, out: NDArray[Any], at: int) -> int:
    at = _put_piece(codec, _DEADLINE, out, at)
    at = put_time(utc_ns + codec.words[DEADLINE_NS], out, at)
    out[at] = _QUOTE
    return at + 1


@njit
def _put_two(value: int, mark: int, out: NDArray[Any], at: int) -> int:
    """Write two digits and a mark."""
    out[at], out[at + 1], out[at + 2] = 48 + value // 10, 48 + value % 10, mark
    return at + 3


@njit
def put_time(utc_ns: int, out: NDArray[Any], at: int) -> int:
    """Write a time since 1970 as RFC 3339 text, `2026-01-01T00:00:00.000000Z`; the offset after it."""
    microseconds = utc_ns // 1000
    seconds = microseconds // _SECOND_US
    days, second = seconds // _DAY_S, seconds % _DAY_S
    # The civil calendar in years that begin in March, by eras of 400 years.
    days += 719_468
    era, day_of_era = days // 146_097, days % 146_097
    year = (day_of_era - day_of_era // 1460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day = day_of_era - (365 * year + year // 4 - year // 100)
    month = (5 * day + 2) // 153
    day_of_month = day - (153 * month + 2) // 5 + 1
    month = month + 3 if month < 10 else month - 9
    year += 400 * era + (1 if month <= 2 else 0)
    at = put_decimal(year, 0, out, at)
    out[at] = 45
    at = _put_two(month, 45, out, at + 1)
    at = _put_two(day_of_month, 84, out, at)
    at = _put_two(second // 3600, 58, out, at)
    at = _put_two(second // 60 % 60, 58, out, at)
    at = _put_two(second % 60, 46, out, at)
    fraction = microseconds % _SECOND_US
    for k in range(6):
        out[at + 5 - k] = 48 + fraction % 10
        fraction //= 10
    out[at + 6] = 90
    return at + 7
