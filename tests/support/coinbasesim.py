"""The simulated Coinbase in virtual time, with clients that keep books and sign requests in ways of their own."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import random
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

from hft.sim.coinbase.keys import ALICE_KEY, secret_of
from hft.sim.coinbase.products import PRODUCTS, Product, flow
from hft.sim.coinbase.session import Session
from hft.sim.coinbase.venue import CoinbaseVenue
from hft.sim.exchange.customers import Customer
from hft.sim.market import Market
from hft.sim.player import Settings
from hft.sim.synthetic import SyntheticMarket
from hft.sim.venue import Opcode, Response

SECOND_NS = 1_000_000_000
WALL_NS = 1_800_000_000 * SECOND_NS


def market_of(symbols: Iterable[str], seed: int = 1, rate_per_s: float = 100.0) -> Callable[[], SyntheticMarket]:
    """Return what makes the venue's synthetic market."""
    names = list(symbols)
    return lambda: SyntheticMarket(
        [flow(PRODUCTS[name]) for name in names], [random.Random(f"{seed}:{name}").random for name in names], rate_per_s, seed
    )


class CoinbaseDriver:
    """A venue, and a virtual clock that goes from deadline to deadline."""

    def __init__(
        self,
        seed: int = 1,
        symbols: tuple[str, ...] = ("BTC-USD",),
        customers: tuple[Customer, ...] = (),
        make_market: Callable[[], Market] | None = None,
        products: tuple[Product, ...] = (),
        trades_take: bool = True,
        **settings: Any,
    ) -> None:
        self.now_ns = 0
        products = products or tuple(PRODUCTS[name] for name in symbols)
        make_market = make_market or market_of(symbols, seed)
        self.venue = CoinbaseVenue(make_market, Settings(**settings), WALL_NS, products, customers, trades_take)
        self.sent: dict[int, list[bytes]] = {}

    @property
    def utc_ns(self) -> int:
        return self.now_ns + WALL_NS

    def open(self) -> Session:
        self.venue.admit("/", {}, self.now_ns)
        session = self.venue.open(None, self.now_ns)
        self.sent[session.number] = []
        self.collect()
        return session

    def run(self, seconds: float, budget: int = 1000) -> None:
        until_ns = self.now_ns + int(seconds * SECOND_NS)
        while self.now_ns <= until_ns:
            played = self.venue.work(self.now_ns, budget)
            self.collect()
            if not played:
                self.now_ns = max(self.venue.deadline_ns(), self.now_ns + 1)
        self.now_ns = until_ns

    def collect(self) -> None:
        for session in self.venue.sessions():
            self.sent[session.number] += [payload for opcode, payload in session.outbox if opcode == Opcode.TEXT]
            session.outbox.clear()

    def say(self, session: Session, message: object) -> list[Any]:
        """Send a message and return everything that it makes the venue say to that session at once."""
        self.collect()
        begin = len(self.sent[session.number])
        self.venue.receive(session, Opcode.TEXT, message if isinstance(message, bytes) else json.dumps(message).encode(), self.now_ns)
        self.collect()
        return [json.loads(payload) for payload in self.sent[session.number][begin:]]

    def subscribe(self, session: Session, *channels: str, products: Iterable[str] = ("BTC-USD",), key: str = "") -> list[Any]:
        message: dict[str, Any] = {"type": "subscribe", "product_ids": list(products), "channels": list(channels)}
        return self.say(session, message | (signed_message(key, self.utc_ns) if key else {}))

    def followed(self, *channels: str, key: str = "", products: Iterable[str] = ("BTC-USD",)) -> Session:
        """Open a session and subscribe."""
        session = self.open()
        self.subscribe(session, *channels, key=key, products=products)
        return session

    def payloads(self, session: Session, *kinds: str) -> list[bytes]:
        """Return the messages of kinds so far."""
        return [payload for payload in self.sent[session.number] if json.loads(payload)["type"] in kinds]

    def messages(self, session: Session, *kinds: str) -> list[Any]:
        """Return all messages so far, or those of kinds."""
        found = [json.loads(payload) for payload in self.sent[session.number]]
        return [message for message in found if not kinds or message["type"] in kinds]

    def request(self, method: str, target: str, key: str = "", body: object = None, **headers: str) -> Response:
        """Send a request, signed if there is a key."""
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        known = {"user-agent": "test", **(signed(key, method, target, data, self.utc_ns) if key else {}), **headers}
        return self.venue.request(method, target, known, data, self.now_ns)

    def get(self, target: str, key: str = "") -> Any:
        response = self.request("GET", target, key)
        assert response.status == 200, response
        return json.loads(response.body)

    def refusal(self, method: str, target: str, key: str = "", body: object = None) -> tuple[int, str]:
        """Return status and message of a request that is refused."""
        response = self.request(method, target, key, body)
        return response.status, json.loads(response.body)["message"]

    def place(self, key: str = ALICE_KEY, **fields: object) -> Any:
        """Place an order; return its row."""
        asked = {"type": "limit", "side": "buy", "product_id": "BTC-USD", **fields}
        response = self.request("POST", "/orders", key, {name: str(v) if isinstance(v, Decimal) else v for name, v in asked.items()})
        assert response.status == 200, response
        return json.loads(response.body)

    def fault(self, **fault: object) -> None:
        response = self.venue.control("POST", "/fault", json.dumps(fault).encode(), self.now_ns)
        assert response.status == 200, response.body

    def state(self) -> Any:
        return json.loads(self.venue.control("GET", "/state", b"", self.now_ns).body)

    def book(self, symbol: str = "BTC-USD") -> Any:
        return json.loads(self.venue.control("GET", f"/book?symbol={symbol}", b"", self.now_ns).body)

    def best(self, symbol: str = "BTC-USD") -> tuple[Decimal, Decimal]:
        book = self.book(symbol)
        return Decimal(book["bids"][0][0]), Decimal(book["asks"][0][0])

    def inside(self, symbol: str = "BTC-USD") -> Decimal:
        """Let the market run until its spread has room; return the price just below the best ask."""
        bid, ask = self.best(symbol)
        while ask - bid < Decimal("0.02"):
            self.run(0.5)
            bid, ask = self.best(symbol)
        return ask - Decimal("0.01")


def seconds_text(utc_ns: int) -> str:
    return f"{utc_ns // SECOND_NS}.{utc_ns % SECOND_NS // 1000:06d}"


def signature(secret: str, message: bytes) -> str:
    """Sign, from the documentation's words alone."""
    return base64.b64encode(hmac.new(base64.b64decode(secret), message, hashlib.sha256).digest()).decode()


def signed(key: str, method: str, target: str, body: bytes, utc_ns: int, secret: str = "", passphrase: str = "") -> dict[str, str]:
    """Return the headers of a signed request."""
    timestamp = seconds_text(utc_ns)
    return {
        "cb-access-key": key,
        "cb-access-sign": signature(secret or secret_of(key), f"{timestamp}{method}{target}".encode() + body),
        "cb-access-timestamp": timestamp,
        "cb-access-passphrase": passphrase or key.partition("-")[0],
    }


def signed_message(key: str, utc_ns: int) -> dict[str, str]:
    """Return what signs a `subscribe`."""
    timestamp = seconds_text(utc_ns)
    return {
        "key": key,
        "signature": signature(secret_of(key), f"{timestamp}GET/users/self/verify".encode()),
        "timestamp": timestamp,
        "passphrase": key.partition("-")[0],
    }


class LevelFollower:
    """A client's book of `level2`."""

    def __init__(self) -> None:
        self.sides: dict[str, dict[Decimal, Decimal]] = {}
        self.updates = self.crossed = 0

    def message(self, payload: bytes) -> None:
        message = json.loads(payload)
        if message["type"] == "snapshot":
            self.sides = {side: {Decimal(p): Decimal(q) for p, q in message[name]} for side, name in (("buy", "bids"), ("sell", "asks"))}
            return
        self.updates += 1
        for side, price, size in message["changes"]:
            self.sides[side][Decimal(price)] = Decimal(size)
            if not Decimal(size):
                del self.sides[side][Decimal(price)]
        self.crossed += max(self.sides["buy"]) >= min(self.sides["sell"])

    def levels(self) -> tuple[list[tuple[Decimal, Decimal]], list[tuple[Decimal, Decimal]]]:
        return sorted(self.sides["buy"].items(), reverse=True), sorted(self.sides["sell"].items())


class OrderFollower:
    """A client's book of `full`: the documentation's steps."""

    def __init__(self) -> None:
        self.queued: list[Any] = []
        self.orders: dict[str, tuple[str, Decimal, Decimal]] = {}  #: id -> side, price, size
        self.sequence = 0
        self.gaps = 0

    def snapshot(self, book: Any) -> None:
        self.sequence = book["sequence"]
        self.orders = {
            order_id: (side, Decimal(price), Decimal(size))
            for name, side in (("bids", "buy"), ("asks", "sell"))
            for price, size, order_id in book[name]
        }
        queued, self.queued = self.queued, []
        for message in queued:
            self.message(message)

    def message(self, message: Any) -> None:
        if not self.sequence:
            self.queued.append(message)
            return
        if message["sequence"] <= self.sequence:
            return
        self.gaps += message["sequence"] != self.sequence + 1
        self.sequence = message["sequence"]
        kind = message["type"]
        if kind == "open":
            self.orders[message["order_id"]] = message["side"], Decimal(message["price"]), Decimal(message["remaining_size"])
        elif kind == "match":
            side, price, size = self.orders[message["maker_order_id"]]
            assert price == Decimal(message["price"]) and side == message["side"]
            self.orders[message["maker_order_id"]] = side, price, size - Decimal(message["size"])
        elif kind == "done" and message["order_id"] in self.orders:
            assert self.orders.pop(message["order_id"])[2] == Decimal(message["remaining_size"])
        elif kind == "change" and message["order_id"] in self.orders:
            side, price, size = self.orders[message["order_id"]]
            assert size == Decimal(message["old_size"])
            self.orders[message["order_id"]] = side, Decimal(message["new_price"]), Decimal(message["new_size"])

    def levels(self) -> tuple[list[tuple[Decimal, Decimal]], list[tuple[Decimal, Decimal]]]:
        sides: dict[str, dict[Decimal, Decimal]] = {"buy": {}, "sell": {}}
        for side, price, size in self.orders.values():
            sides[side][price] = sides[side].get(price, Decimal(0)) + size
        return sorted(sides["buy"].items(), reverse=True), sorted(sides["sell"].items())


def levels_of(book: Any) -> tuple[list[tuple[Decimal, Decimal]], list[tuple[Decimal, Decimal]]]:
    """Return the levels of a book of the control port."""
    return tuple([(Decimal(level[0]), Decimal(level[1])) for level in book[name]] for name in ("bids", "asks"))  # type: ignore[return-value]
