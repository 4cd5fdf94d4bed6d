"""Campaigns at each simulated venue, in real processes: a sample here, all ten minutes, 500 kills, and 100 faults of the host, among the load tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from support.live_engine import hftctl

SEED = 20261130
#: Its first five strikes on the host are one of each kind, the ring of orders among them.
HOST_SEED = 137
VENUES = ["binance", "coinbase", "kraken"]


def campaign(venue: str, folder: Path, seconds: float, every_s: float, faults: str = "venue", seed: int = SEED) -> dict[str, Any]:
    arguments: tuple[object, ...] = ("--faults", faults) if faults != "venue" else ()
    arguments += ("--venue", venue, "--seed", seed, "--for", seconds, "--every", every_s, "--out", folder, "--json")
    done = hftctl("chaos", *arguments, timeout_s=3 * seconds + 900)
    assert done.stdout, f"seed {seed}: exit {done.returncode}: {done.stderr}"
    document: dict[str, Any] = json.loads(done.stdout)
    assert not document["wrong"], f"seed {seed}: {document['wrong']}\n{done.stderr}"
    return document


@pytest.mark.parametrize("venue", VENUES)
def test_engine_and_venue_agree_after_each_of_a_few_faults(venue: str, tmp_path: Path) -> None:
    document = campaign(venue, tmp_path, seconds=16, every_s=2)
    assert document["strikes"] == 8 and document["duplicates"] == 0 and document["replay_equal"]


@pytest.mark.load
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("venue", VENUES)
def test_engine_and_venue_agree_after_each_fault_of_ten_minutes(venue: str, tmp_path: Path) -> None:
    document = campaign(venue, tmp_path, seconds=600, every_s=5)
    assert document["strikes"] == 120 and document["passed"], f"seed {SEED}: {document['late']}"


def test_engine_and_venue_agree_after_processes_of_an_engine_died(tmp_path: Path) -> None:
    # Each restart reconciles: more of them in a minute would be more than execution's part of the address's weight.
    document = campaign("binance", tmp_path, seconds=8, every_s=1, faults="process")
    assert document["strikes"] == 8 and document["duplicates"] == 0 and document["replay_equal"]


def test_engine_and_venue_agree_after_a_few_faults_of_the_host(tmp_path: Path) -> None:
    document = campaign("binance", tmp_path, seconds=10, every_s=2, faults="host", seed=HOST_SEED)
    assert document["strikes"] == 5 and document["duplicates"] == 0 and document["replay_equal"]
    names = " ".join(row["name"] for row in document["rows"])
    assert all(name in names for name in ("full ring, execution", "full disk", "torn journals", "stale segments", "clock"))


@pytest.mark.load
@pytest.mark.timeout(6000)
@pytest.mark.parametrize("venue", VENUES)
def test_engine_and_venue_agree_after_each_of_100_faults_of_the_host(venue: str, tmp_path: Path) -> None:
    """Ten times each."""
    document = campaign(venue, tmp_path, seconds=800, every_s=8, faults="host")
    assert document["strikes"] == 100 and document["passed"], f"seed {SEED}: {document['late']}"


@pytest.mark.load
@pytest.mark.timeout(6000)
@pytest.mark.parametrize(("venue", "every_s"), [("binance", 6), ("coinbase", 2), ("kraken", 6)])
def test_engine_and_venue_agree_after_each_of_500_kills(venue: str, every_s: float, tmp_path: Path) -> None:
    """As often as the venue's limits let an engine reconcile."""
    document = campaign(venue, tmp_path, seconds=567 * every_s, every_s=every_s, faults="process")
    assert sum(row["name"].startswith("SIGKILL") for row in document["rows"]) >= 500
    assert document["passed"], f"seed {SEED}: {document['late']}"
