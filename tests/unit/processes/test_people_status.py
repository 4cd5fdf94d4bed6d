"""Status at its limits: several strategies, numbers as big as they get, and words that no process has written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hft import control
from hft.control import ProcessState, ProcessWord, process_word
from hft.counters import ExecutionCounter, RiskCounter
from hft.latency import Span
from hft.records import POSITION
from processes import top
from processes.latency import print_latency, read_latency
from processes.resources import SharedResources
from processes.status import print_status, read_status
from processes.top import watch
from shm.cell import write
from shm.histogram import record
from support.engine_fakes import SupervisedEngine, unpinned

I64 = np.iinfo(np.int64)


def with_a_second_strategy(sections: dict[str, Any]) -> None:
    """Two strategies in one process, and another firm rate."""
    unpinned(sections)
    sections["strategies"]["arb"] = {"code": "support.recording_strategy", "instruments": ["BTC-USDT.BINANCE"]}
    sections["placement"]["processes"]["trade"]["stages"].insert(1, "strategy.arb")
    sections["firm"] |= {"base_currency": "EUR", "rates": {"USDT": "0.9"}}


class Tables:
    """The tables of a running engine, as its stages write them."""

    def __init__(self, engine: SupervisedEngine) -> None:
        topology = engine.config.topology()
        self.engine, self.instance = engine, engine.instance
        self.resources = SharedResources(engine.instance, topology, 2, 1, engine.words, 1 << 20)
        self.counters = {stage.name: self.resources.counters(stage) for stage in topology.stages}

    def position(self, row: int, **fields: int) -> None:
        rows = np.zeros(1, POSITION)
        for name, value in fields.items():
            rows[0][name] = value
        write(self.resources.cells()[row], rows, 0)


@pytest.fixture
def tables(instance_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tables]:
    with SupervisedEngine(instance_name, tmp_path, monkeypatch, with_a_second_strategy) as engine:
        tables = Tables(engine)
        yield tables
        tables.resources.close()


def test_rows_belong_to_the_firm_and_then_to_each_strategy(tables: Tables) -> None:
    for row in range(6):
        tables.position(row, position_lots=row)
    rows = [(row["owner"], row["instrument"].partition("-")[0], row["position_lots"]) for row in read_status(tables.instance)["positions"]]
    assert rows == [("firm", "BTC", 0), ("firm", "ETH", 1), ("mm", "BTC", 2), ("mm", "ETH", 3), ("arb", "BTC", 4), ("arb", "ETH", 5)]


def test_pnl_counts_the_firms_rows_once_at_the_base_rate_rounded_down(tables: Tables) -> None:
    tables.position(0, realised_e8=10, fees_quote_e8=1)
    tables.position(1, realised_e8=-5, unrealised_e8=1_000_000_000)
    tables.position(2, realised_e8=77)
    pnl = read_status(tables.instance)["pnl"]
    assert pnl["currency"] == "EUR"
    # 10 x 0.9 = 9; -5 x 0.9 = -4.5, down to -5; a fee of 1 is 0.9, down to 0.
    assert (pnl["realised"], pnl["unrealised"], pnl["fees"]) == ("0.00000004", "9.00000000", "0.00000000")
    assert pnl["net_e8"] == 900_000_004


def test_biggest_numbers_are_exact_and_still_plain(tables: Tables, capsys: pytest.CaptureFixture[str]) -> None:
    for value in (I64.max, I64.min):
        fields = ("position_lots", "realised_e8", "unrealised_e8", "fees_quote_e8", "cost_e8", "cash_ticklots", "turnover_e8")
        tables.position(0, **dict.fromkeys(fields, value))
        tables.position(1, **dict.fromkeys(fields, value))
        tables.counters["execution.binance"][ExecutionCounter.SENT] = I64.max
        status = read_status(tables.instance)
        assert all(status["positions"][0][name] == value for name in fields) and status["orders"]["sent"] == I64.max
        assert status["pnl"]["net_e8"] == 2 * (value * 9 // 10)
        assert json.loads(json.dumps(status)) == status
        print_status(status)
        out = capsys.readouterr().out
        assert str(I64.max) in out
        firm = next(line.split() for line in out.splitlines() if line.startswith("firm"))
        assert firm[3] == firm[4] == firm[5] == f"{'-' * (value < 0)}92233720368.5477" and firm[6] == "0"


def test_process_that_has_not_beaten_shows_no_age(tables: Tables, capsys: pytest.CaptureFixture[str]) -> None:
    row = list(tables.engine.config.placement.processes).index("trade")
    tables.engine.words[process_word(row, ProcessWord.BEAT)] = 0
    tables.engine.words[process_word(row, ProcessWord.STATE)] = ProcessState.FAILED
    status = read_status(tables.instance)
    trade = [stage for stage in status["stages"] if stage["process"] == "trade"]
    assert [stage["name"] for stage in trade] == ["strategy.mm", "strategy.arb", "risk", "execution.binance"]
    assert all((stage["state"], stage["beat_age_ms"], stage["core"]) == ("FAILED", None, None) for stage in trade)
    print_status(status)
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("risk"))
    assert line.split()[3:] == ["-", "FAILED", "-"]


def test_only_refusals_count_as_refusals_and_the_last_code_is_one(tables: Tables) -> None:
    counters = tables.counters["risk"]
    counters[:] = 1
    refused = read_status(tables.instance)["refused"]
    assert len(refused) == len(counters) - RiskCounter.REFUSED_BY_CODE and set(refused.values()) == {1}
    assert {"R000", "R099"} <= refused.keys() and all(len(code) == 4 for code in refused)


def test_what_ledger_and_venue_differ_in_is_shown_with_both_and_what_to_do(tables: Tables, capsys: pytest.CaptureFixture[str]) -> None:
    assert read_status(tables.instance)["differences"] == []
    words, at = tables.engine.words, control.difference(1)
    words[at : at + 4] = (150_000_000, -5, 0, I64.min)
    words[control.venue_differs(0)] = 5
    status = read_status(tables.instance)
    where = {"venue": "binance", "instrument": "ETH-USDT.BINANCE"}
    assert status["differences"] == [
        {**where, "asset": "ETH", "ledger": "1.50000000", "venue_says": "-0.00000005"},
        {**where, "asset": "USDT", "ledger": "0.00000000", "venue_says": "-92233720368.54775808"},
        {"venue": "binance", "orders_of_others": 3},
    ]
    print_status(status)
    out = capsys.readouterr().out
    assert "REDUCE-ONLY binance: ETH (ETH-USDT.BINANCE) changed by 1.50000000 as the ledger says, by -0.00000005 at the venue" in out
    assert "REDUCE-ONLY binance: 3 open orders that are not the engine's" in out and "hftctl arm" in out


def test_kill_of_the_last_strategy_shows_and_a_ring_behind_is_no_kill(tables: Tables) -> None:
    tables.engine.words[control.BEHIND_RING] = 1
    assert read_status(tables.instance)["kill_latched"] is False
    tables.engine.words[control.BEHIND_RING - 1] = 1
    assert read_status(tables.instance)["kill_latched"] is True


def test_longest_latency_is_exact_and_fits_its_table(tables: Tables, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = tables.resources.latency()[Span.SENT_TO_ACKED]
    for value in (0, 1, 1 << 40):
        record(words, value)
    document = read_latency(tables.instance, tmp_path / "hgrm")
    span = document["spans"][Span.SENT_TO_ACKED]
    assert (span["count"], span["max_ns"]) == (3, 1 << 40)
    print_latency(document)
    header, *rows = capsys.readouterr().out.splitlines()
    assert len(rows) == len(Span) and all(len(row) == len(header) for row in rows[:-1])
    assert rows[-1].split()[1] == "3" and rows[-1].split()[-1] == f"{(1 << 40) / 1000:.2f}"  # Wider, and still apart.
    text = (tmp_path / "hgrm" / "sent-to-acked.hgrm").read_text()
    assert text.split()[:2] == ["Value", "Percentile"] and "Total count    =            3" in text


def test_top_left_by_ctrl_c_ends_without_a_word(
    tables: Tables, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Leaving:
        def sleep(self, seconds: float) -> None:
            raise KeyboardInterrupt

    monkeypatch.setattr(top, "time", Leaving())
    watch(tables.instance, 1.0, once=False)
    out, err = capsys.readouterr()
    assert out.count("\x1b[2J") == 1 and out.count("P&L:") == 1 and "Traceback" not in err
