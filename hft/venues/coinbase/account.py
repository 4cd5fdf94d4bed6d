"""Coinbase account: the `user` channel, queries and reconciliation of one API key.

    time -> connected -> subscribe (signed) -> subscriptions with `user` -> ready

Orders and questions go by REST. The stream has no replay and no sequence of its own, so whoever reconnects reconciles, and GET /fills
is what counts. The venue has no dead man's switch over REST: what an engine that dies leaves open stays until its next reconciliation.

Questions come out of their slice of the profile's request rate (`limits.py`), and where that is not enough out of the orders', as far as
new orders may: what is in doubt goes before what is new. What does not fit waits.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from hft.http_client import Headers
from hft.records import IntentKind, VenueEventKind
from hft.venues.coinbase.account_rows import client_oid, event_of, halves, key_of, order_id_of, status_of, trade_of
from hft.venues.coinbase.limits import (
    PRIVATE_AT_ONCE,
    PRIVATE_PER_S,
    QUESTIONS_PERCENT,
    THROTTLED_NS,
    learn,
    may_send_within,
    note_sent_within,
)
from hft.venues.coinbase.orders import PREFIX, SIGN_QUERY, CoinbaseCodec
from hft.venues.coinbase.reconcile import PAGE, PAGES_MAX, Query, Reconciliation
from hft.venues.coinbase.remembered import UNKNOWN_LOTS, order_of, remember
from hft.venues.coinbase.signing import USER_AGENT, signed_headers, signed_members
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
from hft.venues.venue_clock import VenueClock

_SECOND_NS = 1_000_000_000

#: How often the venue's clock is asked, and again if there was no answer or something was wrong with it.
TIME_NS, RETRY_NS = 60 * _SECOND_NS, 2 * _SECOND_NS

#: Parts of refusals, in lower case, that no repetition mends.
_FATAL = ("authentication", "api key", "signature", "passphrase", "permission", "forbidden")
_CLOCK = "timestamp"

_NEW = int(IntentKind.NEW)


class _Question(NamedTuple):
    """An order that is asked for."""

    order_id: int
    row: int
    status: Any = None  #: VENUE_EVENT row, while its fills are asked for


class CoinbaseAccount:
    """The private connection of one API key; implements AccountSession."""

    def __init__(
        self, credentials: Credentials, codec: CoinbaseCodec, symbols: Sequence[str], rows: Sequence[int], stream_url: str
    ) -> None:
        """`codec`, `symbols` and `rows` are those of `new_codec`; `stream_url` is the WebSocket feed."""
        self._credentials, self._codec, self._url = credentials, codec, stream_url
        self._symbols = dict(zip(rows, symbols, strict=True))
        self.ready = False
        self.fatal = ""
        self.events: list[Any] = []
        self.snapshot: Snapshot | None = None
        #: The venue's clock minus ours.
        self.clock_offset_ns = 0
        #: Maker's and taker's fee rate, as decimal text, once GET /fees was answered.
        self.fees: tuple[str, str] | None = None
        #: Connect anew: the subscription was not answered, or not with the account's stream.
        self.shutdown = False
        self._subscribed_ns = 0
        self._streams = False  #: whether the account's stream is subscribed
        self._tag = 0
        self._waiting: list[Query] = []
        self._asked: dict[int, tuple[Query, int, int]] = {}  # tag -> query, and when it was sent by both clocks
        self._clock = VenueClock()
        self._time_due_ns = 0
        self._questions: set[int] = set()
        self._reconciliation: Reconciliation | None = None
        self._newest: dict[int, int] = {}  #: instrument row -> newest trade id when the account was reconciled
        self._asked_owners: set[str] = set()  #: the venue's ids of orders that were asked whose they are
        self._budget = PRIVATE_AT_ONCE * QUESTIONS_PERCENT / 100
        self._budget_ns = 0

    def warm(self) -> None:
        """Run every kernel that this calls, on an account that is never used."""
        learn(self._codec.limits, 0, 0)
        may_send_within(self._codec.limits, _NEW, 0)
        note_sent_within(self._codec.limits, 0)
        order_of(self._codec.remembered, 0, 0)
        remember(self._codec.remembered, 0, 0, 0, UNKNOWN_LOTS)
        key_of("00000000-0000-0000-0000-000000000000")

    def endpoint(self) -> Endpoint | None:
        """The WebSocket feed; None once the account can never trade."""
        return None if self.fatal else Endpoint(self._url)

    def prepare(self, now_ns: int, utc_ns: int) -> list[Outgoing]:
        """Ask for the time, and for the fee rates, which also shows whether the key is good."""
        self._ask_time(now_ns)
        if not any(query.what == "fees" for query in self._waiting):
            self._waiting.append(Query("fees", "/fees"))
        return self._flush(now_ns, utc_ns)

    def _ask_time(self, now_ns: int) -> None:
        self._time_due_ns = now_ns + TIME_NS
        if not any(query.what == "time" for query in self._waiting):
            self._waiting.insert(0, Query("time", "/time"))

    def hello(self, now_ns: int, utc_ns: int) -> list[Outgoing]:
        """Subscribe, signed; heartbeats too, so that silence means something."""
        self.lost(now_ns)
        self._subscribed_ns = now_ns
        message: dict[str, Any] = {"type": "subscribe", "product_ids": list(self._symbols.values()), "channels": ["user", "heartbeat"]}
        message |= signed_members(self._credentials, utc_ns + self.clock_offset_ns)
        return [Text(json.dumps(message, separators=(",", ":")).encode())]

    def lost(self, now_ns: int) -> None:
        """The connection is gone. REST questions about orders stay asked; what the venue held before the next one tells nothing."""
        self.ready = self.shutdown = self._streams = False
        self._subscribed_ns = 0
        self.snapshot = self._reconciliation = None
        self._waiting = [query for query in self._waiting if not isinstance(query.about, Reconciliation)]

    def take(self, data: bytes, now_ns: int, utc_ns: int) -> list[Outgoing]:
        """Take a message that `scan_private` left to cold code; one that is not as documented ends the connection."""
        try:
            self._take_message(json.loads(data))
        except (ValueError, TypeError, AttributeError, RecursionError):
            self.shutdown = True
        return self._flush(now_ns, utc_ns)

    def _take_message(self, message: dict[str, Any]) -> None:
        kind = message.get("type")
        if kind == "subscriptions":
            channels = message.get("channels") or []
            self._streams = any(isinstance(channel, dict) and channel.get("name") == "user" for channel in channels)
            self.shutdown = not self._streams
            self._note_ready()
        elif kind == "error":
            self.ready, self._streams, self.shutdown = False, False, True
            self._refuse(f"{message.get('message', '')} {message.get('reason', '')}")
        elif kind == "match":
            self._ask_fills(str(message.get("product_id")))

    def _note_ready(self) -> None:
        """Orders are signed at the venue's time, so it must be known too."""
        self.ready = self._streams and self._clock.known and not self.fatal

    def _refuse(self, why: str) -> None:
        """Remember a refusal that no repetition mends. One of the clock is mended by the clock."""
        lower = why.lower()
        if _CLOCK not in lower and any(part in lower for part in _FATAL):
            self.ready, self.fatal = False, f"the venue refused the key: {why.strip()[:200]}"

    def _ask_fills(self, product: str) -> None:
        """Ask for a product's newest fills: a match came that does not say whose it is."""
        row = next((row for row, symbol in self._symbols.items() if symbol == product), -1)
        if row >= 0 and not any(query.what == "recent" and query.row == row for query in self._waiting):
            self._waiting.append(Query("recent", f"/fills?product_id={product}&limit={PAGE}", row=row))

    def tick(self, now_ns: int, utc_ns: int) -> list[Outgoing]:
        """What waited for the request rate, and giving up on what was not answered."""
        if self._subscribed_ns and not self._streams and now_ns - self._subscribed_ns >= HANDSHAKE_NS:
            self.shutdown = True
        if self._time_due_ns and now_ns >= self._time_due_ns:
            self._ask_time(now_ns)
        for tag, (query, sent_ns, _) in list(self._asked.items()):
            if now_ns - sent_ns >= 2 * LONG_PATIENCE_NS:
                del self._asked[tag]
                self._fail(query)
        return self._flush(now_ns, utc_ns)

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
        if order_id not in self._questions:
            self._questions.add(order_id)
            oid = client_oid(int(self._codec.words[PREFIX]), order_id)
            target = f"/orders/client:{oid}?product_id={self._symbols[row]}"
            self._waiting.append(Query("order", target, _Question(order_id, row), row))
        return self._flush(now_ns, utc_ns)

    @property
    def reconciling(self) -> bool:
        """Whether `snapshot` is still to come: False too when a part of it could not be had."""
        return self._reconciliation is not None

    def reconcile(self, booked: Booked, now_ns: int, utc_ns: int) -> list[Outgoing]:
        """Ask for open orders, fills back to one that is `booked` and balances; the answer is `snapshot`. Anew, if it is under way."""
        self.snapshot = None
        self._waiting = [query for query in self._waiting if not isinstance(query.about, Reconciliation)]
        prefix = int(self._codec.words[PREFIX])
        self._reconciliation = Reconciliation(self._codec.instruments, self._symbols, prefix, booked, self._owner_of, self._remember)
        self._waiting += self._reconciliation.begin()
        return self._flush(now_ns, utc_ns)

    def answer(self, tag: int, status: int, body: bytes, now_ns: int, utc_ns: int) -> list[Outgoing]:
        """Take a REST answer; one that is not as documented is as good as none."""
        query, sent_ns, sent_utc_ns = self._asked.pop(tag, (None, 0, 0))
        if query is not None:
            try:
                document: Any = json.loads(body, parse_float=Decimal) if body else None
                if query.what == "time" and status == 200:
                    self._take_time(int(Decimal(document["epoch"]) * _SECOND_NS), now_ns - sent_ns, sent_utc_ns)
                else:
                    self._take_answer(query, status, document, now_ns)
            except (KeyError, ValueError, TypeError, AttributeError, ArithmeticError, RecursionError):
                self._fail(query)
        return self._flush(now_ns, utc_ns)

    def _take_answer(self, query: Query, status: int, document: Any, now_ns: int) -> None:
        if status == 429:
            learn(self._codec.limits, status, now_ns)
            self._budget, self._budget_ns = 0.0, now_ns + THROTTLED_NS
            self._waiting.insert(0, query)
        elif status in (401, 403):
            self._refuse(str(document["message"]))
            if _CLOCK in str(document["message"]).lower():
                self.ask_clock(now_ns)
            self._fail(query)
        elif isinstance(query.about, Reconciliation):
            self._take_reconciled(query, status, document, now_ns)
        elif query.what == "order" and status == 404:
            # Told by the API itself, not by a page of somebody between.
            str(document["message"])
            self._questions.discard(query.about.order_id)
            self.events.append(event_of(VenueEventKind.NOT_FOUND, query.about.order_id, query.about.row, now_ns))
        elif query.what == "owner" and status == 404:
            # It is nobody's any more: asked once.
            str(document["message"])
        elif status != 200:
            self._fail(query)
        elif query.what == "order":
            self._take_order(query.about, document, now_ns)
        elif query.what == "trades":
            self._take_trades(query, document, now_ns)
        elif query.what == "recent":
            self._take_recent(query.row, document, now_ns)
        elif query.what == "owner":
            self._take_owner(query.row, document)
        elif query.what == "fees":
            self.fees = (str(document["maker_fee_rate"]), str(document["taker_fee_rate"]))

    def _take_recent(self, row: int, fills: list[dict[str, Any]], now_ns: int) -> None:
        """Newest fills of a product. Those of an order that an earlier epoch left come once the order has said whose it is."""
        for fill in reversed(fills):
            owner = self._owner_of(fill["order_id"])
            if owner:
                self.events.append(trade_of(self._codec.instruments, row, fill, owner, now_ns))
            elif int(fill["trade_id"]) > self._newest.get(row, int(fill["trade_id"])) and fill["order_id"] not in self._asked_owners:
                self._asked_owners.add(fill["order_id"])
                self._waiting.append(Query("owner", f"/orders/{fill['order_id']}", row=row))

    def _take_owner(self, row: int, order: dict[str, Any]) -> None:
        order_id = order_id_of(int(self._codec.words[PREFIX]), order.get("client_oid"))
        if order_id:
            self._remember(order["id"], order_id)
            self._ask_fills(self._symbols[row])

    def _take_time(self, venue_utc_ns: int, round_trip_ns: int, sent_utc_ns: int) -> None:
        """One look at the venue's clock."""
        if not self._clock.look(venue_utc_ns, sent_utc_ns, round_trip_ns):
            self._time_due_ns += RETRY_NS - TIME_NS
        self.clock_offset_ns = self._clock.offset_ns()
        self._note_ready()

    def _take_order(self, question: _Question, order: dict[str, Any], now_ns: int) -> None:
        status = status_of(self._codec.instruments, question.row, order, question.order_id, now_ns)
        if status is None or status["cum_lots"] == 0:
            self._questions.discard(question.order_id)
            self.events += [status] if status is not None else []
            return
        # First the fills, then the state that counts them.
        target = f"/fills?order_id={order['id']}&limit={PAGE}"
        self._waiting.append(Query("trades", target, question._replace(status=status), question.row))

    def _take_trades(self, query: Query, fills: list[dict[str, Any]], now_ns: int) -> None:
        """A page of an order's fills, newest first; a full one is followed by those before it."""
        question = query.about
        for fill in sorted(fills, key=lambda fill: int(fill["trade_id"])):
            event = trade_of(self._codec.instruments, question.row, fill, question.order_id, now_ns)
            event["price_ticks"], event["qty_lots"] = question.status["price_ticks"], question.status["qty_lots"]
            self.events.append(event)
        if len(fills) == PAGE and query.page + 1 < PAGES_MAX:
            target = f"/fills?order_id={fills[0]['order_id']}&limit={PAGE}&after={min(int(fill['trade_id']) for fill in fills)}"
            self._waiting.append(Query("trades", target, question, question.row, query.page + 1))
            return
        self._questions.discard(question.order_id)
        self.events.append(question.status)

    def _take_reconciled(self, query: Query, status: int, document: Any, now_ns: int) -> None:
        if query.about is not self._reconciliation or self._reconciliation is None:
            return
        if status != 200 and not (status == 404 and query.what == "owner"):
            self._fail(query)
            return
        self._waiting += self._reconciliation.take(query, status, document, now_ns)
        if self._reconciliation.complete:
            self._newest = self._reconciliation.newest
            self.snapshot = self._reconciliation.snapshot(now_ns)
            self._reconciliation = None

    def _fail(self, query: Query) -> None:
        """A question without an answer: whoever wants to know asks again."""
        if query.what == "time":
            self._time_due_ns += RETRY_NS - TIME_NS
        if isinstance(query.about, _Question):
            self._questions.discard(query.about.order_id)
        elif query.what in ("owner", "recent"):
            # Nobody else would: a fill may depend on it.
            self._waiting.append(query)
        elif query.about is not None and query.about is self._reconciliation:
            self._reconciliation = None
            self._waiting = [waiting for waiting in self._waiting if waiting.about is not query.about]

    def _remember(self, text: str, order_id: int) -> None:
        """Have the codec know an order of ours by the venue's id; 0 is none of ours."""
        if order_id and self._owner_of(text) == 0:
            remember(self._codec.remembered, *halves(text), order_id, UNKNOWN_LOTS)

    def _owner_of(self, text: str) -> int:
        """Our order id by the venue's, if the codec remembers it; else 0."""
        return int(order_of(self._codec.remembered, *halves(text)))

    def _flush(self, now_ns: int, utc_ns: int) -> list[Outgoing]:
        """As much of what waits as the request rate allows, in order, signed as it leaves."""
        per_s, at_once = PRIVATE_PER_S * QUESTIONS_PERCENT / 100, PRIVATE_AT_ONCE * QUESTIONS_PERCENT / 100
        if now_ns >= self._budget_ns:
            refill = (now_ns - self._budget_ns) * per_s / _SECOND_NS
            self._budget, self._budget_ns = min(at_once, self._budget + refill), now_ns
        said: list[Outgoing] = []
        while self._waiting and not self.fatal and self._affords(now_ns):
            query = self._waiting.pop(0)
            self._tag += 1
            self._asked[self._tag] = (query, now_ns, utc_ns)
            patience_ns = PATIENCE_NS if query.what in ("order", "trades", "time") else LONG_PATIENCE_NS
            said.append(Call(self._tag, "GET", query.target, self._headers(query, utc_ns), patience_ns=patience_ns))
        return said

    def _affords(self, now_ns: int) -> bool:
        """Count a request, if one may leave now."""
        if self._budget >= 1:
            self._budget -= 1
            return True
        if may_send_within(self._codec.limits, _NEW, now_ns) > 0:
            return False
        note_sent_within(self._codec.limits, now_ns)
        return True

    def _headers(self, query: Query, utc_ns: int) -> Headers:
        """Signed at the venue's time; its clock is asked without a key."""
        if query.what == "time":
            return (("User-Agent", USER_AGENT),)
        venue_utc_ns, sign_query = utc_ns + self.clock_offset_ns, bool(self._codec.words[SIGN_QUERY])
        return signed_headers(self._credentials, "GET", query.target, venue_utc_ns, b"", sign_query)
