"""Top: a picture of a running engine that renews itself."""

from __future__ import annotations

import sys
import time
from typing import Any

import click

from hft.records import LAYOUT_ID
from hft.topology import build
from processes.attach import engine_of
from processes.errors import NotRunning
from processes.instance import Instance
from processes.latency import print_latency, read_latency
from processes.status import print_status, read_status
from shm import observe
from shm.layout import SegmentKind
from shm.segment import SegmentAbsent

_BAR = 20


def watch(instance: Instance, interval_s: float, once: bool) -> None:
    """Print pictures until Ctrl-C or the engine's end."""
    while True:
        status = read_status(instance)
        if not once:
            sys.stdout.write("\x1b[H\x1b[2J")
        print_status(status)
        _print_rings(instance)
        print_latency(read_latency(instance, None))
        sys.stdout.flush()
        if once:
            return
        try:
            time.sleep(interval_s)
            engine_of(instance)
        except (KeyboardInterrupt, NotRunning):
            return


def _print_rings(instance: Instance) -> None:
    engine: dict[str, Any] = engine_of(instance)
    click.echo(f"{'ring':<30}{'published':>12}{'unread':>8}  fill")
    for ring in build(engine["venues"], engine["strategies"]).rings:
        try:
            segment = observe.attach(instance.segment(engine["epoch"], ring.name), LAYOUT_ID, SegmentKind.RING)
        except SegmentAbsent:
            continue
        state = observe.ring_state(segment)
        segment.close()
        bar = "#" * (-(-_BAR * state.unread // state.slots))
        click.echo(f"{ring.name:<30}{state.published:>12}{state.unread:>8}  [{bar:<{_BAR}}]")
    click.echo()
