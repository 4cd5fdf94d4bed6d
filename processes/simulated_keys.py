"""Simulated keys: writes the key file of a simulator's own customer, so that nobody needs an account to trade on it."""

from __future__ import annotations

import os
from pathlib import Path

from hft.sim.binance import keys as binance
from hft.sim.kraken import keys as kraken

_PEM = "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n"


def write_key_file(folder: Path, venue: str) -> Path:
    """Write the key file of a venue's simulator into `folder`, which nobody else may read; its path."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"{venue}.toml"
    if venue == "binance":
        _write(folder / "binance.pem", _PEM.format(binance.BOB_PRIVATE_KEY))
        _write(path, f'key = "{binance.BOB_KEY}"\nprivate_key_file = "binance.pem"\n')
    elif venue == "kraken":
        _write(path, f'key = "{kraken.ALICE_KEY}"\nsecret = "{kraken.ALICE_SECRET}"\n')
    else:
        raise ValueError(f"no simulator of {venue!r} has customers")
    return path


def _write(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with open(descriptor, "w") as file:
        file.write(text)
