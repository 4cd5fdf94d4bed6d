"""A Binance stream session answers one client's WebSocket messages: subscriptions, properties, pings and their limits.

Nothing here touches a socket: messages come in as bytes with the time, and what is to be sent piles up in `outbox`.
"""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from hft.sim.binance.session import Session
from hft.sim.venue import SECOND_NS, Close, Opcode

MESSAGES_PER_SECOND = 5
STREAMS_MAX = 1024
METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")


class Target(NamedTuple):
    """What a handshake URL asks for."""

    combined: bool
    microseconds: bool
    streams: tuple[str, ...]
    binary: bool = False  #: market data comes in SBE


class TargetError(ValueError):
    """A handshake URL is not one of the venue's; the message says why."""


class _RequestError(Exception):
    """A control message is refused; args are the venue's code and text."""


def parse_target(target: str) -> Target:
    """Read `/ws/<stream>` or `/stream?streams=a/b`, with `timeUnit`. Raises TargetError."""
    try:
        parts = urlsplit(target)
    except ValueError as error:
        raise TargetError(str(error)) from error
    query = dict(parse_qsl(parts.query))
    unit = query.get("timeUnit", "MILLISECOND").upper()
    if unit not in ("MILLISECOND", "MICROSECOND"):
        raise TargetError(f"timeUnit must be MILLISECOND or MICROSECOND, was {unit[:40]}")
    path = unquote(parts.path)
    if path == "/stream":
        names = query.get("streams", "")
        combined = True
    elif path == "/ws" or path.startswith("/ws/"):
        names = path.removeprefix("/ws").removeprefix("/")
        combined = False
    else:
        raise TargetError(f"no such path: {path[:80]}")
    streams = tuple(dict.fromkeys(name for name in names.split("/") if name))
    if len(streams) > STREAMS_MAX:
        raise TargetError(f"at most {STREAMS_MAX} streams per connection, asked for {len(streams)}")
    return Target(combined, unit == "MICROSECOND", streams)


class StreamSession(Session):
    """One client's connection to the market streams."""

    def __init__(self, number: int, target: Target, now_ns: int, unlimited: bool) -> None:
        """Open it at `now_ns`; `unlimited` lifts the limit of messages a second."""
        super().__init__(number, now_ns, private=False)
        self.combined = target.combined
        self.microseconds = target.microseconds
        self.binary = target.binary
        #: Subscribed streams, in order of subscription.
        self.streams: dict[str, None] = dict.fromkeys(target.streams)
        self.sent_count = 0
        self._unlimited = unlimited
        self._received_ns: deque[int] = deque(maxlen=MESSAGES_PER_SECOND)

    def describe(self) -> dict[str, object]:
        """Return facts for people."""
        return {
            "session": self.number,
            "combined": self.combined,
            "binary": self.binary,
            "streams": list(self.streams),
            "frames": self.sent_count,
        }

    def receive(self, opcode: int, payload: bytes, now_ns: int) -> None:
        """Take one whole message; answers go to the outbox, subscriptions change `streams`."""
        if self.close is not None:
            return
        received = self._received_ns
        if not self._unlimited and len(received) == MESSAGES_PER_SECOND and now_ns - received[0] < SECOND_NS:
            self.close = Close(1008, "Too many requests")
            return
        received.append(now_ns)
        if opcode == Opcode.TEXT:
            self.outbox.append((Opcode.TEXT, self._answer(payload)))
        else:
            self.receive_control(opcode, payload)

    def _answer(self, payload: bytes) -> bytes:
        """Carry out a control message and return the reply to it."""
        try:
            request = msgspec.json.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return msgspec.json.encode({"code": 3, "msg": f"Invalid JSON: {error}"})
        known_id: dict[str, Any] = {}
        try:
            if not isinstance(request, dict):
                raise _RequestError(2, "Invalid request: expected an object")
            number = _checked_id(request)
            known_id = {"id": number}
            return msgspec.json.encode({"result": self._call(request), "id": number})
        except _RequestError as error:
            code, text = error.args
            return msgspec.json.encode({"code": code, "msg": text, **known_id})

    def _call(self, request: dict[str, Any]) -> object:
        method = request.get("method")
        if method is None:
            raise _RequestError(2, "Invalid request: missing field `method`")
        if method not in METHODS:
            raise _RequestError(2, f"Invalid request: unknown variant `{str(method)[:40]}`, expected one of {', '.join(METHODS)}")
        if method == "LIST_SUBSCRIPTIONS":
            return list(self.streams)
        params = request.get("params")
        if not isinstance(params, list):
            raise _RequestError(
                2, "Invalid request: missing field `params`" if params is None else "Invalid request: params must be a list"
            )
        if method.endswith("PROPERTY"):
            return self._property(method, params)
        if not all(isinstance(name, str) for name in params):
            raise _RequestError(2, "Invalid request: stream names must be strings")
        if method == "UNSUBSCRIBE":
            for name in params:
                self.streams.pop(name, None)
        else:
            if len(self.streams.keys() | set(params)) > STREAMS_MAX:
                raise _RequestError(2, f"Invalid request: at most {STREAMS_MAX} streams per connection")
            self.streams.update(dict.fromkeys(params))
        return None

    def _property(self, method: str, params: list[Any]) -> object:
        """Read or set `combined`, the only property."""
        if len(params) != (2 if method == "SET_PROPERTY" else 1):
            raise _RequestError(2, f"Invalid request: wrong number of parameters for {method}")
        if not isinstance(params[0], str):
            raise _RequestError(2, "Invalid request: property name must be a string")
        if params[0] != "combined":
            raise _RequestError(0, "Unknown property")
        if method == "GET_PROPERTY":
            return self.combined
        if not isinstance(params[1], bool):
            raise _RequestError(1, "Invalid value type: expected Boolean")
        self.combined = params[1]
        return None


def _checked_id(request: dict[str, Any]) -> int | str | None:
    """Return a request's id: an int64, up to 36 letters and digits, or null."""
    number = request.get("id")
    if number is None:
        return None
    if isinstance(number, int) and not isinstance(number, bool) and -(2**63) <= number < 2**63:
        return number
    if isinstance(number, str) and len(number) <= 36 and all(c.isalnum() or c in "-_" for c in number) and number.isascii():
        return number
    raise _RequestError(2, "Invalid request: request ID must be an integer, a string of up to 36 letters and digits, or null")
