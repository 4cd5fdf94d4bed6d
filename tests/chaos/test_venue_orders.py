"""Orders at a simulated venue over real sockets, in real processes: after each fault the venue and the engine agree again."""

from __future__ import annotations

import tomllib
from decimal import Decimal
from typing import Any

import pytest

from hft.journal_reader import JournalReader
from hft.records import JournalKind, ReportKind
from support.live_engine import ROOT, LiveEngine, Sections, live_engine
from support.waiting import wait_until

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


def sections() -> Sections:
    """configs/paper-orders.toml, asking early."""
    found = tomllib.loads((ROOT / "configs" / "paper-orders.toml").read_text())
    found["engine"]["journal_file_mb"] = 4
    found["execution"]["binance"] |= {"ack_timeout_ms": 500, "query_pause_ms": 100}
    return found


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    with live_engine(tmp_path_factory.mktemp("orders"), sections()) as engine:
        engine.start()
        engine.await_running()
        engine.await_orders("acked", 5)
        yield engine
        assert engine.stop() == 0, engine.log_text()
        report = engine.report()
        assert report["restarts"] == 0 and report["orders"]["unknown"] == 0
        trades = trades_of(engine, report["epoch"])
        assert len(trades) == len(set(trades)), "a fill was reported twice"
        assert engine.ctl_json("replay")["equal"] is True


def trades_of(engine: LiveEngine, epoch: int) -> list[tuple[int, int]]:
    """(instrument, trade id) of every fill that execution has journaled."""
    reader = JournalReader(engine.instance.journal_folder(epoch), "execution.binance", epoch)
    reports = [report for entry in reader.entries() if entry.kind == JournalKind.REPORT for report in entry.records()]
    return [(int(report["instrument"]), int(report["trade_id"])) for report in reports if report["kind"] == ReportKind.TRADE]


def accounts(engine: LiveEngine) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = engine.simulator("/state")["exchange"]["accounts"]
    return found


def differences(engine: LiveEngine) -> dict[str, tuple[Decimal, Decimal]]:
    """Assets whose position here is not what the venue's balance changed by, by a lot or more: fees taken in the base asset are owed until
    they make a lot. Alice was given as much as bob and never trades."""
    found = accounts(engine)
    pairs = {}
    for row in engine.status()["positions"]:
        if row["owner"] == "firm":
            asset = row["instrument"].partition("-")[0]
            lot = Decimal(row["position"]) / row["position_lots"] if row["position_lots"] else Decimal("1e-5")
            there = sum(
                Decimal(found["bob"]["balances"][asset][part]) - Decimal(found["alice"]["balances"][asset][part])
                for part in ("free", "hold")
            )
            if abs(Decimal(row["position"]) - there) >= lot:
                pairs[asset] = (Decimal(row["position"]), Decimal(there))
    return pairs


def is_at_rest(engine: LiveEngine) -> bool:
    """Whether no order works, here or there, and none is unknown."""
    orders = engine.status()["orders"]
    return orders["working"] == orders["unknown"] == 0 and not accounts(engine)["bob"]["open_orders"]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: "-".join(str(value) for value in fault.values()))
def test_the_venue_and_the_engine_agree_again_after(engine, fault):
    sent = engine.status()["orders"]["sent"]
    assert engine.simulator("/fault", fault) == {"ok": True}
    engine.await_orders("sent", sent + 5)
    # Positions are compared at rest: two reads of an account that trades are never of one moment.
    engine.ctl_json("kill", "--reason", "compare")
    wait_until(lambda: is_at_rest(engine), 20, f"no order works (see {engine.log_text()})")
    wait_until(lambda: not differences(engine), 5, f"the positions here are the venue's ({differences(engine)})")
    assert engine.ctl("arm", "--reason", "compared").returncode == 0
