"""Segments: names and creates every shared segment of an engine; the supervisor alone creates and unlinks.

hft.<instance>.control               stop, halt, kill, epoch, heartbeats
hft.<instance>.counters.<stage>      labelled counters; they go on over restarts
hft.<instance>.latency               one HDR histogram for each span
hft.<instance>.positions             one seqlock cell for each POSITION row
hft.<instance>.e<epoch>.<ring>       the rings, new ones for every epoch
"""

from __future__ import annotations

import numpy as np

from hft.counters import COUNTERS_BY_ROLE
from hft.latency import SPANS
from hft.records import LAYOUT_ID, POSITION
from hft.topology import RingSpec, Topology
from processes.instance import Instance
from shm.counters_layout import write_labels
from shm.layout import Geometry, SegmentKind, cell_bytes, counters_bytes, histogram_bytes, ring_bytes
from shm.segment import Segment


def ring_geometry(ring: RingSpec) -> Geometry:
    """Geometry of a ring's segment."""
    dtype, slots = ring.shape
    return Geometry(SegmentKind.RING, dtype.itemsize, slots)


def create_rings(instance: Instance, topology: Topology, epoch: int) -> list[Segment]:
    """Create the epoch's empty rings."""
    segments = []
    for ring in topology.rings:
        dtype, slots = ring.shape
        name = instance.segment(epoch, ring.name)
        segments.append(Segment.create(name, LAYOUT_ID, ring_geometry(ring), ring_bytes(slots, dtype), epoch))
    return segments


def position_rows(topology: Topology, instruments: int) -> int:
    """Rows of the position table: the firm's, then each strategy's, one an instrument."""
    strategies = sum(stage.role == "strategy" for stage in topology.stages)
    return (1 + strategies) * instruments


def create_tables(instance: Instance, topology: Topology, instruments: int) -> list[Segment]:
    """Create counters, histograms and the position table."""
    segments = []
    for stage in topology.stages:
        labels = [counter.name.lower() for counter in COUNTERS_BY_ROLE[stage.role]]
        geometry = Geometry(SegmentKind.COUNTERS, 8, len(labels))
        segment = Segment.create(f"{instance.prefix}counters.{stage.name}", LAYOUT_ID, geometry, counters_bytes(len(labels)), 0)
        write_labels(segment.buffer, labels)
        segments.append(segment)
    geometry = Geometry(SegmentKind.HISTOGRAM, histogram_bytes(), len(SPANS))
    segments.append(Segment.create(f"{instance.prefix}latency", LAYOUT_ID, geometry, histogram_bytes(len(SPANS)), 0))
    rows = position_rows(topology, instruments)
    geometry = Geometry(SegmentKind.CELL, cell_bytes(POSITION), rows)
    segments.append(Segment.create(f"{instance.prefix}positions", LAYOUT_ID, geometry, cell_bytes(POSITION) * rows, 0))
    return segments


def bytes_needed(topology: Topology, instruments: int) -> int:
    """Bytes of /dev/shm that one epoch takes; a restart needs the rings twice for a moment."""
    rings = sum(ring_bytes(slots, dtype) for dtype, slots in (ring.shape for ring in topology.rings))
    tables = histogram_bytes(len(SPANS)) + cell_bytes(POSITION) * position_rows(topology, instruments)
    return int(np.int64(rings + tables + (1 << 16)))
