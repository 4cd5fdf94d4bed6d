"""Loop: an asyncio event loop for picows that also gives a stage its turns.

Spinning, the selector is asked with timeout 0 for ever: waking a sleeping thread costs far more than anything else on the way.
Otherwise the loop sleeps until bytes arrive or a turn is due.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable
from typing import Any


class SpinningSelector(selectors.EpollSelector):
    """A selector that polls without waiting, many times in a row, and calls `turn` every so many polls.

    asyncio's own iteration costs more than a poll: spinning inside `select` notices bytes sooner than spinning around it.
    """

    def __init__(self, polls_per_turn: int = 16) -> None:
        super().__init__()
        self.turn: Callable[[], None] | None = None
        self._polls_per_turn = polls_per_turn
        self._polls = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready; nothing, when a turn was taken or asyncio has something to do meanwhile (a timeout of 0)."""
        while True:
            ready = super().select(0)
            self._polls += 1
            if self._polls >= self._polls_per_turn:
                self._polls = 0
                if self.turn is not None:
                    self.turn()
                return ready
            if ready or timeout == 0:
                return ready


def new_loop(busy_spin: bool, polls_per_turn: int = 16) -> asyncio.SelectorEventLoop:
    """An event loop whose selector spins, or sleeps as usual."""
    return asyncio.SelectorEventLoop(SpinningSelector(polls_per_turn) if busy_spin else selectors.EpollSelector())


def run_turns(loop: asyncio.SelectorEventLoop, turn: Callable[[], bool], interval_ns: int = 1_000_000) -> None:
    """Run a loop of `new_loop` and call `turn` from it: every so many polls when it spins, else every `interval_ns`.

    Ends when `turn` returns False, or raises: then it is raised here.
    """
    selector: Any = loop._selector  # type: ignore[attr-defined]
    errors: list[BaseException] = []

    def take() -> None:
        try:
            if not turn():
                loop.stop()
            elif not spinning:
                loop.call_later(interval_ns * 1e-9, take)
        except BaseException as error:  # noqa: BLE001
            errors.append(error)
            loop.stop()

    spinning = isinstance(selector, SpinningSelector)
    if spinning:
        selector.turn = take
    else:
        loop.call_soon(take)
    try:
        loop.run_forever()
    finally:
        if spinning:
            selector.turn = None
    if errors:
        raise errors[0]


def close_loop(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel what is left on a stopped loop, let it end, and close the loop."""
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
