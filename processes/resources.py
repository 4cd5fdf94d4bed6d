"""Resources: gives stages their rings, tables and journals, shared or scratch.

`SharedResources` attaches the segments of an epoch. `ScratchResources` is private memory of the same types: a burst is warmed
on it before it ever sees a live segment, and a replay runs on it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hft import control
from hft.counters import COUNTERS_BY_ROLE
from hft.journal import JournalWriter
from hft.latency import SPANS
from hft.records import LAYOUT_ID, POSITION
from hft.topology import RingSpec, StageSpec, Topology
from processes.instance import Instance
from processes.segments import position_rows
from shm.clock import monotonic_ns, realtime_ns
from shm.layout import aligned_zeros, cell_bytes, histogram_bytes
from shm.ring import Ring, RingSegment, attach_ring, local_ring
from shm.segment import Segment


class Resources(ABC):
    """What a stage attaches to."""

    def __init__(self, topology: Topology, instruments: int, epoch: int, control_words: NDArray[np.int64]) -> None:
        self.topology, self.instruments, self.epoch, self.control = topology, instruments, epoch, control_words

    @abstractmethod
    def producer(self, ring: RingSpec) -> Ring:
        """The ring, with its producer role taken."""

    @abstractmethod
    def consumer(self, ring: RingSpec) -> Ring:
        """The ring, with its consumer role taken."""

    @abstractmethod
    def counters(self, stage: StageSpec) -> NDArray[np.int64]:
        """The stage's counter values."""

    @abstractmethod
    def latency(self) -> NDArray[np.int64]:
        """One histogram a span: int64[span, words]."""

    @abstractmethod
    def cells(self) -> NDArray[np.int64]:
        """One seqlock cell a POSITION row: int64[row, words]."""

    @abstractmethod
    def journal(self, stage: str) -> JournalWriter:
        """A new journal of the stage in this epoch."""


class SharedResources(Resources):
    """The shared segments of one epoch; a ring that both ends of which are in this process is mapped once."""

    def __init__(
        self, instance: Instance, topology: Topology, instruments: int, epoch: int, control_words: NDArray[np.int64], file_bytes: int
    ) -> None:
        super().__init__(topology, instruments, epoch, control_words)
        self.instance, self.file_bytes = instance, file_bytes
        self._rings: dict[str, RingSegment] = {}

    def _ring(self, ring: RingSpec) -> RingSegment:
        if ring.name not in self._rings:
            dtype, slots = ring.shape
            self._rings[ring.name] = attach_ring(self.instance.segment(self.epoch, ring.name), dtype, slots, LAYOUT_ID, self.epoch)
        return self._rings[ring.name]

    def producer(self, ring: RingSpec) -> Ring:
        return self._ring(ring).acquire_producer()

    def consumer(self, ring: RingSpec) -> Ring:
        return self._ring(ring).acquire_consumer()

    def counters(self, stage: StageSpec) -> NDArray[np.int64]:
        segment = Segment.attach(f"{self.instance.prefix}counters.{stage.name}", LAYOUT_ID)
        return segment.array(0, np.int64, len(COUNTERS_BY_ROLE[stage.role]))

    def latency(self) -> NDArray[np.int64]:
        segment = Segment.attach(f"{self.instance.prefix}latency", LAYOUT_ID)
        return segment.array(0, np.int64, histogram_bytes(len(SPANS)) // 8).reshape(len(SPANS), -1)

    def cells(self) -> NDArray[np.int64]:
        rows = position_rows(self.topology, self.instruments)
        segment = Segment.attach(f"{self.instance.prefix}positions", LAYOUT_ID)
        return segment.array(0, np.int64, rows * cell_bytes(POSITION) // 8).reshape(rows, -1)

    def journal(self, stage: str) -> JournalWriter:
        folder = self.instance.journal_folder(self.epoch)
        return JournalWriter(folder, stage, self.epoch, self.file_bytes, realtime_ns(), monotonic_ns())

    def close(self) -> None:
        """Free descriptors and role locks; mappings stay as long as a context holds them."""
        for ring in self._rings.values():
            ring.close()


class ScratchResources(Resources):
    """Private memory of the same types and layout. `folder` takes the journals."""

    def __init__(self, topology: Topology, instruments: int, folder: Path, epoch: int = 1, file_bytes: int = 1 << 20) -> None:
        super().__init__(topology, instruments, epoch, np.zeros(control.WORDS, np.int64))
        self.folder, self.file_bytes = folder, file_bytes
        self.rings: dict[str, Ring] = {}
        self._counters: dict[str, NDArray[np.int64]] = {}

    def producer(self, ring: RingSpec) -> Ring:
        if ring.name not in self.rings:
            self.rings[ring.name] = local_ring(*ring.shape)
        return self.rings[ring.name]

    consumer = producer

    def counters(self, stage: StageSpec) -> NDArray[np.int64]:
        return self._counters.setdefault(stage.name, np.zeros(len(COUNTERS_BY_ROLE[stage.role]), np.int64))

    def latency(self) -> NDArray[np.int64]:
        return np.zeros((len(SPANS), histogram_bytes() // 8), np.int64)

    def cells(self) -> NDArray[np.int64]:
        rows = position_rows(self.topology, self.instruments)
        return aligned_zeros(rows * cell_bytes(POSITION)).view(np.int64).reshape(rows, -1)

    def journal(self, stage: str) -> JournalWriter:
        return JournalWriter(self.folder, stage, self.epoch, self.file_bytes, realtime_ns(), monotonic_ns())
