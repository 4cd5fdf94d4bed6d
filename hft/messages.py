"""Messages counts what each strategy sends to venues for each of its fills: too many for too little, and it may send no new orders.

Fills are counted over the window that ends now, and so are messages; the first fill is free. The window is looked at in slices: what is
older is forgotten at the latest a slice later, and never earlier. It ends by itself, when fills come or messages leave the window.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hft.breakers import SLICES
from hft.units import as_int
from shm.jit import njit

_KEPT = SLICES + 1

# Columns of Messages.slices: the number of a slice, -1 for none, and what was counted in it.
_SLICE, _MESSAGES, _FILLS = range(3)

# Columns of Messages.newest: the number of the newest slice, and the sums over the window that ends with it.
_NUMBER, _ALL_MESSAGES, _ALL_FILLS = range(3)


class Messages(NamedTuple):
    """State of all strategies; made by `new_messages`."""

    slices: NDArray[Any]  #: [strategy, slice, column]
    newest: NDArray[Any]  #: [strategy, column]


def new_messages(strategies: int) -> Messages:
    """Nobody has sent anything."""
    messages = Messages(np.zeros((strategies, _KEPT, 3), np.int64), np.zeros((strategies, 3), np.int64))
    messages.slices[:, :, _SLICE] = -1
    return messages


def carry(messages: Messages, firm: NDArray[Any]) -> dict[str, Any]:
    """What a later epoch goes on with, as JSON takes it."""
    return {"window_ns": int(firm[0]["messages_window_ns"]), "slices": messages.slices.tolist(), "newest": messages.newest.tolist()}


def resume(messages: Messages, firm: NDArray[Any], carried: dict[str, Any], same_clock: bool) -> None:
    """Go on with what `carry` gave, if its times are of this clock and its window is this one."""
    if same_clock and carried["window_ns"] == firm[0]["messages_window_ns"]:
        messages.slices[:], messages.newest[:] = carried["slices"], carried["newest"]


@njit
def note_message(messages: Messages, firm: NDArray[Any], strategy: int, at_ns: int) -> None:
    """A strategy sends an order, a replacement or a cancel."""
    _count(messages, firm, strategy, at_ns, _MESSAGES)


@njit
def note_message_filled(messages: Messages, firm: NDArray[Any], strategy: int, at_ns: int) -> None:
    """A strategy was filled."""
    _count(messages, firm, strategy, at_ns, _FILLS)


@njit
def is_over(messages: Messages, firm: NDArray[Any], strategy: int, now_ns: int) -> bool:
    """Whether one more message is more than the limit for each fill, or nothing says what that is."""
    limit, window_ns = firm[0]["messages_per_fill_max"], firm[0]["messages_window_ns"]
    if limit <= 0 or window_ns <= 0:
        return True
    newest = messages.newest[strategy]
    # Less than in the window of then is in that of now: what was not over without any fill is not over.
    if newest[_ALL_MESSAGES] < limit:
        return False
    number = max(as_int(now_ns * SLICES // window_ns), newest[_NUMBER])
    sent, fills = newest[_ALL_MESSAGES], newest[_ALL_FILLS]
    if number != newest[_NUMBER]:
        sent, fills = _sums(messages, strategy, number)
    return bool(sent >= limit * max(fills, 1))


@njit
def _count(messages: Messages, firm: NDArray[Any], strategy: int, at_ns: int, what: int) -> None:
    if strategy < 0 or strategy >= len(messages.newest):
        return
    newest = messages.newest[strategy]
    # Times are of several cores: a late one counts as of the newest.
    number = max(as_int(at_ns * SLICES // max(firm[0]["messages_window_ns"], 1)), newest[_NUMBER])
    part = messages.slices[strategy, number % _KEPT]
    if part[_SLICE] != number:
        part[_SLICE], part[_MESSAGES], part[_FILLS] = number, 0, 0
        newest[_NUMBER] = number
        newest[_ALL_MESSAGES], newest[_ALL_FILLS] = _sums(messages, strategy, number)
    part[what] += 1
    newest[what] += 1


@njit
def _sums(messages: Messages, strategy: int, number: int) -> tuple[int, int]:
    """Messages and fills of the window that ends in the slice with this number."""
    sent, fills = as_int(0), as_int(0)
    for k in range(_KEPT):
        part = messages.slices[strategy, k]
        if part[_SLICE] >= number - SLICES:
            sent += part[_MESSAGES]
            fills += part[_FILLS]
    return sent, fills
