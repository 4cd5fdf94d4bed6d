"""Status, top and latency: what people and programs see of a running engine, from its shared tables alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hft import control
from hft.controls import CONTROLS
from hft.counters import COUNTERS_BY_ROLE, ExecutionCounter, FeedCounter, RiskCounter
from hft.latency import SPANS, Span
from hft.records import POSITION
from processes import latency, top
from processes.errors import EngineError, NotRunning
from processes.instance import Instance, write_durably
from processes.latency import print_latency, read_latency
from processes.operate import kill_scope
from processes.resources import SharedResources
from processes.risk_show import print_risk, read_risk
from processes.status import latch_text, print_status, read_status
from processes.top import watch
from shm.cell import write
from shm.histogram import record
from shm.ring import publish_many
from support.engine_fakes import SupervisedEngine

FIRM_BTC, OWN_BTC = 0, 2


class Shown:
    """A running engine whose tables a test writes as stages would."""

    def __init__(self, engine: SupervisedEngine) -> None:
        self.engine, self.instance = engine, engine.instance
        topology = engine.config.topology()
        resources = SharedResources(engine.instance, topology, 2, 1, engine.words, 1 << 20)
        self.counters = {stage.name: resources.counters(stage) for stage in topology.stages}
        self.cells, self.latency = resources.cells(), resources.latency()
        self.resources = resources

    def position(self, row: int, **fields: int) -> None:
        rows = np.zeros(1, POSITION)
        for name, value in fields.items():
            rows[0][name] = value
        write(self.cells[row], rows, 0)


@pytest.fixture
def shown(instance_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shown]:
    with SupervisedEngine(instance_name, tmp_path, monkeypatch) as engine:
        yield Shown(engine)


def test_status_of_a_fresh_engine_has_every_stage_and_nothing_in_it(shown: Shown) -> None:
    status = read_status(shown.instance)
    assert (status["state"], status["mode"], status["epoch"], status["halted"], status["kill_latched"]) == (
        "RUNNING",
        "paper",
        1,
        False,
        False,
    )
    assert [stage["name"] for stage in status["stages"]] == ["feed.binance", "portfolio", "strategy.mm", "risk", "execution.binance"]
    assert all(stage["state"] == "RUNNING" and stage["beat_age_ms"] is not None for stage in status["stages"])
    assert set(status["orders"].values()) == {0} and status["refused"] == {} and status["pnl"]["net_e8"] == 0
    json.dumps(status)


def test_counters_are_shown_by_the_names_of_their_stage(shown: Shown) -> None:
    shown.counters["execution.binance"][[ExecutionCounter.SENT, ExecutionCounter.TRADES]] = 7, 5
    shown.counters["feed.binance"][[FeedCounter.CONNECTS, FeedCounter.BOOKS_VALID]] = 3, 2
    shown.counters["risk"][[RiskCounter.REFUSED_BY_CODE + 40, RiskCounter.REFUSED_BY_CODE + 1]] = 4, 1
    status = read_status(shown.instance)
    assert status["orders"]["sent"] == 7 and status["orders"]["trades"] == 5
    assert status["refused"] == {"R001": 1, "R040": 4}
    assert status["venues"][0]["connected"] is True and status["venues"][0]["books_valid"] == 2
    feed = next(stage for stage in status["stages"] if stage["name"] == "feed.binance")
    assert feed["counters"] == {"connects": 3, "books_valid": 2}
    shown.counters["feed.binance"][FeedCounter.DISCONNECTS] = 3
    assert read_status(shown.instance)["venues"][0]["connected"] is False


def test_positions_are_exact_and_the_firms_pnl_is_in_the_base_currency(shown: Shown) -> None:
    shown.position(FIRM_BTC, position_lots=-12_345, realised_e8=250_000_000, unrealised_e8=-50_000_000, fees_quote_e8=1, turnover_e8=9)
    shown.position(OWN_BTC, position_lots=-12_345, strategy=0)
    status = read_status(shown.instance)
    firm, _, own, _ = status["positions"]
    assert (firm["owner"], firm["instrument"], firm["position"], firm["position_lots"]) == ("firm", "BTC-USDT.BINANCE", "-0.12345", -12_345)
    assert (own["owner"], own["realised_e8"]) == ("mm", 0)
    assert status["pnl"] | {"net": ""} == {
        "currency": "USDT",
        "realised": "2.50000000",
        "unrealised": "-0.50000000",
        "fees": "0.00000001",
        "turnover": "0.00000009",
        "net": "",
        "net_e8": 199_999_999,
    }


def test_kills_and_halts_show_whether_by_word_or_by_latch(shown: Shown) -> None:
    shown.engine.words[control.kill_venue(0)] = 1
    assert read_status(shown.instance)["kill_latched"] is True
    shown.engine.words[control.kill_venue(0)] = 0
    shown.instance.write_kill({"strategy.mm": {}})
    shown.engine.words[control.HALT] = 1
    status = read_status(shown.instance)
    assert (status["kill_latched"], status["kills"], status["halted"]) == (True, ["strategy.mm"], True)


def test_risk_shows_each_limit_beside_its_use_and_each_controls_refusals(shown: Shown, capsys: pytest.CaptureFixture[str]) -> None:
    shown.position(FIRM_BTC, position_lots=-12_500, fills=3)
    shown.counters["risk"][RiskCounter.REFUSED_BY_CODE + 63] = 2
    kill_scope(shown.instance, "strategy.mm", "R063 REJECT_STORM")
    document = read_risk(shown.instance)
    json.dumps(document)
    btc = document["instruments"][0]
    assert (btc["instrument"], btc["position"], btc["position_used_percent"], btc["fills"]) == ("BTC-USDT.BINANCE", "-0.12500", 25.0, 3)
    assert btc["limits"]["position_max"] == "0.5" and btc["limits"]["move_max_bp"] == 300
    assert document["firm"]["limits"]["drawdown_max"] == "2000" and document["kill_reasons"] == {"strategy.mm": "R063 REJECT_STORM"}
    refused = {control["name"]: control["refused"] for control in document["controls"]}
    assert len(refused) == len(CONTROLS) and {name for name, count in refused.items() if count} == {"REJECT_STORM"}
    print_risk(document)
    out = capsys.readouterr().out
    for words in ("KILLED (strategy.mm: R063 REJECT_STORM)", "BTC-USDT.BINANCE", "25.0", "drawdown_max", "R063", "firm.rejects_max"):
        assert words in out, words
    assert "balances at binance: not asked: orders are filled on paper" in out
    engine = shown.instance.read_engine() or {}
    engine["config"]["execution"]["binance"] = {"kind": "venue"}
    shown.instance.engine_file.write_text(json.dumps(engine))
    assert read_risk(shown.instance)["balances"] == {"binance": "not known yet: no new orders"}
    shown.engine.words[control.venue_balances(0)] = 1
    assert read_risk(shown.instance)["balances"] == {"binance": "the account's, as the venue said"}


def test_status_for_people_names_what_matters(shown: Shown, capsys: pytest.CaptureFixture[str]) -> None:
    shown.counters["risk"][RiskCounter.REFUSED_BY_CODE + 40] = 4
    shown.position(FIRM_BTC, position_lots=100)
    kill_scope(shown.instance, "firm", "a test")
    print_status(read_status(shown.instance))
    out = capsys.readouterr().out
    for words in ("KILLED (firm: a test)", "execution.binance", "R040 x4", "0.00100", "P&L: 0.0000 USDT"):
        assert words in out, words


def test_status_of_no_engine_is_not_running(tmp_path: Path) -> None:
    with pytest.raises(NotRunning):
        read_status(Instance("none", tmp_path))


def test_every_counter_has_a_label_of_its_own() -> None:
    for role, counters in COUNTERS_BY_ROLE.items():
        assert sorted(counters) == list(range(len(counters))), role


def test_latency_of_a_running_engine_has_every_span(shown: Shown, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for value in (1000, 2000, 3000):
        record(shown.latency[Span.WIRE_TO_SENT], value)
    document = read_latency(shown.instance, tmp_path / "hgrm")
    assert [span["name"] for span in document["spans"]] == list(SPANS) and document["running"] is True
    wire = document["spans"][Span.WIRE_TO_SENT]
    assert (wire["count"], wire["mean_ns"], wire["max_ns"]) == (3, 2000.0, 3000)
    assert sorted(path.name for path in (tmp_path / "hgrm").iterdir()) == sorted(f"{name.replace('→', '-to-')}.hgrm" for name in SPANS)
    print_latency(document)
    assert "wire→sent" in capsys.readouterr().out


def test_latency_of_an_ended_engine_is_that_of_its_newest_report(shown: Shown, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(latency, "is_alive", lambda engine: False)
    with pytest.raises(NotRunning, match="left no report"):
        read_latency(shown.instance, None)
    reports = shown.instance.folder / "reports"
    for session in (9, 10):
        write_durably(reports / f"{session}.json", json.dumps({"latency": {"session": session, "spans": []}}).encode())
    document = read_latency(shown.instance, None)
    assert (document["session"], document["running"]) == (10, False)
    with pytest.raises(NotRunning, match="hgrm"):
        read_latency(shown.instance, tmp_path / "hgrm")


@pytest.mark.parametrize("text", [b"{", b"{}", b""])
def test_damaged_report_is_an_error_that_names_it(tmp_path: Path, text: bytes) -> None:
    instance = Instance("some", tmp_path)
    instance.make_folders()
    (instance.folder / "reports" / "3.json").write_bytes(text)
    with pytest.raises(EngineError, match=r"3\.json: not a report"):
        read_latency(instance, None)


def test_top_shows_rings_and_how_full_they_are(shown: Shown, capsys: pytest.CaptureFixture[str]) -> None:
    ring = shown.resources.producer(shown.engine.config.topology().ring("intents.mm.risk"))
    publish_many(ring, 1 + ring.slots.size // 2)
    watch(shown.instance, 1.0, once=True)
    out = capsys.readouterr().out
    assert "wire→sent" in out and "\x1b[2J" not in out
    line = next(line for line in out.splitlines() if line.startswith("intents.mm.risk"))
    assert line.split()[1:3] == ["513", "513"] and line.count("#") == 11
    shown.resources.close()


def test_top_renews_itself_until_the_engine_ends_or_someone_leaves(
    shown: Shown, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures: list[int] = []

    class Ending:
        def sleep(self, seconds: float) -> None:
            pictures.append(1)
            if len(pictures) == 2:
                shown.engine.supervisor.close()
                write_durably(shown.instance.engine_file, json.dumps(shown.instance.read_engine() | {"started": 1}).encode())  # type: ignore[operator]

    monkeypatch.setattr(top, "time", Ending())
    watch(shown.instance, 1.0, once=False)
    assert len(pictures) == 2 and capsys.readouterr().out.count("\x1b[2J") == 2


def test_top_skips_a_ring_that_a_restart_took_away(shown: Shown, capsys: pytest.CaptureFixture[str]) -> None:
    gone = next(segment for segment in shown.engine.supervisor._rings if segment.name.endswith("intents.mm.risk"))
    gone.unlink()
    watch(shown.instance, 1.0, once=True)
    out = capsys.readouterr().out
    assert "orders.risk.binance" in out and "intents.mm.risk" not in out


def test_what_is_latched_is_said_by_what_it_stops() -> None:
    assert latch_text({}) == ""
    found = latch_text({"firm": "because", "instrument.BTC-USDT.BINANCE": "R076 STOP_LOSS", "strategy.mm": ""})
    assert found == "KILLED (firm: because, strategy.mm: no reason given)  REDUCE-ONLY (instrument.BTC-USDT.BINANCE: R076 STOP_LOSS)"
