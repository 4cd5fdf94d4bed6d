"""Kraken's REST desk: routes, envelopes and public data. Every answer is HTTP 200; what went wrong stands in `error`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from hft.sim.armed_faults import ArmedFaults
from hft.sim.delivery import Delivery, proxy_page
from hft.sim.exchange.exchange import Exchange
from hft.sim.kraken.feed import PublicFeed
from hft.sim.kraken.keys import Key, Keyring, form
from hft.sim.kraken.pairs import MONEY_DECIMALS, Pair, asset_pair, assets, by_any_name
from hft.sim.kraken.rates import REST_MAX, REST_PER_S, Counter
from hft.sim.kraken.rest_private import ACTIONS, PrivateRequest, PrivateRest
from hft.sim.kraken.wire import KrakenError
from hft.sim.texts import SECOND_NS, rfc3339_seconds
from hft.sim.venue import Response, json_response

DEPTH_COUNT_DEFAULT, DEPTH_COUNT_MAX = 100, 500
TRADES_COUNT_MAX = 1000
#: Calls that cost two; order calls cost nothing here, others one.
HISTORY = ("TradesHistory", "ClosedOrders")
PUBLIC, PRIVATE = "/0/public/", "/0/private/"


def refused(error: str) -> Response:
    """Return an answer that refuses."""
    return json_response({"error": [error]})


def refusal_words(status: int) -> str:
    """Return how the venue words what other venues say with an HTTP status."""
    return {429: "EOrder:Rate limit exceeded", 418: "EGeneral:Temporary lockout"}.get(status, "EService:Unavailable")


class RestDesk:
    """Answers REST requests."""

    def __init__(
        self,
        feed: PublicFeed,
        exchange: Exchange,
        keyring: Keyring,
        private: PrivateRest,
        faults: ArmedFaults,
        delivery: Delivery,
        unlimited: bool,
    ) -> None:
        self._feed, self._exchange, self._keyring, self._private = feed, exchange, keyring, private
        self._faults, self._delivery, self._unlimited = faults, delivery, unlimited
        self._names = by_any_name(feed.pairs.values())
        self._counters: dict[str, Counter] = {}
        self._public: Mapping[str, Callable[[dict[str, Any], int], object]] = {
            "Time": self._time,
            "SystemStatus": self._system_status,
            "Assets": self._assets,
            "AssetPairs": self._asset_pairs,
            "Depth": self._depth,
            "Ticker": self._ticker,
            "Trades": self._trades,
        }

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes, now_ns: int) -> Response:
        """Answer a request at UTC `now_ns`."""
        fault = self._faults.rest_error()
        if fault is not None:
            if fault.html:
                return proxy_page(fault.status)
            return refused("EAPI:Rate limit exceeded" if fault.status in (418, 429) else "EService:Unavailable")
        parts = urlsplit(target)
        try:
            if parts.path.startswith(PUBLIC):
                query = {**dict(parse_qsl(parts.query)), **(form(headers, body) if method == "POST" else {})}
                return self._answer_public(parts.path.removeprefix(PUBLIC), query, now_ns)
            if parts.path.startswith(PRIVATE) and method == "POST":
                return self._answer_private(parts.path, headers, body, now_ns)
            raise KrakenError("EGeneral:Unknown method")
        except KrakenError as error:
            return refused(str(error))

    def _answer_public(self, name: str, query: dict[str, Any], now_ns: int) -> Response:
        if name not in self._public:
            raise KrakenError("EGeneral:Unknown method")
        return json_response({"error": [], "result": self._public[name](query, now_ns)})

    def _answer_private(self, path: str, headers: Mapping[str, str], body: bytes, now_ns: int) -> Response:
        name = path.removeprefix(PRIVATE)
        if not self._private.knows(name):
            raise KrakenError("EGeneral:Unknown method")
        fields = form(headers, body)
        key = self._keyring.authenticate(path, headers, fields, body)
        action = ACTIONS.get(name)
        if action in (None, "query"):
            self._counter(key).spend(2000 if name in HISTORY else 1000, now_ns, "EAPI:Rate limit exceeded")
        if action is None:
            return json_response({"error": [], "result": self._private.call(name, PrivateRequest(key, fields, now_ns))})
        refusal = self._faults.refusal(action)
        if refusal is not None:
            raise KrakenError(refusal_words(refusal.status))
        response = json_response({"error": [], "result": self._private.call(name, PrivateRequest(key, fields, now_ns))})
        return self._delivery.answer(response, action)

    def _counter(self, key: Key) -> Counter:
        if key.account not in self._counters:
            self._counters[key.account] = Counter(REST_MAX, REST_PER_S, self._unlimited)
        return self._counters[key.account]

    def _pair(self, query: Mapping[str, Any]) -> Pair:
        pair = self._names.get(str(query.get("pair", "")))
        if pair is None:
            raise KrakenError("EQuery:Unknown asset pair")
        return pair

    def _pairs(self, query: Mapping[str, Any]) -> list[tuple[str, Pair]]:
        """Return the pairs asked for, each with the name it is listed under: a socket's name stays as asked."""
        if not query.get("pair"):
            return [(pair.rest_name, pair) for pair in self._feed.pairs.values()]
        named = [(name, self._pair({"pair": name})) for name in str(query["pair"]).split(",")]
        return [(name if "/" in name else pair.rest_name, pair) for name, pair in named]

    def _time(self, query: Mapping[str, Any], now_ns: int) -> object:
        return {"unixtime": now_ns // SECOND_NS, "rfc1123": rfc1123(now_ns)}

    def _system_status(self, query: Mapping[str, Any], now_ns: int) -> object:
        return {"status": "online", "timestamp": rfc3339_seconds(now_ns)}

    def _assets(self, query: Mapping[str, Any], now_ns: int) -> object:
        known = assets(self._feed.pairs.values()).values()
        wanted = str(query["asset"]).split(",") if query.get("asset") else [asset.rest_name for asset in known]
        named = {name: asset for asset in known for name in asset}
        unknown = [name for name in wanted if name not in named]
        if unknown:
            raise KrakenError("EQuery:Unknown asset")
        return {
            named[name].rest_name: {
                "aclass": "currency",
                "altname": named[name].alternative,
                "decimals": MONEY_DECIMALS,
                "display_decimals": 5,
                "status": "enabled",
            }
            for name in wanted
        }

    def _asset_pairs(self, query: Mapping[str, Any], now_ns: int) -> object:
        return {name: asset_pair(pair, self._exchange.instruments[pair.symbol].status) for name, pair in self._pairs(query)}

    def _depth(self, query: Mapping[str, Any], now_ns: int) -> object:
        pair = self._pair(query)
        count = _whole(query, "count", DEPTH_COUNT_DEFAULT, DEPTH_COUNT_MAX)
        return {pair.rest_name: self._feed.rest_depth(pair.symbol, count, now_ns)}

    def _ticker(self, query: Mapping[str, Any], now_ns: int) -> object:
        return {name: self._feed.rest_ticker(pair.symbol) for name, pair in self._pairs(query)}

    def _trades(self, query: Mapping[str, Any], now_ns: int) -> object:
        pair = self._pair(query)
        since_ns = since(query.get("since", "0"))
        rows, last_ns = self._feed.rest_trades(pair.symbol, since_ns, _whole(query, "count", TRADES_COUNT_MAX, TRADES_COUNT_MAX))
        return {pair.rest_name: rows, "last": str(last_ns)}


def since(text: object) -> int:
    """Return a time in ns that is given in seconds, or in ns as `last` is. Raises KrakenError."""
    try:
        value = Decimal(str(text))
        if not 0 <= value < 2**63:
            raise KrakenError("EGeneral:Invalid arguments")
    except InvalidOperation as error:
        raise KrakenError("EGeneral:Invalid arguments") from error
    return int(value if value >= 10**15 else value * SECOND_NS)


def rfc1123(utc_ns: int) -> str:
    """Return a time such as `Sun, 21 Mar 21 14:23:14 +0000`."""
    return datetime.fromtimestamp(utc_ns // SECOND_NS, UTC).strftime("%a, %d %b %y %H:%M:%S +0000")


def _whole(query: Mapping[str, Any], name: str, default: int, maximum: int) -> int:
    text = str(query.get(name, default))
    if not text.isascii() or not text.isdigit() or len(text) > 9 or not int(text):
        raise KrakenError("EGeneral:Invalid arguments")
    return min(int(text), maximum)
