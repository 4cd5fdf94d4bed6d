"""Faults: what befalls a simulation, drawn from its seed: each seed has some kinds of fault, and each of those comes as often as it draws."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

import msgspec

from processes.chaos.schedule import strikes_of
from processes.simulate.engine import SimulatedEngine
from processes.simulate.network import MS, Network, Place

#: How likely a seed has a kind of fault.
_ON = 0.3
_BETWEEN_S = (0.15, 1.5)
_RESTART_MS = (20, 600)
_SLOW_NS = (20 * MS, 250 * MS)


class Faults:
    """The faults of one seed; `strike` when `due_ns` comes, and `heal` at last."""

    def __init__(self, engine: SimulatedEngine, network: Network, chance: Random) -> None:
        self.engine, self.network, self.chance = engine, network, chance
        self.places = list(network.places.values())
        self.struck: Counter[str] = Counter()
        self.cured_ns: list[tuple[int, Place, dict[str, Any]]] = []
        kinds: dict[str, Callable[[], None]] = {
            "network: cut": self._cut,
            "network: stuck": self._stuck,
            "network: refused": self._refused,
            "network: slow": self._slow,
            "engine: SIGKILL": self._kill,
            "engine: SIGSTOP": self._stop,
        }
        self.kinds = {name: kind for name, kind in kinds.items() if chance.random() < _ON}
        self.at_venues = {place.name for place in self.places if chance.random() < 2 * _ON}
        self._names = {strike.name for place in self.places for strike in self._strikes(place) if chance.random() < _ON}
        self.between_s = chance.uniform(*_BETWEEN_S)
        self.due_ns = network.clock.now_ns

    def _strikes(self, place: Place) -> list[Any]:
        return strikes_of(place.name, list(place.venue.exchange.instruments), self.chance)

    def strike(self) -> None:
        """One fault, if there is any, and when the next one is due."""
        now_ns = self.network.clock.now_ns
        self.due_ns = now_ns + int(self.chance.expovariate(1 / self.between_s) * 1e9) + MS
        choices: list[str | Place] = [*self.kinds, *(place for place in self.places if place.name in self.at_venues)]
        if not choices:
            return
        chosen = self.chance.choice(choices)
        if isinstance(chosen, str):
            self.struck[chosen] += 1
            self.kinds[chosen]()
        else:
            self._at_venue(chosen)

    def _at_venue(self, place: Place) -> None:
        strikes = [strike for strike in self._strikes(place) if strike.name in self._names]
        if not strikes:
            return
        strike = self.chance.choice(strikes)
        self.struck[f"venue: {strike.name}"] += 1
        for fault in strike.faults:
            inject(place, fault, self.network.clock.now_ns)
        self.cured_ns += [(self.network.clock.now_ns + strike.lasts_ms * MS, place, fault) for fault in strike.undo]

    def cure(self) -> None:
        """Undo what has lasted long enough."""
        due = [cure for cure in self.cured_ns if cure[0] <= self.network.clock.now_ns]
        self.cured_ns = [cure for cure in self.cured_ns if cure[0] > self.network.clock.now_ns]
        for _, place, fault in due:
            inject(place, fault, self.network.clock.now_ns)

    def heal(self) -> None:
        """End every fault that still waits or lasts."""
        for place in self.places:
            place.latency_ns = (MS // 10, 3 * MS)
            place.stuck_until_ns = place.refuses_until_ns = 0
            place.venue.heal()
        for process in self.engine.processes.values():
            process.stopped_until_ns = 0

    def _place(self) -> Place:
        return self.chance.choice(self.places)

    def _cut(self) -> None:
        ends = [end for end in self._place().ends if end.open]
        if ends:
            self.chance.choice(ends).cut(self.chance.random() < 0.5)

    def _stuck(self) -> None:
        self._place().stuck_until_ns = self.network.clock.now_ns + self.chance.randint(20, 1500) * MS

    def _refused(self) -> None:
        place = self._place()
        place.refuses_until_ns = self.network.clock.now_ns + self.chance.randint(100, 1500) * MS
        for end in list(place.ends):
            end.cut(self.chance.random() < 0.5)

    def _slow(self) -> None:
        place = self._place()
        place.latency_ns = _SLOW_NS
        self.network.at(self.network.clock.now_ns + self.chance.randint(100, 1000) * MS, lambda: _quick(place))

    def _kill(self) -> None:
        if self.engine.restarting:
            return
        names = self.chance.choice([[name] for name in self.engine.processes] + [list(self.engine.processes)])
        self.engine.kill(names, self.chance.randint(*_RESTART_MS) * MS)

    def _stop(self) -> None:
        process = self.chance.choice(list(self.engine.processes.values()))
        process.stopped_until_ns = self.network.clock.now_ns + self.chance.randint(10, 1500) * MS


def _quick(place: Place) -> None:
    place.latency_ns = (MS // 10, 3 * MS)


def inject(place: Place, fault: dict[str, Any], now_ns: int) -> None:
    """Have a simulator misbehave."""
    answer = place.venue.control("POST", "/fault", msgspec.json.encode(fault), now_ns)
    assert answer.status == 200, answer.body
