"""Simulation: one seed, from a working engine through faults to their end, and what has to hold all the time.

    begin     books come, accounts are reconciled
    safety    orders flow, faults strike
    liveness  faults have healed: trading resumes, nothing stays unknown; after a kill nothing works any more
    rest      every order is canceled, and engine and venues say the same

Everything that is random comes from the seed, and the time is virtual, so that a seed always does the same: `trace` is a hash of every
byte that was journaled, every message that left the engine and every fault.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import msgspec

from hft import control
from hft.journal_format import JournalError
from processes.logs import silence
from processes.simulate.checks import Checks, Violation
from processes.simulate.engine import SimulatedEngine
from processes.simulate.faults import Faults
from processes.simulate.network import MS, Network, Place
from processes.simulate.scenario import BEGIN_NS, PORTS, UTC_OFFSET_NS, VENUES, config_of, make_venue
from processes.simulate.server_end import ServerEnd
from shm.virtual_clock import VirtualClock

_SECOND_NS = 1_000_000_000
_STEP_NS, _LONG_STEP_NS = (3 * MS, 24 * MS), (10 * MS, 60 * MS)
_TURNS_MAX = 6

CLOCK = VirtualClock(UTC_OFFSET_NS)


class Bounds(NamedTuple):
    """How long things may take, in virtual seconds."""

    ready_s: float = 3.0
    safety_s: float = 3.0
    resume_s: float = 5.0  #: L1
    rest_s: float = 5.0
    #: And at Kraken: a pair's counter that was said to be full falls by 3.75 a second, and new orders leave a tenth of its 180 alone.
    counter_s: float = 5.1
    #: L2: an order is UNKNOWN so long after the last moment at which its request could arrive.
    resolved_s: float = 2.0


class Outcome(msgspec.Struct):
    """What became of a seed."""

    seed: int
    venues: list[str]
    trace: str = ""
    virtual_s: float = 0.0
    steps: int = 0
    orders: int = 0
    fills: int = 0
    epochs: int = 1
    faults: dict[str, int] = {}
    violation: str = ""  #: the invariant, and what was found; empty if all held
    at_s: float = 0.0  #: virtual time of the violation since the beginning


def simulate(seed: int, venues: tuple[str, ...] = (), bounds: Bounds | None = None) -> Outcome:
    """Simulate a seed; `CLOCK` must be installed."""
    silence()
    with tempfile.TemporaryDirectory(prefix="hft-simulate-", dir=_memory()) as folder:
        return Simulation(seed, venues, bounds or Bounds(), Path(folder)).run()


def _memory() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


class Simulation:
    """One seed at work."""

    def __init__(self, seed: int, venues: tuple[str, ...], bounds: Bounds, folder: Path) -> None:
        self.chance = Random(seed)
        self.bounds = bounds
        self._healed_ns = 0
        venues = venues or self._draw_venues()
        self.outcome = Outcome(seed, list(venues))
        self._trace = hashlib.sha256()
        CLOCK.now_ns = BEGIN_NS
        self.network = Network(CLOCK, Random(self.chance.random()), self._heard)
        for row, venue in enumerate(venues):
            self.network.places[PORTS[venue]] = Place(venue, row, make_venue(venue, self.chance.randint(1, 2**31)))
        self.places = list(self.network.places.values())
        config = config_of(venues, self.chance.randint(1, 2**31))
        self.engine = SimulatedEngine(config, folder, self.network, CLOCK, Random(self.chance.random()))
        self.checks = Checks(self.engine, self.places, self.engine.processes["trade"].loop.tables)
        self.faults = Faults(self.engine, self.network, Random(self.chance.random()))
        #: seconds before the end of the safety phase at which the firm is killed, in one seed of eight
        self.kill_s = self.chance.uniform(0, 1.5) if self.chance.random() < 0.125 else -1.0

    def _draw_venues(self) -> tuple[str, ...]:
        count = self.chance.choice((1, 1, 3))
        return tuple(sorted(self.chance.sample(VENUES, count)))

    def run(self) -> Outcome:
        """All phases; what became of it."""
        outcome = self.outcome
        try:
            self._phases()
        except Violation as violation:
            outcome.violation = str(violation)
        except Exception as error:  # noqa: BLE001 - whatever a stage raises, it died of it
            outcome.violation = f"{type(error).__name__}: {error}"
        outcome.at_s = outcome.virtual_s = (CLOCK.now_ns - BEGIN_NS) / 1e9
        self._end()
        return outcome

    def _phases(self) -> None:
        self._go_until(lambda: not self.checks.not_ready(), self.bounds.ready_s, "L1", "not ready at first: ", self.checks.not_ready)
        self._go(self.bounds.safety_s - max(self.kill_s, 0.0), strikes=True)
        if self.kill_s >= 0:
            self._note("kill")
            self.engine.words[control.KILL_FIRM] = 1
            self._go(self.kill_s, strikes=True)
        self.faults.heal()
        self._note("healed")
        self._healed_ns = CLOCK.now_ns
        if self.kill_s >= 0:
            self._go_until(lambda: not self.checks.working(), self.bounds.rest_s, "S9", "killed: ", self.checks.working)
        else:
            before = self.engine.epoch, self.checks.acked()
            resume_s = self.bounds.resume_s + self.bounds.counter_s * ("kraken" in self.outcome.venues)
            self._go_until(lambda: self._resumes(*before), resume_s, "L1", "does not trade again: ", self.checks.not_ready)
        self.engine.words[control.HALT], self.engine.words[control.READY], self.engine.words[control.CANCEL_ALL] = 1, 0, 1
        self._go_until(lambda: not self.checks.working(), self.bounds.rest_s, "L2", "still working: ", self.checks.working)
        self._go(0.3)
        self.checks.at_rest()

    def _resumes(self, epoch: int, before: dict[str, int]) -> bool:
        """Whether every venue has acknowledged an order since."""
        acked = self.checks.acked()
        news = acked if self.engine.epoch > epoch else {venue: count - before[venue] for venue, count in acked.items()}
        return not self.engine.restarting and all(news.values())

    def _go_until(self, holds: Callable[[], bool], seconds: float, bound: str, what: str, found: Callable[[], list[str]]) -> None:
        until_ns = CLOCK.now_ns + int(seconds * _SECOND_NS)
        while not holds():
            if CLOCK.now_ns >= until_ns:
                raise Violation(bound, f"{what}{', '.join(found())} after {seconds:g} s")
            self._step(False, _STEP_NS if CLOCK.now_ns < until_ns - int((seconds - 1) * _SECOND_NS) else _LONG_STEP_NS)

    def _go(self, seconds: float, strikes: bool = False) -> None:
        until_ns = CLOCK.now_ns + int(seconds * _SECOND_NS)
        while CLOCK.now_ns < until_ns:
            self._step(strikes, _STEP_NS)

    def _step(self, strikes: bool, step_ns: tuple[int, int]) -> None:
        """Let some time go by, and everything happen that is due in it."""
        CLOCK.now_ns = max(CLOCK.now_ns + 1, min(CLOCK.now_ns + self.chance.randint(*step_ns), self.network.next_ns()))
        if strikes and CLOCK.now_ns >= self.faults.due_ns:
            before = sum(self.faults.struck.values())
            self.faults.strike()
            self._note(f"fault {before} {self.faults.struck}")
        self.faults.cure()
        for place in self.places:
            while place.venue.deadline_ns() <= CLOCK.now_ns and place.venue.work(CLOCK.now_ns, 1000):
                pass
        self.network.run()
        for _ in range(_TURNS_MAX):
            if self.engine.turn() + self.network.carry() == 0:
                break
        self.checks.step()
        if self._healed_ns:
            self.checks.resolved(self._healed_ns, int(self.bounds.resolved_s * _SECOND_NS))

    def _heard(self, place: Place, end: ServerEnd, message: Any) -> None:
        self._note(f"{place.name} {message}")
        self.checks.sent(place, message)

    def _note(self, what: str) -> None:
        self._trace.update(f"{CLOCK.now_ns} {what}\n".encode())

    def _end(self) -> None:
        outcome = self.outcome
        self.engine.end()
        self.network.close()
        if not outcome.violation:
            try:
                self.checks.journals()
            except (Violation, JournalError) as error:
                outcome.violation = str(error) if isinstance(error, Violation) else f"S10: {error}"
        for path in sorted(self.engine.instance.folder.glob("journal/*/*.journal")):
            self._trace.update(path.name.encode() + path.read_bytes())
        outcome.trace = self._trace.hexdigest()
        outcome.steps, outcome.epochs = self.checks.steps, self.engine.epoch
        outcome.orders = sum(len(book.placed) for book in self.checks.books)
        outcome.fills = sum(book.fills for book in self.checks.books)
        outcome.faults = dict(self.faults.struck)
