"""Kraken's socket requests: envelopes, subscriptions with their snapshots, trading methods, and the private channels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from hft.sim.armed_faults import ArmedFaults
from hft.sim.delivery import Delivery
from hft.sim.exchange.exchange import Exchange
from hft.sim.exchange.records import Event
from hft.sim.kraken.feed import PublicFeed
from hft.sim.kraken.keys import Key, Keyring, Permission
from hft.sim.kraken.pairs import assets, instrument_asset, instrument_pair
from hft.sim.kraken.rates import TRADING_MAX
from hft.sim.kraken.reports import Executions, Fields, Reporter
from hft.sim.kraken.rest import refusal_words
from hft.sim.kraken.session import PRIVATE_CHANNELS, SYMBOL_CHANNELS, PrivateFeed, Session, Subscription, read_subscription, topic_option
from hft.sim.kraken.trading import ACTIONS, TradingMethods
from hft.sim.kraken.wire import KrakenError
from hft.sim.texts import decode_json, rfc3339
from hft.sim.venue import Opcode

MALFORMED = "Malformed request"
#: Executions that only some subscribers want: those that neither open nor close an order, trades aside.
TRANSITIONS = ("pending_new", "amended")


class Context(NamedTuple):
    """The venue's parts that requests reach."""

    feed: PublicFeed
    exchange: Exchange
    keyring: Keyring
    trading: TradingMethods
    reporter: Reporter
    faults: ArmedFaults
    delivery: Delivery


class _Request(NamedTuple):
    """A request and when it came."""

    session: Session
    method: str
    params: dict[str, Any]
    number: int | None
    now_ns: int
    utc_ns: int


class RequestFront:
    """Takes the requests of all sessions."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def take(self, session: Session, payload: bytes, now_ns: int, utc_ns: int) -> None:
        """Answer one text message."""
        try:
            message = decode_json(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            message = None
        if not isinstance(message, dict) or not isinstance(message.get("method"), str):
            self._say(session, {"error": MALFORMED, "success": False, "time_in": rfc3339(utc_ns), "time_out": rfc3339(utc_ns)}, now_ns)
            return
        number, params = message.get("req_id"), message.get("params", {})
        fine = isinstance(params, dict) and (number is None or isinstance(number, int) and not isinstance(number, bool))
        request = _Request(session, message["method"], params if fine else {}, number if fine else None, now_ns, utc_ns)
        try:
            if not fine:
                raise KrakenError(MALFORMED)
            self._call(request)
        except KrakenError as error:
            self._reply(request, {"error": str(error)})

    def tell(self, event: Event, sessions: Iterable[Session], now_ns: int) -> None:
        """Send an event of the exchange to those who subscribed to its account."""
        reporter = self._context.reporter
        rows, entries = reporter.execution_rows(event), reporter.ledger_rows(event)
        for session in sessions:
            executions, balances = session.feeds.get("executions"), session.feeds.get("balances")
            if executions is not None and executions.account == event.account.name:
                for exec_type, row in rows:
                    self._tell_execution(session, executions, exec_type, row, event, now_ns)
            if balances is not None and balances.account == event.account.name:
                for entry in entries:
                    self._private(session, "balances", "update", [entry], balances, now_ns)

    def _call(self, request: _Request) -> None:
        if request.method == "ping":
            pong = self._envelope(request._replace(method="pong"), {})
            request.session.outbox.append((Opcode.TEXT, msgspec.json.encode(pong)))
        elif request.method == "subscribe":
            self._subscribe(request)
        elif request.method == "unsubscribe":
            self._unsubscribe(request)
        elif request.method in ACTIONS:
            self._trade(request)
        else:
            raise KrakenError("Method(s) not found")

    def _subscribe(self, request: _Request) -> None:
        subscription = read_subscription(request.params)
        channel, session = subscription.channel, request.session
        if channel in PRIVATE_CHANNELS:
            self._subscribe_private(request, subscription)
            return
        option = topic_option(subscription)
        for symbol in subscription.symbols if channel in SYMBOL_CHANNELS else [""]:
            problem = ""
            if symbol and symbol not in self._context.feed.pairs:
                problem = f"Currency pair not supported {symbol[:40]}"
            elif (channel, symbol) in session.topics:
                problem = "Already subscribed"
            if problem:
                self._reply(request, {"error": problem, **({"symbol": symbol[:40]} if symbol else {})})
                continue
            session.topics[channel, symbol] = option
            named = {"symbol": symbol} if symbol else {}
            self._reply(request, {"result": {"channel": channel, **subscription.options, **named}})
            first = self._first(channel, symbol, option, request.utc_ns) if subscription.options["snapshot"] else b""
            if channel == "book" and isinstance(option, int):
                self._context.feed.books[symbol].view(option)
            if first:
                self._context.delivery.send((session,), first, "book" if channel == "book" else "public", request.now_ns, symbol)

    def _first(self, channel: str, symbol: str, option: int | str, utc_ns: int) -> bytes:
        """Return the snapshot that begins a subscription."""
        feed = self._context.feed
        if channel == "book":
            assert isinstance(option, int)
            return feed.book_snapshot(symbol, option, utc_ns)
        if channel == "trade":
            return feed.trade_snapshot(symbol)
        if channel == "ticker":
            return feed.ticker(symbol, "snapshot", utc_ns)
        instruments = self._context.exchange.instruments
        pairs = [instrument_pair(pair, instruments[name].status) for name, pair in feed.pairs.items()]
        data = {"assets": [instrument_asset(asset) for asset in assets(feed.pairs.values()).values()], "pairs": pairs}
        return msgspec.json.encode({"channel": "instrument", "type": "snapshot", "data": data})

    def _subscribe_private(self, request: _Request, subscription: Subscription) -> None:
        key = self._key(request, Permission.OPEN, Permission.CLOSED, Permission.FUNDS, Permission.CANCEL, Permission.MODIFY)
        session, channel, options = request.session, subscription.channel, subscription.options
        if channel in session.feeds:
            raise KrakenError("Already subscribed")
        key.require(*((Permission.FUNDS,) if channel == "balances" else (Permission.OPEN, Permission.CLOSED)))
        account, reporter = self._context.exchange.accounts[key.account], self._context.reporter
        executions = Executions(options["order_status"], options["ratecounter"]) if channel == "executions" else None
        feed = session.feeds[channel] = PrivateFeed(key.account, subscription.token, executions)
        limit = {"maxratecount": TRADING_MAX // 1000} if channel == "executions" else {}
        self._reply(request, {"result": {"channel": channel, **limit, **options}})
        if channel == "balances":
            if options["snapshot"]:
                self._private(session, channel, "snapshot", reporter.balance_snapshot(account), feed, request.now_ns)
            return
        rows = reporter.order_snapshot(account) if options["snap_orders"] else []
        rows += reporter.fill_snapshot(account) if options["snap_trades"] else []
        if options["snap_orders"] or options["snap_trades"]:
            self._private(session, channel, "snapshot", rows, feed, request.now_ns)

    def _unsubscribe(self, request: _Request) -> None:
        subscription = read_subscription(request.params)
        channel, session = subscription.channel, request.session
        if channel in PRIVATE_CHANNELS:
            self._key(request, *Permission)
            if session.feeds.pop(channel, None) is None:
                raise KrakenError("Subscription not found")
            self._reply(request, {"result": {"channel": channel}})
            return
        for symbol in subscription.symbols if channel in SYMBOL_CHANNELS else [""]:
            named = {"symbol": symbol[:40]} if symbol else {}
            if session.topics.pop((channel, symbol), None) is None:
                self._reply(request, {"error": "Subscription not found", **named})
            else:
                depth = {"depth": subscription.options["depth"]} if channel == "book" else {}
                self._reply(request, {"result": {"channel": channel, **depth, **named}})

    def _trade(self, request: _Request) -> None:
        """Carry out a trading method: refused by fault, or carried out and its replies perhaps lost."""
        context, action = self._context, ACTIONS[request.method]
        key = self._key(request)
        refusal = context.faults.refusal(action)
        if refusal is not None:
            raise KrakenError(refusal_words(refusal.status))
        replies = context.trading.call(request.method, key, request.params, request.utc_ns)
        failed = msgspec.json.encode(self._envelope(request, {"error": "EGeneral:Internal error"}))
        for reply in replies:
            context.delivery.reply(request.session, msgspec.json.encode(self._envelope(request, reply)), action, failed, request.now_ns)

    def _key(self, request: _Request, *any_of: Permission) -> Key:
        """Return the key behind a request's token. Raises KrakenError."""
        session, token = request.session, request.params.get("token")
        key = self._context.keyring.key_of(token, request.utc_ns, token in session.tokens())
        if any_of:
            key.require(*any_of)
        session.private = True
        return key

    def _tell_execution(self, session: Session, feed: PrivateFeed, exec_type: str, row: Fields, event: Event, now_ns: int) -> None:
        wanted = feed.executions
        assert wanted is not None and event.order is not None
        if exec_type in TRANSITIONS and not wanted.order_status:
            return
        if wanted.ratecounter:
            row = {**row, "ratecount": self._context.reporter.rate_count(event.account, event.order.instrument.symbol, event.at_ns)}
        self._private(session, "executions", "update", [row], feed, now_ns)

    def _private(self, session: Session, channel: str, kind: str, rows: list[Fields], feed: PrivateFeed, now_ns: int) -> None:
        message = {"channel": channel, "type": kind, "data": rows, "sequence": feed.next_sequence()}
        self._context.delivery.send((session,), msgspec.json.encode(message), "private", now_ns)

    def _envelope(self, request: _Request, reply: Mapping[str, Any]) -> dict[str, Any]:
        """Return a reply with everything around it; what has an error has failed. A pong has no success."""
        success = {} if request.method == "pong" else {"success": "error" not in reply}
        stamp = rfc3339(request.utc_ns)
        number = {} if request.number is None else {"req_id": request.number}
        return {"method": request.method, **reply, **success, "time_in": stamp, "time_out": stamp, **number}

    def _reply(self, request: _Request, reply: Mapping[str, Any]) -> None:
        self._say(request.session, self._envelope(request, reply), request.now_ns)

    def _say(self, session: Session, reply: Mapping[str, Any], now_ns: int) -> None:
        self._context.delivery.send((session,), msgspec.json.encode(reply), "reply", now_ns)
