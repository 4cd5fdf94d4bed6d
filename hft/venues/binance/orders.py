"""Binance orders: the codec of order entry, and the kernels that write its requests.

A new order's client id is its own id as 16 hex digits. An order that we cancel is left with the client id `x` and its digits, so
that every id the venue holds still says which order it was. What was asked for is remembered by id, for answers that tell less
than one needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hft.records import IntentKind, OrderFlag, Side, TimeInForce
from hft.sha256 import DIGEST_BYTES, hmac_sha256, new_hmac_key, new_scratch, put_hex_bytes
from hft.units import as_int
from hft.venues.binance.errors import Errors, new_errors
from hft.venues.binance.limits import Limit, new_limits
from hft.venues.binance.private_words import PrivateWords, new_private_words
from hft.venues.binance.requests import (
    AMEND,
    CANCEL,
    CANCEL_ALL,
    PLACE,
    PROGRAMS,
    REPLACE,
    REQUEST_BYTES_MAX,
    VARIANTS,
    Options,
    Texts,
    Value,
    new_texts,
)
from hft.venues.binance.signing import is_private_key
from hft.venues.interface import Credentials
from hft.venues.outcomes import Encoded
from hft.venues.symbols import Symbols, new_symbols
from hft.venues.text import put_decimal, put_hex
from shm.jit import njit

__all__ = [
    "REQUEST_BYTES_MAX",
    "BinanceCodec",
    "encode",
    "encode_amend",
    "encode_market",
    "new_codec",
]

#: Modes of self-trade prevention that leave an order's size alone.
SELF_TRADE_MODES = ("", "NONE", "EXPIRE_MAKER", "EXPIRE_TAKER", "EXPIRE_BOTH")

# Columns of BinanceCodec.asked.
ASKED_ID = 0  #: order id of a NEW or REPLACE
ASKED_REF = 1  #: REPLACE: client id of the order that it replaces
ASKED_PRICE = 2
ASKED_QTY = 3
ASKED_FORM = 4  #: side, time in force and flags, to compare
ASKED_FILLED = 5  #: 1 once a fill of it was seen
ASKED_KEY = 6  #: the venue's own id, unique with the instrument; 0 until it was seen
ASKED_ROW = 7  #: instrument
_ASKED_COLUMNS = 8
#: Orders that are remembered; a power of two.
ASKED = 8192

# Cells of BinanceCodec.words.
MAY_AMEND = 0  #: 1: a REPLACE that only makes an unfilled order smaller keeps its place in the queue
_WORDS = 4

_NEW, _CANCEL, _REPLACE, _CANCEL_ALL = (int(kind) for kind in IntentKind)
_END, _ID, _CLIENT, _REF, _PRICE, _QTY, _TIME, _SIGNATURE = (int(value) for value in Value)
_BUY, _POST_ONLY, _GTC = int(Side.BUY), int(OrderFlag.POST_ONLY), int(TimeInForce.GTC)
_NOT_EXPRESSIBLE = int(Encoded.NOT_EXPRESSIBLE)
_VARIANTS, _MARKET = len(VARIANTS), VARIANTS.index("MARKET")
_MS = 1_000_000


class BinanceCodec(NamedTuple):
    """Order entry of one connection; made by `new_codec`."""

    instruments: NDArray[Any]  #: INSTRUMENT, by row
    symbols: Symbols  #: symbols on the wire -> rows
    places: NDArray[Any]  #: int64: row -> its place among the venue's, -1 for other venues' rows
    requests: Texts
    signed: Texts  #: what is signed of each request
    hmac_key: NDArray[Any]  #: int64[2, 8]; unused where the connection logs on
    hmac_scratch: NDArray[Any]
    payload: NDArray[Any]  #: uint8: scratch for what is signed
    asked: NDArray[Any]  #: int64 [ASKED, columns], by a hash of the order id
    limits: NDArray[Any]  #: int64, see `limits`
    private: PrivateWords
    errors: Errors
    words: NDArray[Any]  #: int64, see the cells above


def new_codec(
    instruments: NDArray[Any],
    symbols: Sequence[str],
    rows: Sequence[int],
    assets: Sequence[str] = (),
    *,
    credentials: Credentials | None = None,
    recv_window_ms: int = 1000,
    self_trade: str = "EXPIRE_MAKER",
    amend: bool = False,
    limits: Sequence[Limit] = (),
) -> BinanceCodec:
    """A codec for `symbols` on the wire, whose rows in `instruments` are `rows`; `assets` are the names of the asset table.

    With an HMAC key in `credentials` every request is signed; with an Ed25519 key, or none, the connection logs on.
    `recv_window_ms` is how long after its time stamp the venue still takes a request. Raises ValueError for a mode of self-trade
    prevention that changes sizes, and as `new_symbols` does.
    """
    if self_trade not in SELF_TRADE_MODES:
        raise ValueError(f"self_trade: expected one of {', '.join(SELF_TRADE_MODES[1:])}, was {self_trade!r}")
    signs = credentials is not None and not is_private_key(credentials.secret)
    options = Options(credentials.key if credentials is not None and signs else "", recv_window_ms, self_trade)
    requests, signed = new_texts(symbols, options)
    places = np.full(max(1, len(instruments)), -1, np.int64)
    places[list(rows)] = range(len(rows))
    words = np.zeros(_WORDS, np.int64)
    words[MAY_AMEND] = amend
    return BinanceCodec(
        instruments=instruments,
        symbols=new_symbols(instruments, symbols, rows),
        places=places,
        requests=requests,
        signed=signed,
        hmac_key=new_hmac_key(credentials.secret if credentials is not None and signs else b""),
        hmac_scratch=new_scratch(),
        payload=np.zeros(REQUEST_BYTES_MAX, np.uint8),
        asked=np.zeros((ASKED, _ASKED_COLUMNS), np.int64),
        limits=new_limits(limits),
        private=new_private_words(instruments, assets),
        errors=new_errors(),
        words=words,
    )


@njit
def encode(
    codec: BinanceCodec, orders: NDArray[Any], i: int, wire_id: int, ref_wire_id: int, utc_ns: int, out: NDArray[Any], at: int
) -> int:
    """Write the request of ORDER row `i` at `out[at:]`: the offset after it, or NOT_EXPRESSIBLE.

    `wire_id` is the client id of the new order, `ref_wire_id` that of the order which is canceled, replaced or changed.
    """
    row = as_int(orders[i]["instrument"])
    if row < 0 or row >= len(codec.places) or codec.places[row] < 0:
        return _NOT_EXPRESSIBLE
    kind = orders[i]["kind"]
    if kind == _NEW or kind == _REPLACE:
        if orders[i]["price_ticks"] <= 0 or orders[i]["qty_lots"] <= 0 or not _has_variant(orders, i):
            return _NOT_EXPRESSIBLE
        if kind == _REPLACE and codec.words[MAY_AMEND] != 0 and is_smaller(codec.asked, orders, i, ref_wire_id):
            return encode_amend(codec, orders, i, wire_id, ref_wire_id, utc_ns, out, at)
        remember(codec.asked, orders, i, wire_id, ref_wire_id if kind == _REPLACE else 0)
        program = _program(codec, orders, i) + (PLACE if kind == _NEW else REPLACE)
    elif kind == _CANCEL:
        program = codec.places[row] * PROGRAMS + CANCEL
    elif kind == _CANCEL_ALL:
        program = codec.places[row] * PROGRAMS + CANCEL_ALL
    else:
        return _NOT_EXPRESSIBLE
    return _write(codec, program, orders, i, wire_id, ref_wire_id, utc_ns, out, at)


@njit
def encode_amend(
    codec: BinanceCodec, orders: NDArray[Any], i: int, wire_id: int, ref_wire_id: int, utc_ns: int, out: NDArray[Any], at: int
) -> int:
    """Write the request that makes the order `ref_wire_id` smaller and keeps its place in the queue and its client id.

    The size of ORDER row `i` is then what the order has in all, fills before included. The venue refuses a size that is not smaller.
    """
    remember(codec.asked, orders, i, wire_id, ref_wire_id)
    before = codec.asked[asked_place(ref_wire_id)]
    if before[ASKED_ID] == ref_wire_id:
        before[ASKED_QTY] = orders[i]["qty_lots"]
    program = codec.places[orders[i]["instrument"]] * PROGRAMS + AMEND
    return _write(codec, program, orders, i, wire_id, ref_wire_id, utc_ns, out, at)


@njit
def encode_market(codec: BinanceCodec, orders: NDArray[Any], i: int, wire_id: int, utc_ns: int, out: NDArray[Any], at: int) -> int:
    """Write ORDER row `i` as a market order; its price and time in force are not said."""
    remember(codec.asked, orders, i, wire_id, 0)
    side = 0 if orders[i]["side"] == _BUY else 1
    program = codec.places[orders[i]["instrument"]] * PROGRAMS + PLACE + side * _VARIANTS + _MARKET
    return _write(codec, program, orders, i, wire_id, 0, utc_ns, out, at)


@njit
def asked_place(order_id: int) -> int:
    """Row of `asked` where an order is remembered, or would be."""
    return (order_id ^ (order_id >> 29)) & (ASKED - 1)


@njit
def remember(all_asked: NDArray[Any], orders: NDArray[Any], i: int, wire_id: int, ref_wire_id: int) -> None:
    """Remember what is asked for."""
    asked = all_asked[asked_place(wire_id)]
    asked[ASKED_ID] = wire_id
    asked[ASKED_REF] = ref_wire_id
    asked[ASKED_PRICE] = orders[i]["price_ticks"]
    asked[ASKED_QTY] = orders[i]["qty_lots"]
    asked[ASKED_FORM] = _form(orders, i)
    asked[ASKED_FILLED] = 0
    asked[ASKED_KEY] = 0
    asked[ASKED_ROW] = as_int(orders[i]["instrument"])


@njit
def _form(orders: NDArray[Any], i: int) -> int:
    return (as_int(orders[i]["side"]) & 3) | as_int(orders[i]["tif"]) << 2 | (as_int(orders[i]["flags"]) & _POST_ONLY) << 8


@njit
def is_smaller(all_asked: NDArray[Any], orders: NDArray[Any], i: int, ref_wire_id: int) -> bool:
    """Whether ORDER row `i` is the order `ref_wire_id`, of which no fill was seen, in all but a smaller size."""
    asked = all_asked[asked_place(ref_wire_id)]
    known = ref_wire_id > 0 and asked[ASKED_ID] == ref_wire_id and asked[ASKED_FILLED] == 0
    same = asked[ASKED_PRICE] == orders[i]["price_ticks"] and asked[ASKED_FORM] == _form(orders, i)
    return known and same and orders[i]["qty_lots"] < asked[ASKED_QTY]


@njit
def _has_variant(orders: NDArray[Any], i: int) -> bool:
    """Whether the venue has the time in force; a post-only order rests until it is canceled."""
    tif = as_int(orders[i]["tif"])
    post_only = orders[i]["flags"] & _POST_ONLY != 0
    return tif == _GTC if post_only else _GTC <= tif < _GTC + 3


@njit
def _program(codec: BinanceCodec, orders: NDArray[Any], i: int) -> int:
    """Number of the first program of the order's instrument, plus side and variant."""
    side = 0 if orders[i]["side"] == _BUY else 1
    variant = 0 if orders[i]["flags"] & _POST_ONLY else as_int(orders[i]["tif"]) - (_GTC - 1)
    return codec.places[orders[i]["instrument"]] * PROGRAMS + side * _VARIANTS + variant


@njit
def _write(
    codec: BinanceCodec,
    program: int,
    orders: NDArray[Any],
    i: int,
    wire_id: int,
    ref_wire_id: int,
    utc_ns: int,
    out: NDArray[Any],
    at: int,
) -> int:
    """Write a program's request, signed if it says so."""
    texts = codec.requests
    k = 0
    while True:
        at = _put_piece(texts, program, k, out, at)
        value = texts.values[program, k]
        if value == _END:
            return at
        if value == _SIGNATURE:
            at = _put_signature(codec, program, orders, i, wire_id, ref_wire_id, utc_ns, out, at)
        else:
            at = _put_value(codec.instruments, value, orders, i, wire_id, ref_wire_id, utc_ns, out, at)
        k += 1


@njit
def _put_signature(
    codec: BinanceCodec,
    program: int,
    orders: NDArray[Any],
    i: int,
    wire_id: int,
    ref_wire_id: int,
    utc_ns: int,
    out: NDArray[Any],
    at: int,
) -> int:
    """Write the payload of a program, sign it, and write the signature at `out[at:]`."""
    texts, payload = codec.signed, codec.payload
    end = 0
    k = 0
    while True:
        end = _put_piece(texts, program, k, payload, end)
        value = texts.values[program, k]
        if value == _END:
            break
        end = _put_value(codec.instruments, value, orders, i, wire_id, ref_wire_id, utc_ns, payload, end)
        k += 1
    hmac_sha256(codec.hmac_key, payload, 0, end, codec.hmac_scratch, payload, 0)
    return put_hex_bytes(payload, 0, DIGEST_BYTES, out, at)


@njit
def _put_value(
    instruments: NDArray[Any],
    value: int,
    orders: NDArray[Any],
    i: int,
    wire_id: int,
    ref_wire_id: int,
    utc_ns: int,
    out: NDArray[Any],
    at: int,
) -> int:
    order = orders[i]
    if value == _ID:
        return put_hex(order["order_id"], out, at)
    if value == _CLIENT:
        return put_hex(wire_id, out, at)
    if value == _REF:
        return put_hex(ref_wire_id, out, at)
    if value == _TIME:
        return put_decimal(utc_ns // _MS, 0, out, at)
    scale = instruments[order["instrument"]]
    if value == _PRICE:
        return put_decimal(order["price_ticks"] * scale["tick_units"], scale["price_decimals"], out, at)
    return put_decimal(order["qty_lots"] * scale["lot_units"], scale["qty_decimals"], out, at)


@njit
def _put_piece(texts: Texts, program: int, piece: int, out: NDArray[Any], at: int) -> int:
    length = texts.lengths[program, piece]
    source = texts.pieces[program, piece]
    for k in range(length):
        out[at + k] = source[k]
    return at + length
