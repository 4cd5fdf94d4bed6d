"""The simulated Binance against a client that somebody else wrote (binance-sdk-spot), plain and over TLS, with either kind of key.

The client lives in an environment of its own, with what `peers/binance.txt` pins; without it these tests are skipped.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hft.sim.binance.keys import ALICE_KEY, ALICE_SECRET, BOB_KEY, BOB_PRIVATE_KEY

HERE = Path(__file__).parent
PEER = HERE.parents[1] / ".venvs" / "binance" / "bin" / "python"
TIMEOUT_S = 120
KEYS = {
    "hmac": (ALICE_KEY, ALICE_SECRET),
    "ed25519": (BOB_KEY, f"-----BEGIN PRIVATE KEY-----\n{BOB_PRIVATE_KEY}\n-----END PRIVATE KEY-----\n"),
}


@pytest.fixture(scope="module", params=[("hmac", "plain"), ("ed25519", "plain"), ("ed25519", "tls")], ids="-".join)
def report(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What the client says of a simulator that was started for it."""
    if not PEER.exists():
        pytest.skip("no .venvs/binance with binance-sdk-spot: `make setup-peers` makes it")
    kind, wire = request.param
    command = [sys.executable, "-m", "processes.cli", "venue-sim", "binance", "--synthetic", "3"]
    if wire == "tls":
        command += ["--tls", "--authority", str(tmp_path_factory.mktemp("authority"))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as simulator:
        assert simulator.stdout is not None and simulator.stderr is not None
        try:
            ready = simulator.stdout.readline()
            assert ready, simulator.stderr.read()
            ca = json.loads(ready).get("ca")
            done = subprocess.run(
                [str(PEER), str(HERE / "peers" / "binance_client.py"), ready, *KEYS[kind]],
                capture_output=True,
                text=True,
                timeout=TIMEOUT_S,
                env={**os.environ, **({"REQUESTS_CA_BUNDLE": ca} if ca else {})},
                check=False,
            )
            assert done.returncode == 0, done.stderr[-3000:]
        finally:
            simulator.terminate()
            said = simulator.stderr.read()
        assert "Traceback" not in said, said[-3000:]
    yield {"kind": kind, **json.loads(done.stdout.splitlines()[-1])}


def test_the_client_follows_the_book_without_a_gap(report: dict[str, Any]) -> None:
    assert report["symbol"] == "BTCUSDT" and (report["book"]["gaps"], report["book"]["crossed"]) == (0, 0)


def test_the_client_logs_on_with_ed25519(report: dict[str, Any]) -> None:
    assert report["logged_on"] is (True if report["kind"] == "ed25519" else None)


def test_orders_rest_change_and_go(report: dict[str, Any]) -> None:
    assert (report["placed"], report["amended"], report["replaced"], report["canceled"]) == ("NEW", "0.00500000", "SUCCESS", "CANCELED")
    assert report["listed"] == ["p-3"] and report["limits"] == ["ORDERS", "ORDERS", "REQUEST_WEIGHT"] and report["by_rest"] == "EXPIRED"


def test_a_fill_is_in_the_reply_in_the_trades_and_on_the_private_stream(report: dict[str, Any]) -> None:
    assert report["filled"] == "FILLED" and report["fills"] == pytest.approx(0.01) == report["trades"]
    steps = ["NEW/NEW", "REPLACED/NEW", "CANCELED/CANCELED", "NEW/NEW", "CANCELED/CANCELED", "NEW/NEW"]
    assert report["reports"][:6] == steps and "TRADE/FILLED" in report["reports"] and report["positions"] >= 6
