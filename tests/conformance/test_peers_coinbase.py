"""The simulated Coinbase against a client that somebody else wrote (ccxt, its websockets included), plain and over TLS.

The client lives in an environment of its own, with what `peers/ccxt.txt` pins; without it these tests are skipped.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hft.sim.coinbase.keys import ALICE_KEY, secret_of

HERE = Path(__file__).parent
PEER = HERE.parents[1] / ".venvs" / "ccxt" / "bin" / "python"
TIMEOUT_S = 120


@pytest.fixture(scope="module", params=["plain", "tls"])
def report(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What the client says of a simulator that was started for it."""
    if not PEER.exists():
        pytest.skip("no .venvs/ccxt with ccxt: `make setup-peers` makes it")
    command = [sys.executable, "-m", "processes.cli", "venue-sim", "coinbase", "--synthetic", "3"]
    if request.param == "tls":
        command += ["--tls", "--authority", str(tmp_path_factory.mktemp("authority"))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as simulator:
        assert simulator.stdout is not None and simulator.stderr is not None
        try:
            ready = simulator.stdout.readline()
            assert ready, simulator.stderr.read()
            ca = json.loads(ready).get("ca")
            assert (ca is None) is (request.param == "plain")
            done = subprocess.run(
                [str(PEER), str(HERE / "peers" / "ccxt_client.py"), ready, ALICE_KEY, secret_of(ALICE_KEY), "alice"],
                capture_output=True,
                text=True,
                timeout=TIMEOUT_S,
                check=False,
            )
            assert done.returncode == 0, done.stderr[-3000:]
        finally:
            simulator.terminate()
            said = simulator.stderr.read()
        assert "Traceback" not in said, said[-3000:]
    yield json.loads(done.stdout)


def test_public_rest_is_understood(report: dict[str, Any]) -> None:
    assert report["markets"] == ["BTC/USD", "ETH/USD"] and report["precision"] == [0.01, 1e-8]
    assert report["book"] == [True, True] and report["clock"] and report["rest_trades"] and report["rest_ticker"]


def test_the_clients_book_becomes_the_true_one_and_is_never_crossed(report: dict[str, Any]) -> None:
    books = report["books"]
    assert books["updates"] >= 200 and books["crossed"] == 0 and books["equal"]


def test_public_trades_and_tickers_are_understood(report: dict[str, Any]) -> None:
    expected = {"id": "str", "price": "float", "amount": "float", "side": "str", "timestamp": "int"}
    assert report["trades"] == {"ticker": True, "trade": expected}


def test_balances_and_fees_are_read(report: dict[str, Any]) -> None:
    assert report["balance"] == [100000.0, 100000000.0] and report["fees"] == 0.006


def test_an_order_rests_is_found_and_goes(report: dict[str, Any]) -> None:
    orders = report["orders"]
    assert orders["resting"] == ["open", "open", True, True] and orders["cancelled"] == ["canceled", 0.01, 0]


def test_a_fill_is_seen_on_the_private_stream_and_by_rest_alike(report: dict[str, Any]) -> None:
    filled = report["orders"]["filled"]
    assert filled == {
        "status": "closed",
        "filled": 0.01,
        "trade": ["buy", "taker", 0.006],
        "same_trades": True,
        "size": 0.01,
        "fee": True,
    }


def test_orders_that_ended_are_listed_and_a_market_order_is_one(report: dict[str, Any]) -> None:
    assert report["orders"]["closed"] == ["closed", "closed", False] and report["orders"]["my_trades"]
    assert report["orders"]["after_cancel_all"] == 0


def test_refusals_are_the_clients_own_errors(report: dict[str, Any]) -> None:
    assert report["orders"]["errors"] == ["InsufficientFunds", "ExchangeError", "OrderNotFound", "OrderNotFound", "InvalidOrder"]
    assert report["wrong_passphrase"] == ["AuthenticationError", "AuthenticationError"]
