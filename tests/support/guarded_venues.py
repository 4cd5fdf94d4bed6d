"""Guarded venues: each simulated venue in virtual time, with a trader whose orders rest and a guard that ends them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hft.sim.venue import Ending
from hft.sweep import Sweep
from hft.venues.guards import Guard, GuardOrder, open_guard
from hft.venues.interface import Call, Credentials
from processes.simulated_keys import guardian_credentials
from support.binance_trader import Trader
from support.coinbasesim import CoinbaseDriver
from support.krakensim import KrakenDriver
from support.virtual_venue import WALL_NS, VirtualVenue

SECOND_NS = 1_000_000_000
STEP_NS = 10_000_000
WINDOW_MS = 1000
SYMBOLS = {"binance": "BTCUSDT", "coinbase": "BTC-USD", "kraken": "BTC/USD"}


class GuardedVenue:
    """A venue's simulator, a trader and a guard of the trader's account."""

    def __init__(self, venue: str, credentials: Credentials | None = None, **settings: Any) -> None:
        self.name = venue
        self.driver, self._place = _OPENERS[venue](settings)
        self.driver.run(0.1)  # A time of 0 would look like none.
        self.guard: Guard = open_guard(
            venue, GuardOrder(credentials or guardian_credentials(venue), [SYMBOLS[venue]], WINDOW_MS, tier="starter")
        )
        self.calls: list[Call] = []
        self.lose: Callable[[Call], bool] = lambda call: False  #: whose answers are lost
        self.after: Callable[[Call], None] = lambda call: None  #: called when one was answered

    @property
    def now_ns(self) -> int:
        now_ns: int = self.driver.now_ns
        return now_ns

    def place(self) -> None:
        """One more order rests far from the market."""
        self._place()

    def open_orders(self) -> int:
        """How many orders the trader has open, as the venue's own books say."""
        accounts = self.driver.state()["exchange"]["accounts"]
        return sum(len(account["open_orders"]) for account in accounts.values())

    def sweep(self, confirm_s: int = 10) -> Sweep:
        """A sweep that begins now."""
        return Sweep(self.guard, self.now_ns, confirm_s * SECOND_NS)

    def run(self, sweep: Sweep, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        """Carry its requests and the answers for a while, or until something is so."""
        end_ns = self.now_ns + int(seconds * SECOND_NS)
        while self.now_ns < end_ns and not until():
            for call in sweep.due(self.now_ns, self.now_ns + WALL_NS):
                self.calls.append(call)
                sweep.take(call.tag, *self._answer(call), self.now_ns)
                self.after(call)
            self.driver.now_ns += STEP_NS  # The market stands still.

    def _answer(self, call: Call) -> tuple[int, bytes, int]:
        headers = {name.lower(): value for name, value in call.headers}
        response = self.driver.venue.request(call.method, call.target, headers, call.body, self.now_ns)
        if response.ending is not Ending.SENT or self.lose(call):
            return 0, b"", 0
        retry_s = next((value for name, value in response.headers if name.lower() == "retry-after"), "0")
        return response.status, response.body, int(retry_s) * SECOND_NS

    def questions(self) -> list[Call]:
        """The questions about open orders among its calls."""
        return [call for call in self.calls if is_question(call)]


def is_question(call: Call) -> bool:
    """Whether it asks for open orders."""
    return call.method == "GET" or call.target.endswith("/OpenOrders")


def _binance(settings: dict[str, Any]) -> tuple[Any, Callable[[], object]]:
    driver = VirtualVenue(**settings)
    trader = Trader(driver, "bob")
    return driver, trader.place


def _coinbase(settings: dict[str, Any]) -> tuple[Any, Callable[[], object]]:
    driver = CoinbaseDriver(**settings)
    return driver, lambda: driver.place(price="1000", size="0.1")


def _kraken(settings: dict[str, Any]) -> tuple[Any, Callable[[], object]]:
    driver = KrakenDriver(**settings)
    order = {"pair": "XBTUSD", "type": "buy", "ordertype": "limit", "price": "1000", "volume": "0.01"}
    return driver, lambda: driver.private("AddOrder", **order)


_OPENERS: dict[str, Callable[[dict[str, Any]], tuple[Any, Callable[[], object]]]] = {
    "binance": _binance,
    "coinbase": _coinbase,
    "kraken": _kraken,
}
