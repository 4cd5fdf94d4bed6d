"""Calls: makes the REST requests that a venue's session asks for, between bursts, and brings the answers back."""

from __future__ import annotations

import ssl
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from hft.http_client import HttpError, UnexpectedStatus
from hft.venues.interface import Call
from processes.transport.rest import Request
from processes.transport.stream import HOST, Address, Network, TransportError

#: Requests under way at once; the rest wait.
UNDER_WAY_MAX = 4
_TIMEOUT_NS = 10_000_000_000


class Answer(NamedTuple):
    """What came back for a Call: the HTTP status, 0 if there was no answer."""

    tag: int
    status: int
    body: bytes
    why: str = ""  #: why there was no answer, for people
    retry_after_ns: int = 0  #: what the venue asks to wait


class Calls:
    """The REST requests of one session; `poll` often, from cold code."""

    def __init__(
        self,
        base_url: str,
        tls: ssl.SSLContext | None = None,
        network: Network = HOST,
        timeout_ns: int = _TIMEOUT_NS,
        addresses: Callable[[], Sequence[Address]] = tuple,
    ) -> None:
        """`addresses` gives those of the host; where it gives none, each request asks the system's resolver, which blocks."""
        self._base_url = base_url.rstrip("/")
        self._tls = tls
        self._network = network
        self._timeout_ns = timeout_ns
        self._addresses = addresses
        self._waiting: deque[Call] = deque()
        self._under_way: list[tuple[Call, Request]] = []

    def add(self, calls: Iterable[Call]) -> None:
        """Make these calls, in this order."""
        self._waiting.extend(calls)

    @property
    def idle(self) -> bool:
        """Whether nothing waits or is under way."""
        return not self._waiting and not self._under_way

    def poll(self, now_ns: int) -> list[Answer]:
        """Get on with it; the answers that have come."""
        answers = []
        while self._waiting and len(self._under_way) < UNDER_WAY_MAX:
            call = self._waiting.popleft()
            try:
                self._under_way.append((call, self._begin(call, now_ns)))
            except (TransportError, HttpError) as error:
                answers.append(Answer(call.tag, 0, b"", str(error)))
        for call, request in list(self._under_way):
            answer = self._look(call, request, now_ns)
            if answer is not None:
                self._under_way.remove((call, request))
                answers.append(answer)
        return answers

    def close(self) -> None:
        """Give every request up."""
        for _, request in self._under_way:
            request.close()
        self._under_way.clear()
        self._waiting.clear()

    def _begin(self, call: Call, now_ns: int) -> Request:
        return Request(
            self._base_url + call.target,
            now_ns + (call.patience_ns or self._timeout_ns),
            method=call.method,
            headers=call.headers,
            body=call.body,
            tls=self._tls,
            addresses=self._addresses(),
            network=self._network,
        )

    def _look(self, call: Call, request: Request, now_ns: int) -> Answer | None:
        try:
            response = request.poll(now_ns)
        except UnexpectedStatus as error:
            return Answer(call.tag, error.response.status, error.response.body, retry_after_ns=error.retry_after_ns)
        except (TransportError, HttpError) as error:
            return Answer(call.tag, 0, b"", str(error))
        return None if response is None else Answer(call.tag, response.status, response.body)
