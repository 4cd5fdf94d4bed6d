"""The public desk of the simulated Binance answers what needs no key: the rules, the books, the trades.

It knows the venue's manners only; the books come from the market it is given.
"""

from __future__ import annotations

import re
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from hft.sim.armed_faults import ArmedFaults
from hft.sim.binance.errors import ApiError
from hft.sim.binance.limits import RATE_LIMITS
from hft.sim.binance.new_order import (
    MAX_NUM_ORDER_AMENDS,
    MAX_NUM_ORDERS,
    MULTIPLIER_DOWN,
    MULTIPLIER_UP,
    STP_DEFAULT,
    STP_MODES,
    multiplier_text,
)
from hft.sim.binance.reports import TYPES
from hft.sim.market import Market, SymbolInfo

MULTIPLIERS = (("Up", MULTIPLIER_UP), ("Down", MULTIPLIER_DOWN))
DEPTH_LIMIT_MAX = 5000
TRADES_KEPT = 1000
LIMIT = re.compile("[0-9]{1,20}")


def exchange_symbol(info: SymbolInfo, status: str = "TRADING") -> dict[str, object]:
    """Return a pair as `exchangeInfo` states it."""
    filters: list[dict[str, object]] = [
        {"filterType": "PRICE_FILTER", "minPrice": info.tick, "maxPrice": info.price_max, "tickSize": info.tick},
        {"filterType": "LOT_SIZE", "minQty": info.lot, "maxQty": info.qty_max, "stepSize": info.lot},
        {"filterType": "ICEBERG_PARTS", "limit": 100},
        {"filterType": "MARKET_LOT_SIZE", "minQty": "0.00000000", "maxQty": info.qty_max, "stepSize": "0.00000000"},
        {
            "filterType": "NOTIONAL",
            "minNotional": info.notional_min,
            "applyMinToMarket": True,
            "maxNotional": "9000000.00000000",
            "applyMaxToMarket": False,
            "avgPriceMins": 5,
        },
        {
            "filterType": "PERCENT_PRICE_BY_SIDE",
            **{f"{side}Multiplier{way}": multiplier_text(hundredths) for side in ("bid", "ask") for way, hundredths in MULTIPLIERS},
            "avgPriceMins": 5,
        },
        {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": MAX_NUM_ORDERS},
        {"filterType": "MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders": 0},
        {"filterType": "MAX_NUM_ORDER_AMENDS", "maxNumOrderAmends": MAX_NUM_ORDER_AMENDS},
    ]
    precision = {f"{name}Precision": 8 for name in ("baseAsset", "quote", "quoteAsset", "baseCommission", "quoteCommission")}
    allowed = {"iceberg": False, "oco": False, "oto": False, "quoteOrderQtyMarket": True, "isSpotTrading": True}
    return {
        "symbol": info.symbol,
        "status": status,
        "baseAsset": info.base,
        "quoteAsset": info.quote,
        **precision,
        "orderTypes": list(TYPES),
        **{name if name.startswith("is") else f"{name}Allowed": value for name, value in allowed.items()},
        "allowTrailingStop": False,
        "cancelReplaceAllowed": True,
        "amendAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": filters,
        "permissions": [],
        "permissionSets": [["SPOT"]],
        "defaultSelfTradePreventionMode": STP_DEFAULT.name,
        "allowedSelfTradePreventionModes": list(STP_MODES),
    }


class PublicDesk:
    """Answers the public methods, of REST and of the WebSocket API."""

    def __init__(self, faults: ArmedFaults, status_of: Callable[[str], str]) -> None:
        """Use `faults` as they are armed; `status_of` tells the status of a pair."""
        self._faults = faults
        self._status_of = status_of
        #: Pairs whose depth was asked for and given.
        self.depth_given: set[str] = set()
        #: symbol -> the newest `trade` messages
        self.trades: defaultdict[str, deque[bytes]] = defaultdict(lambda: deque(maxlen=TRADES_KEPT))

    def clear(self) -> None:
        """Forget what was given and traded: another round begins."""
        self.depth_given.clear()
        self.trades.clear()

    def call(self, market: Market, method: str, params: Mapping[str, str], server_time: int) -> bytes:
        """Return the result of a method as JSON. Raises ApiError."""
        if method == "ping":
            _only(params)
            return b"{}"
        if method == "time":
            _only(params)
            return b'{"serverTime":%d}' % server_time
        if method == "exchangeInfo":
            return self._exchange_info(market, params, server_time)
        if method == "depth":
            return self._depth(market, params)
        if method == "trades.recent":
            return self._trades(market, params)
        return self._ticker(market, method, params)

    def _exchange_info(self, market: Market, params: Mapping[str, str], server_time: int) -> bytes:
        _only(params, "symbol", "symbols", "permissions", "showPermissionSets", "symbolStatus")
        infos = market.symbols()
        wanted = list(infos)
        if "symbol" in params:
            wanted = [params["symbol"]]
        elif "symbols" in params:
            try:
                wanted = msgspec.json.decode(params["symbols"], type=list[str])
            except msgspec.MsgspecError:
                raise ApiError(400, -1100, "Illegal characters found in parameter 'symbols'.") from None
        if not all(name in infos for name in wanted):
            raise ApiError(400, -1121, "Invalid symbol.")
        symbols = [exchange_symbol(infos[name], self._status_of(name)) for name in wanted]
        return msgspec.json.encode(
            {"timezone": "UTC", "serverTime": server_time, "rateLimits": RATE_LIMITS, "exchangeFilters": [], "symbols": symbols}
        )

    def _depth(self, market: Market, params: Mapping[str, str]) -> bytes:
        _only(params, "symbol", "limit")
        symbol = _symbol(market, params)
        body = market.depth(symbol, min(_limit(params, 100), DEPTH_LIMIT_MAX))
        self.depth_given.add(symbol)
        behind = self._faults.stale_by(symbol)
        if behind:
            body = re.sub(rb'("lastUpdateId"\s*:\s*)(\d+)', lambda id_: id_[1] + str(max(int(id_[2]) - behind, 1)).encode(), body, count=1)
        return body

    def _trades(self, market: Market, params: Mapping[str, str]) -> bytes:
        _only(params, "symbol", "limit")
        symbol, limit = _symbol(market, params), min(_limit(params, 500), TRADES_KEPT)
        bodies = list(self.trades[symbol])[-limit:]
        return msgspec.json.encode([_trade(msgspec.json.decode(body)) for body in bodies])

    def _ticker(self, market: Market, method: str, params: Mapping[str, str]) -> bytes:
        """Return best prices, the last price, or the average price; of one pair, or of all where the method allows it."""
        _only(params, "symbol", "symbols", "type")
        if "symbol" in params or method == "avgPrice":
            return msgspec.json.encode(self._quote(market, method, _symbol(market, params)))
        return msgspec.json.encode([self._quote(market, method, symbol) for symbol in market.symbols()])

    def _quote(self, market: Market, method: str, symbol: str) -> dict[str, object]:
        if method == "ticker.book":
            book = market.book(symbol)
            bid, ask = (book.bids or [("0.00000000",) * 2])[0], (book.asks or [("0.00000000",) * 2])[0]
            return {"symbol": symbol, "bidPrice": bid[0], "bidQty": bid[1], "askPrice": ask[0], "askQty": ask[1]}
        trades = [msgspec.json.decode(body) for body in self.trades[symbol]]
        if method == "ticker.24hr":
            return _statistics(symbol, trades)
        if method == "ticker.price":
            return {"symbol": symbol, "price": trades[-1]["p"] if trades else "0.00000000"}
        qty = sum((Decimal(trade["q"]) for trade in trades), Decimal(0))
        cost = sum((Decimal(trade["q"]) * Decimal(trade["p"]) for trade in trades), Decimal(0))
        return {"mins": 5, "price": f"{cost / qty if qty else 0:.8f}", "closeTime": trades[-1]["T"] if trades else 0}


def _statistics(symbol: str, trades: list[dict[str, Any]]) -> dict[str, object]:
    """Return statistics of the trades that are remembered: not of 24 hours, but in their form."""
    prices = [Decimal(trade["p"]) for trade in trades] or [Decimal(0)]
    volume = sum((Decimal(trade["q"]) for trade in trades), Decimal(0))
    quote = sum((Decimal(trade["q"]) * Decimal(trade["p"]) for trade in trades), Decimal(0))
    first, last = prices[0], prices[-1]
    numbers = {
        "priceChange": last - first,
        "priceChangePercent": (last - first) / first * 100 if first else first,
        "weightedAvgPrice": quote / volume if volume else first,
        "lastPrice": last,
        "openPrice": first,
        "highPrice": max(prices),
        "lowPrice": min(prices),
        "volume": volume,
        "quoteVolume": quote,
    }
    span = {"openTime": trades[0]["T"], "closeTime": trades[-1]["T"]} if trades else {"openTime": 0, "closeTime": 0}
    ids = {"firstId": trades[0]["t"], "lastId": trades[-1]["t"]} if trades else {"firstId": -1, "lastId": -1}
    return {"symbol": symbol, **{name: f"{number:.8f}" for name, number in numbers.items()}, **span, **ids, "count": len(trades)}


def _trade(message: dict[str, Any]) -> dict[str, object]:
    quote = Decimal(message["p"]) * Decimal(message["q"])
    return {
        "id": message["t"],
        "price": message["p"],
        "qty": message["q"],
        "quoteQty": f"{quote:.8f}",
        "time": message["T"],
        "isBuyerMaker": message["m"],
        "isBestMatch": True,
    }


def weight_of(method: str, params: Mapping[str, str]) -> int:
    """Return the request weight of a public method."""
    if method != "depth":
        return {"exchangeInfo": 20, "trades.recent": 25, "ticker.book": 2, "ticker.price": 2, "ticker.24hr": 2, "avgPrice": 2}.get(
            method, 1
        )
    wanted = params.get("limit", "100")
    if not LIMIT.fullmatch(wanted) or int(wanted) <= 100:
        return 5
    return 25 if int(wanted) <= 500 else 50 if int(wanted) <= 1000 else 250


def _only(params: Mapping[str, str], *known: str) -> None:
    unknown = len(params.keys() - set(known))
    if unknown:
        raise ApiError(
            400, -1104, f"Not all sent parameters were read; read '{len(params) - unknown}' parameter(s) but was sent '{len(params)}'."
        )


def _symbol(market: Market, params: Mapping[str, str]) -> str:
    symbol = params.get("symbol", "")
    if not symbol:
        raise ApiError(400, -1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.")
    if not re.fullmatch(r"[A-Z0-9\-_.]{1,20}", symbol):
        raise ApiError(400, -1100, "Illegal characters found in parameter 'symbol'; legal range is '^[A-Z0-9-_.]{1,20}$'.")
    if symbol not in market.symbols():
        raise ApiError(400, -1121, "Invalid symbol.")
    return symbol


def _limit(params: Mapping[str, str], default: int) -> int:
    text = params.get("limit", str(default))
    if not LIMIT.fullmatch(text):
        raise ApiError(400, -1100, "Illegal characters found in parameter 'limit'; legal range is '^[0-9]{1,20}$'.")
    if int(text) == 0:
        raise ApiError(400, -1130, "Data sent for parameter 'limit' is not valid.")
    return int(text)
