"""Latency: percentiles of every hop, as a table, as JSON and as .hgrm files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec

from hft.latency import SPANS
from hft.records import LAYOUT_ID
from processes.attach import is_alive
from processes.errors import EngineError, NotRunning
from processes.instance import Instance
from shm import observe
from shm.layout import SegmentKind

_COLUMNS = ("count", "mean_ns", "p50_ns", "p90_ns", "p99_ns", "p999_ns", "p9999_ns", "max_ns")


def read_latency(instance: Instance, hgrm: Path | None) -> dict[str, Any]:
    """Spans of the running engine; if none runs, of the newest report. `hgrm` takes one file a span, of a running engine."""
    engine = instance.read_engine()
    if engine is None or not is_alive(engine):
        if hgrm is not None:
            raise NotRunning(
                f"no engine runs as instance {instance.name!r}; the .hgrm files of past runs are in {instance.folder / 'reports'}"
            )
        return _last_report(instance)
    segment = observe.attach(f"{instance.prefix}latency", LAYOUT_ID, SegmentKind.HISTOGRAM)
    histograms = observe.histograms(segment)
    segment.close()
    if hgrm is not None:
        hgrm.mkdir(parents=True, exist_ok=True)
        for name, histogram in zip(SPANS, histograms, strict=True):
            with open(hgrm / f"{name.replace('→', '-to-')}.hgrm", "w") as out:
                histogram.write_hgrm(out)
    spans = [{"name": name, **histogram.summary()} for name, histogram in zip(SPANS, histograms, strict=True)]
    return {"instance": instance.name, "session": engine["session"], "running": True, "spans": spans}


def _last_report(instance: Instance) -> dict[str, Any]:
    reports = sorted((instance.folder / "reports").glob("*.json"), key=lambda path: int(path.stem))
    if not reports:
        raise NotRunning(f"no engine runs as instance {instance.name!r}, and it has left no report")
    try:
        found: dict[str, Any] = msgspec.json.decode(reports[-1].read_bytes())["latency"]
    except (msgspec.DecodeError, KeyError) as error:
        raise EngineError(f"{reports[-1]}: not a report: {error}") from error
    return {**found, "running": False}


def print_latency(document: dict[str, Any]) -> None:
    """The spans as a table in microseconds."""
    click.echo(f"{'span, µs':<20}{'count':>9}" + "".join(f"{name.removesuffix('_ns'):>11}" for name in _COLUMNS[1:]))
    for span in document["spans"]:
        cells = "".join(f" {span[name] / 1000:>10.2f}" for name in _COLUMNS[1:])
        click.echo(f"{span['name']:<19} {span['count']:>9}{cells}")
