"""The desk behind both doors of the simulated Binance, REST and the WebSocket API: exchange, keys, limits and public answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from hft.sim.armed_faults import ArmedFaults
from hft.sim.binance.errors import ApiError
from hft.sim.binance.keys import ApiKey, KeyRing
from hft.sim.binance.limits import AddressLimits, OrderLimits, retry_data
from hft.sim.binance.methods import SIGNED, Method
from hft.sim.binance.new_order import Pair
from hft.sim.binance.orders import Caller, OrderDesk
from hft.sim.binance.public import PublicDesk
from hft.sim.exchange.customers import Customer
from hft.sim.exchange.exchange import Exchange
from hft.sim.exchange.records import FeeAsset, Status
from hft.sim.market import SymbolInfo

FIRST_ORDER_ID, FIRST_TRADE_ID = 1_000_001, 4_000_000_001
STATUS_TEXT = {Status.TRADING: "TRADING", Status.CANCEL_ONLY: "CANCEL_ONLY", Status.HALTED: "HALT"}


class Desk:
    """What both doors share."""

    def __init__(self, symbols: Mapping[str, SymbolInfo], customers: Iterable[Customer], faults: ArmedFaults, unlimited: bool) -> None:
        """`unlimited` lifts the limits of requests and of open orders."""
        customers = tuple(customers)
        self.faults = faults
        self.pairs = {symbol: Pair(info, unlimited) for symbol, info in symbols.items()}
        self.exchange = Exchange(
            [pair.instrument for pair in self.pairs.values()],
            [customer.account() for customer in customers],
            fee_asset=FeeAsset.RECEIVED,
            first_order_id=FIRST_ORDER_ID,
            first_trade_id=FIRST_TRADE_ID,
        )
        self.keys = KeyRing(customers)
        self.address = AddressLimits(unlimited)
        self.orders = OrderDesk(self.exchange, self.pairs)
        self.public = PublicDesk(faults, self._status)
        #: account name -> its unfilled orders
        self.order_limits = {customer.name: OrderLimits(unlimited) for customer in customers}

    def caller(self, key: ApiKey, unit_ns: int) -> Caller:
        """Return who speaks with a key."""
        return Caller(key, self.exchange.accounts[key.customer], self.order_limits[key.customer], unit_ns)

    def run(self, method: str, caller: Caller, params: Mapping[str, str], utc_ns: int) -> str:
        """Carry out a signed method whose signature and time were checked; return its result as JSON. Raises ApiError."""
        spec = SIGNED[method]
        caller.key.require(spec.permission)
        if self.faults.waiting:
            self._refuse(spec, utc_ns)
        return self.orders.methods[method](caller, params, utc_ns)

    def failed(self, method: str, utc_ns: int) -> None:
        """Charge a method that costs its weight only when it fails."""
        spec = SIGNED.get(method)
        if spec is not None and spec.free:
            self.address.charge_failed(spec.weight, utc_ns)

    def _refuse(self, spec: Method, utc_ns: int) -> None:
        fault = self.faults.refusal(spec.action)
        if fault is None:
            return
        if fault.status in (418, 429):
            raise ApiError(fault.status, -1003, "Too many requests.", retry_data(utc_ns + fault.retry_after_s * 10**9, utc_ns))
        raise ApiError(fault.status, -1008, "Server is currently overloaded with other requests. Please try again in a few minutes.")

    def _status(self, symbol: str) -> str:
        return STATUS_TEXT.get(self.pairs[symbol].instrument.status, "BREAK")
