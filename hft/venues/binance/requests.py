"""Binance requests: the prepared text of every request that a kernel writes, and of what is signed of it.

A request is pieces of text with values between them. Its parameters are in the order of their names, because that is how they are
signed; so one list of parameters gives both texts:

    {"id":"000001000000002a","method":"order.place","params":{"apiKey":"...","newClientOrderId":"000001000000002a",
     "newOrderRespType":"ACK","price":"61837.63","quantity":"0.00100","recvWindow":1000,"side":"BUY","symbol":"BTCUSDT",
     "timeInForce":"GTC","timestamp":1723161255343,"type":"LIMIT","signature":"..."}}
    apiKey=...&newClientOrderId=000001000000002a&newOrderRespType=ACK&price=61837.63&...&type=LIMIT

On a connection that has logged on, apiKey and signature are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Value(IntEnum):
    """What follows a piece of text."""

    END = 0  #: nothing: the text is complete
    ID = 1  #: the request's id: the id of the ORDER itself
    CLIENT = 2  #: client id of the new order
    REF = 3  #: client id of the order that is canceled, replaced or changed
    PRICE = 4
    QTY = 5
    TIME = 6  #: milliseconds
    SIGNATURE = 7


PIECES, PIECE_BYTES = 10, 320

#: Longest request; whoever encodes gives this much room.
REQUEST_BYTES_MAX = 1024

#: Kinds of `order.place` and `order.cancelReplace`, in the order of their programs.
VARIANTS = ("LIMIT_MAKER", "GTC", "IOC", "FOK", "MARKET")
SIDES = ("BUY", "SELL")

# Programs of one instrument: PLACE + side * 5 + variant, REPLACE + side * 5 + variant, and one each of the others.
PLACE, REPLACE, CANCEL, AMEND, CANCEL_ALL = 0, 10, 20, 21, 22
PROGRAMS = 23

#: What stands before our id in the client id that a canceled order is left with.
CANCELED_MARK = "x"

Param = str | int | Value | tuple[str, Value]  #: a text, a number, a value, or a value behind a text


class Texts(NamedTuple):
    """Texts by [program, piece] and the value behind each piece."""

    pieces: NDArray[Any]  #: uint8 [programs, PIECES, PIECE_BYTES]
    lengths: NDArray[Any]  #: int64 [programs, PIECES]
    values: NDArray[Any]  #: int64 [programs, PIECES], Value


class Options(NamedTuple):
    """What every request says besides the order."""

    api_key: str = ""  #: set where each request is signed
    recv_window_ms: int = 0  #: 0: the venue's own
    self_trade: str = ""  #: selfTradePreventionMode; "": the account's own


def new_texts(symbols: Sequence[str], options: Options) -> tuple[Texts, Texts]:
    """The requests and what is signed of them, PROGRAMS of them for each symbol in order. Raises ValueError for an overlong key."""
    requests, signed = _empty(len(symbols)), _empty(len(symbols))
    for i, symbol in enumerate(symbols):
        for number, method, params in _programs(symbol, options):
            if options.recv_window_ms:
                params["recvWindow"] = options.recv_window_ms
            if options.api_key:
                params["apiKey"] = options.api_key
            names = sorted(params)
            _write(requests, i * PROGRAMS + number, _json(method, [(name, params[name]) for name in names], bool(options.api_key)))
            _write(signed, i * PROGRAMS + number, _query([(name, params[name]) for name in names]))
    return requests, signed


def _empty(symbols: int) -> Texts:
    shape = (symbols * PROGRAMS, PIECES)
    return Texts(np.zeros((*shape, PIECE_BYTES), np.uint8), np.zeros(shape, np.int64), np.zeros(shape, np.int64))


def _programs(symbol: str, options: Options) -> list[tuple[int, str, dict[str, Param]]]:
    """Number, method and parameters of each request about one symbol."""
    common: dict[str, Param] = {"symbol": symbol, "timestamp": Value.TIME}
    canceled: Param = (CANCELED_MARK, Value.REF)
    found: list[tuple[int, str, dict[str, Param]]] = [
        (CANCEL, "order.cancel", {**common, "origClientOrderId": Value.REF, "newClientOrderId": canceled}),
        (AMEND, "order.amend.keepPriority", {**common, "origClientOrderId": Value.REF, "newClientOrderId": Value.REF, "newQty": Value.QTY}),
        (CANCEL_ALL, "openOrders.cancelAll", dict(common)),
    ]
    for s, side in enumerate(SIDES):
        for v, variant in enumerate(VARIANTS):
            order = {**common, **_order(side, variant, options)}
            replaced = {"cancelOrigClientOrderId": Value.REF, "cancelNewClientOrderId": canceled, "cancelReplaceMode": "STOP_ON_FAILURE"}
            found.append((PLACE + s * len(VARIANTS) + v, "order.place", order))
            found.append((REPLACE + s * len(VARIANTS) + v, "order.cancelReplace", {**order, **replaced}))
    return found


def _order(side: str, variant: str, options: Options) -> dict[str, Param]:
    order: dict[str, Param] = {"side": side, "quantity": Value.QTY, "newClientOrderId": Value.CLIENT, "newOrderRespType": "ACK"}
    if options.self_trade:
        order["selfTradePreventionMode"] = options.self_trade
    if variant == "MARKET":
        return {**order, "type": "MARKET"}
    order["price"] = Value.PRICE
    return {**order, "type": "LIMIT_MAKER"} if variant == "LIMIT_MAKER" else {**order, "type": "LIMIT", "timeInForce": variant}


def _json(method: str, params: list[tuple[str, Param]], signed: bool) -> list[str | Value]:
    parts: list[str | Value] = ['{"id":"', Value.ID, f'","method":"{method}","params":{{']
    for i, (name, param) in enumerate(params):
        quote = "" if isinstance(param, int) and (not isinstance(param, Value) or param is Value.TIME) else '"'
        parts += [("," if i else "") + f'"{name}":{quote}', *_parts(param), quote]
    return [*parts, ',"signature":"', Value.SIGNATURE, '"}}'] if signed else [*parts, "}}"]


def _query(params: list[tuple[str, Param]]) -> list[str | Value]:
    parts: list[str | Value] = []
    for i, (name, param) in enumerate(params):
        parts += [("&" if i else "") + f"{name}=", *_parts(param)]
    return parts


def _parts(param: Param) -> list[str | Value]:
    if isinstance(param, tuple):
        return list(param)
    return [param] if isinstance(param, Value) else [str(param)]


def _write(texts: Texts, program: int, parts: list[str | Value]) -> None:
    """Join texts that follow each other, so that a piece lies between two values."""
    pieces, values = [""], list[Value]()
    for part in parts:
        if isinstance(part, Value):
            values.append(part)
            pieces.append("")
        else:
            pieces[-1] += part
    if len(pieces) > PIECES or any(len(piece.encode()) > PIECE_BYTES for piece in pieces):
        raise ValueError(f"expected pieces of at most {PIECE_BYTES} bytes; is the API key or the symbol that long?")
    for k, piece in enumerate(pieces):
        data = piece.encode()
        texts.pieces[program, k, : len(data)] = np.frombuffer(data, np.uint8)
        texts.lengths[program, k] = len(data)
        texts.values[program, k] = values[k] if k < len(values) else Value.END
