"""Binance private messages as the venue writes them, and a naive reading of them by `json` and exact fractions."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from hft.records import FeeAsset, Liquidity, Side, VenueEventKind, VenueEventSource, VenueReason
from hft.venues.binance.errors import CODES, ENGINE_CODES, MESSAGES, REPORT_REASONS
from hft.venues.binance.private_words import STATUSES
from support.binance_frames import Refused, decimal, strict_json

HEX = "000001000000002a"
ID = 0x1_0000_0000_2A
Event = dict[str, int]
_K = VenueEventKind
_KINDS = {"NEW": _K.ACK, "CANCELED": _K.CANCELED, "REPLACED": _K.AMENDED, "REJECTED": _K.REJECTED, "TRADE": _K.TRADE, "EXPIRED": _K.EXPIRED}
_KINDS["TRADE_PREVENTION"] = _K.CANCELED


def report(x: str = "NEW", status: str = "NEW", **more: Any) -> bytes:
    """An executionReport of order HEX; `more` are other members by name."""
    event = {"e": "executionReport", "E": 1499405658658, "s": "BTCUSDT", "c": HEX, "S": "BUY", "o": "LIMIT", "f": "GTC", "q": "1.00000000"}
    event |= {"p": "100.00000000", "P": "0.00000000", "F": "0.00000000", "g": -1, "C": "", "x": x, "X": status, "r": "NONE", "i": 4293153}
    event |= {"l": "0.00000000", "z": "0.00000000", "L": "0.00000000", "n": "0", "N": None, "T": 1499405658657, "t": -1, "I": 8641984}
    event |= {"w": True, "m": False, "M": False, "O": 1499405658657, "Z": "0.00000000", "Y": "0.00000000", "Q": "0.00000000", "V": "NONE"}
    return text({"subscriptionId": 0, "event": event | more})


def fill(trade_id: int = 7, **more: Any) -> bytes:
    fields = {"t": trade_id, "l": "0.25000000", "L": "99.50000000", "z": "0.25000000", "n": "0.00012345", "N": "BTC", "m": True}
    return report("TRADE", "PARTIALLY_FILLED", **(fields | more))


def placed(**more: Any) -> dict[str, Any]:
    return {"symbol": "BTCUSDT", "orderId": 12, "orderListId": -1, "clientOrderId": HEX, "transactTime": 1655716096505} | more


def canceled(orig: str = HEX, **more: Any) -> dict[str, Any]:
    found = {"symbol": "BTCUSDT", "origClientOrderId": orig, "orderId": 12, "orderListId": -1, "clientOrderId": "x" + orig}
    found |= {"transactTime": 1684804350068, "price": "100.00000000", "origQty": "1.00000000", "executedQty": "0.25000000"}
    return found | {"status": "CANCELED", "timeInForce": "GTC", "type": "LIMIT", "side": "SELL", "selfTradePreventionMode": "NONE"} | more


def reply(result: Any, request: str | None = HEX, limits: Any = None, status: int = 200) -> bytes:
    return text({"id": request, "status": status, "result": result} | ({"rateLimits": limits} if limits is not None else {}))


def refusal(code: int, msg: str, status: int = 400, data: Any = None, request: str | None = HEX, limits: Any = None) -> bytes:
    error = {"code": code, "msg": msg} | ({"data": data} if data is not None else {})
    return text({"id": request, "status": status, "error": error} | ({"rateLimits": limits} if limits is not None else {}))


def limit(kind: str, interval: str, number: int, most: int, count: int) -> dict[str, Any]:
    return {"rateLimitType": kind, "interval": interval, "intervalNum": number, "limit": most, "count": count}


def replace_data(cancel: str, new: str, cancel_response: Any, new_response: Any) -> dict[str, Any]:
    return {"cancelResult": cancel, "newOrderResult": new, "cancelResponse": cancel_response, "newOrderResponse": new_response}


def text(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


class Reader:
    """What a message says; `refs` are the orders that our REPLACE requests meant, by request id."""

    def __init__(self, table: NDArray[Any], symbols: list[str], assets: list[str], refs: Mapping[int, int]) -> None:
        self.table, self.symbols, self.assets, self.refs = table, symbols, assets, refs

    def read(self, frame: bytes) -> list[Event] | str:
        """Events, "COLD" or "IGNORED"; raises Refused for what must not be used."""
        document = strict_json(frame)
        if not isinstance(document, dict):
            raise Refused("no object")
        if "event" in document:
            return self._event(document["event"])
        if "id" not in document or "status" not in document:
            return "COLD"
        status = _integer(document["status"])
        for told in document.get("rateLimits", []):
            _limit(told)
        request = _ours(document["id"]) if isinstance(document["id"], str) and len(document["id"]) == 16 else 0
        if not request:
            return "COLD"
        return self._result(document.get("result"), request) if status == 200 else self._error(document.get("error"), status, request)

    def _event(self, event: Any) -> list[Event] | str:
        if not isinstance(event, dict) or not isinstance(event.get("e"), str):
            raise Refused("event")
        if event["e"] != "executionReport":
            return "COLD" if event["e"] in ("serverShutdown", "eventStreamTerminated") else "IGNORED"
        for name in ("s", "x", "X"):
            if not isinstance(event.get(name), str):
                raise Refused(name)
        if event["s"] not in self.symbols:
            return "IGNORED"
        if event["x"] not in _KINDS or event["X"] not in STATUSES:
            return "COLD"
        prevented = event["X"] == "EXPIRED_IN_MATCH"
        if event["x"] == "TRADE_PREVENTION" and not prevented:
            return "IGNORED"
        row = self.symbols.index(event["s"])
        kind = _KINDS[event["x"]]
        reasons = [_reason(event.get(name)) for name in ("r", "eR")]
        found = self._blank(kind, VenueEventSource.STREAM)
        orig, client = _ours(event.get("C", "")), _ours(event.get("c", ""))
        found |= {"order_id": orig if orig and kind != _K.REJECTED else client, "venue_key": _integer(event.get("i")), "instrument": row}
        found |= {"price_ticks": self._price(event, "p", row), "qty_lots": self._qty(event, "q", row), "side": _side(event["S"])}
        found |= {"cum_lots": self._qty(event, "z", row), "exchange_ns": _time(event.get("T"))}
        if prevented:
            found["reason"] = VenueReason.SELF_TRADE
        elif kind in (_K.REJECTED, _K.EXPIRED):
            found["reason"] = reasons[0] or reasons[1]
        if "z" not in event:
            raise Refused("z")
        return [self._fill(event, row, found) if kind == _K.TRADE else found]

    def _fill(self, event: dict[str, Any], row: int, found: Event) -> Event:
        asset = event.get("N")
        if not (asset is None or isinstance(asset, str)) or not isinstance(event.get("m"), bool):
            raise Refused("N or m")
        pair = [self.assets[int(self.table[row][name])] for name in ("base_asset", "quote_asset")]
        fee_asset = FeeAsset.BASE if asset == pair[0] else FeeAsset.QUOTE if asset == pair[1] else FeeAsset.OTHER
        fee = decimal(event.get("n")) * 10**8
        found |= {"trade_id": _integer(event.get("t")), "last_price_ticks": self._price(event, "L", row), "fee_e8": int(fee)}
        found |= {"last_lots": self._qty(event, "l", row), "fee_asset": fee_asset}
        found["liquidity"] = Liquidity.MAKER if event["m"] else Liquidity.TAKER
        if found["last_price_ticks"] <= 0 or found["last_lots"] <= 0:
            raise Refused("empty fill")
        return found

    def _result(self, result: Any, request: int) -> list[Event]:
        if isinstance(result, list):
            if any(not isinstance(one, dict) for one in result):
                raise Refused("list")
            return [event for one in result if "orderId" in one for event in self._order(one, request)]
        if not isinstance(result, dict):
            raise Refused("result")
        if "cancelResult" in result:
            return self._replaced(result, request)
        if "amendedOrder" in result:
            time_ns = _time(result.get("transactTime"))
            return [event | {"kind": _K.AMENDED, "exchange_ns": time_ns} for event in self._order(result["amendedOrder"], request)]
        return self._order(result, request)

    def _order(self, order: Any, request: int) -> list[Event]:
        if not isinstance(order, dict) or not isinstance(order.get("symbol"), str):
            raise Refused("order")
        if order["symbol"] not in self.symbols:
            return []
        row = self.symbols.index(order["symbol"])
        kind = _K.CANCELED if "origClientOrderId" in order else _K.ACK
        reason = 0
        if "status" in order:
            if not isinstance(order["status"], str) or order["status"] not in STATUSES:
                raise Refused("status")
            kind = STATUSES[order["status"]][1]
            reason = VenueReason.SELF_TRADE if order["status"] == "EXPIRED_IN_MATCH" else 0
        client = order["origClientOrderId"] if "origClientOrderId" in order else order.get("clientOrderId", "")
        found = self._blank(kind, VenueEventSource.REPLY) | {"request_id": request, "order_id": _ours(client), "instrument": row}
        found |= {"venue_key": _integer(order.get("orderId")), "price_ticks": self._price(order, "price", row), "reason": reason}
        found |= {
            "qty_lots": self._qty(order, "origQty" if "origQty" in order else "qty", row),
            "exchange_ns": _time(order.get("transactTime")),
        }
        found["cum_lots"] = self._qty(order, "executedQty", row) if "executedQty" in order else -1
        found["side"] = _side(order["side"]) if "side" in order else 0
        return [found]

    def _replaced(self, data: dict[str, Any], request: int) -> list[Event]:
        results = [data.get(name) for name in ("cancelResult", "newOrderResult")]
        if any(result not in ("SUCCESS", "FAILURE", "NOT_ATTEMPTED") for result in results):
            raise Refused("results")
        found: list[Event] = []
        why: tuple[int, int] = (0, 0)
        if results[0] == "SUCCESS":
            found += self._order(data.get("cancelResponse"), request)
        elif results[0] == "FAILURE":
            _, *told = self._refusal(data.get("cancelResponse"))
            why = (told[0], told[1])
            if request in self.refs:
                found.append(self._refused(request, _K.CANCEL_REJECTED, *why) | {"order_id": self.refs[request]})
        if results[1] == "SUCCESS":
            return found + self._order(data.get("newOrderResponse"), request)
        if results[1] == "FAILURE":
            return [*found, self._refused(request, *self._refusal(data.get("newOrderResponse")))]
        return [*found, self._refused(request, _K.REJECTED, *why)]

    def _error(self, error: Any, status: int, request: int) -> list[Event]:
        kind, reason, code = self._refusal(error)
        data = error.get("data")
        retry_ns = 0
        if data is not None:
            if not isinstance(data, dict):
                raise Refused("data")
            if "cancelResult" in data:
                return self._replaced(data, request)
            if "retryAfter" in data:
                retry_ns = max(0, _integer(data["retryAfter"]) - _integer(data.get("serverTime", 0))) * 1_000_000
        if status >= 500:
            kind = _K.UNKNOWN
        elif status in (429, 418):
            kind = _K.THROTTLED
        found: list[Event] = []
        if kind == _K.CANCEL_REJECTED and request in self.refs:
            if self.refs[request]:
                found.append(self._refused(request, kind, reason, code) | {"order_id": self.refs[request]})
            kind = _K.REJECTED
        return [*found, self._refused(request, kind, reason, code) | {"retry_after_ns": retry_ns}]

    def _refusal(self, error: Any) -> tuple[int, int, int]:
        if not isinstance(error, dict) or "code" not in error or isinstance(error["code"], bool) or not isinstance(error["code"], int):
            raise Refused("error")
        if abs(error["code"]) >= 1 << 31:
            raise Refused("code")
        kind, reason = CODES.get(error["code"], (_K.UNKNOWN, VenueReason.OTHER))
        msg = error.get("msg")
        if error["code"] in ENGINE_CODES and isinstance(msg, str):
            for start, why in MESSAGES.items():
                if msg.startswith(start):
                    if why == VenueReason.DUPLICATE_ID:
                        return _K.UNKNOWN, why, error["code"]
                    return (_K.REJECTED if error["code"] == -1010 else kind), why, error["code"]
        return kind, reason, error["code"]

    def _refused(self, request: int, kind: int, reason: int, code: int) -> Event:
        return self._blank(kind, VenueEventSource.REPLY) | {"request_id": request, "reason": reason, "venue_code": code}

    def _blank(self, kind: int, source: int) -> Event:
        names = ("order_id", "request_id", "venue_key", "trade_id", "price_ticks", "qty_lots", "last_price_ticks", "last_lots", "fee_e8")
        names += ("exchange_ns", "retry_after_ns", "reason", "venue_code", "state", "side", "liquidity", "fee_asset")
        return dict.fromkeys(names, 0) | {"kind": kind, "source": source, "cum_lots": -1, "instrument": -1}

    def _price(self, message: dict[str, Any], name: str, row: int) -> int:
        return _steps(message, name, int(self.table[row]["price_decimals"]), int(self.table[row]["tick_units"]))

    def _qty(self, message: dict[str, Any], name: str, row: int) -> int:
        return _steps(message, name, int(self.table[row]["qty_decimals"]), int(self.table[row]["lot_units"]))


def _steps(message: dict[str, Any], name: str, decimals: int, step: int) -> int:
    return int(decimal(message[name]) * 10**decimals) // step if name in message else 0


def _ours(client: Any) -> int:
    if not isinstance(client, str):
        raise Refused("client id")
    digits = client[1:] if len(client) == 17 and client.startswith("x") else client
    return int(digits, 16) if re.fullmatch(r"[0-7][0-9a-f]{15}", digits) else 0


def _integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 10**18:
        raise Refused(f"integer {value!r}")
    return value


def _time(value: Any) -> int:
    return _integer(value) * (1_000 if len(str(value)) == 16 else 1_000_000) if value is not None else 0


def _side(value: Any) -> int:
    if value not in ("BUY", "SELL"):
        raise Refused("side")
    return Side.BUY if value == "BUY" else Side.SELL


def _reason(word: Any) -> int:
    if word is None:
        return 0
    if not isinstance(word, str):
        raise Refused("reason")
    return REPORT_REASONS.get(word, VenueReason.OTHER)


def _limit(told: Any) -> None:
    if not isinstance(told, dict) or not isinstance(told.get("rateLimitType"), str) or not isinstance(told.get("interval"), str):
        raise Refused("limit")
    for name in ("intervalNum", "limit", "count"):
        _integer(told.get(name))
