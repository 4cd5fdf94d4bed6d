"""Reconnect: decides when the next connection attempt may be made.

Delays grow exponentially and are jittered, so that many clients don't return in step. Venues also limit attempts an address
makes (Binance: 300 in 5 minutes), so connections to one venue share one `AttemptWindow`. Time comes in as `now_ns`, chance as
a seeded generator.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple, Protocol


class Generator(Protocol):
    """A source of numbers in [0, 1): a seeded `random.Random`."""

    def random(self) -> float:
        """The next number."""


class Backoff(NamedTuple):
    """How long to wait after failures in a row: first, first * 2, ... up to the maximum, each less up to half of it by chance."""

    first_ns: int = 250_000_000
    max_ns: int = 30_000_000_000
    stable_ns: int = 10_000_000_000  #: a connection that lived this long ends the row of failures


class AttemptWindow:
    """At most `attempts_max` attempts in any `window_ns`, all connections that share it together."""

    def __init__(self, attempts_max: int = 300, window_ns: int = 300_000_000_000) -> None:
        if attempts_max < 1 or window_ns < 1:
            raise ValueError(f"attempts_max and window_ns must be positive, were {attempts_max} and {window_ns}")
        self._attempts_max = attempts_max
        self._window_ns = window_ns
        self._attempts: deque[int] = deque()  # when, oldest first

    def due_ns(self, now_ns: int) -> int:
        """When an attempt may be made: `now_ns`, or the end of the window that is full."""
        while self._attempts and self._attempts[0] + self._window_ns <= now_ns:
            self._attempts.popleft()
        if len(self._attempts) < self._attempts_max:
            return now_ns
        return self._attempts[-self._attempts_max] + self._window_ns

    def take(self, now_ns: int) -> None:
        """An attempt is made."""
        self._attempts.append(now_ns)


class Reconnect:
    """One connection's attempts: `due`, then `attempt`, then `opened` or `failed`; after `opened`, `failed` when it ended."""

    def __init__(self, generator: Generator, backoff: Backoff | None = None, window: AttemptWindow | None = None) -> None:
        self._generator = generator
        self._backoff = backoff or Backoff()
        if not 0 < self._backoff.first_ns <= self._backoff.max_ns:
            raise ValueError(f"backoff needs 0 < first_ns <= max_ns, was {self._backoff}")
        self._window = window or AttemptWindow()
        self._opened_ns: int | None = None
        self._due_ns: int | None = None  # None: at once
        self.failures = 0  #: in a row

    def due_ns(self, now_ns: int) -> int:
        """When the next attempt may be made; `now_ns` when it may be made now."""
        return max(self._window.due_ns(now_ns), now_ns if self._due_ns is None else self._due_ns)

    def due(self, now_ns: int) -> bool:
        """Whether an attempt may be made now."""
        return self.due_ns(now_ns) <= now_ns

    def attempt(self, now_ns: int) -> None:
        """An attempt is made; it counts against the window whatever becomes of it."""
        self._window.take(now_ns)
        self._opened_ns = None

    def opened(self, now_ns: int) -> None:
        """The attempt led to an open connection."""
        self._opened_ns = now_ns

    def failed(self, now_ns: int, wait_ns: int = 0) -> int:
        """The attempt failed, or the connection ended; returns when the next attempt is due.

        `wait_ns` is what the venue asked for (Retry-After); it is never undercut.
        """
        if self._opened_ns is not None and now_ns - self._opened_ns >= self._backoff.stable_ns:
            self.failures = 0
        self._opened_ns = None
        self.failures += 1
        # The exponent is bounded so that a night of failures does not make a number of many digits.
        delay_ns = min(self._backoff.first_ns << min(self.failures - 1, 40), self._backoff.max_ns)
        jittered_ns = delay_ns - int(delay_ns * self._generator.random() / 2)
        self._due_ns = now_ns + max(jittered_ns, wait_ns)
        return self.due_ns(now_ns)


class Retries:
    """Requests that are made again when they fail, each known by a tag: at first soon, then later and later until one is answered."""

    def __init__(self, first_ns: int = 250_000_000, max_ns: int = 8_000_000_000) -> None:
        self._first_ns, self._max_ns = first_ns, max_ns
        self._failures: dict[int, int] = {}
        self._due_ns: dict[int, int] = {}

    def due(self, tag: int, now_ns: int) -> bool:
        """Whether the request may be made now."""
        return now_ns >= self._due_ns.get(tag, now_ns)

    def failed(self, tag: int, now_ns: int, wait_ns: int = 0) -> None:
        """It failed; `wait_ns` is what the venue asked for (Retry-After), which is never undercut."""
        failures = self._failures.get(tag, 0)
        self._failures[tag] = failures + 1
        self._due_ns[tag] = now_ns + max(min(self._first_ns << min(failures, 40), self._max_ns), wait_ns)

    def answered(self, tag: int) -> None:
        """It was answered: its next failure is a first one."""
        self._failures.pop(tag, None)
        self._due_ns.pop(tag, None)
