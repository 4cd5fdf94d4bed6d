"""Simulated keys: those of the simulators' own customers, so that nobody needs an account to trade on them."""

from __future__ import annotations

import os
from pathlib import Path

from hft.sim.binance import keys as binance
from hft.sim.coinbase import keys as coinbase
from hft.sim.kraken import keys as kraken
from hft.venues.interface import Credentials

#: venue -> the customer of its simulator whose key `simulated_credentials` is
CUSTOMERS = {"binance": "bob", "coinbase": "alice", "kraken": "alice"}

_PEM = "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n"


def simulated_credentials(venue: str) -> Credentials:
    """The key of a customer of a venue's simulator. Raises KeyError for a venue that has no simulator with customers."""
    known = {
        "binance": Credentials(binance.BOB_KEY, _PEM.format(binance.BOB_PRIVATE_KEY).encode()),
        "coinbase": Credentials(coinbase.ALICE_KEY, coinbase.secret_of(coinbase.ALICE_KEY).encode(), "alice"),
        "kraken": Credentials(kraken.ALICE_KEY, kraken.ALICE_SECRET.encode()),
    }
    return known[venue]


def guardian_credentials(venue: str) -> Credentials:
    """A key of the same customer that a guardian has for itself: one that may only cancel, where the venue has such keys."""
    known = {
        "binance": Credentials("bob-cancel-only", b"bob-cancel-only"),
        "coinbase": Credentials(coinbase.ALICE_GUARDIAN_KEY, coinbase.secret_of(coinbase.ALICE_GUARDIAN_KEY).encode(), "alice"),
        "kraken": Credentials("alice-cancel-only", kraken.secret_of("alice-cancel-only").encode()),
    }
    return known[venue]


def write_key_file(folder: Path, venue: str) -> Path:
    """Write the key file of a simulator's customer into `folder`, which nobody else may read; its path."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path, found = folder / f"{venue}.toml", simulated_credentials(venue)
    if found.secret.startswith(b"-----BEGIN"):
        _write(folder / f"{venue}.pem", found.secret.decode())
        secret = f'private_key_file = "{venue}.pem"'
    else:
        secret = f'secret = "{found.secret.decode()}"'
    _write(path, f'key = "{found.key}"\n{secret}\npassphrase = "{found.passphrase}"\n')
    return path


def _write(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with open(descriptor, "w") as file:
        file.write(text)
