"""Standing venue: a simulator in a process of its own, which outlives engines, and what it holds of their account."""

from __future__ import annotations

import json
import subprocess
import tomllib
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

from processes.chaos.sections import at_venue, only
from processes.simulated_keys import CUSTOMERS, guardian_credentials, write_key_file
from support.live_engine import HFTCTL, ROOT, LiveEngine, Sections

#: venue -> a customer who has as much as the engine's and never trades
OTHERS = {"binance": "alice", "coinbase": "bob", "kraken": "bob"}


def write_guardian_key(folder: Path, venue: str) -> Path:
    """A key file for a guardian at a venue's simulator."""
    found = guardian_credentials(venue)
    path = folder / f"{venue}-guardian.toml"
    path.touch(mode=0o600)
    path.write_text(f'key = "{found.key}"\nsecret = "{found.secret.decode()}"\npassphrase = "{found.passphrase}"\n')
    return path


class Venue:
    """A simulator that outlives engines."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.customer = name, CUSTOMERS[name]
        command = [*HFTCTL, "venue-sim", name, "--synthetic", "7"]
        with open(folder / "venue.err", "wb") as stderr:
            self.process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr)
        assert self.process.stdout is not None
        self.urls: dict[str, str] = json.loads(self.process.stdout.readline())
        self.keys = folder / "keys"

    def sections(self, **guardian: int) -> Sections:
        """configs/paper-orders.toml with this venue alone, at this simulator, guarded."""
        found = only(tomllib.loads((ROOT / "configs" / "paper-orders.toml").read_text()), self.name)
        found["engine"]["journal_file_mb"] = 4
        found = at_venue(found, self.name, self.urls, write_key_file(self.keys, self.name))
        found["guardian"] = {"credentials": {self.name: str(write_guardian_key(self.keys, self.name))}, **guardian}
        return found

    def account(self, customer: str = "") -> dict[str, Any]:
        """What the venue holds of a customer."""

        with urllib.request.urlopen(self.urls["control"] + "/state", timeout=10) as answer:
            found: dict[str, Any] = json.loads(answer.read())["exchange"]["accounts"][customer or self.customer]
        return found

    def open_orders(self) -> int:
        """How many orders the engine's customer has open."""
        return len(self.account()["open_orders"])

    def changed_by(self, asset: str) -> Decimal:
        """What the engine's customer has more of an asset than who never trades."""
        accounts = [self.account()["balances"][asset], self.account(OTHERS[self.name])["balances"][asset]]
        ours, theirs = (Decimal(account["free"]) + Decimal(account["hold"]) for account in accounts)
        return ours - theirs

    def end(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(10)
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextmanager
def venue_at(name: str, folder: Path) -> Iterator[Venue]:
    venue = Venue(name, folder)
    try:
        yield venue
    finally:
        venue.end()


def differences(engine: LiveEngine, venue: Venue) -> dict[str, tuple[Decimal, Decimal]]:
    """Assets whose position here is not what the venue's balance changed by, by a lot or more."""
    found = {}
    for row in engine.status()["positions"]:
        if row["owner"] == "firm":
            asset = row["instrument"].partition("-")[0]
            lot = Decimal(row["position"]) / row["position_lots"] if row["position_lots"] else Decimal("1e-5")
            here, there = Decimal(row["position"]), venue.changed_by(asset)
            if abs(here - there) >= lot:
                found[asset] = (here, there)
    return found
