"""Guardian: a process that ends all orders at the venues after a kill, and proves it; with the engine frozen, or gone.

It has its own key and its own connections, and nothing in common with the stages but shared words and files. It cancels wherever firm or
venue are killed, whoever did it, and kills by itself when the engine cannot be trusted (`guardian_alarms`). A strategy's kill is the
engine's to carry out: a venue cannot tell its orders from others.

    guardian_watch   which scopes are killed          guardian_venue   cancel and ask, one venue each
    hft/sweep.py     what proves that nothing is open  guardian_report  says so; whatever fails there stops no cancel
"""

from __future__ import annotations

import fcntl
import os
import signal
import time
from pathlib import Path
from typing import Any

from hft.config import Config, VenueExecution, load, with_absolute_paths
from hft.sweep import Verdict
from processes import guardian_report as reporting
from processes.errors import EngineError
from processes.guardian_addresses import Addresses
from processes.guardian_venue import GuardedVenue, PaperVenue
from processes.guardian_watch import Watch
from processes.instance import Instance
from processes.logs import log
from processes.notify import ready, stopping, watchdog
from shm.segment import process_start

#: How often the kill words are read, and answers while some are awaited.
_TURN_S, _BUSY_TURN_S = 0.002, 0.0002
#: Slower things: systemd's watchdog, simulators that have moved, the report.
_SLOW_NS = 50_000_000
_LOCK_PAUSE_S = 0.1


class Guardian:
    """One guardian of one instance."""

    def __init__(self, instance: Instance, config: Config, config_hash: str = "") -> None:
        """Open what can be opened before it is needed. Raises EngineError for a key or an authority that cannot be used."""
        assert config.guardian is not None
        self.instance, self.config_hash = instance, config_hash
        at_venue = [name for name, section in config.execution.items() if isinstance(section, VenueExecution)]
        self.watch = Watch(instance, config.guardian, at_venue, list(config.venues))
        self.addresses = Addresses()
        self.venues: list[GuardedVenue | PaperVenue] = [
            GuardedVenue(name, config, self.addresses) if name in at_venue else PaperVenue(name, config, instance) for name in config.venues
        ]
        self.problem = ""
        self._said: dict[str, Any] = {}
        self._slow_ns = 0
        before = reporting.read_report(instance)
        if before is not None and before.get("settled"):
            self.watch.alarms.settled = (int(before["settled"][0]), int(before["settled"][1]))
        for venue in self.venues:
            venue.open(self.watch.view)

    def turn(self, now_ns: int) -> None:
        """Look, cancel, ask; then say what became of it."""
        self.watch.look(now_ns)
        for venue in self.venues:
            self._turn_venue(venue, now_ns)
        if now_ns >= self._slow_ns:
            self._slow_ns = now_ns + _SLOW_NS
            self._say()

    def _turn_venue(self, venue: GuardedVenue | PaperVenue, now_ns: int) -> None:
        """One venue's turn; whatever is wrong with it stays there."""
        try:
            if now_ns >= self._slow_ns:
                venue.open(self.watch.view)
            venue.turn(self.watch.is_killed(venue.name), self.watch.view, now_ns)
        except Exception as error:  # noqa: BLE001 - the other venues, and the next turn, must not wait for its cause to be understood
            venue.problem = f"{type(error).__name__}: {error}"

    def _say(self) -> None:
        """Report, log, and tell systemd. Nothing that goes wrong here may keep the next turn from canceling."""
        try:
            watchdog()
            document = self.document()
            if document != self._said:
                if document["state"] != self._said.get("state"):
                    log("guardian", **{key: document[key] for key in ("state", "kills", "venues", "problem")})
                reporting.write_report(self.instance, document)
                self._said = document
            self.problem = ""
        except Exception as error:  # noqa: BLE001 - reporting is the last thing that may end a guardian
            self.problem = f"cannot report: {error}"

    def document(self) -> dict[str, Any]:
        """What it says of itself."""
        venues = [reporting.describe(venue, self.watch.is_killed(venue.name)) for venue in self.venues]
        kills = {scope: kill._asdict() for scope, kill in self.watch.kills.items()}
        return {
            "pid": os.getpid(),
            "started": process_start(os.getpid()),
            "instance": self.instance.name,
            "config_hash": self.config_hash,
            "state": reporting.state_of(venues, bool(kills)),
            "kills": kills,
            "venues": venues,
            "problem": self.watch.problem or self.problem,
            "settled": self.watch.alarms.settled,
        }

    @property
    def busy(self) -> bool:
        """Whether answers are awaited."""
        return any(venue.busy for venue in self.venues)

    @property
    def done(self) -> bool:
        """Whether the engine is gone, and every verdict on what it left is there."""
        killed = [venue for venue in self.venues if self.watch.is_killed(venue.name)]
        return self.watch.alarms.has_ended(self.watch.view) and all(venue.verdict is not Verdict.PENDING for venue in killed)

    def close(self) -> None:
        """Say the last word, and let go of everything."""
        self._say()
        for venue in self.venues:
            venue.close()
        self.addresses.close()
        self.watch.close()


def run_guardian(instance: Instance, config_file: Path, until_stopped: bool) -> dict[str, Any]:
    """Guard until SIGTERM or SIGINT, or with `until_stopped` until the engine has ended; return the last report."""
    found = load(config_file)
    config = with_absolute_paths(found, config_file.resolve().parent)
    if config.guardian is None:
        raise EngineError(f"{config_file}: guardian: missing: what to guard by")
    ended: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda got, frame: ended.append(got))
    instance.make_folders()
    lock = _take_lock(instance, ended)
    guardian = Guardian(instance, config, found.hash())
    log("guarding", instance=instance.name, venues=[venue.name for venue in guardian.venues])
    try:
        guardian.turn(time.monotonic_ns())
        ready("guarding")
        while not ended and not (until_stopped and guardian.done):
            time.sleep(_BUSY_TURN_S if guardian.busy else _TURN_S)
            guardian.turn(time.monotonic_ns())
        stopping()
        return guardian.document()
    finally:
        guardian.close()
        os.close(lock)


def _take_lock(instance: Instance, ended: list[int]) -> int:
    """Wait until no other guardian guards this instance: two would take each other's nonces."""
    lock = os.open(instance.guardian_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    waited = False
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        except BlockingIOError:
            if ended:
                os.close(lock)
                raise EngineError(f"instance {instance.name!r} has another guardian") from None
            if not waited:
                log("another guardian guards this instance; waiting for its end", instance=instance.name)
                waited = True
            time.sleep(_LOCK_PAUSE_S)
