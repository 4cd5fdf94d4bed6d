"""A Coinbase session is one client's WebSocket: what it subscribes to, when it is due a heartbeat, and when it must have subscribed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from hft.sim.coinbase.feed import Topic
from hft.sim.coinbase.wire import CoinbaseError
from hft.sim.rates import RateCounter
from hft.sim.texts import SECOND_NS
from hft.sim.venue import IDLE_NS, Close, Opcode

HEARTBEAT_NS = SECOND_NS
STATUS_NS = 5 * SECOND_NS
#: A client that has not subscribed after this long is cut.
SUBSCRIBE_LIMIT_NS = 5 * SECOND_NS
#: Channels that the market moves.
MARKET_CHANNELS = ("level2", "level2_batch", "full", "matches", "ticker")
#: Channels that are given to authenticated subscribers only.
PRIVATE_CHANNELS = ("level2", "full", "user")
CHANNELS = (*MARKET_CHANNELS, "user", "heartbeat", "status")
#: Older names of channels.
ALIASES = {"level2_50": "level2_batch"}


class Says(NamedTuple):
    """What a session says by time alone; both take the time."""

    heartbeat: Callable[[str, int], bytes]
    status: Callable[[], bytes]


class Session:
    """One connection."""

    def __init__(self, number: int, now_ns: int, rate: RateCounter, says: Says) -> None:
        self.number = number
        #: (opcode, payload) to send, oldest first; the driver empties it.
        self.outbox: list[tuple[Opcode, bytes]] = []
        self.close: Close | None = None
        self.stalled_until_ns = 0
        #: Whether it subscribes to `user`.
        self.private = False
        #: (channel, product), in the order of subscription, of `status` without a product -> account whose key signed it, or ""
        self.topics: dict[Topic, str] = {}
        self.rate = rate
        self._says = says
        self._subscribe_by_ns = now_ns + SUBSCRIBE_LIMIT_NS
        self._heartbeat_ns = self._status_ns = IDLE_NS

    @property
    def watches(self) -> bool:
        """Whether it subscribes to anything that the market moves."""
        return any(channel in MARKET_CHANNELS for channel, _ in self.topics)

    def summary(self) -> dict[str, object]:
        """Return what it subscribes to, for people."""
        return {"topics": [":".join(topic) for topic in self.topics], "accounts": sorted(filter(None, set(self.topics.values())))}

    def products(self, channel: str) -> list[str]:
        """Return the products of a channel that it subscribes to."""
        return [product for name, product in self.topics if name == channel]

    def settle(self, now_ns: int) -> None:
        """Begin or end what comes by time alone, after subscriptions changed."""
        self.private = any(channel == "user" for channel, _ in self.topics)
        if self.topics:
            self._subscribe_by_ns = IDLE_NS
        if not self.products("heartbeat"):
            self._heartbeat_ns = IDLE_NS
        elif self._heartbeat_ns == IDLE_NS:
            self._heartbeat_ns = now_ns + HEARTBEAT_NS
        if ("status", "") not in self.topics:
            self._status_ns = IDLE_NS
        elif self._status_ns == IDLE_NS:
            self._status_ns = now_ns + STATUS_NS

    def due_ns(self) -> int:
        """Return when `tick` has something to do."""
        return min(self._subscribe_by_ns, self._heartbeat_ns, self._status_ns)

    def tick(self, now_ns: int) -> None:
        """Say what is due; end a connection that did not subscribe in time."""
        if now_ns >= self._subscribe_by_ns:
            self.close = self.close or Close(1008, "no subscription")
            return
        if now_ns >= self._heartbeat_ns:
            self.outbox += [(Opcode.TEXT, self._says.heartbeat(product, now_ns)) for product in self.products("heartbeat")]
            self._heartbeat_ns = max(self._heartbeat_ns + HEARTBEAT_NS, now_ns + 1)
        if now_ns >= self._status_ns:
            self.outbox.append((Opcode.TEXT, self._says.status()))
            self._status_ns = max(self._status_ns + STATUS_NS, now_ns + 1)


class Subscription(NamedTuple):
    """A checked request to subscribe or unsubscribe."""

    begins: bool
    #: channel -> products, as far as they are named
    channels: Mapping[str, list[str]]
    signed: bool  #: whether it carries a signature


def read_subscription(message: Mapping[str, Any]) -> Subscription:
    """Check a request's form, but not its products. Raises CoinbaseError."""
    kind = message.get("type")
    if kind not in ("subscribe", "unsubscribe"):
        raise CoinbaseError(400, "Type has to be either subscribe or unsubscribe")
    everywhere = _products(message)
    given = message.get("channels")
    if not isinstance(given, list) or not given:
        raise CoinbaseError(400, "No channels provided")
    channels: dict[str, list[str]] = {}
    for each in given:
        name = each.get("name") if isinstance(each, dict) else each
        own = _products(each) if isinstance(each, dict) else []
        channel = ALIASES.get(name, name) if isinstance(name, str) else ""
        if channel not in CHANNELS:
            raise CoinbaseError(400, f"{str(name)[:40]} is not a valid channel")
        known = channels.setdefault(channel, [])
        known += [product for product in (*everywhere, *own) if product not in known]
    return Subscription(kind == "subscribe", channels, any(name in message for name in ("key", "signature", "passphrase")))


def _products(holder: Mapping[str, Any]) -> list[str]:
    products = holder.get("product_ids") or []
    if not isinstance(products, list) or not all(isinstance(product, str) for product in products):
        raise CoinbaseError(400, "product_ids must be a list of texts")
    return list(dict.fromkeys(products))
