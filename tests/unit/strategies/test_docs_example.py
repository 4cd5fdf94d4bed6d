"""The strategy in docs/strategies.md is complete: it loads by its import path, keeps the contract and does what the page says."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from hft.config import parse
from hft.records import IntentKind, MarketFlag, MarketKind, ReportKind, Side, TimeInForce
from strategies.contract import CALLBACKS, View
from strategies.registry import load
from support.strategy_desk import Desk

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "strategies.md").read_text()
BUY, SELL = int(Side.BUY), int(Side.SELL)
BID, ASK = 100_000, 100_010


def block(language: str) -> str:
    found = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    assert len(found) == 1, f"the page has one block of {language}"
    return str(found[0])


@pytest.fixture(scope="module")
def follower(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    folder = tmp_path_factory.mktemp("path")
    (folder / "mine").mkdir()
    (folder / "mine" / "follower.py").write_text(block("python"))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        assert load("mine.follower").name == "mine.follower"
        yield sys.modules["mine.follower"]
        for name in ("mine.follower", "mine"):
            del sys.modules[name]


def lean(desk: Desk, side: int) -> list[dict[str, int]]:
    """Trades and then a book that lean to a side; what the book made the strategy stage."""
    desk.view.market[0]["kind"], desk.view.market[0]["qty_lots"] = MarketKind.TRADE, 500
    desk.view.market[0]["flags"] = MarketFlag.LAST | (MarketFlag.BID if side == BUY else 0)
    for _ in range(20):
        assert desk.wait(2000).call("on_trade") == []
    return desk.show(BID, 90 if side == BUY else 10, ASK, 10 if side == BUY else 90)


@pytest.mark.parametrize(("side", "price_ticks"), [(BUY, ASK), (SELL, BID)])
def test_example_takes_what_is_there_on_the_side_that_book_and_trades_lean_to(follower: ModuleType, side: int, price_ticks: int) -> None:
    (order,) = lean(Desk(follower), side)
    assert (order["kind"], order["side"], order["price_ticks"], order["qty_lots"]) == (IntentKind.NEW, side, price_ticks, 10)
    assert order["tif"] == TimeInForce.IOC


def test_example_waits_when_book_and_trades_disagree(follower: ModuleType) -> None:
    desk = Desk(follower)
    assert lean(desk, BUY) != [] and desk.show(BID, 10, ASK, 90) == []
    assert Desk(follower).show(BID, 90, ASK, 10) == []


def test_example_keeps_its_pause_and_its_largest_position(follower: ModuleType) -> None:
    desk = Desk(follower)
    (order,) = lean(desk, BUY)
    assert desk.wait(5000).show(BID, 90, ASK, 10) == [], "an order is working"
    assert desk.report(ReportKind.EXPIRED, order) == []
    (order,) = desk.show(BID, 90, ASK, 10)
    assert desk.report(ReportKind.TRADE, order, lots=6) == [] and desk.report(ReportKind.EXPIRED, order) == []
    assert desk.wait(999).show(BID, 90, ASK, 10) == []
    (order,) = desk.wait(1).show(BID, 90, ASK, 10)
    assert desk.report(ReportKind.TRADE, order, lots=10) == []
    assert desk.position() == 16
    assert desk.wait(5000).show(BID, 90, ASK, 10) == [], "it holds enough"


def test_example_config_names_it_by_its_import_path() -> None:
    paper = (ROOT / "configs" / "paper.toml").read_text().replace('"strategy.mm"', '"strategy.mm", "strategy.follower"')
    strategy = parse(paper + block("toml")).strategies["follower"]
    assert strategy.code == "mine.follower" and strategy.params == {"threshold": 0.7}


def test_page_names_every_callback_and_every_field_of_the_view() -> None:
    for name in (*CALLBACKS, *View._fields):
        assert f"`{name}`" in PAGE or name == "intents" or name == "words", name
