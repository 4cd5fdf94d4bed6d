"""Carried: a restart forgives nothing. What risk counted before it was killed counts after, whatever it had not written down by then."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from hft import control
from hft.config import Config
from hft.counting import Counted, carry, new_counted
from hft.journal import JournalWriter, append
from hft.records import JournalKind, OrderState, ReportKind, RiskCode, VenueReason
from hft.stops import new_stops
from hft.tables import build_tables
from hft.units import E8
from processes import carried
from processes.carried import CarriedFile, read_carried, recover_counted
from processes.instance import Instance
from processes.recovery import empty_positions, pack_rows, recover_positions
from processes.replay import replay_session
from shm.clock import realtime_ns
from support.engine import BTC, SELL, Bench, paper_config
from support.pipeline import Pipeline
from support.risk_rings import INTENTS, MARKETS, ORDERS, REFUSALS, REPORTS, STAGE

EXECUTION = "execution.binance"
KILLED = control.kill_strategy(0)
OK = RiskCode.OK


class Epochs:
    """Epochs of one session, one after another."""

    def __init__(self, folder: Path, **firm: Any) -> None:
        self.instance = Instance("some", folder)
        self.instance.make_folders()
        self.config: Config = paper_config(lambda sections: sections["firm"].update(firm))
        self.tables = build_tables(self.config)
        self.positions = empty_positions(self.tables)
        self.number = 0

    def recovered(self) -> dict[str, Any] | None:
        """What the next epoch begins with."""
        return recover_counted(self.instance, self.tables, self.config.topology(), 1, self.number + 1)


class Epoch(Bench):
    """Risk in one epoch, with a valid book; it ends as SIGKILL ends it."""

    def __init__(self, epochs: Epochs) -> None:
        session = {"positions": pack_rows(epochs.positions), "counted": epochs.recovered()}
        epochs.number += 1
        folder = epochs.instance.journal_folder(epochs.number)
        self._execution = JournalWriter(folder, EXECUTION, epochs.number, 1 << 20, 1, 1)
        super().__init__(folder, epochs.config, [STAGE], session, epochs.number)
        self.mark()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stage(STAGE).abandon()
        self._execution.abandon()

    def mark(self, *prices: int) -> None:
        self.put(MARKETS, self.tops(BTC, *prices), self.tops(1, 260_000, 260_010))
        self.turn(STAGE)

    def judge(self, **fields: int) -> tuple[RiskCode, NDArray[Any]]:
        """What risk says of an order, and that order."""
        self.put(INTENTS, self.intent(**fields))
        self.turn(STAGE)
        orders, refusals = self.take(ORDERS), self.take(REFUSALS)
        return (OK if len(orders) else RiskCode(int(refusals[0]["reason"]))), orders

    def tell(self, report: NDArray[Any], heard: bool = True) -> None:
        """Execution journals a report; risk takes it, unless it dies before."""
        ring = self.topology.ring(REPORTS)
        bit = self.topology.stage(EXECUTION).outputs.index(ring)
        assert append(self._execution.context, int(JournalKind.REPORT), 1 << bit, 1, report.view(np.uint8), 0, report.nbytes) > 0
        if heard:
            self.put(REPORTS, report)
            self.turn(STAGE)

    def write(self) -> None:
        """Time enough goes by for what is counted to be written down."""
        self.now_ns += carried.PERIOD_NS
        self.stage(STAGE).cold(self.now_ns)


@pytest.mark.parametrize("written", [0, 1, 25, 50], ids=lambda n: f"{n} written")
@pytest.mark.parametrize("heard", [0, 15, 25], ids=lambda n: f"{n} heard besides")
def test_fifty_executions_with_a_restart_between_disable_as_without(tmp_path: Path, written: int, heard: int) -> None:
    epochs = Epochs(tmp_path, fills_max=50)
    with Epoch(epochs) as epoch:
        _, order = epoch.judge(qty_lots=1000)
        for n in range(50):
            fields = {"last_lots": 1, "cum_lots": n + 1, "leaves_lots": 999 - n, "state": OrderState.PARTIALLY_FILLED}
            epoch.tell(epoch.report(order, ReportKind.TRADE, **fields), heard=n < written + heard)
            if n < written:
                epoch.write()
        assert epoch.control[KILLED] == 0
    with Epoch(epochs) as epoch:
        _, order = epoch.judge(price_ticks=5_999_000)
        assert len(order) == 1, "the limit is not passed yet"
        epoch.tell(epoch.report(order, ReportKind.TRADE))
        assert epoch.control[KILLED] == RiskCode.REPEATED_EXECUTION
        assert epoch.judge(price_ticks=5_999_100)[0] == RiskCode.REPEATED_EXECUTION


def test_what_passes_the_limit_while_nobody_counts_disables_at_the_next_beginning(tmp_path: Path) -> None:
    epochs = Epochs(tmp_path, fills_max=2)
    with Epoch(epochs) as epoch:
        epoch.write()
        _, order = epoch.judge(qty_lots=10)
        for n in range(3):
            fields = {"last_lots": 1, "cum_lots": n + 1, "leaves_lots": 9 - n, "state": OrderState.PARTIALLY_FILLED}
            epoch.tell(epoch.report(order, ReportKind.TRADE, **fields), heard=False)
    with Epoch(epochs) as epoch:
        assert epoch.control[KILLED] == RiskCode.REPEATED_EXECUTION
        assert epoch.judge()[0] == RiskCode.REPEATED_EXECUTION


def test_rejects_before_and_after_a_restart_are_one_storm(tmp_path: Path) -> None:
    epochs = Epochs(tmp_path, rejects_max=3)
    for expected in (0, RiskCode.REJECT_STORM):
        with Epoch(epochs) as epoch:
            epoch.write()
            for n in range(2):
                _, order = epoch.judge(price_ticks=5_999_000 - n)
                epoch.tell(epoch.report(order, ReportKind.REJECTED, reason=VenueReason.FILTER), heard=n == 0)
                _, order = epoch.judge(price_ticks=5_998_000 - n)
                epoch.tell(epoch.report(order, ReportKind.REJECTED, reason=VenueReason.MARKET_CLOSED), heard=False)
            if expected:
                epoch.tell(epoch.report(order, ReportKind.REJECTED, reason=VenueReason.FILTER))
            assert epoch.control[KILLED] == expected


def test_messages_before_a_restart_count_against_the_fills_after_it(tmp_path: Path) -> None:
    epochs = Epochs(tmp_path, messages_per_fill_max=5)
    with Epoch(epochs) as epoch:
        for n in range(4):
            assert epoch.judge(price_ticks=5_999_000 - n)[0] == OK
        epoch.write()
    with Epoch(epochs) as epoch:
        assert epoch.judge(price_ticks=5_998_000)[0] == OK
        assert epoch.judge(price_ticks=5_997_000)[0] == RiskCode.ORDER_TO_TRADE


def test_what_was_filled_before_a_restart_is_in_the_window_after_it(tmp_path: Path) -> None:
    epochs = Epochs(tmp_path, filled_expected="1000", filled_max_percent=100)
    for expected in (0, RiskCode.FILL_RATE_ANOMALY):
        with Epoch(epochs) as epoch:
            epoch.write()
            code, order = epoch.judge(qty_lots=1000)
            assert code == OK
            epoch.tell(epoch.report(order, ReportKind.TRADE), heard=bool(expected))
            assert epoch.control[KILLED] == expected


@pytest.mark.parametrize("code", [RiskCode.DRAWDOWN, RiskCode.LOSS_RATE])
def test_a_loss_is_measured_from_the_peak_before_the_restart(tmp_path: Path, code: RiskCode) -> None:
    limit = "drawdown_max" if code == RiskCode.DRAWDOWN else "loss_rate_max"
    epochs = Epochs(tmp_path, **{limit: "5"})
    for owner in (0, len(epochs.tables.instruments)):
        epochs.positions["position_lots"][owner + BTC] = 1000
        epochs.positions["cost_e8"][owner + BTC] = 600 * E8
    with Epoch(epochs) as epoch:
        epoch.mark(6_030_000, 6_030_100)
        epoch.write()
        assert epoch.judge(price_ticks=6_030_000)[0] == OK
    with Epoch(epochs) as epoch:
        assert epoch.control[control.KILL_FIRM] == 0, "three below the peak"
        epoch.mark(5_979_000, 5_979_100)
        assert epoch.control[control.KILL_FIRM] == code


def trip(epochs: Epochs, written: bool = True) -> None:
    with Epoch(epochs) as epoch:
        for n in range(2):
            epoch.write()
            _, order = epoch.judge(price_ticks=5_999_000 - n)
            epoch.tell(epoch.report(order, ReportKind.REJECTED, reason=VenueReason.FILTER))
        assert epoch.control[KILLED] == RiskCode.REJECT_STORM
        if written:
            epoch.write()


@pytest.mark.parametrize("written", [True, False])
def test_a_trip_whose_kill_was_lost_with_the_engine_kills_again(tmp_path: Path, written: bool) -> None:
    epochs = Epochs(tmp_path, rejects_max=1)
    trip(epochs, written)
    for _ in range(2):
        with Epoch(epochs) as epoch:
            assert epoch.control[KILLED] == RiskCode.REJECT_STORM and epoch.judge()[0] == RiskCode.REJECT_STORM
            epoch.write()
            epoch.turn(STAGE)
            epoch.control[KILLED] = 0
            assert epoch.judge()[0] == OK, "it can be armed"


@pytest.mark.parametrize("written", [True, False])
def test_what_was_armed_while_no_engine_ran_may_trade(tmp_path: Path, written: bool) -> None:
    epochs = Epochs(tmp_path, rejects_max=1)
    trip(epochs, written)
    epochs.instance.armed_file.write_bytes(msgspec.json.encode({"at_ns": realtime_ns(), "reason": "understood"}))
    with Epoch(epochs) as epoch:
        assert epoch.control[KILLED] == 0
        code, order = epoch.judge()
        epoch.tell(epoch.report(order, ReportKind.REJECTED, reason=VenueReason.FILTER))
        assert code == OK and epoch.judge(price_ticks=5_999_500)[0] == OK, "and counts anew"


def test_a_halt_at_the_beginning_is_no_arming_of_what_had_tripped(tmp_path: Path) -> None:
    epochs = Epochs(tmp_path, rejects_max=1)
    trip(epochs)
    with Epoch(epochs) as epoch:
        epoch.write()
    session = {"positions": pack_rows(epochs.positions), "counted": epochs.recovered()}
    with Bench(tmp_path / "halted", epochs.config, [STAGE], session) as bench:
        bench.control[control.HALT] = 1
        bench.turn(STAGE)
        bench.control[control.HALT] = 0
        bench.turn(STAGE)
        assert bench.control[KILLED] == RiskCode.REJECT_STORM and bench.stage(STAGE).context.state.breakers.tripped[0]


def some_counted(peak: int = 0) -> tuple[Counted, NDArray[Any]]:
    tables = build_tables(paper_config())
    counted = new_counted(len(tables.instruments), len(tables.strategies), tables.firm)
    counted.breakers.words[1] = peak
    return counted, tables.firm


def peak_in(found: dict[str, Any] | None) -> int | None:
    return None if found is None else int(found["counted"]["breakers"]["pnl"][1])


def test_a_write_that_was_cut_off_leaves_the_one_before(tmp_path: Path) -> None:
    """As SIGKILL or a loss of power leaves it: the newest slot has changed up to any byte, and the rest is of the write before the last."""
    counted, firm = some_counted()
    stops = new_stops(2, 1)
    file = CarriedFile(tmp_path, counted, stops)
    assert read_carried(tmp_path) is None, "nothing was written"
    path, images = tmp_path / "risk.carried", []
    for peak in (11, 22, 33, 44):
        images.append(path.read_bytes())
        counted.breakers.words[1] = peak
        file.write(counted, stops, firm, {})
        assert peak_in(read_carried(tmp_path)) == peak
    images.append(path.read_bytes())
    file.close()
    for n, (old, new) in enumerate(itertools.pairwise(images)):
        changed = [i for i, (a, b) in enumerate(zip(old, new, strict=True)) if a != b]
        for cut in changed[:: max(1, len(changed) // 40)]:
            for image in (new[:cut] + old[cut:], old[:cut] + new[cut:]):
                path.write_bytes(image)
                assert peak_in(read_carried(tmp_path)) in ((None, 11) if n == 0 else (11 * n, 11 * (n + 1))), f"write {n}, cut at {cut}"
    path.write_bytes(b"")
    assert read_carried(tmp_path) is None


def test_an_epoch_whose_file_is_lost_goes_on_with_the_one_before_and_the_reports_of_both(tmp_path: Path) -> None:
    epochs = Epochs(tmp_path, rejects_max=3)
    for _ in range(2):
        with Epoch(epochs) as epoch:
            epoch.write()
            _, order = epoch.judge()
            epoch.tell(epoch.report(order, ReportKind.REJECTED, reason=VenueReason.FILTER))
            epoch.write()
    (epochs.instance.journal_folder(2) / "risk.carried").write_bytes(bytes(100))
    recovered = epochs.recovered()
    assert recovered is not None and len(recovered["breakers"]["rejects_ns"][0]) == 2


def test_after_a_start_of_the_host_windows_begin_anew_and_peaks_and_trips_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    epochs = Epochs(tmp_path, rejects_max=1)
    trip(epochs)
    before = epochs.recovered()
    monkeypatch.setattr(carried, "_boot", lambda: "another")
    after = epochs.recovered()
    assert before is not None and after is not None
    assert after["breakers"]["tripped"] == before["breakers"]["tripped"] != [0, 0]
    assert after["breakers"]["pnl"][:3] == before["breakers"]["pnl"][:3] and after["breakers"]["pnl"][3] == 0
    nothing = carry(*some_counted())
    assert after["breakers"]["rejects_ns"] == [[]] != before["breakers"]["rejects_ns"]
    assert after["messages"] == nothing["messages"] != before["messages"]


def test_windows_of_another_length_begin_anew(tmp_path: Path) -> None:
    epochs = Epochs(tmp_path)
    with Epoch(epochs) as epoch:
        epoch.judge()
        epoch.write()
    later = Epochs(tmp_path, messages_window_ms=1000)
    later.number = 1
    recovered = later.recovered()
    assert recovered is not None and max(max(row) for row in recovered["messages"]["slices"][0]) == 0


LOST = 5_600_000, 5_600_100
REDUCE = control.reduce_instrument(BTC)


def armed_at_a_loss(folder: Path) -> Epochs:
    """An epoch after it bought, its stop-loss tripped, and somebody armed that."""
    epochs = Epochs(folder)
    with Epoch(epochs) as epoch:
        _, order = epoch.judge()
        epoch.tell(epoch.report(order, ReportKind.TRADE))
        epoch.mark(*LOST)
        assert epoch.control[REDUCE] == RiskCode.STOP_LOSS
        epoch.mark(*LOST)
        epoch.control[REDUCE] = 0
        epoch.mark(*LOST)
        assert epoch.control[REDUCE] == 0
        epoch.write()
        epochs.positions = recover_positions(epochs.instance, epochs.tables, 1, 2)
    return epochs


def test_a_stop_loss_that_was_armed_trips_after_restarts_for_a_new_loss_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    epochs = armed_at_a_loss(tmp_path)
    for boot in ("of before", "of before", "another"):
        monkeypatch.setattr(carried, "_boot", lambda boot=boot: boot)
        with Epoch(epochs) as epoch:
            epoch.mark(*LOST)
            assert epoch.control[REDUCE] == 0, f"epoch {epochs.number}"
    with Epoch(epochs) as epoch:
        epoch.mark(5_200_000, 5_200_100)
        assert epoch.control[REDUCE] == RiskCode.STOP_LOSS


def test_a_loss_that_was_armed_is_forgiven_no_longer_after_a_fill_that_was_not_written_down(tmp_path: Path) -> None:
    epochs = armed_at_a_loss(tmp_path)
    with Epoch(epochs) as epoch:
        epoch.mark(*LOST)
        epoch.tell(epoch.report(epoch.order(side=SELL, qty_lots=1), ReportKind.TRADE), heard=False)
        epochs.positions = recover_positions(epochs.instance, epochs.tables, 1, 3)
    with Epoch(epochs) as epoch:
        epoch.mark(*LOST)
        assert epoch.control[REDUCE] == RiskCode.STOP_LOSS


def test_file_has_room_for_every_row_that_has_been_forgiven(tmp_path: Path) -> None:
    counted, firm = some_counted()
    stops = new_stops(8000, 1)
    stops.forgiven_e8[:], stops.owned["fills"] = 2**63 - 1, 2**63 - 1
    file = CarriedFile(tmp_path, counted, stops)
    for number in range(2):
        file.write(counted, stops, firm, {"execution.binance": number})
    file.close()
    found = read_carried(tmp_path)
    assert found is not None and found["heads"]["execution.binance"] == 1 and len(found["counted"]["forgiven"]) == 8000


def test_nothing_is_carried_from_another_session(tmp_path: Path) -> None:
    epochs = Epochs(tmp_path, rejects_max=1)
    trip(epochs)
    assert recover_counted(epochs.instance, epochs.tables, epochs.config.topology(), 2, 2) is None


def test_replay_repeats_an_epoch_that_began_with_a_trip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted, firm = some_counted()
    counted.breakers.tripped[1] = RiskCode.DRAWDOWN
    folder = tmp_path / "1"
    session = {"positions": pack_rows(empty_positions(build_tables(paper_config()))), "counted": carry(counted, firm) | {"forgiven": []}}
    with Pipeline(folder, 5, monkeypatch, session=session) as engine:
        engine.run(1.0)
        assert engine.control[control.KILL_FIRM] == RiskCode.DRAWDOWN
        engine.control[control.KILL_FIRM] = 0
        engine.run(2.0)
    document = replay_session(Instance("replayed", tmp_path), str(folder))
    assert document["equal"] and document["decisions"] > 0, document["first_difference"]
