"""Kill bench, end to end: when the last byte of a new order arrives at the venue's socket after the kill word is set.

    [trigger] --kill word--> [generator -> execution.binance] ==WebSocket==> [recorder] ==WebSocket==> hftctl venue-sim binance --no-limits
                         --> [bare writer] ============================> [recorder]

The recorder, a process of its own, passes on every byte and notes the new orders among them. When they arrived is what the kernel
stamped on them (SO_TIMESTAMPNS), brought to CLOCK_MONOTONIC: a recorder that waits for its core makes nothing late.

The reference is a loop that does nothing but read the word and write a frame: the same trigger, recorder and core. What the host takes
from the engine it takes from that loop too; `gaps_over_the_bar` are the stretches of more than 1 ms in which the loop did not run at all.
"""

from __future__ import annotations

import mmap
import os
import select
import signal
import socket
import struct
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, Self
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from hft import control
from processes.bench.kill_trigger import BAR_NS, Lateness, Trigger
from processes.bench.orders_source import ACKED, OrderEngine
from processes.bench.report import BenchError

_SO_TIMESTAMPNS = 35
_CHUNK_BYTES = 1 << 16
#: Arrivals that are remembered, in a circle.
_ARRIVALS = 1 << 20
_PLACE = b'"order.place"'
#: A request's method is among its first bytes.
_HEAD_BYTES = 64
#: Two looks at one clock around one at the other must be closer than this.
_NEAR_NS = 5_000
_READY_S = 30.0
#: The bare writer writes as much as an order has, this often: about what the engine does under full load.
_FRAME, _EVERY_NS = bytes(300), 50_000


class Orders:
    """Finds new orders in what a client writes to its WebSocket; bytes come in any pieces."""

    def __init__(self) -> None:
        self._rest = b""
        self._upgraded = False

    def take(self, data: bytes) -> int:
        """Take the next bytes; how many new orders are whole with them."""
        self._rest += data
        if not self._upgraded:
            head, end, rest = self._rest.partition(b"\r\n\r\n")
            if not end:
                return 0
            self._upgraded, self._rest = True, rest
        found = 0
        while (frame := _frame(self._rest)) is not None:
            start, end_at, key = frame
            head = self._rest[start : min(end_at, start + _HEAD_BYTES)]
            found += _PLACE in bytes(byte ^ key[k & 3] for k, byte in enumerate(head))
            self._rest = self._rest[end_at:]
        return found


def _frame(data: bytes) -> tuple[int, int, bytes] | None:
    """Payload's start and end and the mask's key of the frame that `data` begins with; None if it is not whole."""
    if len(data) < 2:
        return None
    length, at = data[1] & 0x7F, 2
    if length > 125:
        at = 4 if length == 126 else 10
        length = int.from_bytes(data[2:at], "big")
    end = at + 4 + length
    return (at + 4, end, data[at : at + 4]) if len(data) >= end else None


class Recorder:
    """A process between a client and a venue; `upstream` None: there is no venue, and whatever comes is an order."""

    def __init__(self, core: int, upstream: tuple[str, int] | None) -> None:
        self._core, self._upstream = core, upstream
        memory = np.frombuffer(mmap.mmap(-1, 8 * (1 + _ARRIVALS)), np.int64)
        self._count: NDArray[np.int64] = memory[:1]
        self._arrivals: NDArray[np.int64] = memory[1:]
        self.pid = 0
        self._offset_ns = 0

    def __enter__(self) -> Self:
        """Listen, in a process of its own."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
            self.address: tuple[str, int] = server.getsockname()
            self.pid = os.fork()
            if self.pid == 0:
                self._child(server)
        return self

    def __exit__(self, *what: object) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)

    def arrivals(self) -> NDArray[np.int64]:
        """When new orders arrived, CLOCK_MONOTONIC ns, in order; several that were read at once by the last of them."""
        count = int(self._count[0])
        if count > _ARRIVALS:
            raise BenchError(f"{count} arrivals are more than the {_ARRIVALS} that are remembered")
        return np.sort(self._arrivals[:count])

    def _child(self, server: socket.socket) -> NoReturn:
        try:
            os.sched_setaffinity(0, {self._core})
            with suppress(ConnectionError):  # A client that leaves need not read what it is still sent.
                self._run(server)
        finally:
            if sys.exc_info()[0] is not None:
                traceback.print_exc()
            os._exit(1)

    def _run(self, server: socket.socket) -> None:
        client, _ = server.accept()
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        orders = Orders()
        venue = socket.create_connection(self._upstream) if self._upstream is not None else None
        if venue is not None:
            venue.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        ends = [client] if venue is None else [client, venue]
        while True:
            for ready in select.select(ends, [], [])[0]:
                if ready is venue:
                    data = venue.recv(_CHUNK_BYTES)
                    client.sendall(data)
                else:
                    data, stamps, _, _ = client.recvmsg(_CHUNK_BYTES, socket.CMSG_SPACE(16))
                    if venue is None or orders.take(data):
                        self._note(stamps)
                    if venue is not None:
                        venue.sendall(data)
                if not data:
                    return

    def _note(self, stamps: list[tuple[int, int, bytes]]) -> None:
        now_ns = self._look_at_clocks()
        # The first bytes of a connection may have no stamp: now is never too early.
        seconds, nanoseconds = struct.unpack("qq", stamps[0][2]) if stamps else (0, now_ns + self._offset_ns)
        count = int(self._count[0])
        self._arrivals[count % _ARRIVALS] = seconds * 1_000_000_000 + nanoseconds - self._offset_ns
        self._count[0] = count + 1

    def _look_at_clocks(self) -> int:
        """Renew what brings CLOCK_REALTIME to CLOCK_MONOTONIC, unless the core was taken between the looks; now by the latter."""
        while True:
            before_ns, utc_ns, after_ns = time.monotonic_ns(), time.time_ns(), time.monotonic_ns()
            if after_ns - before_ns < _NEAR_NS:
                self._offset_ns = utc_ns - (before_ns + after_ns) // 2
            if self._offset_ns:
                return after_ns


class Wire(NamedTuple):
    """What was found of each trigger, and of the loop that was to obey it."""

    late_ns: NDArray[np.int64]
    undisturbed: NDArray[np.bool_]  #: nobody took the core in the turn that met it
    longest_ns: int  #: the longest turn
    over: int  #: turns, or stretches, longer than the bar
    orders: int

    def summary(self) -> dict[str, Any]:
        """Percentiles for people and for JSON."""
        late_us = self.late_ns / 1e3
        found: dict[str, Any] = {f"p{p}_us": round(float(np.percentile(late_us, p)), 1) for p in (50, 99)}
        return found | {
            "max_us": round(float(late_us.max()), 1),
            "over_the_bar": int((self.late_ns > BAR_NS).sum()),
            "none_after": int((self.late_ns == 0).sum()),
            "measured": len(self.late_ns),
        }


def last_arrivals(trigger: Trigger, arrivals: NDArray[np.int64]) -> NDArray[np.int64]:
    """How long after each trigger the last order arrived that came before the word was cleared, ns; 0 if none came after it."""
    places = np.searchsorted(arrivals, trigger.cleared_ns) - 1
    last = np.where(places >= 0, arrivals[np.maximum(places, 0)], 0) if len(arrivals) else np.zeros(len(places), np.int64)
    return np.asarray(np.maximum(last - trigger.set_ns, 0), np.int64)


def _seen_of(trigger: Trigger, recorder: Recorder) -> NDArray[np.int64]:
    """When orders arrived. Raises BenchError if it noted fewer than triggers: it would not know one that is late either."""
    arrivals = recorder.arrivals()
    if len(arrivals) < len(trigger.set_ns):
        raise BenchError(f"{len(arrivals)} new orders were seen at the venue's socket, of {len(trigger.set_ns)} triggers at least as many")
    return arrivals


def measure_engine(folder: Path, urls: dict[str, str], trigger: Trigger, in_flight: int, core: int) -> Wire:
    """Pull the trigger on an engine under full load; `core` is where everything else runs."""
    found = urlsplit(urls["ws"])
    assert found.hostname is not None and found.port is not None
    with Recorder(core, (found.hostname, found.port)) as recorder:
        through = urls | {"ws": f"ws://{recorder.address[0]}:{recorder.address[1]}"}
        with OrderEngine(folder, through, in_flight, trigger.words) as engine:
            engine.await_ready(time.monotonic_ns() + int(_READY_S * 1e9))
            engine.burst_ns = BAR_NS // 10
            lateness = Lateness(engine, trigger)
            longest_ns, over = 0, 0
            with _pulling(trigger, core):
                ended_ns = time.monotonic_ns()
                while not trigger.over:
                    lateness.turn()
                    began_ns, ended_ns = ended_ns, time.monotonic_ns()
                    longest_ns = max(longest_ns, ended_ns - began_ns)
                    over += ended_ns - began_ns > BAR_NS
            acked = int(engine.words[ACKED])
        late_ns = last_arrivals(trigger, _seen_of(trigger, recorder))[lateness.seen]
        return Wire(late_ns, np.array(lateness.undisturbed(), np.bool_), longest_ns, over, acked)


def measure_bare(trigger: Trigger, core: int) -> Wire:
    """Pull the trigger on a loop that only reads the word and writes."""
    words = trigger.words
    with Recorder(core, None) as recorder, socket.create_connection(recorder.address) as line:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        longest_ns, over, written = 0, 0, 0
        with _pulling(trigger, core):
            now_ns = due_ns = time.monotonic_ns()
            while not trigger.over:
                if now_ns >= due_ns and not words[control.KILL_FIRM]:
                    line.send(_FRAME)
                    written += 1
                    due_ns = now_ns + _EVERY_NS
                trigger.is_past_bar()
                before_ns, now_ns = now_ns, time.monotonic_ns()
                longest_ns = max(longest_ns, now_ns - before_ns)
                over += now_ns - before_ns > BAR_NS
        late_ns = last_arrivals(trigger, _seen_of(trigger, recorder))
    return Wire(late_ns, np.ones(len(late_ns), np.bool_), longest_ns, over, written)


@contextmanager
def _pulling(trigger: Trigger, core: int) -> Iterator[None]:
    trigger.start(core)
    try:
        yield
    finally:
        trigger.end()
