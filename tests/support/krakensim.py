"""The simulated Kraken in virtual time, with clients that keep books and sign requests in ways of their own."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import random
import zlib
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from hft.sim.exchange.customers import Customer
from hft.sim.kraken.keys import ALICE_KEY, ALICE_SECRET, secret_of
from hft.sim.kraken.pairs import PAIRS, flow
from hft.sim.kraken.session import Session
from hft.sim.kraken.venue import KrakenVenue
from hft.sim.player import Settings
from hft.sim.synthetic import SyntheticMarket
from hft.sim.venue import Opcode

SECOND_NS = 1_000_000_000
WALL_NS = 1_800_000_000 * SECOND_NS


def market_of(symbols: Iterable[str], seed: int = 1, rate_per_s: float = 100.0) -> Callable[[], SyntheticMarket]:
    """Return what makes the venue's synthetic market."""
    names = list(symbols)
    return lambda: SyntheticMarket(
        [flow(PAIRS[name]) for name in names], [random.Random(f"{seed}:{name}").random for name in names], rate_per_s, seed
    )


def exact(payload: bytes) -> Any:
    """Decode JSON with its numbers as they are written."""
    return json.loads(payload, parse_float=Decimal, parse_int=int)


class KrakenDriver:
    """A venue, and a virtual clock that goes from deadline to deadline."""

    def __init__(
        self, seed: int = 1, symbols: tuple[str, ...] = ("BTC/USD",), customers: tuple[Customer, ...] = (), **settings: Any
    ) -> None:
        self.now_ns = 0
        self.venue = KrakenVenue(market_of(symbols, seed), Settings(**settings), WALL_NS, symbols, customers)
        self.sent: dict[int, list[bytes]] = {}
        self.nonce = 0

    @property
    def utc_ns(self) -> int:
        return self.now_ns + WALL_NS

    def open(self) -> Session:
        self.venue.admit("/v2", {}, self.now_ns)
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

    def ask(self, session: Session, request: object) -> list[Any]:
        """Send a request and return everything that it makes the venue say to that session at once."""
        self.collect()
        begin = len(self.sent[session.number])
        body = request if isinstance(request, bytes) else json.dumps(request, default=_plain).encode()
        self.venue.receive(session, Opcode.TEXT, body, self.now_ns)
        self.collect()
        return [exact(payload) for payload in self.sent[session.number][begin:]]

    def messages(self, session: Session, channel: str = "") -> list[Any]:
        """Return all data messages so far, or those of a channel."""
        found = [exact(payload) for payload in self.sent[session.number]]
        return [message for message in found if "channel" in message and channel in ("", message["channel"])]

    def subscribe(self, session: Session, channel: str, **params: object) -> list[Any]:
        if channel in ("executions", "balances"):
            params.setdefault("token", self.token())
        return self.ask(session, {"method": "subscribe", "params": {"channel": channel, **params}, "req_id": 7})

    def trade(self, session: Session, method: str, token: str, **params: object) -> list[Any]:
        """Send a trading request; return its replies without the data that follows them."""
        said = self.ask(session, {"method": method, "params": {**params, "token": token}, "req_id": 8})
        return [message for message in said if "method" in message]

    def get(self, target: str) -> Any:
        response = self.venue.request("GET", target, {}, b"", self.now_ns)
        assert response.status == 200
        return exact(response.body)

    def private(self, method: str, key: str = ALICE_KEY, **fields: object) -> Any:
        """Send a signed request; a nonce may be among the fields."""
        response = self.venue.request(*signed(method, key, {"nonce": self.next_nonce(), **fields}), self.now_ns)
        assert response.status == 200, response
        return exact(response.body)

    def next_nonce(self) -> int:
        self.nonce += 1
        return self.nonce

    def token(self, key: str = ALICE_KEY) -> str:
        token: str = self.private("GetWebSocketsToken", key)["result"]["token"]
        return token

    def fault(self, **fault: object) -> None:
        response = self.venue.control("POST", "/fault", json.dumps(fault).encode(), self.now_ns)
        assert response.status == 200, response.body

    def state(self) -> Any:
        return json.loads(self.venue.control("GET", "/state", b"", self.now_ns).body)

    def best(self, symbol: str = "BTC/USD") -> tuple[Decimal, Decimal]:
        book = json.loads(self.venue.control("GET", f"/book?symbol={symbol}", b"", self.now_ns).body)
        return Decimal(book["bids"][0][0]), Decimal(book["asks"][0][0])


def signed(method: str, key: str, fields: dict[str, object], secret: str = "") -> tuple[str, str, dict[str, str], bytes]:
    """Return a private request, signed from the documentation's words alone: method, target, headers, body."""
    path, body = f"/0/private/{method}", urlencode(fields)
    secret = secret or (ALICE_SECRET if key == ALICE_KEY else secret_of(key))
    inner = hashlib.sha256(f"{fields['nonce']}{body}".encode()).digest()
    signature = base64.b64encode(hmac.new(base64.b64decode(secret), path.encode() + inner, hashlib.sha512).digest()).decode()
    headers = {"api-key": key, "api-sign": signature, "content-type": "application/x-www-form-urlencoded; charset=utf-8"}
    return "POST", path, headers, body.encode()


class BookFollower:
    """A client's book of one pair, as the documentation says to keep it: apply in order, cut to the depth, then check."""

    def __init__(self, depth: int, cuts_after_each_level: bool = False) -> None:
        self.depth = depth
        self.sides: dict[str, dict[Decimal, tuple[str, str]]] = {"bids": {}, "asks": {}}
        self.checked = 0
        self._early = cuts_after_each_level

    def message(self, payload: bytes) -> bool:
        """Take a message; return whether the checksum holds."""
        message = json.loads(payload, parse_float=str, parse_int=str)
        (data,) = message["data"]
        if message["type"] == "snapshot":
            self.sides = {"bids": {}, "asks": {}}
        for name in ("asks", "bids"):
            for level in data[name]:
                if Decimal(level["qty"]):
                    self.sides[name][Decimal(level["price"])] = (level["price"], level["qty"])
                else:
                    self.sides[name].pop(Decimal(level["price"]), None)
                if self._early:
                    self._cut(name)
            self._cut(name)
        self.checked += 1
        return self.checksum() == int(data["checksum"])

    def levels(self, name: str) -> list[tuple[str, str]]:
        """Return a side, best first."""
        side = self.sides[name]
        return [side[price] for price in sorted(side, reverse=name == "bids")]

    def checksum(self) -> int:
        levels = [*self.levels("asks")[:10], *self.levels("bids")[:10]]
        return zlib.crc32("".join(text.replace(".", "").lstrip("0") for level in levels for text in level).encode())

    def _cut(self, name: str) -> None:
        side = self.sides[name]
        for price in sorted(side, reverse=name == "bids")[self.depth :]:
            del side[price]


def _plain(value: object) -> object:
    if isinstance(value, Decimal):
        return float(value)
    raise TypeError(type(value))
