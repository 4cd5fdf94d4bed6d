"""Bench references: the usual ways to decode a depth update in Python and to keep its book, for the codec and book benches.

    orjson + Decimal            loads, and a Decimal for each price and size; exact
    msgspec + float             a typed decoder, and float() of each price and size
    msgspec, lax float          a typed decoder that makes the floats itself; the fastest there is without own code

Books are dicts, price -> size. With the best price kept, it is compared on each level and looked for only when it was removed.
"""

from __future__ import annotations

import json
from decimal import Decimal
from time import perf_counter_ns
from typing import Any

import msgspec
from numpy.typing import NDArray


class _Texts(msgspec.Struct):
    e: str
    E: int
    s: str
    U: int
    u: int
    b: list[tuple[str, str]]
    a: list[tuple[str, str]]


class _Floats(msgspec.Struct):
    e: str
    E: int
    s: str
    U: int
    u: int
    b: list[tuple[float, float]]
    a: list[tuple[float, float]]


class _WrappedTexts(msgspec.Struct):
    stream: str
    data: _Texts


class _WrappedFloats(msgspec.Struct):
    stream: str
    data: _Floats


_decode_texts = msgspec.json.Decoder(_WrappedTexts).decode
_decode_floats = msgspec.json.Decoder(_WrappedFloats, strict=False).decode

Sides = tuple[dict[Any, Any], dict[Any, Any]]


def sides_of(snapshot: bytes, number: Any) -> Sides:
    """A snapshot's bids and asks, each number made by `number`."""
    document = json.loads(snapshot)
    bids, asks = ({number(price): number(size) for price, size in document[name]} for name in ("bids", "asks"))
    return bids, asks


def decode_orjson_decimal(frames: list[bytes], spans_ns: NDArray[Any]) -> None:
    """Decode each frame; fill `spans_ns`."""
    import orjson

    for n, frame in enumerate(frames):
        began_ns = perf_counter_ns()
        event = orjson.loads(frame)["data"]
        [(Decimal(price), Decimal(size)) for price, size in event["b"]]
        [(Decimal(price), Decimal(size)) for price, size in event["a"]]
        spans_ns[n] = perf_counter_ns() - began_ns


def decode_msgspec_float(frames: list[bytes], spans_ns: NDArray[Any]) -> None:
    """Decode each frame; fill `spans_ns`."""
    for n, frame in enumerate(frames):
        began_ns = perf_counter_ns()
        event = _decode_texts(frame).data
        [(float(price), float(size)) for price, size in event.b]
        [(float(price), float(size)) for price, size in event.a]
        spans_ns[n] = perf_counter_ns() - began_ns


def decode_msgspec_lax(frames: list[bytes], spans_ns: NDArray[Any]) -> None:
    """Decode each frame; fill `spans_ns`."""
    for n, frame in enumerate(frames):
        began_ns = perf_counter_ns()
        _decode_floats(frame)
        spans_ns[n] = perf_counter_ns() - began_ns


def book_orjson_decimal(frames: list[bytes], sides: Sides, spans_ns: NDArray[Any]) -> None:
    """Decode each frame and apply it to two dicts; fill `spans_ns`."""
    import orjson

    bids, asks = sides
    for n, frame in enumerate(frames):
        began_ns = perf_counter_ns()
        event = orjson.loads(frame)["data"]
        for book, levels in ((bids, event["b"]), (asks, event["a"])):
            for price_text, size_text in levels:
                price, size = Decimal(price_text), Decimal(size_text)
                if size:
                    book[price] = size
                else:
                    book.pop(price, None)
        spans_ns[n] = perf_counter_ns() - began_ns


def book_msgspec_float(frames: list[bytes], sides: Sides, spans_ns: NDArray[Any]) -> None:
    """Decode each frame and apply it to two dicts; fill `spans_ns`."""
    bids, asks = sides
    for n, frame in enumerate(frames):
        began_ns = perf_counter_ns()
        event = _decode_texts(frame).data
        for book, levels in ((bids, event.b), (asks, event.a)):
            for price_text, size_text in levels:
                price, size = float(price_text), float(size_text)
                if size:
                    book[price] = size
                else:
                    book.pop(price, None)
        spans_ns[n] = perf_counter_ns() - began_ns


def book_msgspec_lax(frames: list[bytes], sides: Sides, spans_ns: NDArray[Any]) -> None:
    """Decode each frame and apply it to two dicts; fill `spans_ns`."""
    bids, asks = sides
    for n, frame in enumerate(frames):
        began_ns = perf_counter_ns()
        event = _decode_floats(frame).data
        for book, levels in ((bids, event.b), (asks, event.a)):
            for price, size in levels:
                if size:
                    book[price] = size
                else:
                    book.pop(price, None)
        spans_ns[n] = perf_counter_ns() - began_ns


def book_msgspec_float_best(frames: list[bytes], sides: Sides, spans_ns: NDArray[Any]) -> None:
    """As `book_msgspec_float`, with the best price of both sides known after each frame."""
    bids, asks = sides
    bid, ask = max(bids), min(asks)
    for n, frame in enumerate(frames):
        began_ns = perf_counter_ns()
        event = _decode_texts(frame).data
        lost = False
        for price_text, size_text in event.b:
            price, size = float(price_text), float(size_text)
            if size:
                bids[price] = size
                bid = max(bid, price)
            else:
                bids.pop(price, None)
                if price == bid:
                    lost = True
        if lost:
            bid = max(bids)
        lost = False
        for price_text, size_text in event.a:
            price, size = float(price_text), float(size_text)
            if size:
                asks[price] = size
                ask = min(ask, price)
            else:
                asks.pop(price, None)
                if price == ask:
                    lost = True
        if lost:
            ask = min(asks)
        spans_ns[n] = perf_counter_ns() - began_ns


def book_msgspec_lax_best(frames: list[bytes], sides: Sides, spans_ns: NDArray[Any]) -> None:
    """As `book_msgspec_lax`, with the best price of both sides known after each frame."""
    bids, asks = sides
    bid, ask = max(bids), min(asks)
    for n, frame in enumerate(frames):
        began_ns = perf_counter_ns()
        event = _decode_floats(frame).data
        lost = False
        for price, size in event.b:
            if size:
                bids[price] = size
                bid = max(bid, price)
            else:
                bids.pop(price, None)
                if price == bid:
                    lost = True
        if lost:
            bid = max(bids)
        lost = False
        for price, size in event.a:
            if size:
                asks[price] = size
                ask = min(ask, price)
            else:
                asks.pop(price, None)
                if price == ask:
                    lost = True
        if lost:
            ask = min(asks)
        spans_ns[n] = perf_counter_ns() - began_ns
