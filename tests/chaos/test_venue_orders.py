"""Orders at simulated venues over real sockets, in real processes: after each fault the venue and the engine agree again."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from hft.journal_reader import JournalReader
from hft.records import JournalKind, ReportKind
from processes.chaos.sections import only
from support.live_engine import ROOT, LiveEngine, Sections, live_engine
from support.waiting import wait_until

#: venue -> the simulator's customer whose key the engine has, and one who has as much and never trades
CUSTOMERS = {"binance": ("bob", "alice"), "coinbase": ("alice", "bob"), "kraken": ("alice", "bob")}

FAULTS: list[dict[str, Any]] = [
    {"kind": "lose_ack"},
    {"kind": "lose_ack", "action": "cancel"},
    {"kind": "lose_ack", "hang_up": True},
    {"kind": "order_error", "status": 503},
    {"kind": "order_error", "status": 503, "action": "cancel"},
    {"kind": "refuse_order", "status": 429},
    {"kind": "disconnect"},
    {"kind": "duplicate", "channel": "private", "count": 5},
]


def sections(venue: str) -> Sections:
    """configs/paper-orders.toml with one venue, asking early."""
    found = only(tomllib.loads((ROOT / "configs" / "paper-orders.toml").read_text()), venue)
    found["engine"]["journal_file_mb"] = 4
    found["execution"][venue] |= {"ack_timeout_ms": 500, "query_pause_ms": 100}
    return found


class Trading:
    """An engine that trades at one venue."""

    def __init__(self, engine: LiveEngine, venue: str) -> None:
        self.engine, self.venue = engine, venue
        self.customer, self.other = CUSTOMERS[venue]

    def accounts(self) -> dict[str, dict[str, Any]]:
        """What the venue holds of its customers."""
        found: dict[str, dict[str, Any]] = self.engine.simulator("/state", venue=self.venue)["exchange"]["accounts"]
        return found

    def differences(self) -> dict[str, tuple[Decimal, Decimal]]:
        """Assets whose position here is not what the venue's balance changed by, by a lot or more: fees taken in the base asset are owed
        until they make a lot."""
        found = self.accounts()
        pairs = {}
        for row in self.engine.status()["positions"]:
            if row["owner"] == "firm":
                asset = row["instrument"].partition("-")[0]
                lot = Decimal(row["position"]) / row["position_lots"] if row["position_lots"] else Decimal("1e-5")
                there = sum(
                    Decimal(found[self.customer]["balances"][asset][part]) - Decimal(found[self.other]["balances"][asset][part])
                    for part in ("free", "hold")
                )
                if abs(Decimal(row["position"]) - there) >= lot:
                    pairs[asset] = (Decimal(row["position"]), Decimal(there))
        return pairs

    def is_at_rest(self) -> bool:
        """Whether no order works, here or there, and none is unknown."""
        orders = self.engine.status()["orders"]
        return orders["working"] == orders["unknown"] == 0 and not self.accounts()[self.customer]["open_orders"]

    def trades(self, epoch: int) -> list[tuple[int, int]]:
        """(instrument, trade id) of every fill that execution has journaled."""
        reader = JournalReader(self.engine.instance.journal_folder(epoch), f"execution.{self.venue}", epoch)
        reports = [report for entry in reader.entries() if entry.kind == JournalKind.REPORT for report in entry.records()]
        return [(int(report["instrument"]), int(report["trade_id"])) for report in reports if report["kind"] == ReportKind.TRADE]


@pytest.fixture(scope="module", params=list(CUSTOMERS))
def trading(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trading]:
    folder: Path = tmp_path_factory.mktemp(f"orders-{request.param}")
    with live_engine(folder, sections(request.param)) as engine:
        trading = Trading(engine, request.param)
        engine.start()
        engine.await_running()
        engine.await_orders("acked", 5)
        yield trading
        assert engine.stop() == 0, engine.log_text()
        report = engine.report()
        assert report["restarts"] == 0 and report["orders"]["unknown"] == 0
        trades = trading.trades(report["epoch"])
        assert len(trades) == len(set(trades)), "a fill was reported twice"
        assert engine.ctl_json("replay")["equal"] is True


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: "-".join(str(value) for value in fault.values()))
def test_the_venue_and_the_engine_agree_again_after(trading: Trading, fault: dict[str, Any]) -> None:
    engine = trading.engine
    sent = engine.status()["orders"]["sent"]
    assert engine.simulator("/fault", fault, venue=trading.venue) == {"ok": True}
    engine.await_orders("sent", sent + 5)
    # Positions are compared at rest: two reads of an account that trades are never of one moment.
    engine.ctl_json("kill", "--reason", "compare")
    wait_until(trading.is_at_rest, 30, f"no order works (see {engine.log_text()})")
    wait_until(lambda: not trading.differences(), 5, f"the positions here are the venue's ({trading.differences()})")
    assert engine.ctl("arm", "--reason", "compared").returncode == 0
