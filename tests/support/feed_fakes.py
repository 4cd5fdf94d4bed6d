"""Fakes for a feed's cold side: a link that does as it is told, and REST requests that are answered when told."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from processes.transport.connect import LinkEvent
from processes.transport.wire import Wire


class FakeLink:
    """Stands in for a DirectLink or PicowsLink; `next_event` is what the next tick brings."""

    def __init__(self, wire: Wire | None = None) -> None:
        self.open = False
        self.dropped = 0
        self.wire = wire
        self.error: Exception | None = None
        self.url = SimpleNamespace(label="ws://venue")
        self._events: list[LinkEvent] = []

    def brings(self, event: LinkEvent) -> None:
        self._events.append(event)
        if event in (LinkEvent.OPENED, LinkEvent.ENDED):
            self.open = event is LinkEvent.OPENED

    def tick(self, now_ns: int) -> LinkEvent:
        return self._events.pop(0) if self._events else LinkEvent.NOTHING

    def drop(self) -> None:
        self.dropped += 1

    def close(self, now_ns: int) -> None:
        self.open = False

    def poll(self, now_ns: int) -> int:
        return 0

    def flush(self) -> int:
        return 0


class FakeRequests:
    """Called in place of the Request class; remembers every request made."""

    def __init__(self) -> None:
        self.made: list[FakeRequest] = []
        self.refusal: Exception | None = None

    def __call__(self, url: str, deadline_ns: int, **rest: Any) -> FakeRequest:
        if self.refusal is not None:
            raise self.refusal
        self.made.append(FakeRequest(url, deadline_ns))
        return self.made[-1]


class FakeRequest:
    """Pending until `answer` is a body or an error."""

    def __init__(self, url: str, deadline_ns: int) -> None:
        self.url, self.deadline_ns = url, deadline_ns
        self.answer: bytes | Exception | None = None
        self.closed = False

    def poll(self, now_ns: int) -> SimpleNamespace | None:
        if isinstance(self.answer, Exception):
            raise self.answer
        return None if self.answer is None else SimpleNamespace(status=200, body=self.answer)

    def close(self) -> None:
        self.closed = True
