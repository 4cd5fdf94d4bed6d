"""Drives a link of either transport against a peer, step by step in one thread."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from hft.reconnect import AttemptWindow, Backoff, Reconnect
from processes.transport.connect import DirectLink, Kills, Link, LinkEvent, Settings
from processes.transport.loop import close_loop, new_loop
from processes.transport.picows_transport import PicowsLink, warm
from processes.transport.wire import ERROR, STATE, Wire, make_wire, next_message, queue_text, release_message

TRANSPORTS = ("direct", "picows")
#: A watchdog, not an expectation.
DEADLINE_S = 30.0


class Message(NamedTuple):
    """A message that the wire delivered."""

    opcode: int
    payload: bytes
    received_ns: int


class Driver:
    """One link and what came out of it."""

    def __init__(self, transport: str, url: str, wire: Wire | None = None, **settings: Any) -> None:
        self.transport = transport
        self.wire = make_wire() if wire is None else wire
        self.kill_words = np.zeros(4, np.int64)
        self.messages: list[Message] = []
        self.events: list[LinkEvent] = []
        self.taking = True
        self.on_message: Callable[[Message], None] = lambda message: None
        warm()
        retry = Reconnect(random.Random(1), Backoff(first_ns=1_000_000, max_ns=2_000_000), AttemptWindow(1000))
        kills = Kills(self.kill_words, 1, 2)
        self._loop: asyncio.AbstractEventLoop | None = None
        if transport.startswith("direct"):
            self.link: Link = DirectLink(Settings(url, **settings), self.wire, retry, kills)
        else:
            self._loop = new_loop(busy_spin=True)
            self.link = PicowsLink(Settings(url, **settings), self.wire, retry, kills, self._loop, self.take)

    def step(self) -> None:
        """Everything once."""
        event = self.link.tick(time.monotonic_ns())
        if event:
            self.events.append(event)
        if self._loop is not None:
            self._loop.call_soon(self._loop.stop)
            self._loop.run_forever()
        self.link.poll(time.monotonic_ns())
        self.take()
        self.link.flush()

    def take(self) -> None:
        """Take the messages that wait."""
        while self.taking and (row := next_message(self.wire)) >= 0:
            offset, size, opcode, received_ns = (int(value) for value in self.wire.frames[row])
            message = Message(opcode, self.wire.data[offset : offset + size].tobytes(), received_ns)
            release_message(self.wire)
            self.messages.append(message)
            self.on_message(message)

    def queue(self, lane: int, payload: bytes) -> int:
        """Queue a text."""
        source = np.frombuffer(b"--" + payload, np.uint8)
        return int(queue_text(self.wire, lane, source, 2, len(payload)))

    def until(self, condition: Callable[[], bool], *pumps: Callable[[], None]) -> None:
        """Step, and call each of `pumps`, until the condition holds; fails after DEADLINE_S."""
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"gave up waiting: {self.describe()}")
            self.step()
            for pump in pumps:
                pump()

    def describe(self) -> str:
        """For failure messages."""
        words = self.wire.words
        return f"{self.transport}: state {words[STATE]}, error {words[ERROR]}, events {self.events}, link error {self.link.error!r}"

    def close(self) -> None:
        """Let everything go."""
        self.link.close(time.monotonic_ns())
        self.link.drop()
        self.until(lambda: self.link.closed)
        if self._loop is not None:
            close_loop(self._loop)


def payloads(messages: Iterable[Message]) -> list[bytes]:
    """Just the bytes."""
    return [message.payload for message in messages]
