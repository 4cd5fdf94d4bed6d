"""Record connection: one connection of a recording, what came on it, and what came on one alone of two."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from hft.websocket import Opcode
from processes.transport.connect import Link
from processes.transport.wire import FRAME_HEAD, FRAME_TAIL, OPENED, Wire, make_wire

MESSAGE_BYTES_MAX = 1 << 24


class Heard(NamedTuple):
    """A message that came."""

    at_ns: int  #: CLOCK_MONOTONIC
    payload: bytes
    binary: bool


class Connection:
    """A connection's wire, and the link on it once that is made."""

    def __init__(self) -> None:
        self.wire: Wire = make_wire(message_bytes_max=MESSAGE_BYTES_MAX)
        self.link: Link | None = None
        self.opened_ns = 0
        self._opened_seen = 0

    def opened_anew(self) -> bool:
        """Whether it has opened since this was last asked; its first messages may come before a tick notices it."""
        before, self._opened_seen = self._opened_seen, int(self.wire.words[OPENED])
        return self._opened_seen > before

    def waiting_ns(self) -> int | None:
        """When the first message that is waiting came; None if none is."""
        words, frames = self.wire.words, self.wire.frames
        head = int(words[FRAME_HEAD])
        return int(frames[head & (len(frames) - 1), 3]) if head < words[FRAME_TAIL] else None

    def heard(self) -> Iterator[Heard]:
        """Take every message that is waiting."""
        words, frames, data = self.wire.words, self.wire.frames, self.wire.data
        head, tail = int(words[FRAME_HEAD]), int(words[FRAME_TAIL])
        for n in range(head, tail):
            start, size, opcode, received_ns = frames[n & (len(frames) - 1)].tolist()
            yield Heard(received_ns, data[start : start + size].tobytes(), opcode == Opcode.BINARY)
        words[FRAME_HEAD] = tail


class Overlap:
    """What two connections bring at the same time: the first is recorded, and of the second what the first did not bring.

    The same message has the same bytes on both. Where a venue writes it differently, it is recorded twice, and readers drop by its id
    what they know.
    """

    def __init__(self) -> None:
        self._on_first: Counter[int] = Counter()  # by hash: it may last for as long as the second does not open
        self._on_second: list[Heard] = []

    def first(self, heard: Heard) -> None:
        """The first brought this."""
        self._on_first[hash(heard.payload)] += 1

    def second(self, heard: Heard) -> None:
        """The second brought this."""
        self._on_second.append(heard)

    def rest(self) -> Iterator[Heard]:
        """What only the second has brought, in order."""
        held, self._on_second = self._on_second, []
        return (heard for heard in held if not self.repeats(heard))

    def repeats(self, heard: Heard) -> bool:
        """Whether the second brings here what the first did; it is known to have brought it from then on."""
        key = hash(heard.payload)
        known = self._on_first[key] > 0
        self._on_first[key] -= known
        return known
