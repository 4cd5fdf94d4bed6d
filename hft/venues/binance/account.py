"""Binance account: log-on, the account's stream, queries and reconciliation, all on one WebSocket API connection.

    connected -> time -> session.logon -> userDataStream.subscribe -> ready              with an Ed25519 key
    connected -> time -> userDataStream.subscribe.signature        -> ready              with an HMAC key

The venue's clock is asked first, so that a log-on does not fail by ours, and again while connected. Requests of this session have
ids that no order has (`time-1`). What they weigh comes out of execution's part of the address's weight; what does not fit waits.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from hft.records import VenueEventKind
from hft.venues.binance.account_rows import client_of, event_of, status_of, trade_of
from hft.venues.binance.limits import (
    BANNED_UNTIL_NS,
    EXECUTION_SHARE,
    LIMIT,
    UNANSWERED,
    UTC_OFFSET_NS,
    WEIGHT,
    WORDS,
    Weight,
    learn_ban,
    note_weight,
)
from hft.venues.binance.orders import ASKED_ID, ASKED_KEY, ASKED_ROW, BinanceCodec, asked_place
from hft.venues.binance.reconcile import Query, Reconciliation
from hft.venues.binance.requests import CANCELED_MARK
from hft.venues.binance.signing import Signer, new_signer, ws_signed
from hft.venues.interface import HANDSHAKE_NS, Booked, Credentials, Endpoint, Outgoing, Snapshot, Text
from hft.venues.venue_clock import VenueClock

_SECOND_NS = 1_000_000_000
_MINUTE_NS, _MS = 60 * _SECOND_NS, 1_000_000

#: The venue cuts a connection after 24 hours; this is a bit less.
LIFE_NS = (23 * 60 + 50) * _MINUTE_NS

#: How often the venue's clock is asked, and again if something was wrong with it.
TIME_NS, RETRY_NS = 30 * _SECOND_NS, _SECOND_NS

#: A request of ours without an answer for this long gets none: the venue's own limit is 10 s.
ANSWER_NS = 15 * _SECOND_NS

#: Errors at log-on that no repetition mends: of the signature, and of the key.
_FATAL_CODES = (-1002, -1022, -2008, -2014, -2015)
_NO_ORDER, _ARCHIVED, _SUBSCRIBED, _CLOCK = -2013, -2026, -2035, -1021

_PATH = "/ws-api/v3"


class _Question(NamedTuple):
    """An order that is asked for."""

    order_id: int
    row: int
    marked: bool  #: by the id that a cancel leaves it with
    status: Any = None  #: VENUE_EVENT row, while its fills are asked for


class BinanceAccount:
    """The private connection of one account; implements AccountSession."""

    def __init__(
        self,
        credentials: Credentials,
        codec: BinanceCodec,
        symbols: Sequence[str],
        rows: Sequence[int],
        assets: Sequence[str],
        order_url: str,
    ) -> None:
        """`codec`, `symbols`, `rows` and `assets` are those of `new_codec`. Raises SigningKeyError for a secret that is no key."""
        url = order_url.rstrip("/")
        self._url = url if url.endswith(_PATH) else url + _PATH
        self._key, self._signer = credentials.key, new_signer(credentials)
        self._codec, self._assets = codec, tuple(assets)
        self._symbols = dict(zip(rows, symbols, strict=True))
        self.ready = False
        self.fatal = ""
        self.events: list[Any] = []
        self.snapshot: Snapshot | None = None
        #: The venue's clock minus ours.
        self.clock_offset_ns = 0
        #: Connect anew: the venue goes away, or this connection has come of age.
        self.shutdown = False
        self._connected = False
        self._logged_on = False
        self._connected_ns = self._time_due_ns = 0
        self._clock = VenueClock()
        self._number = 0
        self._waiting: list[Query] = []
        self._asked: dict[str, tuple[Query, int, int]] = {}  # id -> query, and when it was sent by both clocks
        self._minute = self._spent = 0
        self._questions: set[int] = set()
        self._reconciliation: Reconciliation | None = None

    @property
    def signer(self) -> Signer:
        """What signs this account's requests."""
        return self._signer

    def warm(self) -> None:
        """Run every kernel that this calls, on an account that is never used."""
        learn_ban(self._codec.limits, 0)
        note_weight(self._codec.limits, 0, 0)
        asked_place(1)

    def endpoint(self) -> Endpoint | None:
        """The WebSocket API; None once the account can never trade."""
        return None if self.fatal else Endpoint(self._url)

    def prepare(self, now_ns: int, utc_ns: int) -> list[Outgoing]:
        """Nothing: the connection itself needs no token."""
        return []

    def hello(self, now_ns: int, utc_ns: int) -> list[Outgoing]:
        """Ask for the time; everything else follows from its answer."""
        self.lost(now_ns)
        self._connected, self._connected_ns = True, now_ns
        self._spend(Weight.CONNECT, utc_ns + self.clock_offset_ns)
        self._ask_time(now_ns)
        return self._flush(now_ns, utc_ns)

    def lost(self, now_ns: int) -> None:
        """The connection is gone: nothing said on it counts any more."""
        self.ready = self.shutdown = self._connected = self._logged_on = False
        self._waiting.clear()
        self._asked.clear()
        self._questions.clear()
        self.snapshot = self._reconciliation = None
        # Nobody will answer those any more.
        self._codec.limits[:WORDS, UNANSWERED] = 0

    def tick(self, now_ns: int, utc_ns: int) -> list[Outgoing]:
        """The time again, what waited for its weight, and giving up on what was not answered."""
        if not self._connected:
            return []
        if now_ns - self._connected_ns >= LIFE_NS:
            self.shutdown = True
        if now_ns >= self._time_due_ns:
            self._ask_time(now_ns)
        for identity, (query, sent_ns, _) in list(self._asked.items()):
            if now_ns - sent_ns >= (ANSWER_NS if self.ready else HANDSHAKE_NS):
                del self._asked[identity]
                self._on_failed(query)
        return self._flush(now_ns, utc_ns)

    def answer(self, tag: int, status: int, body: bytes, now_ns: int, utc_ns: int) -> list[Outgoing]:
        """Nothing: no REST request is made."""
        return []

    def ask_clock(self, now_ns: int) -> None:
        """The time, as soon as it was not just asked."""
        self._time_due_ns = min(self._time_due_ns, max(now_ns, self._time_due_ns - TIME_NS + RETRY_NS))

    def keep_armed(self, now_ns: int) -> list[Outgoing]:
        """The venue has no such timer."""
        return []

    def disarm(self) -> list[Outgoing]:
        """The venue has no such timer."""
        return []

    def query(self, order_id: int, row: int, now_ns: int, utc_ns: int) -> list[Outgoing]:
        """Ask for an order by its client id, and for its fills; answers come as `events`."""
        if order_id not in self._questions and self._connected:
            self._questions.add(order_id)
            self._ask_status(_Question(order_id, row, False))
        return self._flush(now_ns, utc_ns)

    @property
    def reconciling(self) -> bool:
        """Whether `snapshot` is still to come: False too when a part of it could not be had."""
        return self._reconciliation is not None

    def reconcile(self, booked: Booked, now_ns: int, utc_ns: int) -> list[Outgoing]:
        """Ask for open orders, fills back to one that is `booked` and balances; the answer is `snapshot`. Anew, if it is under way."""
        if self._connected:
            self.snapshot = None
            self._waiting = [query for query in self._waiting if not isinstance(query.about, Reconciliation)]
            self._reconciliation = Reconciliation(self._codec.instruments, self._symbols, self._assets, booked, self._order_of_key)
            self._waiting += self._reconciliation.begin()
        return self._flush(now_ns, utc_ns)

    def take(self, data: bytes, now_ns: int, utc_ns: int) -> list[Outgoing]:
        """Take a message that `scan_private` left to cold code; one that is not as documented ends the connection."""
        try:
            message = json.loads(data)
            if "event" in message:
                self._on_event(message["event"].get("e"))
            elif message.get("id") is None:
                self._on_revoked(message)
            else:
                self._on_answer(message, now_ns, utc_ns)
        except (ValueError, TypeError, AttributeError, RecursionError):
            self.shutdown = True
        return self._flush(now_ns, utc_ns)

    def _on_answer(self, message: dict[str, Any], now_ns: int, utc_ns: int) -> None:
        query, sent_ns, sent_utc_ns = self._asked.pop(str(message["id"]), (None, 0, 0))
        if query is None:
            return
        try:
            if message.get("status") == 200:
                self._on_result(query, message.get("result"), now_ns, sent_ns, sent_utc_ns)
            else:
                self._on_error(query, message.get("status", 0), message.get("error") or {}, now_ns, utc_ns)
        except (KeyError, ValueError, TypeError, ArithmeticError):
            # Not as documented: as good as no answer.
            self._on_failed(query)

    def _on_event(self, event: str | None) -> None:
        if event == "serverShutdown":
            self.shutdown = True
        elif event == "eventStreamTerminated":
            # What was not told meanwhile is asked for on the next connection.
            self.ready, self.shutdown = False, True

    def _on_revoked(self, message: dict[str, Any]) -> None:
        """The venue ended the session by itself: the key is not valid any more."""
        error = message.get("error") or {}
        if message.get("status") == 401 or error.get("code") in _FATAL_CODES:
            self._end(f"the venue ended the session: {error.get('code')} {error.get('msg')}")

    def _end(self, why: str) -> None:
        self.ready, self.fatal = False, why

    def _on_result(self, query: Query, result: Any, now_ns: int, sent_ns: int, sent_utc_ns: int) -> None:
        if query.what == "time":
            self._on_time(int(result["serverTime"]), now_ns - sent_ns, sent_utc_ns)
        elif query.what == "logon":
            self._logged_on = True
            self._begin_session()
        elif query.what == "subscribe":
            self.ready = True
        elif query.what == "status":
            self._on_status(query.about, result, now_ns)
        elif query.what == "trades":
            self._on_trades(query.about, result, now_ns)
        elif query.about is self._reconciliation and self._reconciliation is not None:
            self._waiting += self._reconciliation.take(query, result, now_ns)
            if self._reconciliation.complete:
                self.snapshot = self._reconciliation.snapshot()
                self._reconciliation = None

    def _on_error(self, query: Query, status: int, error: dict[str, Any], now_ns: int, utc_ns: int) -> None:
        code = error.get("code", 0)
        if status in (418, 429):
            until_ms, venue_utc_ns = (error.get("data") or {}).get("retryAfter"), utc_ns + self.clock_offset_ns
            learn_ban(self._codec.limits, int(until_ms) * _MS if until_ms else venue_utc_ns - venue_utc_ns % _MINUTE_NS + _MINUTE_NS)
        if code == _CLOCK:
            self.ask_clock(now_ns)
        if query.what == "subscribe" and code == _SUBSCRIBED:
            self.ready = True
        elif query.what in ("logon", "subscribe") and code in _FATAL_CODES:
            self._end(f"{query.method} was refused: {code} {error.get('msg')}")
        elif query.what in ("time", "logon", "subscribe"):
            # Later, so that a venue in trouble is not asked in a loop.
            self._time_due_ns = now_ns + RETRY_NS
        elif query.what == "status" and code in (_NO_ORDER, _ARCHIVED):
            self._on_no_order(query.about, now_ns)
        else:
            self._on_failed(query)

    def _on_failed(self, query: Query) -> None:
        """A question without an answer: whoever wants to know asks again."""
        if isinstance(query.about, _Question):
            self._questions.discard(query.about.order_id)
        elif query.about is not None and query.about is self._reconciliation:
            self._reconciliation = None
        elif query.what in ("time", "logon", "subscribe"):
            # Not even the time is told: this connection is of no use.
            self.shutdown = True

    def _on_time(self, server_ms: int, round_trip_ns: int, sent_utc_ns: int) -> None:
        """One look at the venue's clock, which shows whole milliseconds."""
        if not self._clock.look(server_ms * _MS, sent_utc_ns, round_trip_ns):
            self._time_due_ns += RETRY_NS - TIME_NS
        self.clock_offset_ns = self._clock.offset_ns()
        if self._clock.known and not self.ready:
            self._begin_session()

    def _begin_session(self) -> None:
        """Log on, then subscribe to the account's stream; unless that is under way."""
        under_way = {query.what for query in self._waiting} | {query.what for query, _, _ in self._asked.values()}
        if self.fatal or under_way & {"logon", "subscribe"}:
            return
        if not self._signer.logs_on:
            self._waiting.insert(0, Query("subscribe", "userDataStream.subscribe.signature", {}, Weight.SUBSCRIBE))
        elif self._logged_on:
            self._waiting.insert(0, Query("subscribe", "userDataStream.subscribe", {}, Weight.SUBSCRIBE, signed=False))
        else:
            self._waiting.insert(0, Query("logon", "session.logon", {}, Weight.LOGON))

    def _ask_time(self, now_ns: int) -> None:
        self._time_due_ns = now_ns + TIME_NS
        self._waiting.insert(0, Query("time", "time", {}, Weight.TIME, signed=False))

    def _ask_status(self, question: _Question) -> None:
        """Ask for an order, by the venue's own id if that was seen."""
        asked = self._codec.asked[asked_place(question.order_id)]
        params: dict[str, Any] = {"symbol": self._symbols[question.row]}
        if int(asked[ASKED_ID]) == question.order_id and int(asked[ASKED_KEY]):
            params["orderId"] = int(asked[ASKED_KEY])
        else:
            params["origClientOrderId"] = (CANCELED_MARK if question.marked else "") + client_of(question.order_id)
        self._waiting.append(Query("status", "order.status", params, Weight.ORDER_STATUS, question))

    def _on_status(self, question: _Question, order: dict[str, Any], now_ns: int) -> None:
        event = status_of(self._codec.instruments, question.row, order, question.order_id, now_ns)
        if event["cum_lots"] == 0:
            self._questions.discard(question.order_id)
            self.events.append(event)
            return
        # First the fills, then the state that counts them.
        params = {"symbol": self._symbols[question.row], "orderId": int(order["orderId"])}
        self._waiting.append(Query("trades", "myTrades", params, Weight.TRADES_OF_ORDER, question._replace(status=event)))

    def _on_trades(self, question: _Question, trades: list[dict[str, Any]], now_ns: int) -> None:
        for trade in sorted(trades, key=lambda trade: int(trade["id"])):
            event = trade_of(self._codec.instruments, question.row, trade, question.order_id, self._assets, now_ns)
            event["price_ticks"], event["qty_lots"] = question.status["price_ticks"], question.status["qty_lots"]
            self.events.append(event)
        self._questions.discard(question.order_id)
        self.events.append(question.status)

    def _on_no_order(self, question: _Question, now_ns: int) -> None:
        """The venue has no order of that id; it may have one that a cancel gave another id."""
        asked = self._codec.asked[asked_place(question.order_id)]
        by_key = int(asked[ASKED_ID]) == question.order_id and int(asked[ASKED_KEY]) != 0
        if not question.marked and not by_key:
            self._ask_status(question._replace(marked=True))
            return
        self._questions.discard(question.order_id)
        self.events.append(event_of(VenueEventKind.NOT_FOUND, question.order_id, question.row, now_ns))

    def _order_of_key(self, row: int, key: int) -> int:
        """Our order id of an order that the venue knows by `key` in an instrument; 0 if it was not seen."""
        asked = self._codec.asked
        places = ((asked[:, ASKED_KEY] == key) & (asked[:, ASKED_ROW] == row) & (asked[:, ASKED_ID] != 0)).nonzero()[0]
        return int(asked[places[0], ASKED_ID]) if len(places) else 0

    def _spend(self, weight: int, utc_ns: int) -> None:
        if utc_ns // _MINUTE_NS != self._minute:
            self._minute, self._spent = utc_ns // _MINUTE_NS, 0
        self._spent += weight
        note_weight(self._codec.limits, weight, utc_ns)

    def _affords(self, weight: int, utc_ns: int) -> bool:
        """Whether a request of this weight may leave now."""
        if utc_ns < int(self._codec.limits[WORDS, BANNED_UNTIL_NS]):
            return False
        spent = self._spent if utc_ns // _MINUTE_NS == self._minute else 0
        return spent + weight <= int(self._codec.limits[WEIGHT, LIMIT]) * EXECUTION_SHARE // 100

    def _flush(self, now_ns: int, utc_ns: int) -> list[Outgoing]:
        """As much of what waits as the weight allows, in order."""
        said: list[Outgoing] = []
        venue_utc_ns = utc_ns + self.clock_offset_ns
        self._codec.limits[WORDS, UTC_OFFSET_NS] = venue_utc_ns - now_ns
        while self._connected and not self.fatal and self._waiting and self._affords(self._waiting[0].weight, venue_utc_ns):
            query = self._waiting.pop(0)
            self._spend(query.weight, venue_utc_ns)
            self._number += 1
            identity = f"{query.what}-{self._number}"
            self._asked[identity] = (query, now_ns, utc_ns)
            said.append(Text(self._text(identity, query, venue_utc_ns)))
        return said

    def _text(self, identity: str, query: Query, venue_utc_ns: int) -> bytes:
        request: dict[str, Any] = {"id": identity, "method": query.method}
        if query.signed:
            params = {**query.params, "timestamp": venue_utc_ns // _MS}
            request["params"] = params if self._logged_on else ws_signed(params, self._key, self._signer)
        return json.dumps(request, separators=(",", ":")).encode()
