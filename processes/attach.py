"""Attach: finds a running engine from outside, without numba."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hft import control
from hft.records import LAYOUT_ID
from processes.errors import EngineError, NotRunning
from processes.instance import Instance
from shm.layout import Geometry, SegmentKind
from shm.segment import Owner, Segment, SegmentError
from shm.segment import is_alive as owner_is_alive

CONTROL_GEOMETRY = Geometry(SegmentKind.WORDS, 8, control.WORDS)


def is_alive(engine: dict[str, Any]) -> bool:
    """Whether the supervisor that wrote this engine.json still runs."""
    return owner_is_alive(Owner(engine["pid"], engine["started"]))


def engine_of(instance: Instance) -> dict[str, Any]:
    """engine.json of the running engine; raises NotRunning."""
    engine = instance.read_engine()
    if engine is None or not is_alive(engine):
        raise NotRunning(f"no engine runs as instance {instance.name!r} (state in {instance.folder})")
    return engine


def create_control(instance: Instance) -> tuple[Segment, NDArray[np.int64]]:
    """Create the control words; they outlive epochs and go with the engine."""
    segment = Segment.create(instance.control_segment, LAYOUT_ID, CONTROL_GEOMETRY, control.WORDS * 8, 0)
    return segment, segment.array(0, np.int64, control.WORDS)


def open_control(instance: Instance) -> tuple[Segment, NDArray[np.int64]]:
    """Attach the control words for as long as the segment is held."""
    try:
        segment = Segment.attach(instance.control_segment, LAYOUT_ID, CONTROL_GEOMETRY)
    except SegmentError as error:
        raise EngineError(str(error)) from error
    return segment, segment.array(0, np.int64, control.WORDS)


@contextmanager
def attach_control(instance: Instance) -> Iterator[NDArray[np.int64]]:
    """The control words of a running engine, writable."""
    segment, words = open_control(instance)
    try:
        yield words
    finally:
        segment.close()
