"""The Binance REST desk answers public requests: routes, parameters, error codes and request weights.

It knows the venue's manners only; the books come from the market it is given.
"""

from __future__ import annotations

import re
from collections import defaultdict, deque
from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec

from hft.sim.armed_faults import ArmedFaults
from hft.sim.delivery import proxy_page
from hft.sim.faults import RestError
from hft.sim.market import Market, SymbolInfo
from hft.sim.venue import Response, json_response

WEIGHT_MAX = 6000
MINUTE_NS = 60_000_000_000
DEPTH_LIMIT_MAX = 5000
TRADES_KEPT = 1000
LIMIT = re.compile("[0-9]{1,20}")
RATE_LIMITS = (
    {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": WEIGHT_MAX},
    {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 100},
    {"rateLimitType": "ORDERS", "interval": "DAY", "intervalNum": 1, "limit": 200_000},
    {"rateLimitType": "RAW_REQUESTS", "interval": "MINUTE", "intervalNum": 5, "limit": 300_000},
)
ORDER_TYPES = ["LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT"]


class _ApiError(Exception):
    """A refusal; args are the HTTP status, the venue's code and text."""


def exchange_symbol(info: SymbolInfo) -> dict[str, object]:
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
        {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 200},
        {"filterType": "MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders": 5},
    ]
    precision = {f"{name}Precision": 8 for name in ("baseAsset", "quote", "quoteAsset", "baseCommission", "quoteCommission")}
    allowed = ("iceberg", "oco", "oto", "quoteOrderQtyMarket", "isSpotTrading")
    return {
        "symbol": info.symbol,
        "status": "TRADING",
        "baseAsset": info.base,
        "quoteAsset": info.quote,
        **precision,
        "orderTypes": ORDER_TYPES,
        **{f"{name}Allowed": True for name in allowed},
        "allowTrailingStop": True,
        "cancelReplaceAllowed": True,
        "amendAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": filters,
        "permissions": [],
        "permissionSets": [["SPOT"]],
        "defaultSelfTradePreventionMode": "EXPIRE_MAKER",
        "allowedSelfTradePreventionModes": ["NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH", "DECREMENT"],
    }


class RestDesk:
    """Answers the public REST API for one address."""

    def __init__(self, faults: ArmedFaults, unlimited: bool) -> None:
        """Use `faults` as they are armed; `unlimited` counts request weights but never refuses."""
        self._faults = faults
        self._unlimited = unlimited
        self._minute = -1
        self.weight_used = 0
        #: Pairs whose depth was asked for and given.
        self.depth_given: set[str] = set()
        #: symbol -> the newest `trade` messages
        self.trades: defaultdict[str, deque[bytes]] = defaultdict(lambda: deque(maxlen=TRADES_KEPT))

    def answer(self, market: Market, method: str, target: str, headers: Mapping[str, str], now_ns: int, wall_ns: int) -> Response:
        """Return the answer to one request. `headers` has lower-case names."""
        delay_ns = self._faults.delay_now_ns(now_ns)
        fault = self._faults.rest_error()
        if fault is not None:
            return _failure(fault, delay_ns)
        used: tuple[tuple[str, str], ...] = ()
        try:
            path, params = _split(method, target)
            used = self._charge(_weight(path, params), wall_ns)
            micros = headers.get("x-mbx-time-unit", "").upper() == "MICROSECOND"
            response = self._route(market, path, params, wall_ns // (1000 if micros else 1_000_000))
            return response._replace(headers=response.headers + used, delay_ns=delay_ns)
        except _ApiError as error:
            status, code, text = error.args
            if status == 429:
                used = (("Retry-After", str(60 - wall_ns // 1_000_000_000 % 60)), ("X-MBX-USED-WEIGHT-1M", str(self.weight_used)))
            return json_response({"code": code, "msg": text}, status, used, delay_ns)

    def _charge(self, weight: int, wall_ns: int) -> tuple[tuple[str, str], ...]:
        """Count a request in its wall-clock minute; refuse it beyond the limit."""
        minute = wall_ns // MINUTE_NS
        if minute != self._minute:
            self._minute, self.weight_used = minute, 0
        self.weight_used += weight
        if self.weight_used > WEIGHT_MAX and not self._unlimited:
            raise _ApiError(429, -1003, f"Too much request weight used; current limit is {WEIGHT_MAX} request weight per 1 MINUTE.")
        return (("X-MBX-USED-WEIGHT", str(self.weight_used)), ("X-MBX-USED-WEIGHT-1M", str(self.weight_used)))

    def _route(self, market: Market, path: str, params: dict[str, str], server_time: int) -> Response:
        if path == "/api/v3/ping":
            _only(params)
            return json_response({})
        if path == "/api/v3/time":
            _only(params)
            return json_response({"serverTime": server_time})
        if path == "/api/v3/exchangeInfo":
            return self._exchange_info(market, params, server_time)
        if path == "/api/v3/depth":
            return self._depth(market, params)
        return self._trades(market, params)

    def _exchange_info(self, market: Market, params: dict[str, str], server_time: int) -> Response:
        _only(params, "symbol", "symbols")
        infos = market.symbols()
        wanted = list(infos)
        if "symbol" in params:
            wanted = [params["symbol"]]
        elif "symbols" in params:
            try:
                wanted = msgspec.json.decode(params["symbols"], type=list[str])
            except msgspec.MsgspecError:
                raise _ApiError(400, -1100, "Illegal characters found in parameter 'symbols'.") from None
        if not all(name in infos for name in wanted):
            raise _ApiError(400, -1121, "Invalid symbol.")
        symbols = [exchange_symbol(infos[name]) for name in wanted]
        return json_response(
            {"timezone": "UTC", "serverTime": server_time, "rateLimits": RATE_LIMITS, "exchangeFilters": [], "symbols": symbols}
        )

    def _depth(self, market: Market, params: dict[str, str]) -> Response:
        _only(params, "symbol", "limit")
        symbol = _symbol(market, params)
        body = market.depth(symbol, min(_limit(params, 100), DEPTH_LIMIT_MAX))
        self.depth_given.add(symbol)
        behind = self._faults.stale_by(symbol)
        if behind:
            body = re.sub(rb'("lastUpdateId"\s*:\s*)(\d+)', lambda id_: id_[1] + str(max(int(id_[2]) - behind, 1)).encode(), body, count=1)
        return Response(200, (("Content-Type", "application/json;charset=UTF-8"),), body)

    def _trades(self, market: Market, params: dict[str, str]) -> Response:
        _only(params, "symbol", "limit")
        symbol, limit = _symbol(market, params), min(_limit(params, 500), TRADES_KEPT)
        bodies = list(self.trades[symbol])[-limit:]
        return json_response([_trade(msgspec.json.decode(body)) for body in bodies])


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


def _split(method: str, target: str) -> tuple[str, dict[str, str]]:
    """Return path and parameters of a known route; each parameter once."""
    try:
        parts = urlsplit(target)
        pairs = parse_qsl(parts.query, keep_blank_values=True, max_num_fields=50)
    except ValueError:
        raise _ApiError(400, -1101, "Too many parameters.") from None
    if _weight_base(parts.path) == 0:
        raise _ApiError(404, -1000, f"No such path: {parts.path[:80]}")
    if method != "GET":
        raise _ApiError(405, -1000, f"Request method '{method}' is not supported.")
    params = dict(pairs)
    if len(params) != len(pairs):
        raise _ApiError(400, -1101, "Duplicate values for a parameter detected.")
    return parts.path, params


def _weight_base(path: str) -> int:
    weights = {"/api/v3/ping": 1, "/api/v3/time": 1, "/api/v3/exchangeInfo": 20, "/api/v3/depth": 5, "/api/v3/trades": 25}
    return weights.get(path, 0)


def _weight(path: str, params: dict[str, str]) -> int:
    weight = _weight_base(path)
    limit = params.get("limit", "100")
    if path != "/api/v3/depth" or not LIMIT.fullmatch(limit) or int(limit) <= 100:
        return weight
    return 25 if int(limit) <= 500 else 50 if int(limit) <= 1000 else 250


def _only(params: dict[str, str], *known: str) -> None:
    unknown = len(params.keys() - set(known))
    if unknown:
        raise _ApiError(
            400, -1104, f"Not all sent parameters were read; read '{len(params) - unknown}' parameter(s) but was sent '{len(params)}'."
        )


def _symbol(market: Market, params: dict[str, str]) -> str:
    symbol = params.get("symbol", "")
    if not symbol:
        raise _ApiError(400, -1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.")
    if not re.fullmatch(r"[A-Z0-9\-_.]{1,20}", symbol):
        raise _ApiError(400, -1100, "Illegal characters found in parameter 'symbol'; legal range is '^[A-Z0-9-_.]{1,20}$'.")
    if symbol not in market.symbols():
        raise _ApiError(400, -1121, "Invalid symbol.")
    return symbol


def _limit(params: dict[str, str], default: int) -> int:
    text = params.get("limit", str(default))
    if not LIMIT.fullmatch(text):
        raise _ApiError(400, -1100, "Illegal characters found in parameter 'limit'; legal range is '^[0-9]{1,20}$'.")
    if int(text) == 0:
        raise _ApiError(400, -1130, "Data sent for parameter 'limit' is not valid.")
    return int(text)


def _failure(fault: RestError, delay_ns: int) -> Response:
    """Return an injected error in the venue's words, or in those of a proxy."""
    headers = (("Retry-After", str(fault.retry_after_s)),) if fault.status in (418, 429) else ()
    if fault.html:
        page = proxy_page(fault.status)
        return page._replace(headers=page.headers + headers, delay_ns=delay_ns)
    code, text = {
        418: (-1003, "Way too much request weight used; IP banned."),
        429: (-1003, "Too much request weight used."),
        503: (-1001, "Internal error; unable to process your request. Please try again."),
    }.get(fault.status, (-1000, "An unknown error occurred while processing the request."))
    return json_response({"code": code, "msg": text}, fault.status, headers, delay_ns)
