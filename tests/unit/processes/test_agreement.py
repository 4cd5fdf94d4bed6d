"""A venue that holds something else than the ledger is reduce-only until both agree, at each venue against its simulator."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from hft import control
from hft.records import OrderFlag, Side
from hft.sim.venue import Response
from processes.errors import EngineError
from processes.instance import Instance
from processes.recovery import known_balances
from support.venue_desk import VenueDesk
from support.venue_sides import SIDES

E8 = 10**8


@pytest.fixture(params=list(SIDES))
def desk(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[VenueDesk]:
    with VenueDesk(tmp_path, monkeypatch, SIDES[request.param]()) as desk:
        desk.step()
        connect(desk)
        yield desk


def connect(desk: VenueDesk) -> None:
    desk.open()
    desk.run_until(lambda: desk.ready, 30)


def reconnect(desk: VenueDesk) -> None:
    desk.lose()
    desk.step()
    connect(desk)


def account_of(desk: VenueDesk) -> Any:
    """The account as the simulator keeps it."""
    venue = desk.side.driver.venue
    exchange = venue.exchange if desk.side.name == "binance" else venue._exchange
    return exchange.accounts[desk.side.account]


def differs(desk: VenueDesk) -> int:
    return int(desk.control[control.venue_differs(0)])


def said(desk: VenueDesk, row: int = 0) -> list[int]:
    at = control.difference(row)
    return [int(word) for word in desk.control[at : at + control.DIFFERENCE_WORDS]]


def told(desk: VenueDesk, row: int = 0) -> tuple[int, list[int]]:
    """How often risk was told of balances, and what of an instrument's base and quote asset."""
    at = control.balance(row)
    return int(desk.control[control.venue_balances(0)]), [int(word) for word in desk.control[at : at + control.BALANCE_WORDS]]


def has(desk: VenueDesk) -> list[int]:
    """What the account has of the first instrument's base and quote asset, nothing of which orders hold."""
    return [account_of(desk).free[asset] for asset in ("BTC", desk.side.symbol.removeprefix("BTC").strip("/-"))]


def test_risk_is_told_what_the_account_began_with_before_orders_leave_and_again_when_that_changes(
    desk: VenueDesk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = has(desk)
    assert told(desk) == (1, began) and began[0] > 0 < began[1]
    desk.send(price_ticks=desk.side.near_ask)
    desk.run(0.2)
    reconnect(desk)
    assert told(desk) == (1, began) and has(desk) != began, "fills are in risk's ledger"
    session = desk.execution.session()
    account_of(desk).free["BTC"] += E8
    desk.control[control.venue_accept(0)] = 1
    reconnect(desk)
    desk.run_until(lambda: told(desk)[0] == 2, 40)
    _, (base_e8, quote_e8) = told(desk)
    assert base_e8 == began[0] + E8, "a person had it taken as it is"
    assert abs(quote_e8 - began[1]) < 10, "but for what the venue rounds"
    with VenueDesk(tmp_path / "2", monkeypatch, desk.side, session) as later:
        assert told(later) == (1, began) and not later.ready, "an epoch that goes on with a session says it at once"


def test_risk_is_told_nothing_while_nobody_knows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with VenueDesk(tmp_path, monkeypatch, SIDES["binance"]()) as desk:
        desk.step()
        assert told(desk) == (0, [0, 0])
        desk.open()
        desk.run_until(lambda: told(desk)[0] > 0, 30)
        assert not desk.ready or told(desk)[0]


def test_fills_and_fees_are_no_difference(desk: VenueDesk) -> None:
    bought = desk.send(price_ticks=desk.side.near_ask)
    desk.run(0.2)
    sold = desk.send(price_ticks=desk.side.far_bid, side=Side.SELL, qty_lots=desk.side.lots // 2)
    resting = desk.send()
    desk.run(0.2)
    assert "TRADE" in desk.reports(bought) and "TRADE" in desk.reports(sold) and desk.reports(resting) == ["ACK"]
    reconnect(desk)
    assert differs(desk) == 0 and said(desk) == [0] * 4
    assert desk.filled() != 0 and desk.execution.context.positions[0]["fills"] >= 2


def test_an_order_that_is_followed_is_none_that_another_session_left(desk: VenueDesk) -> None:
    order = desk.send()
    desk.run(0.2)
    desk.execution.agreement.began = None
    reconnect(desk)
    assert desk.reports(order)[0] == "ACK" and len(desk.open_orders()) == 1 and desk.execution.agreement.began is not None


def test_a_fill_that_cannot_be_booked_stops_the_stage(desk: VenueDesk) -> None:
    desk.execution.context.positions[0]["cash_ticklots"] = 1 << 61
    desk.send(price_ticks=desk.side.near_ask)
    with pytest.raises(EngineError, match="a fill could not be booked"):
        desk.run(0.5)
    assert not desk.ready


def test_a_balance_that_no_fill_explains_makes_the_venue_reduce_only_until_it_is_mended(
    desk: VenueDesk, capfd: pytest.CaptureFixture[str]
) -> None:
    account_of(desk).free["BTC"] -= E8 // 2
    capfd.readouterr()
    reconnect(desk)
    assert desk.ready, "what only reduces may leave"
    assert differs(desk) == 1 and said(desk) == [0, -E8 // 2, 0, 0]
    logged = capfd.readouterr().err
    name = desk.execution.tables.instruments[0]
    assert f'"instrument":"{name}","asset":"BTC","ledger":"0","venue_says":"-0.5' in logged and "hftctl arm" in logged
    desk.run(30, step_ms=50)
    assert differs(desk) == 1 and '"differ' not in capfd.readouterr().err, "said once"
    account_of(desk).free["BTC"] += E8 // 2
    desk.run_until(lambda: not differs(desk), 40)
    assert said(desk) == [0] * 4 and desk.ready and "agree again" in capfd.readouterr().err


def test_cash_that_no_fill_explains_is_a_difference_from_the_least_order_on(desk: VenueDesk) -> None:
    least_e8 = int(desk.execution.tables.instrument_rows[0]["notional_min_e8"])
    quote = desk.side.symbol.removeprefix("BTC").strip("/-")
    account_of(desk).free[quote] -= least_e8 - 1
    reconnect(desk)
    assert differs(desk) == 0
    account_of(desk).free[quote] -= 1
    reconnect(desk)
    assert differs(desk) == 1 and said(desk) == [0, 0, 0, -least_e8]


def test_one_answer_alone_makes_no_difference(desk: VenueDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fill may lie between the parts of an answer."""
    agreement, pauses = desk.execution.agreement, []
    judge = agreement.judge

    def judge_and_mend(positions: Any) -> int:
        pauses.append(judge(positions))
        assert not desk.ready and not differs(desk)
        account_of(desk).free["BTC"] -= E8 if len(pauses) == 1 else 0
        return pauses[-1]

    monkeypatch.setattr(agreement, "judge", judge_and_mend)
    account_of(desk).free["BTC"] += E8
    reconnect(desk)
    assert differs(desk) == 0 and len(pauses) == 2 and pauses[1] == 0


def test_nothing_leaves_before_everybody_can_know_that_it_may_only_reduce(desk: VenueDesk) -> None:
    account_of(desk).free["BTC"] += E8
    desk.lose()
    desk.step()
    desk.open()
    desk.run_until(lambda: differs(desk) > 0, 30)
    assert not desk.ready
    desk.run_until(lambda: desk.ready, 30)
    assert differs(desk) == 1


def test_a_person_may_have_the_venues_balance_taken_as_it_is(desk: VenueDesk, tmp_path: Path) -> None:
    account_of(desk).free["BTC"] += E8
    reconnect(desk)
    assert differs(desk) == 1
    desk.control[control.venue_accept(0)] = 1
    desk.run_until(lambda: not differs(desk), 40)
    assert not desk.control[control.venue_accept(0)]
    reconnect(desk)
    assert differs(desk) == 0
    account_of(desk).free["BTC"] -= E8
    reconnect(desk)
    assert said(desk)[:2] == [0, -E8], "it counts from there"


def test_what_an_account_began_with_is_known_to_the_epochs_that_follow(desk: VenueDesk, tmp_path: Path, monkeypatch: Any) -> None:
    instance = Instance("some", tmp_path / "state")
    instance.make_folders()
    instance.journal_folder(1).symlink_to(desk.folder)
    began = known_balances(instance, desk.side.name, 1, 2)
    assert began == desk.execution.agreement.began and began is not None
    assert began["BTC"] == Decimal(account_of(desk).free["BTC"]) / E8
    account_of(desk).free["BTC"] += E8
    with VenueDesk(tmp_path / "2", monkeypatch, desk.side) as later:
        later.execution.agreement.began = began
        later.begin_after(desk.past())
        later.step()
        connect(later)
        assert differs(later) == 1 and said(later)[:2] == [0, E8]


def test_a_session_begins_with_what_is_left_when_orders_of_another_one_are_gone(
    desk: VenueDesk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.send(flags=OrderFlag.POST_ONLY)
    desk.run(0.1)
    with VenueDesk(tmp_path / "2", monkeypatch, desk.side) as later:
        agreement, left = later.execution.agreement, []
        begin = agreement._begin

        def note(began: Any) -> None:
            left.append(agreement._left)
            begin(began)

        monkeypatch.setattr(agreement, "_begin", note)
        later.step()
        connect(later)
        assert left == [0] and later.open_orders() == [], "what was open could still be filled"
        reconnect(later)
        assert differs(later) == 0


@pytest.mark.parametrize("lost", [1, 5])
def test_an_order_of_an_earlier_epoch_is_canceled_until_it_is_gone(
    desk: VenueDesk, lost: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = desk.execution.agreement.began
    desk.send(flags=OrderFlag.POST_ONLY)
    desk.run(0.1)
    past = desk.past()
    desk.lose()
    desk.step()
    receive, request, cancels = desk.side.receive, desk.side.request, []

    def is_lost(text: bytes) -> bool:
        cancels.append(text)
        return len(cancels) <= lost

    def receives(session: Any, text: bytes) -> None:
        if not any(method in text for method in (b'"cancel_order"', b'"order.cancel"')) or not is_lost(text):
            receive(session, text)

    def requests(method: str, target: str, headers: Any, body: bytes) -> Response:
        return Response(503, (), b"") if method == "DELETE" and is_lost(body) else request(method, target, headers, body)

    monkeypatch.setattr(desk.side, "receive", receives)
    monkeypatch.setattr(desk.side, "request", requests)
    with VenueDesk(tmp_path / "2", monkeypatch, desk.side) as later:
        later.execution.agreement.began = began
        later.begin_after(past)
        later.step()
        connect(later)
        assert later.open_orders() != [] and differs(later) == 0, "it is canceled, and hinders nothing"
        if lost > 1:
            later.run_until(lambda: differs(later) == 1, 10)
        later.run_until(lambda: later.open_orders() == [] and not differs(later), 60)
        sent = len(cancels)
        later.run(20, step_ms=50)
        assert len(cancels) == sent <= lost + 2 and later.execution.agreement.settled


def test_what_the_venue_holds_is_asked_again_soon_when_a_part_of_it_could_not_be_had(
    desk: VenueDesk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if desk.side.name == "binance":
        pytest.skip("asked on the socket, which ends with an error")
    request, failed = desk.side.request, []

    def requests(method: str, target: str, headers: Any, body: bytes) -> Response:
        if not failed and ("/accounts" in target or "BalanceEx" in target):
            failed.append(target)
            return Response(503, (), b"")
        return request(method, target, headers, body)

    desk.lose()
    desk.step()
    monkeypatch.setattr(desk.side, "request", requests)
    with VenueDesk(tmp_path / "2", monkeypatch, desk.side) as later:
        later.step()
        later.open()
        later.run_until(lambda: later.ready, 4)
        assert len(failed) == 1


def test_an_open_order_of_others_makes_the_venue_reduce_only_until_it_is_gone(
    desk: VenueDesk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if desk.side.name != "kraken":
        pytest.skip("placed by Kraken's API")
    driver, token = desk.side.driver, desk.execution.desk.account._token
    anothers = {"order_type": "limit", "side": "buy", "symbol": "BTC/USD", "limit_price": 40_000, "order_qty": 1}
    session = driver.open()
    (reply,) = driver.trade(session, "add_order", token, **anothers)
    reconnect(desk)
    assert differs(desk) == 1 and said(desk) == [0] * 4
    driver.trade(session, "cancel_order", token, order_id=[reply["result"]["order_id"]])
    desk.run_until(lambda: not differs(desk), 40)
