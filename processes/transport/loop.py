"""Loop: an asyncio event loop for picows that also gives a stage its turns.

Spinning, the selector is asked with timeout 0 for ever: waking a sleeping thread costs far more than anything else on the way.
Otherwise the loop sleeps until bytes arrive or a turn is due.
"""

from __future__ import annotations

import asyncio
import select
import selectors
from collections.abc import Callable
from typing import Any


class SpinningSelector(selectors.EpollSelector):
    """A selector that polls without waiting, many times in a row, and calls `turn` every so many polls.

    asyncio's own iteration costs more than a poll: spinning inside `select` notices bytes sooner than spinning around it. So does
    running a reader where its bytes are noticed, instead of handing it to asyncio to be queued and run.
    """

    def __init__(self, polls_per_turn: int = 16) -> None:
        super().__init__()
        self.turn: Callable[[], None] | None = None
        self._polls_per_turn = self._polls_left = polls_per_turn
        self._poll: Callable[[int], list[tuple[int, int]]] = self._selector.poll  # type: ignore[attr-defined]
        self._keys: dict[int, selectors.SelectorKey] = self._fd_to_key  # type: ignore[attr-defined]

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is left to asyncio; nothing, when readers ran, a turn was taken, or asyncio has something to do (a timeout of 0)."""
        while True:
            events = self._poll(0)
            left = self._run_readers(events) if events else []
            self._polls_left -= 1
            if self._polls_left <= 0:
                self._polls_left = self._polls_per_turn
                if self.turn is not None:
                    self.turn()
                return left
            if events or timeout == 0:
                return left

    def _run_readers(self, events: list[tuple[int, int]]) -> list[tuple[selectors.SelectorKey, int]]:
        """Run the readers of sockets that have bytes; what else happened, as `select` returns it."""
        left = []
        for descriptor, event in events:
            key = self._keys.get(descriptor)
            if key is None:  # a reader that ran before has closed it
                continue
            reader = key.data[0] if event == select.EPOLLIN else None
            if reader is not None and not reader.cancelled():
                reader._run()
                continue
            mask = (selectors.EVENT_WRITE if event & ~select.EPOLLIN else 0) | (selectors.EVENT_READ if event & ~select.EPOLLOUT else 0)
            if mask & key.events:
                left.append((key, mask & key.events))
        return left


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
