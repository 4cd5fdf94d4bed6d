"""Carried: a file beside risk's journal that has what risk has counted, so that the epoch after a crash goes on counting.

Two slots of a mapped file are written in turn, each with its number and checksum: a writer that dies in the middle of one leaves the other. It
is written ten times a second at most and never synced; whatever reports came after it are counted again from the executions' journals, and
what is lost with the process are orders approved since (R052), and a peak of the P&L that was younger than that.
"""

from __future__ import annotations

import mmap
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from hft.counting import Counted, arm_tripped, carry, carry_forgiven, count_report, new_counted, resume
from hft.journal_reader import JournalReader
from hft.records import REPORT, JournalKind, ReportKind
from hft.replay import RingJournal
from hft.stops import Stops
from hft.tables import Tables
from hft.topology import RingSpec, Topology
from processes.errors import EngineError
from processes.instance import Instance
from shm.clock import realtime_ns

PERIOD_NS = 100_000_000

_FILE_NAME = "risk.carried"
#: Number of the write, length and CRC-32 of what follows.
_HEAD = struct.Struct("<qqq")
#: Digits of a time, as JSON has it.
_TIME_BYTES = 24
#: A row of forgiven losses: three numbers.
_FORGIVEN_BYTES = 3 * 24
#: What else there is of the firm, and of each strategy.
_REST_BYTES = 1 << 14


class CarriedFile:
    """Writes the file of one epoch."""

    def __init__(self, folder: Path, counted: Counted, stops: Stops) -> None:
        """Make it. Raises EngineError if it is there already or the disk is full."""
        circles = counted.breakers.fills_ns.size + counted.breakers.rejects_ns.size
        self._slot_bytes = _HEAD.size + _TIME_BYTES * circles + _REST_BYTES * len(counted.breakers.tripped)
        self._slot_bytes += _FORGIVEN_BYTES * len(stops.owned)
        path = folder / _FILE_NAME
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, 2 * self._slot_bytes)
                self._map = mmap.mmap(descriptor, 2 * self._slot_bytes)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise EngineError(f"{path}: {error.strerror}; expected to make a file of {2 * self._slot_bytes} bytes") from error
        self._boot = _boot()
        self._number = 0
        self._newest = b""

    def write(self, counted: Counted, stops: Stops, firm: NDArray[Any], heads: dict[str, int]) -> None:
        """Write what is counted after the first `heads` reports of each execution, unless that is what was written last."""
        data = msgspec.json.encode(
            {"boot": self._boot, "heads": heads, "counted": carry(counted, firm) | {"forgiven": carry_forgiven(stops)}}
        )
        if data == self._newest:
            return
        self._newest = data
        data = msgspec.json.encode({"utc_ns": realtime_ns()})[:-1] + b"," + data[1:]
        at = self._number % 2 * self._slot_bytes
        self._number += 1
        self._map[at + _HEAD.size : at + _HEAD.size + len(data)] = data
        self._map[at : at + _HEAD.size] = _HEAD.pack(self._number, len(data), _checksum(self._number, data))

    def close(self) -> None:
        """Nothing is written after."""
        self._map.close()


def _checksum(number: int, data: bytes) -> int:
    return zlib.crc32(data, number & 0xFFFFFFFF)


def _boot() -> str:
    """What CLOCK_MONOTONIC counts from: it is another after each start of the host."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def read_carried(folder: Path) -> dict[str, Any] | None:
    """What was written last and is whole in the file of one epoch; None if nothing is."""
    path = folder / _FILE_NAME
    if not path.exists():
        return None
    image, found = path.read_bytes(), []
    for at in (0, len(image) // 2):
        number, length, checksum = _HEAD.unpack_from(image, at) if len(image) >= at + _HEAD.size else (0, 0, 0)
        data = image[at + _HEAD.size : at + _HEAD.size + max(length, 0)]
        if number > 0 and len(data) == length and _checksum(number, data) == checksum:
            found.append((number, data))
    return msgspec.json.decode(max(found)[1]) if found else None


def recover_counted(instance: Instance, tables: Tables, topology: Topology, session: int, epoch: int) -> dict[str, Any] | None:
    """What risk had counted when epochs [session, epoch) had ended, and every report after that; None if nothing says so."""
    epochs = [earlier for earlier in instance.sessions() if session <= earlier < epoch]
    for since in reversed(epochs):
        found = read_carried(instance.journal_folder(since))
        if found is not None:
            break
    else:
        return None
    firm = tables.firm
    counted, same_clock = new_counted(len(tables.instruments), len(tables.strategies), firm), found["boot"] == _boot()
    resume(counted, firm, found["counted"], same_clock)
    if same_clock:
        for earlier in epochs[epochs.index(since) :]:
            for ring in (ring for ring in topology.stage("risk").inputs if ring.kind == "reports"):
                first = int(found["heads"].get(ring.producer, 0)) if earlier == since else 0
                for report in _reports_on(instance, topology, ring, earlier, first):
                    count_report(counted, tables.instrument_rows, firm, report.reshape(1), 0)
    if instance.armed_ns() > found["utc_ns"]:
        arm_tripped(counted)
    return carry(counted, firm) | {"forgiven": found["counted"]["forgiven"]}


def _reports_on(instance: Instance, topology: Topology, ring: RingSpec, epoch: int, first: int) -> NDArray[Any]:
    """The reports from the `first` on that were to go to a ring in an epoch; a loss of power may have left fewer."""
    folder = instance.journal_folder(epoch)
    if not any(folder.glob(f"{ring.producer}.*.journal")):
        return np.empty(0, REPORT)
    bit = topology.stage(ring.producer).outputs.index(ring)
    journal = RingJournal(JournalReader(folder, ring.producer, epoch), JournalKind.REPORT, bit)
    return journal.records(min(first, journal.end), journal.end).copy()


def warm_counting(tables: Tables) -> None:
    """Run every kernel that `recover_counted` calls."""
    counted, report = new_counted(len(tables.instruments), len(tables.strategies), tables.firm), np.zeros(1, REPORT)
    report["kind"], report["last_lots"], report["last_price_ticks"] = ReportKind.TRADE, 1, 1
    count_report(counted, tables.instrument_rows, tables.firm, report, 0)
    counted.breakers.tripped[:] = 1
    arm_tripped(counted)
