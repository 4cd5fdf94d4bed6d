"""The simulated Kraken against a client that somebody else wrote (python-kraken-sdk), plain and over TLS.

The client lives in an environment of its own, with what `peers/kraken.txt` pins; without it these tests are skipped.
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

from hft.sim.kraken.keys import ALICE_KEY, ALICE_SECRET

HERE = Path(__file__).parent
PEER = HERE.parents[1] / ".venvs" / "kraken" / "bin" / "python"
TIMEOUT_S = 120


@pytest.fixture(scope="module", params=["plain", "tls"])
def report(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What the client says of a simulator that was started for it."""
    if not PEER.exists():
        pytest.skip("no .venvs/kraken with python-kraken-sdk: `make setup-peers` makes it")
    command = [sys.executable, "-m", "processes.cli", "venue-sim", "kraken", "--synthetic", "3"]
    if request.param == "tls":
        command += ["--tls", "--authority", str(tmp_path_factory.mktemp("authority"))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as simulator:
        assert simulator.stdout is not None and simulator.stderr is not None
        try:
            ready = simulator.stdout.readline()
            assert ready, simulator.stderr.read()
            ca = json.loads(ready).get("ca")
            assert (ca is None) is (request.param == "plain")
            trust = dict.fromkeys(("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"), ca) if ca else {}
            done = subprocess.run(
                [str(PEER), str(HERE / "peers" / "kraken_client.py"), ready, ALICE_KEY, ALICE_SECRET],
                capture_output=True,
                text=True,
                timeout=TIMEOUT_S,
                env={**os.environ, **trust},
                check=False,
            )
            assert done.returncode == 0, done.stderr[-3000:]
        finally:
            simulator.terminate()
            said = simulator.stderr.read()
        assert "Traceback" not in said, said[-3000:]
    yield json.loads(done.stdout)


def test_public_rest_is_understood(report: dict[str, Any]) -> None:
    assert (report["status"], report["pair"]) == ("online", "XBT/USD")
    assert report["ticker"] == ["a", "b", "c", "h", "l", "o", "p", "t", "v"]


@pytest.mark.parametrize("place", [0, 1])
def test_books_keep_their_checksums_by_the_clients_own_reckoning(report: dict[str, Any], place: int) -> None:
    book = report["books"][place]
    assert book["mismatches"] == 1, "the one that was ordered"
    assert book["updates"] >= 200 and book["valid"] == book["updates"] - 1 and book["crossed"] == 0


def test_an_order_rests_changes_and_goes(report: dict[str, Any]) -> None:
    resting = report["socket"]["resting"]
    assert resting["acks"] == [True, True, True] and resting["steps"] == ["pending_new", "new", "amended", "canceled"]


def test_a_fill_is_seen_on_executions_and_balances(report: dict[str, Any]) -> None:
    filled = report["socket"]["filled"]
    assert filled["steps"][:3] == ["pending_new", "new", "trade"] and filled["steps"][-1] == "filled"
    assert filled["last"]["order_status"] == "filled" and filled["last"]["cum_qty"] == 0.01
    assert report["socket"]["balance_updates"] >= 2 and report["socket"]["sequence_gaps"] == 0


def test_refusals_come_in_the_venues_words(report: dict[str, Any]) -> None:
    assert report["socket"]["refused_depth"] == "Subscription depth not supported"
    assert report["socket"]["errors"] == [
        "EOrder:Invalid price:BTC/USD price can only be specified up to 1 decimals.",
        "EOrder:Unknown order",
    ]


def test_batches_and_the_dead_mans_switch_are_understood(report: dict[str, Any]) -> None:
    assert report["socket"]["batch_cancelled"] == 2 and report["socket"]["cancel_all"] == {"count": 0}
    assert report["socket"]["dead_man"]["currentTime"] < report["socket"]["dead_man"]["triggerTime"]


def test_orders_by_rest_are_placed_found_and_reconciled(report: dict[str, Any]) -> None:
    rest = report["rest"]
    assert rest["opened"] and rest["queried"] and rest["traded"] and rest["amended"] == "T"
    assert rest["closed"] == rest["expected"] and rest["cancelled"] == {"count": 1} and rest["cancel_all"] == {"count": 0}
    assert rest["described"].startswith("buy 0.01000000 XBTUSD @ limit ")
    assert rest["balances"] == rest["account_balance"] == ["XETH", "XXBT", "ZUSD"]
