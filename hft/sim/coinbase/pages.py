"""Coinbase's pages: lists are answered newest first, in pages whose headers say where the next newer and the next older one begin."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from hft.sim.coinbase.wire import CoinbaseError
from hft.sim.texts import parse_rfc3339

LIMIT_MAX = 1000
Item = TypeVar("Item")
Headers = tuple[tuple[str, str], ...]
Query = Mapping[str, Sequence[str]]


def one(query: Query, name: str) -> str:
    """Return a parameter that is given once; "" if it is not. Raises CoinbaseError when it is given more often."""
    values = query.get(name, ())
    if len(values) > 1:
        raise CoinbaseError(400, f"Invalid {name}")
    return values[0] if values else ""


def limit_of(query: Query, default: int) -> int:
    """Return how many rows are asked for. Raises CoinbaseError."""
    text = one(query, "limit") or str(default)
    if not text.isascii() or not text.isdigit() or len(text) > 9 or not int(text):
        raise CoinbaseError(400, "Invalid limit")
    return min(int(text), LIMIT_MAX)


def number_of(text: str, name: str) -> int:
    """Return a cursor that is a number. Raises CoinbaseError."""
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise CoinbaseError(400, f"Invalid {name}")
    return int(text)


def time_of(text: str, name: str) -> int:
    """Return a cursor that is a time, in UTC ns. Raises CoinbaseError."""
    try:
        return parse_rfc3339(text)
    except ValueError as error:
        raise CoinbaseError(400, f"Invalid {name}") from error


def page(
    newest_first: Iterable[Item],
    query: Query,
    default: int,
    place: Callable[[Item], int],
    read: Callable[[str, str], int],
    write: Callable[[int], str],
) -> tuple[list[Item], Headers]:
    """Return a page and its headers. `place` is an item's cursor as a number, `read` and `write` a cursor's text.

    Items of the same place stay together, so that no page loses any. Raises CoinbaseError.
    """
    limit, before, after = limit_of(query, default), one(query, "before"), one(query, "after")
    items = list(newest_first)
    if before:
        bound = read(before, "before")
        items = [item for item in items if place(item) > bound]
    if after:
        bound = read(after, "after")
        items = [item for item in items if place(item) < bound]
    end = min(limit, len(items))
    while 0 < end < len(items) and place(items[end]) == place(items[end - 1]):
        end += 1
    items = items[:end]
    if not items:
        return [], ()
    return items, (("CB-BEFORE", write(place(items[0]))), ("CB-AFTER", write(place(items[-1]))))
