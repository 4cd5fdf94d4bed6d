"""Ring bench: times our ring against a C ring with cached indices, 64-byte records, two processes on two cores.

    A --to--> B      round trip: A sends a record and waits for it to come back
    A <-back- B      stream: A sends records as fast as B takes them, and B answers once at the end

Goals: what one hop costs, and how many records a second a hop carries, through the ring's public verbs.
Not goals: many rings, cold caches, other record sizes.

Both sides do the same work: copy the whole record in, copy the whole record out, add up a field. The stream runs twice:
`single` claims and publishes each record by itself, as the C ring does; `batched` is how stages use the ring, a feed
publishing the records of an event by one tail store and a consumer draining what is there. `throughput` is the batched one.
The C ring runs with and without a pause instruction in its waiting loops, and the better of each is the reference.

Runs alternate, each measures several slices, and the best slice counts, ours and theirs: on a shared machine noise only ever
adds, and two processors are sometimes near and sometimes far from each other.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from processes.bench.report import compile_c, finish, two_cores
from shm.atomics import relax
from shm.jit import njit
from shm.layout import aligned_zeros
from shm.ring import (
    Ring,
    RingSegment,
    attach_ring,
    available,
    claim,
    copy_record,
    create_ring,
    has_room,
    peek,
    publish,
    publish_many,
    read_record,
    release,
    release_many,
    slot_at,
    slot_of,
)
from shm.segment import NOBODY

RECORD = np.dtype([("sequence", "<i8"), ("rest", "<i8", (7,))])
SLOTS = 4096
#: Records that one tail store publishes in the batched stream: a depth update of 16 levels a side.
BATCH = 32
#: Round trips before the clock starts, as in the reference.
WARM_UP = 1000

_LAYOUT_ID = 64
_SOURCE = Path(__file__).with_name("ring_reference.c")


@njit
def give(ring: Ring, buffer: NDArray[Any]) -> None:
    """Send buffer[0], waiting for room."""
    slot = claim(ring)
    while slot < 0:
        relax()
        slot = claim(ring)
    copy_record(ring, slot, buffer, 0)
    publish(ring)


@njit
def take(ring: Ring, buffer: NDArray[Any]) -> None:
    """Receive into buffer[0], waiting for a record."""
    slot = peek(ring)
    while slot < 0:
        relax()
        slot = peek(ring)
    read_record(ring, slot, buffer, 0)
    release(ring)


@njit
def drive_round_trips(to: Ring, back: Ring, buffer: NDArray[Any], count: int) -> None:
    """A: send a record and wait for it to come back, `count` times."""
    for sequence in range(count):
        buffer[0]["sequence"] = sequence
        give(to, buffer)
        take(back, buffer)


@njit
def echo(to: Ring, back: Ring, buffer: NDArray[Any], count: int) -> None:
    """B: send `count` records back."""
    for _ in range(count):
        take(to, buffer)
        give(back, buffer)


@njit
def stream_single(to: Ring, back: Ring, buffer: NDArray[Any], count: int) -> int:
    """A: send `count` records one by one; the sum that B answers."""
    for sequence in range(count):
        buffer[0]["sequence"] = sequence
        give(to, buffer)
    take(back, buffer)
    answer: int = buffer[0]["sequence"]
    return answer


@njit
def stream_batched(to: Ring, back: Ring, buffer: NDArray[Any], count: int) -> int:
    """A: send `count` records, BATCH by one tail store; the sum that B answers."""
    sent = 0
    while sent < count:
        batch = min(count - sent, BATCH)
        while not has_room(to, batch):
            relax()
        for k in range(batch):
            buffer[0]["sequence"] = sent + k
            copy_record(to, slot_at(to, k), buffer, 0)
        publish_many(to, batch)
        sent += batch
    take(back, buffer)
    answer: int = buffer[0]["sequence"]
    return answer


@njit
def sum_single(to: Ring, back: Ring, buffer: NDArray[Any], count: int) -> None:
    """B: take `count` records one by one and answer the sum of their sequences."""
    total = 0
    for _ in range(count):
        take(to, buffer)
        total += buffer[0]["sequence"]
    buffer[0]["sequence"] = total
    give(back, buffer)


@njit
def sum_batched(to: Ring, back: Ring, buffer: NDArray[Any], count: int) -> None:
    """B: take `count` records, each time all there are, and answer the sum of their sequences."""
    total, taken = 0, 0
    while taken < count:
        batch = available(to)
        if batch == 0:
            relax()
            continue
        for k in range(batch):
            read_record(to, slot_of(to, k), buffer, 0)
            total += buffer[0]["sequence"]
        release_many(to, batch)
        taken += batch
    buffer[0]["sequence"] = total
    give(back, buffer)


_STREAMS = {"single": (stream_single, sum_single), "batched": (stream_batched, sum_batched)}


class Size(NamedTuple):
    """How much one run does: `slices` times `round_trips`, then `slices` times `records` in each stream."""

    slices: int
    round_trips: int
    records: int


FULL = Size(slices=5, round_trips=100_000, records=1_000_000)


def run(rounds: int = 7, size: Size = FULL) -> dict[str, Any]:
    """Run the bench; `floor` and `ratio` are None without a C compiler, and all figures with fewer than two cores."""
    cores = two_cores()
    if cores is None:
        return {**finish("ring", {}, None, None), "oversubscribed": True}
    ours: dict[str, list[float]] = {"round_trip_ns": [], "single_ns": [], "batched_ns": []}
    theirs: dict[str, list[float]] = {"round_trip_ns": [], "stream_ns": []}
    sums: set[int] = set()
    with tempfile.TemporaryDirectory() as folder:
        program = compile_c(_SOURCE, Path(folder))
        _measure(cores, Size(1, 1, 1), {}, set())
        for _ in range(rounds):
            # Ours after each of the reference's two ways, so that both sides get as many chances of a quiet moment.
            for pause in (0, 1):
                if program:
                    _reference(program, cores, size, pause, theirs, sums)
                _measure(cores, size, ours, sums)
    expected = size.records * (size.records - 1) // 2
    if sums != {expected}:
        raise AssertionError(f"the consumers summed {sums}, not {expected}")
    results = _best(ours) | {"rounds": rounds, "cores": list(cores), **size._asdict()}
    document = finish("ring", results, _best(theirs) if program else None, _ratio(ours, theirs) if program else None, [size, expected])
    return {**document, "oversubscribed": False}


def _best(figures: dict[str, list[float]]) -> dict[str, Any]:
    return {name: round(min(values), 2) for name, values in figures.items()} | {
        f"{name}_all": [round(value, 2) for value in values] for name, values in figures.items()
    }


def _ratio(ours: dict[str, list[float]], theirs: dict[str, list[float]]) -> dict[str, float]:
    reference = min(theirs["stream_ns"])
    return {
        "round_trip": round(min(ours["round_trip_ns"]) / min(theirs["round_trip_ns"]), 3),
        "throughput": round(reference / min(ours["batched_ns"]), 3),
        "throughput_single": round(reference / min(ours["single_ns"]), 3),
    }


def _reference(program: Path, cores: tuple[int, int], size: Size, pause: int, figures: dict[str, list[float]], sums: set[int]) -> None:
    command = [str(program), *map(str, (*cores, *size, pause))]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    figures["round_trip_ns"].append(float(printed[0]))
    figures["stream_ns"].append(float(printed[1]))
    sums.add(int(printed[2]))


def _measure(cores: tuple[int, int], size: Size, figures: dict[str, list[float]], sums: set[int]) -> None:
    """One run of ours, in a fresh pair of processes on fresh rings; figures are appended."""
    prefix = f"hft.bench.{os.getpid()}.{secrets.token_hex(4)}"
    rings = [create_ring(f"{prefix}.{way}", RECORD, SLOTS, _LAYOUT_ID, 0) for way in ("to", "back")]
    usable = os.sched_getaffinity(0)
    peer = os.fork()
    if peer == 0:
        _be_peer(rings, cores[1], size)
    try:
        os.sched_setaffinity(0, {cores[0]})
        _await_peer(rings, peer)
        _drive(rings, size, figures, sums)
        os.waitpid(peer, 0)
    finally:
        os.sched_setaffinity(0, usable)
        for ring in rings:
            ring.close()
            ring.unlink()


def _await_peer(rings: list[RingSegment], peer: int) -> None:
    """Wait until the peer holds its roles: from there on it is in compiled code, where nothing of it can fail."""
    while rings[0].consumer() == NOBODY or rings[1].producer() == NOBODY:
        if os.waitpid(peer, os.WNOHANG)[0]:
            raise ChildProcessError("the bench's peer process ended early")
        time.sleep(0.001)


def _drive(rings: list[RingSegment], size: Size, figures: dict[str, list[float]], sums: set[int]) -> None:
    to, back = rings[0].acquire_producer(), rings[1].acquire_consumer()
    buffer = aligned_zeros(RECORD.itemsize).view(RECORD)
    drive_round_trips(to, back, buffer, WARM_UP)
    took_ns = [_timed(drive_round_trips, to, back, buffer, size.round_trips)[0] for _ in range(size.slices)]
    figures.setdefault("round_trip_ns", []).append(min(took_ns) / size.round_trips)
    for name, (stream, _) in _STREAMS.items():
        slices = [_timed(stream, to, back, buffer, size.records) for _ in range(size.slices)]
        figures.setdefault(f"{name}_ns", []).append(min(slices)[0] / size.records)
        sums.update(int(total) for _, total in slices)


def _timed(kernel: Callable[..., Any], *arguments: Any) -> tuple[int, Any]:
    before = time.perf_counter_ns()
    answer = kernel(*arguments)
    return time.perf_counter_ns() - before, answer


def _be_peer(rings: list[RingSegment], core: int, size: Size) -> None:
    """The forked peer: echo, then take each stream; never returns."""
    status = 1
    try:
        os.sched_setaffinity(0, {core})
        to, back = (attach_ring(ring.name, RECORD, SLOTS, _LAYOUT_ID, 0) for ring in rings)
        inbound, outbound = to.acquire_consumer(), back.acquire_producer()
        buffer = aligned_zeros(RECORD.itemsize).view(RECORD)
        echo(inbound, outbound, buffer, WARM_UP + size.slices * size.round_trips)
        for _, total in _STREAMS.values():
            for _ in range(size.slices):
                total(inbound, outbound, buffer, size.records)
        status = 0
    finally:
        os._exit(status)
