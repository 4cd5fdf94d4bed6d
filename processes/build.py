"""Build: compiles every kernel that some configs' placements need, into the cache."""

from __future__ import annotations

import multiprocessing
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, NamedTuple

import click

from hft.config import Config, PaperExecution, load
from processes.logs import silence
from processes.run import warm_process

_CONFIGS = Path(__file__).resolve().parent.parent / "configs"


class Job(NamedTuple):
    """One process of one config."""

    file: Path
    config: Config
    process: str

    def costly(self) -> set[str]:
        """Names of what takes long to compile in it: feeds and executions, by venue and encoding; its own stages if there are none."""
        kinds = set()
        for stage in self.config.placement.processes[self.process].stages:
            role, _, subject = stage.partition(".")
            if role == "execution":
                kinds.add("paper" if isinstance(self.config.execution[subject], PaperExecution) else f"orders {subject}")
            elif role == "feed":
                kinds.add(f"feed {subject} {self.config.venues[subject].codec}")
        return kinds or set(self.config.placement.processes[self.process].stages)


def one_after_another(jobs: list[Job]) -> list[list[int]]:
    """Places of jobs in groups: those of a group are not compiled at the same time, for each finds kernels of the ones before it."""
    groups: list[tuple[set[str], list[int]]] = []
    for n, job in enumerate(jobs):
        kinds, places = job.costly(), [n]
        for other in [other for other in groups if other[0] & kinds]:
            groups.remove(other)
            kinds, places = kinds | other[0], other[1] + places
        groups.append((kinds, sorted(places)))
    return [places for _, places in groups]


def build_all(config_files: tuple[Path, ...], workers: int = 1) -> dict[str, Any]:
    """Warm every process of every config, so many at a time; the cache then serves any later start. A worker takes up to 3 GB."""
    silence()
    files = config_files or tuple(sorted(_CONFIGS.glob("*.toml")))
    jobs = [Job(file, config, name) for file in files for config in [load(file)] for name in config.placement.processes]
    started_s = time.monotonic()
    seconds = dict(_warm_one_by_one(jobs) if workers == 1 else _warm_beside(jobs, workers))
    _show(len(jobs), len(jobs), "")
    built = [{"config": job.file.name, "process": job.process, "seconds": seconds[n]} for n, job in enumerate(jobs)]
    return {"built": built, "seconds": round(time.monotonic() - started_s, 2)}


def _warm_one_by_one(jobs: list[Job]) -> Iterator[tuple[int, float]]:
    for n, job in enumerate(jobs):
        _show(n, len(jobs), f"{job.file.name} {job.process}")
        yield n, _warm(job)


def _warm_beside(jobs: list[Job], workers: int) -> Iterator[tuple[int, float]]:
    """Place of each job and its seconds, as they are done."""
    _show(0, len(jobs), f"{len(jobs)} processes")
    done = 0
    with ProcessPoolExecutor(workers, multiprocessing.get_context("fork")) as pool:
        futures = {pool.submit(_warm_all, [jobs[n] for n in group]): group for group in one_after_another(jobs)}
        for future in as_completed(futures):
            group = futures[future]
            yield from zip(group, future.result(), strict=True)
            done += len(group)
            if done < len(jobs):
                _show(done, len(jobs), f"{jobs[group[0]].file.name} {jobs[group[0]].process} is done")


def _warm_all(jobs: list[Job]) -> list[float]:
    return [_warm(job) for job in jobs]


def _warm(job: Job) -> float:
    at_s = time.monotonic()
    warm_process(job.config, job.process)
    return round(time.monotonic() - at_s, 2)


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
