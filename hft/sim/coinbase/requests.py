"""Coinbase's socket requests: subscriptions, their confirmation, and the first messages of channels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from hft.sim.coinbase.feed import PublicFeed, Topic
from hft.sim.coinbase.keys import Keyring, Permission
from hft.sim.coinbase.rates import message_fits
from hft.sim.coinbase.session import PRIVATE_CHANNELS, Session, Subscription, read_subscription
from hft.sim.coinbase.wire import CoinbaseError
from hft.sim.delivery import Delivery
from hft.sim.texts import decode_json
from hft.sim.venue import Close

#: Subscriptions of one account to the same channel and product.
SAME_MAX = 10
FAILED, UNAUTHENTICATED = "Failed to subscribe", "Authentication Failed"
NEEDS_AUTHENTICATION = {
    "user": "user channel requires authentication",
    **dict.fromkeys(
        ("level2", "full"),
        "level2, level3, and full channels now require authentication. https://docs.cdp.coinbase.com/exchange/docs/websocket-auth",
    ),
}


class Context(NamedTuple):
    """The venue's parts that requests reach."""

    feed: PublicFeed
    keyring: Keyring
    delivery: Delivery
    status: Callable[[], bytes]  #: the message of channel `status`
    unlimited: bool


class RequestFront:
    """Takes the requests of all sessions."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def take(self, session: Session, payload: bytes, sessions: Sequence[Session], now_ns: int, utc_ns: int) -> None:
        """Answer one text message."""
        if not message_fits(session.rate, now_ns):
            self._say(session, {"type": "error", "message": "ErrSlowRead", "reason": "too many messages"}, now_ns)
            session.close = Close(1008, "ErrSlowRead")
            return
        try:
            message = decode_json(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            message = None
        if not isinstance(message, dict):
            self._say(session, {"type": "error", "message": "Malformed JSON"}, now_ns)
            return
        try:
            subscription = read_subscription(message)
        except CoinbaseError as error:
            self._say(session, {"type": "error", "message": FAILED, "reason": str(error)}, now_ns)
            return
        account = ""
        if subscription.signed and subscription.begins:
            try:
                key = self._context.keyring.authenticate_message(message, utc_ns)
                key.require(Permission.VIEW, Permission.TRADE)
                account = key.account
            except CoinbaseError as error:
                reason = msgspec.json.encode({"message": str(error)}).decode()
                self._say(session, {"type": "error", "message": UNAUTHENTICATED, "reason": reason}, now_ns)
                return
        try:
            self._change(session, subscription, account, sessions, now_ns)
        except CoinbaseError as error:
            self._say(session, {"type": "error", "message": FAILED, "reason": str(error)}, now_ns)

    def _change(self, session: Session, subscription: Subscription, account: str, sessions: Sequence[Session], now_ns: int) -> None:
        """Subscribe or unsubscribe, as a whole. Raises CoinbaseError."""
        topics = [topic for channel, products in subscription.channels.items() for topic in self._topics(channel, products, subscription)]
        if not subscription.begins:
            for topic in topics:
                session.topics.pop(topic, None)
            self._confirm(session, now_ns)
            return
        for channel in subscription.channels:
            if channel in PRIVATE_CHANNELS and not account:
                raise CoinbaseError(401, NEEDS_AUTHENTICATION[channel])
        new = [topic for topic in topics if topic not in session.topics]
        if account and not self._context.unlimited:
            self._check_number(new, account, sessions)
        session.topics |= dict.fromkeys(new, account)
        self._confirm(session, now_ns)
        for channel, product in new:
            self._begin(session, channel, product, now_ns)

    def _topics(self, channel: str, products: list[str], subscription: Subscription) -> list[Topic]:
        """Return the topics of a channel: of all products when none is named, where that may be."""
        if channel == "status":
            return [("status", "")]
        known = self._context.feed.products
        wrong = [product for product in products if product not in known]
        if wrong and subscription.begins:
            raise CoinbaseError(400, f"{wrong[0][:40]} is not a valid product")
        if not products and subscription.begins and channel != "user":
            raise CoinbaseError(400, f"No products provided for channel {channel}")
        return [(channel, product) for product in products or known]

    def _check_number(self, new: list[Topic], account: str, sessions: Sequence[Session]) -> None:
        for topic in new:
            if sum(session.topics.get(topic) == account for session in sessions) >= SAME_MAX:
                raise CoinbaseError(429, f"more than {SAME_MAX} subscriptions to {topic[0]} of {topic[1]}")

    def _confirm(self, session: Session, now_ns: int) -> None:
        names = dict.fromkeys(channel for channel, _ in session.topics)
        channels = [
            {"name": name, "product_ids": [product for product in session.products(name) if product], "account_ids": None} for name in names
        ]
        self._say(session, {"type": "subscriptions", "channels": channels}, now_ns)

    def _begin(self, session: Session, channel: str, product: str, now_ns: int) -> None:
        """Say what begins a subscription."""
        feed, delivery = self._context.feed, self._context.delivery
        if channel in ("level2", "level2_batch"):
            delivery.send((session,), feed.snapshot(product), "book", now_ns, product)
            return
        first = b""
        if channel == "matches":
            first = feed.last_match(product)
        elif channel == "ticker":
            first = feed.feeds[product].last_ticker
        elif channel == "status":
            first = self._context.status()
        if first:
            delivery.send((session,), first, "public", now_ns, product)

    def _say(self, session: Session, reply: dict[str, object], now_ns: int) -> None:
        self._context.delivery.send((session,), msgspec.json.encode(reply), "reply", now_ns)
