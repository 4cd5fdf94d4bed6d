"""Coinbase orders: writes whole HTTP/1.1 requests from prepared pieces, signature included.

There is no WebSocket order entry:

    POST /orders HTTP/1.1
    Host: api.exchange.coinbase.com
    User-Agent: hft                   Accept-Encoding: identity
    CB-ACCESS-KEY: ..                 CB-ACCESS-PASSPHRASE: ..
    CB-ACCESS-TIMESTAMP: 1700000000.123456
    CB-ACCESS-SIGN: base64(HMAC-SHA256(secret, timestamp + METHOD + path + body))
    Content-Type: application/json
    Content-Length: 183

    {"type":"limit","product_id":"BTC-USD","side":"buy","time_in_force":"GTC","post_only":true,"stp":"cn","price":"61837.63",
     "size":"0.00100000","client_oid":"<prefix of the installation><order id>"}

Cancels are DELETE /orders/client:<client_oid>?product_id=.. and DELETE /orders?product_id=..; a REPLACE takes two requests (SPLIT).
The time stamp of a new order is so old that the venue refuses it once `request_window_ms` have passed, and not after 30 s only
(ADR 23). That of a cancel is true: nothing is lost by a late one.
Self-trade prevention cancels the newest order: the venue's default reduces both, and no message would say our order's new size in time.
A spot account cannot go short, so REDUCE_ONLY needs no word of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hft.records import IntentKind, OrderFlag, Side, TimeInForce
from hft.sha256 import DIGEST_BYTES, hmac_sha256, new_hmac_key, new_scratch, put_base64
from hft.units import as_int
from hft.venues.coinbase.limits import new_limits
from hft.venues.coinbase.private_tables import KEYS, KINDS, SIDES
from hft.venues.coinbase.remembered import new_remembered
from hft.venues.coinbase.signing import STAMP_LIFE_NS, USER_AGENT, secret_bytes
from hft.venues.coinbase.uuids import put_uuid
from hft.venues.interface import Credentials
from hft.venues.members import Words, new_words
from hft.venues.outcomes import Encoded
from hft.venues.symbols import Symbols, new_symbols, packed
from hft.venues.text import put_bytes, put_decimal
from shm.jit import njit

#: Self-trade preventions that the venue has: decrease and cancel, cancel oldest, newest, both.
STP_NAMES = ("dc", "co", "cn", "cb")

# Rows of CoinbaseCodec.common: what no request differs in.
_POST_LINE, _DELETE_LINE, _HOST, _TIMESTAMP, _SIGN, _LENGTH, _BLANK = range(7)
_SIGNED_POST, _SIGNED_DELETE = 7, 8
_COMMON_BYTES = 512

# Pieces by instrument, side and variant.
PLACE, PRICE, SIZE, CLIENT, TAIL = range(5)
#: The variant of an order: by tif, post-only, and market.
_VARIANTS = ("GTC", "POST_ONLY", "IOC", "FOK", "MARKET")
_GTC_VARIANT, _POST_ONLY_VARIANT, _IOC_VARIANT, _FOK_VARIANT, _MARKET_VARIANT = range(5)
_PIECE_BYTES = 192

# Pieces by instrument of the paths of cancels.
_CANCEL_PATH, _CANCEL_QUERY, _CANCEL_ALL_PATH, _CANCEL_ALL_QUERY = range(4)
_PATH_BYTES = 96

#: Longest request; whoever encodes gives this much room.
REQUEST_BYTES_MAX = 1536
_MESSAGE_BYTES = 1024

_NEW, _CANCEL, _CANCEL_ALL = int(IntentKind.NEW), int(IntentKind.CANCEL), int(IntentKind.CANCEL_ALL)
_REPLACE = int(IntentKind.REPLACE)
_GTC, _IOC, _FOK = int(TimeInForce.GTC), int(TimeInForce.IOC), int(TimeInForce.FOK)
_BUY, _POST_ONLY = int(Side.BUY), int(OrderFlag.POST_ONLY)
_NOT_EXPRESSIBLE, _SPLIT = int(Encoded.NOT_EXPRESSIBLE), int(Encoded.SPLIT)


class CoinbaseCodec(NamedTuple):
    """Prepared requests of one API key, and what its answers and its `user` channel are read with; made by `new_codec`."""

    instruments: NDArray[Any]  #: INSTRUMENT rows
    symbols: Symbols
    common: NDArray[Any]  #: uint8 [piece, _COMMON_BYTES]
    common_bytes: NDArray[Any]
    pieces: NDArray[Any]  #: uint8 [instrument, side 0 buy | 1 sell, variant, piece, _PIECE_BYTES]
    piece_bytes: NDArray[Any]
    paths: NDArray[Any]  #: uint8 [instrument, piece, _PATH_BYTES]
    path_bytes: NDArray[Any]
    key: NDArray[Any]  #: int64[2, 8]: the prepared secret
    scratch: NDArray[Any]
    message: NDArray[Any]  #: uint8: what is signed
    words: NDArray[Any]  #: int64: the prefix of client ids, 1 if queries are signed
    limits: NDArray[Any]  #: int64, see `limits.py`
    keys: Words
    kinds: Words
    sides: Words
    places: NDArray[Any]  #: int64: scratch of a scan
    remembered: NDArray[Any]  #: int64: orders by their UUIDs, see `remembered.py`


# Cells of CoinbaseCodec.words.
PREFIX, SIGN_QUERY, BACKDATED_NS = 0, 1, 2


def new_codec(
    instruments: NDArray[Any],
    symbols: Sequence[str],
    rows: Sequence[int],
    credentials: Credentials,
    host: str,
    prefix: int,
    request_window_ms: int = 1000,
    stp: str = "cn",
    sign_query: bool = True,
) -> CoinbaseCodec:
    """A codec for `symbols`; `rows` are their rows in `instruments`.

    `host` is what the Host header says, with a port that is not the scheme's; `prefix` the 63 bits that are this installation's in
    client ids. Raises ValueError for a secret that is not base64, a window that the venue does not have, an unknown `stp`, or text that a
    header cannot carry.
    """
    if stp not in STP_NAMES:
        raise ValueError(f"stp: expected one of {STP_NAMES}, was {stp!r}")
    backdated_ns = STAMP_LIFE_NS - request_window_ms * 1_000_000
    if request_window_ms <= 0 or backdated_ns < 0:
        raise ValueError(f"request_window_ms: expected 1 to {STAMP_LIFE_NS // 1_000_000}, was {request_window_ms}")
    if not 0 < prefix < 1 << 63:
        raise ValueError("prefix: expected 63 bits, not 0")
    for text in (host, credentials.key, credentials.passphrase):
        if not text.isascii() or not text.isprintable() or not 0 < len(text) <= 128:
            raise ValueError("host, key and passphrase must be 1 to 128 printable ASCII characters")
    common, common_bytes = packed(_common(credentials, host), _COMMON_BYTES)
    shape = (len(instruments), 2, len(_VARIANTS), TAIL + 1)
    pieces, piece_bytes = np.zeros((*shape, _PIECE_BYTES), np.uint8), np.zeros(shape, np.int64)
    paths, path_bytes = np.zeros((len(instruments), 4, _PATH_BYTES), np.uint8), np.zeros((len(instruments), 4), np.int64)
    for row, symbol in zip(rows, symbols, strict=True):
        paths[row], path_bytes[row] = packed(_paths(symbol), _PATH_BYTES)
        for side, side_name in enumerate(("buy", "sell")):
            for variant, name in enumerate(_VARIANTS):
                texts = _pieces(symbol, side_name, name, stp)
                pieces[row, side, variant], piece_bytes[row, side, variant] = packed(texts, _PIECE_BYTES)
    return CoinbaseCodec(
        instruments=instruments,
        symbols=new_symbols(instruments, symbols, rows),
        common=common,
        common_bytes=common_bytes,
        pieces=pieces,
        piece_bytes=piece_bytes,
        paths=paths,
        path_bytes=path_bytes,
        key=new_hmac_key(secret_bytes(credentials)),
        scratch=new_scratch(),
        message=np.zeros(_MESSAGE_BYTES, np.uint8),
        words=np.array([prefix, 1 if sign_query else 0, backdated_ns], np.int64),
        limits=new_limits(),
        keys=new_words(KEYS),
        kinds=new_words(KINDS),
        sides=new_words(SIDES),
        places=np.full(len(KEYS), -1, np.int64),
        remembered=new_remembered(),
    )


def _common(credentials: Credentials, host: str) -> list[bytes]:
    head = f" HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {USER_AGENT}\r\nAccept-Encoding: identity\r\nCB-ACCESS-KEY: {credentials.key}\r\n"
    return [
        text.encode()
        for text in (
            "POST /orders",
            "DELETE ",
            f"{head}CB-ACCESS-PASSPHRASE: {credentials.passphrase}\r\n",
            "CB-ACCESS-TIMESTAMP: ",
            "\r\nCB-ACCESS-SIGN: ",
            "\r\nContent-Type: application/json\r\nContent-Length: ",
            "\r\n\r\n",
            "POST/orders",
            "DELETE",
        )
    ]


def _pieces(symbol: str, side: str, variant: str, stp: str) -> list[bytes]:
    ask = f'"product_id":"{symbol}","side":"{side}","stp":"{stp}"'
    if variant == "MARKET":
        texts = (f'{{"type":"market",{ask}', "", ',"size":"', '","client_oid":"', '"}')
    else:
        tif = '"time_in_force":"GTC","post_only":true' if variant == "POST_ONLY" else f'"time_in_force":"{variant}"'
        texts = (f'{{"type":"limit",{ask},{tif}', ',"price":"', '","size":"', '","client_oid":"', '"}')
    return [text.encode() for text in texts]


def _paths(symbol: str) -> list[bytes]:
    query = f"?product_id={symbol}".encode()
    return [b"/orders/client:", query, b"/orders", query]


@njit
def encode(
    codec: CoinbaseCodec, orders: NDArray[Any], i: int, wire_id: int, ref_wire_id: int, utc_ns: int, out: NDArray[Any], at: int
) -> int:
    """Write the request of ORDER row `i` at `out[at:]`, which has REQUEST_BYTES_MAX bytes; the offset after it, or an Encoded.

    NEW uses `wire_id`, CANCEL `ref_wire_id`; CANCEL_ALL cancels every order of the profile in the instrument. REPLACE is SPLIT.
    """
    kind, row = as_int(orders[i]["kind"]), as_int(orders[i]["instrument"])
    if kind == _REPLACE:
        return _SPLIT
    if kind == _CANCEL or kind == _CANCEL_ALL:
        return _encode_delete(codec, row, kind == _CANCEL, ref_wire_id, utc_ns, out, at)
    side = 0 if orders[i]["side"] == _BUY else 1
    variant = _variant(as_int(orders[i]["tif"]), as_int(orders[i]["flags"]))
    if kind != _NEW or variant < 0:
        return _NOT_EXPRESSIBLE
    price_ticks, qty_lots = as_int(orders[i]["price_ticks"]), as_int(orders[i]["qty_lots"])
    return _encode_post(codec, row, side, variant, price_ticks, qty_lots, wire_id, utc_ns, out, at)


@njit
def encode_market(codec: CoinbaseCodec, row: int, side: int, qty_lots: int, wire_id: int, utc_ns: int, out: NDArray[Any], at: int) -> int:
    """Write the request of a market order, which an ORDER row cannot say; the offset after it."""
    return _encode_post(codec, row, 0 if side == _BUY else 1, _MARKET_VARIANT, 0, qty_lots, wire_id, utc_ns, out, at)


@njit
def _variant(tif: int, flags: int) -> int:
    """The prepared variant, or -1: the venue has no post-only order that does not rest."""
    if flags & _POST_ONLY:
        return _POST_ONLY_VARIANT if tif == _GTC else -1
    if tif == _IOC:
        return _IOC_VARIANT
    return _FOK_VARIANT if tif == _FOK else _GTC_VARIANT


@njit
def _put_common(codec: CoinbaseCodec, piece: int, out: NDArray[Any], at: int) -> int:
    return put_bytes(codec.common[piece], 0, codec.common_bytes[piece], out, at)


@njit
def _encode_post(
    codec: CoinbaseCodec,
    row: int,
    side: int,
    variant: int,
    price_ticks: int,
    qty_lots: int,
    wire_id: int,
    utc_ns: int,
    out: NDArray[Any],
    at: int,
) -> int:
    message, scale = codec.message, codec.instruments[row]
    pieces, sizes = codec.pieces[row, side, variant], codec.piece_bytes[row, side, variant]
    time_end = put_decimal((utc_ns - codec.words[BACKDATED_NS]) // 1000, 6, message, 0)
    body = _put_common(codec, _SIGNED_POST, message, time_end)
    end = put_bytes(pieces[PLACE], 0, sizes[PLACE], message, body)
    end = put_bytes(pieces[PRICE], 0, sizes[PRICE], message, end)
    if variant != _MARKET_VARIANT:
        end = put_decimal(price_ticks * scale["tick_units"], scale["price_decimals"], message, end)
    end = put_bytes(pieces[SIZE], 0, sizes[SIZE], message, end)
    end = put_decimal(qty_lots * scale["lot_units"], scale["qty_decimals"], message, end)
    end = put_bytes(pieces[CLIENT], 0, sizes[CLIENT], message, end)
    end = put_uuid(codec.words[PREFIX], wire_id, message, end)
    end = put_bytes(pieces[TAIL], 0, sizes[TAIL], message, end)
    at = _put_common(codec, _POST_LINE, out, at)
    at = _put_head(codec, time_end, end, out, at)
    at = _put_common(codec, _LENGTH, out, at)
    at = put_decimal(end - body, 0, out, at)
    at = _put_common(codec, _BLANK, out, at)
    return put_bytes(message, body, end, out, at)


@njit
def _encode_delete(codec: CoinbaseCodec, row: int, one: bool, wire_id: int, utc_ns: int, out: NDArray[Any], at: int) -> int:
    message, paths, sizes = codec.message, codec.paths[row], codec.path_bytes[row]
    time_end = put_decimal(utc_ns // 1000, 6, message, 0)
    path = _put_common(codec, _SIGNED_DELETE, message, time_end)
    if one:
        end = put_bytes(paths[_CANCEL_PATH], 0, sizes[_CANCEL_PATH], message, path)
        end = put_uuid(codec.words[PREFIX], wire_id, message, end)
    else:
        end = put_bytes(paths[_CANCEL_ALL_PATH], 0, sizes[_CANCEL_ALL_PATH], message, path)
    whole = put_bytes(paths[_CANCEL_QUERY], 0, sizes[_CANCEL_QUERY], message, end)
    at = _put_common(codec, _DELETE_LINE, out, at)
    at = put_bytes(message, path, whole, out, at)
    at = _put_head(codec, time_end, whole if codec.words[SIGN_QUERY] != 0 else end, out, at)
    return _put_common(codec, _BLANK, out, at)


@njit
def _put_head(codec: CoinbaseCodec, time_end: int, message_end: int, out: NDArray[Any], at: int) -> int:
    """Write the rest of the request line and the headers that every request has, over what is signed in `codec.message`."""
    message = codec.message
    at = _put_common(codec, _HOST, out, at)
    at = _put_common(codec, _TIMESTAMP, out, at)
    at = put_bytes(message, 0, time_end, out, at)
    at = _put_common(codec, _SIGN, out, at)
    digest = message_end
    hmac_sha256(codec.key, message, 0, message_end, codec.scratch, message, digest)
    return put_base64(message, digest, digest + DIGEST_BYTES, out, at)
