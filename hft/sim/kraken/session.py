"""A Kraken session is one client's WebSocket: what it subscribes to, when it is due a heartbeat, and when it has been idle too long."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from hft.sim.kraken.book import DEPTHS
from hft.sim.kraken.feed import Topic
from hft.sim.kraken.reports import Executions
from hft.sim.kraken.wire import KrakenError
from hft.sim.texts import SECOND_NS
from hft.sim.venue import IDLE_NS, Close, Opcode

HEARTBEAT_NS = SECOND_NS
IDLE_LIMIT_NS = 60 * SECOND_NS
SYMBOL_CHANNELS = ("book", "trade", "ticker")
PRIVATE_CHANNELS = ("executions", "balances")
#: channel -> parameters that a subscription takes, and their defaults
PARAMETERS: Mapping[str, Mapping[str, object]] = {
    "book": {"depth": 10, "snapshot": True},
    "trade": {"snapshot": True},
    "ticker": {"event_trigger": "trades", "snapshot": True},
    "instrument": {"snapshot": True},
    "executions": {"order_status": True, "ratecounter": False, "snap_orders": True, "snap_trades": False},
    "balances": {"snapshot": True},
}


class PrivateFeed:
    """A private subscription: whose, and its own sequence."""

    def __init__(self, account: str, token: str, executions: Executions | None = None) -> None:
        self.account, self.token, self.executions = account, token, executions
        self._sequence = 0

    def next_sequence(self) -> int:
        """Return the number of the next message."""
        self._sequence += 1
        return self._sequence


class Session:
    """One connection."""

    def __init__(self, number: int, now_ns: int) -> None:
        self.number = number
        #: (opcode, payload) to send, oldest first; the driver empties it.
        self.outbox: list[tuple[Opcode, bytes]] = []
        self.close: Close | None = None
        self.stalled_until_ns = 0
        #: Whether it has shown a token.
        self.private = False
        #: (channel, symbol) -> depth of a book, trigger of a ticker, else 0; symbol is empty where the channel takes none
        self.topics: dict[tuple[str, str], int | str] = {}
        #: channel -> feed
        self.feeds: dict[str, PrivateFeed] = {}
        self._heartbeat_ns = IDLE_NS
        self._heard_ns = now_ns

    def heard(self, now_ns: int) -> None:
        """Note that the client sent something."""
        self._heard_ns = now_ns

    @property
    def subscribed(self) -> bool:
        """Whether anything is subscribed."""
        return bool(self.topics or self.feeds)

    @property
    def watches(self) -> bool:
        """Whether it subscribes to anything public."""
        return bool(self.topics)

    def summary(self) -> dict[str, object]:
        """Return what it subscribes to, for people."""
        return {"topics": [":".join(topic) for topic in self.topics], "feeds": list(self.feeds)}

    def settle(self, now_ns: int) -> None:
        """Begin or end the heartbeats after subscriptions changed."""
        if not self.subscribed:
            self._heartbeat_ns = IDLE_NS
        elif self._heartbeat_ns == IDLE_NS:
            self._heartbeat_ns = now_ns + HEARTBEAT_NS

    def due_ns(self) -> int:
        """Return when `tick` has something to do."""
        return self._heartbeat_ns if self.subscribed else self._heard_ns + IDLE_LIMIT_NS

    def tick(self, now_ns: int) -> None:
        """Send a heartbeat that is due; end a connection that subscribes to nothing and says nothing."""
        if now_ns < self.due_ns():
            return
        if not self.subscribed:
            self.close = self.close or Close(1000, "idle")
            return
        self.outbox.append((Opcode.TEXT, b'{"channel":"heartbeat"}'))
        self._heartbeat_ns = max(self._heartbeat_ns + HEARTBEAT_NS, now_ns + 1)

    def topic(self, channel: str, symbol: str) -> Topic:
        """Return a subscription under the key by which messages find it."""
        return (channel, symbol, self.topics[channel, symbol])

    def tokens(self) -> set[str]:
        """Return the tokens with which subscriptions were made."""
        return {feed.token for feed in self.feeds.values()}


class Subscription(NamedTuple):
    """A checked request to subscribe or unsubscribe."""

    channel: str
    symbols: list[str]
    options: dict[str, Any]  #: all of PARAMETERS, given or default
    token: str


def read_subscription(params: Mapping[str, Any]) -> Subscription:
    """Check a request's parameters, but not its symbols. Raises KrakenError."""
    channel = params.get("channel")
    if not isinstance(channel, str) or channel not in PARAMETERS:
        raise KrakenError("Channel not available" if channel in ("ohlc", "level3") else "Channel not found")
    known = PARAMETERS[channel]
    with_symbols = channel in SYMBOL_CHANNELS
    allowed = {"channel", *known, *(("symbol",) if with_symbols else ()), *(("token",) if channel in PRIVATE_CHANNELS else ())}
    unknown = [name for name in params if name not in allowed]
    if unknown:
        raise KrakenError(f"Unsupported field: '{unknown[0][:40]}' for the given msg type: subscribe {channel}")
    options = {name: params.get(name, default) for name, default in known.items()}
    for name, default in known.items():
        if isinstance(default, bool) and not isinstance(options[name], bool):
            raise KrakenError(f"Invalid value for field: '{name}'")
    if channel == "book" and (isinstance(options["depth"], Decimal | bool) or options["depth"] not in DEPTHS):
        raise KrakenError("Subscription depth not supported")
    if channel == "ticker" and options["event_trigger"] not in ("trades", "bbo"):
        raise KrakenError("Invalid value for field: 'event_trigger'")
    symbols = params.get("symbol", [])
    if with_symbols and (not isinstance(symbols, list) or not symbols or not all(isinstance(name, str) for name in symbols)):
        raise KrakenError("Symbol(s) not found")
    token = params.get("token", "")
    return Subscription(channel, symbols, options, token if isinstance(token, str) else "")


def topic_option(subscription: Subscription) -> int | str:
    """Return what distinguishes subscriptions of a channel: the depth, the trigger, or nothing."""
    option = subscription.options.get("depth", subscription.options.get("event_trigger", 0))
    assert isinstance(option, int | str)
    return option
