"""Build: compiles every kernel that some configs' placements need, into the cache."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import click

from hft.config import load
from processes.logs import silence
from processes.run import warm_process

_CONFIGS = Path(__file__).resolve().parent.parent / "configs"


def build_all(config_files: tuple[Path, ...]) -> dict[str, Any]:
    """Warm every process of every config; the cache then serves any later start."""
    silence()
    files = config_files or tuple(sorted(_CONFIGS.glob("*.toml")))
    jobs = [(file, config, name) for file in files for config in [load(file)] for name in config.placement.processes]
    built = []
    started_s = time.monotonic()
    for done, (file, config, name) in enumerate(jobs):
        _show(done, len(jobs), f"{file.name} {name}")
        at_s = time.monotonic()
        warm_process(config, name)
        built.append({"config": file.name, "process": name, "seconds": round(time.monotonic() - at_s, 2)})
    _show(len(jobs), len(jobs), "")
    return {"built": built, "seconds": round(time.monotonic() - started_s, 2)}


def _show(done: int, of: int, what: str) -> None:
    bar = "#" * (24 * done // max(of, 1))
    end = "\n" if done == of or not sys.stderr.isatty() else ""
    start = "\r\033[K" if sys.stderr.isatty() else ""
    print(f"{start}compiling [{bar:<24}] {done}/{of} {what}", end=end, file=sys.stderr, flush=True)


def print_build(document: dict[str, Any]) -> None:
    """One line a process."""
    for row in document["built"]:
        click.echo(f"{row['config']:<20}{row['process']:<12}{row['seconds']:>8.2f} s")
    click.echo(f"all kernels ready in {document['seconds']:.1f} s")
