"""Kraken account: token, private stream, dead man's timer, queries and reconciliation of one API key.

    GetWebSocketsToken -> connected -> ping; subscribe executions, balances -> their answers and the snapshot -> ready

Orders go by the socket, questions by signed REST, out of execution's part of the key's REST counter; what does not fit waits. A token is
good for one connection: each one asks for its own. While ready, the venue's timer that cancels everything is set again and again,
so that orders of an engine that died do not stay; it is the account's, and strikes whoever's orders are there. The first ping is
answered before orders may leave, because their deadlines are times of the venue's clock. A message missing in a sequence ends the connection, and the next one reconciles.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from hft.records import VenueEventKind
from hft.venues.interface import (
    HANDSHAKE_NS,
    LONG_PATIENCE_NS,
    PATIENCE_NS,
    Booked,
    Call,
    Credentials,
    Endpoint,
    Outgoing,
    Snapshot,
    Text,
)
from hft.venues.kraken.account_rows import amendment_of, client_id, event_of, executions_of, newest_of, status_of, time_ns, trade_of
from hft.venues.kraken.ids import bits_of
from hft.venues.kraken.market import stream_endpoint
from hft.venues.kraken.orders import KrakenCodec, set_token
from hft.venues.kraken.pair_names import pair_names
from hft.venues.kraken.private_tables import (
    AMEND_LOTS,
    AMEND_TICKS,
    AMEND_WIRE,
    BALANCES_SEQUENCE,
    EXECUTIONS_SEQUENCE,
    LOST_MESSAGES,
    NEWEST_FILL_NS,
    amend_place,
    note_filled,
    remember,
)
from hft.venues.kraken.reconcile import PAGE, Query, Reconciliation, Streamed
from hft.venues.kraken.rest_budget import Budget
from hft.venues.kraken.signing import TOKEN_METHOD, signed_request
from hft.venues.venue_clock import VenueClock

_SECOND_NS = 1_000_000_000

#: A token that no connection used for this long is too old for one; the venue takes it for 15 minutes.
TOKEN_LIFE_NS = 14 * 60 * _SECOND_NS
#: Between two questions for a token.
TOKEN_PAUSE_NS = 2 * _SECOND_NS
#: How often the venue's clock is asked, and again if something was wrong with it.
PING_NS, RETRY_NS = 15 * _SECOND_NS, _SECOND_NS
#: The venue's timer, and how often it is set again.
DEAD_MAN_S, DEAD_MAN_NS = 60, 15 * _SECOND_NS
#: How much older than the newest fill that was told a reconciliation asks for. The stream tells fills in their order; this is what REST
#: may be behind.
OVERLAP_NS = 5 * _SECOND_NS

#: Errors that no repetition mends.
_FATAL = ("EAPI:Invalid key", "EAPI:Invalid signature", "EGeneral:Permission denied", "EAPI:Feature disabled")
_UNKNOWN_ORDER, _RATE_LIMIT = "EOrder:Unknown order", "EAPI:Rate limit exceeded"
_CHANNELS = ("executions", "balances")
#: Questions that others let pass, for so long: what they find out is exposure, or keeps orders from being canceled.
_URGENT, LET_BY_NS = ("order", "trades", "token"), 10 * _SECOND_NS


class _Question(NamedTuple):
    """An order that is asked for."""

    order_id: int  #: as asked
    wire_id: int  #: what the venue knows it by: of an amendment, the order that it was to change
    row: int
    status: Any = None  #: VENUE_EVENT row, while its fills are asked for


class KrakenAccount:
    """The private connection of one API key; implements AccountSession."""

    def __init__(
        self,
        credentials: Credentials,
        codec: KrakenCodec,
        symbols: Sequence[str],
        rows: Sequence[int],
        stream_url: str,
        tier: str = "starter",
        dead_man_s: int = DEAD_MAN_S,
    ) -> None:
        """`codec`, `symbols` and `rows` are those of `new_codec`; `stream_url` is the private host; `dead_man_s` 0 sets no timer."""
        self._credentials, self._codec, self._url = credentials, codec, stream_endpoint(stream_url)
        self._symbols = dict(zip(rows, symbols, strict=True))
        self._rows = {name: row for row, symbol in self._symbols.items() for name in pair_names(symbol)}
        self.ready = self.shutdown = False
        self.fatal = ""
        self.events: list[Any] = []
        self.snapshot: Snapshot | None = None
        #: The venue's clock minus ours, by pings.
        self.clock_offset_ns = 0
        self._dead_man_s = dead_man_s
        self._token, self._token_ns, self._token_due_ns = "", 0, 0
        self._connected = False
        self._missing: set[str] = set()  #: what must come before ready
        self._pings: dict[int, tuple[int, int]] = {}
        self._clock = VenueClock(grain_ns=1000)
        self._subscribed_ns = self._ping_ns = self._dead_man_ns = 0
        self._request = self._nonce = self._tag = 0
        self._waiting: list[Query] = []
        self._asked: dict[int, tuple[Query, int]] = {}
        self._budget = Budget(tier)
        self._blocked_ns = 0  #: since when the counter has no room for what waits first; 0: it has
        self._questions: set[int] = set()
        self._reconciliation: Reconciliation | None = None
        self._streamed: Streamed | None = None  #: until a reconciliation has used it
        self._whole = False  #: whether this connection is reconciled
        self._since_ns = 0  #: until it is: the newest fill that an earlier one told without a gap

    def warm(self) -> None:
        """Run every kernel that this calls, on an account that is never used."""
        private = self._codec.private
        remember(private.living, 1, 0)
        note_filled(private.living, 1, 0)
        amend_place(private.amends, 1)
        bits_of("O")

    def endpoint(self) -> Endpoint | None:
        """The private socket, once there is a token for it."""
        return Endpoint(self._url) if self._token and not self.fatal else None

    def prepare(self, now_ns: int, utc_ns: int) -> list[Outgoing]:
        """Ask for a token."""
        under_way = any(query.method == TOKEN_METHOD for query in [*self._waiting, *(asked for asked, _ in self._asked.values())])
        if not self._token and now_ns >= self._token_due_ns and not under_way:
            self._token_due_ns = now_ns + TOKEN_PAUSE_NS
            self._waiting.insert(0, Query("token", TOKEN_METHOD))
        return self._flush(now_ns, utc_ns)

    def hello(self, now_ns: int, utc_ns: int) -> list[Outgoing]:
        """Subscribe, if there is a token; else ask for one, and subscribe when it comes."""
        self.ready = self.shutdown = False
        self._connected = True
        if self._whole:
            self._whole, self._since_ns = False, int(self._codec.private.words[NEWEST_FILL_NS])
        self._ping_ns, self._missing = now_ns, {"time"}
        if self._token and now_ns - self._token_ns > TOKEN_LIFE_NS:
            self._token = ""
        return self._subscribe(now_ns) if self._token else self.prepare(now_ns, utc_ns)

    def _subscribe(self, now_ns: int) -> list[Outgoing]:
        words = self._codec.private.words
        words[EXECUTIONS_SEQUENCE] = words[BALANCES_SEQUENCE] = words[LOST_MESSAGES] = 0
        self._subscribed_ns = now_ns
        self._missing |= {*_CHANNELS, "snapshot"}
        wanted = {"snap_orders": True, "snap_trades": True, "order_status": True, "ratecounter": True}
        return [
            self._text("subscribe", {"channel": "executions", **wanted, "token": self._token}),
            self._text("subscribe", {"channel": "balances", "snapshot": True, "token": self._token}),
        ]

    def lost(self, now_ns: int) -> None:
        """The connection is gone, and its token with it. REST questions about orders stay asked."""
        self.ready = self.shutdown = self._connected = False
        self._token, self._token_due_ns = "", 0
        self._subscribed_ns = 0
        self._streamed = self.snapshot = None
        self._forget_reconciliation()
        self._pings.clear()
        set_token(self._codec, "")

    def take(self, data: bytes, now_ns: int, utc_ns: int) -> list[Outgoing]:
        """Take a message that `scan_private` left to cold code; what is not as documented is as good as none."""
        try:
            message = json.loads(data, parse_float=Decimal)
            if isinstance(message, dict):
                self._take_message(message, now_ns, utc_ns)
        except (KeyError, ValueError, TypeError, AttributeError, ArithmeticError, RecursionError):
            self.shutdown = True
        if not self._missing and self._subscribed_ns and self._connected and not self.ready and not self.shutdown:
            self.ready = True
            set_token(self._codec, self._token)
            self._dead_man_ns = now_ns
        return self.tick(now_ns, utc_ns)

    def _take_message(self, message: dict[str, Any], now_ns: int, utc_ns: int) -> None:
        method = message.get("method")
        if method == "subscribe":
            if message.get("success") is True:
                self._missing.discard(message["result"]["channel"])
            else:
                self._refuse(str(message.get("error", "")))
                self.shutdown = True
        elif method == "pong":
            self._take_time(self._pings.pop(message.get("req_id", 0), None), time_ns(message["time_in"]), now_ns)
        elif message.get("channel") == "executions":
            is_snapshot = message.get("type") == "snapshot"
            self._take_executions(message["data"], is_snapshot, now_ns)
            if is_snapshot:
                self._missing.discard("snapshot")

    def _take_time(self, sent: tuple[int, int] | None, venue_utc_ns: int, now_ns: int) -> None:
        """One look at the venue's clock; a pong that comes twice tells nothing."""
        if sent is not None and not self._clock.look(venue_utc_ns, sent[1], now_ns - sent[0]):
            self.ask_clock(now_ns)
        self.clock_offset_ns = self._clock.offset_ns()
        if self._clock.known:
            self._missing.discard("time")

    def _take_executions(self, rows: Sequence[dict[str, Any]], is_snapshot: bool, now_ns: int) -> None:
        """Open orders and newest fills: orders of ours are remembered with their pairs, for short executions to come."""
        found = executions_of(self._codec.instruments, self._rows, rows, now_ns)
        fills = [(txid, event) for txid, event in found if event["kind"] == VenueEventKind.TRADE]
        states = [event for _, event in found if event["kind"] != VenueEventKind.TRADE]
        for event in states:
            if event["order_id"]:
                remember(self._codec.private.living, int(event["order_id"]), int(event["instrument"]))
                note_filled(self._codec.private.living, int(event["order_id"]), int(event["cum_lots"]))
        if is_snapshot:
            times_ns = [time_ns(execution["timestamp"]) for execution in rows if execution["exec_type"] == "trade"]
            self._streamed = Streamed(states, fills, min(times_ns) if len(times_ns) >= PAGE else 0)
        if self.ready:
            # A snapshot before is followed by a reconciliation, which says all this and more.
            trades = sorted((event for _, event in fills), key=lambda trade: int(trade["exchange_ns"]))
            self.events += [*trades, *states]
            self._note_fills(trades)

    def _note_fills(self, fills: Iterable[Any]) -> None:
        """These are told: what is older by more than the overlap need not be asked for again."""
        words = self._codec.private.words
        words[NEWEST_FILL_NS] = max([int(words[NEWEST_FILL_NS]), *(int(fill["exchange_ns"]) for fill in fills)])

    def _refuse(self, why: str) -> None:
        """Remember a refusal that no repetition mends."""
        if why.startswith(_FATAL):
            self.ready, self.fatal = False, f"the venue refused the key: {why[:200]}"

    def tick(self, now_ns: int, utc_ns: int) -> list[Outgoing]:
        """Pings, a token, and what waited for the REST counter."""
        said: list[Outgoing] = []
        unanswered = not self.ready and now_ns - self._subscribed_ns >= HANDSHAKE_NS
        if self._connected and self._subscribed_ns and (self._codec.private.words[LOST_MESSAGES] or unanswered):
            self.shutdown = True
        if self._connected and now_ns >= self._ping_ns:
            self._ping_ns = now_ns + PING_NS
            said.append(self._text("ping", None))
            self._pings[self._request] = (now_ns, utc_ns)
        for tag, (query, sent_ns) in list(self._asked.items()):
            if now_ns - sent_ns >= 2 * LONG_PATIENCE_NS:
                del self._asked[tag]
                self._fail(query)
        if not self._subscribed_ns:
            return said + self.prepare(now_ns, utc_ns)
        return said + self._flush(now_ns, utc_ns)

    def ask_clock(self, now_ns: int) -> None:
        """A ping, as soon as there was not just one."""
        self._ping_ns = min(self._ping_ns, max(now_ns, self._ping_ns - PING_NS + RETRY_NS))

    def keep_armed(self, now_ns: int) -> list[Outgoing]:
        """The timer that ends all orders, set anew."""
        if not self.ready or not self._dead_man_s or now_ns < self._dead_man_ns:
            return []
        self._dead_man_ns = now_ns + DEAD_MAN_NS
        return [self._text("cancel_all_orders_after", {"timeout": self._dead_man_s, "token": self._token})]

    def disarm(self) -> list[Outgoing]:
        """No timer: what people do at the account from here on is theirs."""
        if not self.ready or not self._dead_man_s:
            return []
        return [self._text("cancel_all_orders_after", {"timeout": 0, "token": self._token})]

    def query(self, order_id: int, row: int, now_ns: int, utc_ns: int) -> list[Outgoing]:
        """Ask for an order by its client id, and for its fills; answers come as `events`.

        An amendment has no id at the venue: the order that it was to change is asked for, and its terms tell whether it came through.
        """
        if order_id not in self._questions:
            self._questions.add(order_id)
            amends = self._codec.private.amends
            place = int(amend_place(amends, order_id))
            wire_id = int(amends[place, AMEND_WIRE]) if place >= 0 else order_id
            about = _Question(order_id, wire_id, row)
            self._waiting.append(Query("order", "QueryOrders", {"cl_ord_id": client_id(wire_id), "trades": "true"}, about))
        return self._flush(now_ns, utc_ns)

    @property
    def reconciling(self) -> bool:
        """Whether `snapshot` is still to come: False too when a part of it could not be had."""
        return self._reconciliation is not None

    def reconcile(self, booked: Booked, now_ns: int, utc_ns: int) -> list[Outgoing]:
        """Ask for open orders, newest fills and balances; the answer is `snapshot`."""
        if self._reconciliation is not None:
            # It waits for the key's counter: to begin anew would cost again what it has cost, and might never end.
            return self._flush(now_ns, utc_ns)
        self.snapshot = None
        newest_ns = int(self._codec.private.words[NEWEST_FILL_NS]) if self._whole else self._since_ns
        since_ns = max(newest_ns - OVERLAP_NS, 0)
        self._reconciliation = Reconciliation(self._codec.instruments, self._rows, booked, since_ns, self._streamed)
        self._streamed = None
        self._waiting += self._reconciliation.begin()
        return self._flush(now_ns, utc_ns)

    def answer(self, tag: int, status: int, body: bytes, now_ns: int, utc_ns: int) -> list[Outgoing]:
        """Take a REST answer; one that is not as documented is as good as none."""
        query, _ = self._asked.pop(tag, (None, 0))
        if query is None:
            return self._flush(now_ns, utc_ns)
        said: list[Outgoing] = []
        try:
            document = json.loads(body, parse_float=Decimal) if status == 200 else {"error": [f"HTTP {status}"]}
            errors = [str(error) for error in document["error"]]
            if not errors:
                said = self._take_result(query, document["result"], now_ns)
            elif errors[0].startswith(_UNKNOWN_ORDER) and query.what == "order":
                self._not_found(query.about, now_ns)
            elif errors[0].startswith(_RATE_LIMIT):
                self._budget.refused(now_ns)
                self._ask_again(query)
            else:
                self._refuse(errors[0])
                self._fail(query)
        except (KeyError, ValueError, TypeError, AttributeError, ArithmeticError, RecursionError):
            self._fail(query)
        return said + self._flush(now_ns, utc_ns)

    def _take_result(self, query: Query, result: Any, now_ns: int) -> list[Outgoing]:
        if query.what == "token":
            self._token, self._token_ns = str(result["token"]), now_ns
            return self._subscribe(now_ns) if self._connected else []
        if query.what == "order":
            self._take_order(query.about, result, now_ns)
        elif query.what == "trades":
            self._take_trades(query.about, result, now_ns)
        elif query.about is self._reconciliation and self._reconciliation is not None:
            self._waiting += self._reconciliation.take(query, result, now_ns)
            if self._reconciliation.complete:
                self.snapshot, self._reconciliation = self._reconciliation.snapshot(now_ns), None
                self._note_fills(self.snapshot.fills)
                self._whole = True
        return []

    def _take_order(self, question: _Question, result: dict[str, Any], now_ns: int) -> None:
        """An order as the venue knows it."""
        txid = newest_of(result, question.wire_id)
        if not txid:
            self._not_found(question, now_ns)
            return
        order = result[txid]
        status = status_of(self._codec.instruments[question.row], question.row, txid, order, question.wire_id, now_ns)
        note_filled(self._codec.private.living, question.wire_id, int(status["cum_lots"]))
        if question.wire_id != question.order_id:
            amend = self._codec.private.amends[question.order_id % len(self._codec.private.amends)]
            terms = int(amend[AMEND_TICKS]), int(amend[AMEND_LOTS])
            self.events.append(amendment_of(terms, question.order_id, question.wire_id, status))
        trades = [str(trade) for trade in order.get("trades") or []]
        if not trades:
            self._questions.discard(question.order_id)
            self.events.append(status)
            return
        about = question._replace(status=status)
        for first in range(0, len(trades), 20):
            last = first + 20 >= len(trades)
            fields: dict[str, str | int] = {"txid": ",".join(trades[first : first + 20])}
            self._waiting.append(Query("trades", "QueryTrades", fields, about if last else about._replace(status=None), weight=2))

    def _take_trades(self, question: _Question, fills: dict[str, Any], now_ns: int) -> None:
        """First the fills, then the state that counts them."""
        instrument = self._codec.instruments[question.row]
        events = [trade_of(instrument, question.row, exec_id, fill, question.wire_id, now_ns) for exec_id, fill in fills.items()]
        self.events += sorted(events, key=lambda event: int(event["exchange_ns"]))
        if question.status is not None:
            self._questions.discard(question.order_id)
            self.events.append(question.status)

    def _not_found(self, question: _Question, now_ns: int) -> None:
        self._questions.discard(question.order_id)
        self.events.append(event_of(VenueEventKind.NOT_FOUND, question.order_id, question.row, now_ns))

    def _ask_again(self, query: Query) -> None:
        """A question that the venue did not look at: what a reconciliation has learned so far stays."""
        if isinstance(query.about, _Question) or (query.about is not None and query.about is self._reconciliation):
            self._waiting.insert(0, query)

    def _fail(self, query: Query) -> None:
        """A question without an answer: whoever wants to know asks again."""
        if isinstance(query.about, _Question):
            self._questions.discard(query.about.order_id)
        elif query.about is not None and query.about is self._reconciliation:
            self._forget_reconciliation()

    def _forget_reconciliation(self) -> None:
        self._reconciliation = None
        self._waiting = [query for query in self._waiting if not isinstance(query.about, Reconciliation)]

    def _text(self, method: str, params: dict[str, Any] | None) -> Text:
        """A message of this session; its ids are below those of any order."""
        self._request += 1
        message = {"method": method} | ({"params": params} if params else {}) | {"req_id": self._request}
        return Text(json.dumps(message, separators=(",", ":")).encode())

    def _flush(self, now_ns: int, utc_ns: int) -> list[Outgoing]:
        """What waits first, if the key's REST counter lets it through. One at a time: nonces must arrive in their order."""
        said: list[Outgoing] = []
        while not self._asked and not self.fatal and (query := self._next_query(now_ns)) is not None:
            self._tag += 1
            self._asked[self._tag] = (query, now_ns)
            # Of a clock that was set back the nonce still rises.
            self._nonce = max(self._nonce + 1, utc_ns)
            request = signed_request(self._credentials, query.method, self._nonce, query.fields)
            patience_ns = PATIENCE_NS if query.what in _URGENT else LONG_PATIENCE_NS
            said.append(Call(self._tag, "POST", request.target, request.headers, request.body, query.weight, patience_ns))
        return said

    def _next_query(self, now_ns: int) -> Query | None:
        """What waits first, or else the first that may take more of the counter; it counts as spent.

        What has been let by for long enough may take as much.
        """
        if not self._waiting:
            self._blocked_ns = 0
            return None
        urgent = self._waiting[0].what in _URGENT or (self._blocked_ns > 0 and now_ns - self._blocked_ns >= LET_BY_NS)
        if self._budget.spend(self._waiting[0].weight, now_ns, urgent):
            self._blocked_ns = 0
            return self._waiting.pop(0)
        self._blocked_ns = self._blocked_ns or now_ns
        k = next((k for k, query in enumerate(self._waiting) if query.what in _URGENT), 0)
        if k > 0 and not urgent and self._budget.spend(self._waiting[k].weight, now_ns, urgent=True):
            return self._waiting.pop(k)
        return None
