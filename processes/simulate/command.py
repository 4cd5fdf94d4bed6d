"""Command: `hftctl simulate`, which simulates seed after seed and tells which of them broke an invariant.

Seeds are simulated in processes that end after some of them: a simulated engine dies as a killed one does, without giving anything back.
"""

from __future__ import annotations

import gc
import hashlib
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import click
import msgspec

from processes.errors import EngineError
from processes.orphans import die_with_parent
from processes.simulate.simulation import CLOCK, Outcome, simulate

#: Every so many seeds one is simulated twice, and must do the same.
TWICE_EVERY = 25
_TELL_EVERY_S = 2.0
#: Seeds of one process.
CHUNK = 40


class Campaign:
    """What became of the seeds so far."""

    def __init__(self) -> None:
        self.outcomes = self.repeated = self.orders = self.fills = self.restarts = 0
        self.virtual_s = 0.0
        self.broken: list[Outcome] = []
        self.different: list[int] = []
        self.faults: Counter[str] = Counter()
        self.blamed: Counter[str] = Counter()
        self._trace = hashlib.sha256()

    def add(self, outcome: Outcome) -> None:
        """Count one more."""
        self.outcomes += 1
        self.virtual_s += outcome.virtual_s
        self.orders += outcome.orders
        self.fills += outcome.fills
        self.restarts += outcome.epochs - 1
        self.faults.update(outcome.faults)
        self._trace.update(outcome.trace.encode())
        if outcome.violation:
            self.broken.append(outcome)
            self.blamed.update(outcome.faults.keys())

    def document(self, first: int, venues: tuple[str, ...], seconds: float) -> dict[str, Any]:
        """What `--json` prints."""
        return {
            "seeds": self.outcomes,
            "first": first,
            "seconds": round(seconds, 3),
            "virtual_s": round(self.virtual_s, 3),
            "orders": self.orders,
            "fills": self.fills,
            "restarts": self.restarts,
            "trace": self._trace.hexdigest(),
            "repeated": self.repeated,
            "different": self.different,
            "faults": {name: {"times": times, "violations": self.blamed[name]} for name, times in sorted(self.faults.items())},
            "violations": [
                {"seed": each.seed, "what": each.violation, "at_s": each.at_s, "command": command_of(each.seed, venues)}
                for each in self.broken
            ],
            "passed": not self.broken and not self.different,
        }


def command_of(seed: int, venues: tuple[str, ...]) -> str:
    """What simulates one seed again."""
    return f"hftctl simulate --seed {seed}" + "".join(f" --venue {venue}" for venue in venues)


def campaign(first: int, seeds: int, venues: tuple[str, ...]) -> dict[str, Any]:
    """Simulate seeds from `first` on; this process has no other clock afterwards."""
    CLOCK.install()
    before = signal.signal(signal.SIGTERM, _leave)
    try:
        return _campaign(first, seeds, venues)
    finally:
        signal.signal(signal.SIGTERM, before)


def _campaign(first: int, seeds: int, venues: tuple[str, ...]) -> dict[str, Any]:
    found = Campaign()
    begun_s = told_s = time.perf_counter()
    for outcome, again in _simulated(range(first, first + seeds), first, venues):
        found.add(outcome)
        if outcome.violation:
            _say(f"seed {outcome.seed}: {outcome.violation}\n  again: {command_of(outcome.seed, venues)}")
        if again is not None:
            found.repeated += 1
            if again.trace != outcome.trace:
                found.different.append(outcome.seed)
                _say(f"seed {outcome.seed} does not do the same twice\n  again: {command_of(outcome.seed, venues)}")
        if time.perf_counter() - told_s > _TELL_EVERY_S:
            told_s = time.perf_counter()
            rate = found.outcomes / (told_s - begun_s)
            _say(f"{found.outcomes} of {seeds} seeds, {rate:.1f} a second, {len(found.broken)} broken")
    return found.document(first, venues, time.perf_counter() - begun_s)


Pair = tuple[Outcome, Outcome | None]


def _pair(seed: int, first: int, venues: tuple[str, ...]) -> Pair:
    """What became of a seed, and of its second run if it has one."""
    return simulate(seed, venues), simulate(seed, venues) if (seed - first) % TWICE_EVERY == 0 else None


def _simulated(seeds: range, first: int, venues: tuple[str, ...]) -> Iterator[Pair]:
    """All seeds in order: the first one here, which loads the kernels, the others in forks of this process."""
    yield _pair(seeds[0], first, venues)
    for begin in range(1, len(seeds), CHUNK):
        yield from _in_a_fork(seeds[begin : begin + CHUNK], first, venues)


def _in_a_fork(seeds: range, first: int, venues: tuple[str, ...]) -> Iterator[Pair]:
    receives, sends = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            die_with_parent()
            gc.freeze()  # Kernels and modules stay: a collection need not look through them after each engine.
            os.close(receives)
            with open(sends, "wb") as out:
                for seed in seeds:
                    out.write(msgspec.json.encode(_pair(seed, first, venues)) + b"\n")
                    out.flush()
            status = 0
        finally:
            os._exit(status)
    os.close(sends)
    told = 0
    try:
        with open(receives, "rb") as lines:
            for line in lines:
                told += 1
                yield msgspec.json.decode(line, type=Pair)
    finally:
        if told < len(seeds):
            os.kill(pid, signal.SIGTERM)  # It takes its folder with it.
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status:
        raise EngineError(
            f"the process that simulated seed {seeds[told]} ended with status {status}; again: {command_of(seeds[told], venues)}"
        )


def _leave(number: int, frame: object) -> None:
    raise SystemExit(128 + number)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def print_simulate(document: dict[str, Any]) -> None:
    """A line a fault, and what was broken."""
    click.echo(f"{'fault':<34}{'times':>8}{'violations':>12}")
    for name, row in document["faults"].items():
        click.echo(f"{name:<34}{row['times']:>8}{row['violations']:>12}")
    for broken in document["violations"]:
        click.echo(f"seed {broken['seed']} at {broken['at_s']:.3f} s: {broken['what']}\n  again: {broken['command']}")
    for seed in document["different"]:
        click.echo(f"seed {seed} did not do the same twice")
    click.echo(
        f"{document['seeds']} seeds from {document['first']} in {document['seconds']:.1f} s: {document['virtual_s']:.0f} virtual seconds, "
        f"{document['orders']} orders, {document['fills']} fills, {document['restarts']} restarts; {len(document['violations'])} broke an "
        f"invariant, {document['repeated'] - len(document['different'])} of {document['repeated']} did the same twice"
    )
