"""Venue sides: the simulated venues as an execution stage meets them in virtual time, each behind one face."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, ClassVar

from hft.config import Config
from hft.sim.synthetic import SPECS, SyntheticMarket
from hft.sim.venue import Opcode, Response
from hft.venues.coinbase.account_rows import client_oid
from hft.venues.interface import Call
from processes.calls import Answer
from processes.venue_stage import installation
from support.coinbasesim import CoinbaseDriver
from support.engine import paper_config
from support.feed_desk import to_venue
from support.krakensim import KrakenDriver
from support.virtual_venue import VirtualVenue

Sections = dict[str, Any]


class Side:
    """One venue: its clock, its private connection, its REST, and what it holds of the account."""

    name: str
    account: str  #: whose key the stage has
    symbol: str
    path = ""  #: of the private connection's URL
    options: ClassVar[Sections] = {}  #: keys of the execution section beyond those of all venues
    far_bid: int  #: ticks: a bid here rests
    near_ask: int  #: ticks: a bid here takes
    lots: int  #: a small order
    lot: Decimal
    amends = False  #: whether a REPLACE changes the order in place, which keeps its first id
    answered_s = 5  #: how long it may take until all that is known of an order was asked
    driver: Any

    @property
    def stage(self) -> str:
        return f"execution.{self.name}"

    @property
    def now_ns(self) -> int:
        now_ns: int = self.driver.now_ns
        return now_ns

    def to_venue(self, sections: Sections) -> None:
        """Make paper.toml one with this venue only."""

    def config(self, key_file: str) -> Config:
        """paper.toml with orders that go to this venue."""

        def change(sections: Sections) -> None:
            self.to_venue(sections)
            sections["execution"][self.name] = {
                "kind": "venue",
                "order_url": f"ws://127.0.0.1{self.path}",
                "rest_url": "http://127.0.0.1",
                "credentials": key_file,
                "transport": "picows",
                "ack_timeout_ms": 500,
                "query_pause_ms": 100,
                **self.options,
            }

        return paper_config(change)

    def open(self) -> Any:
        """The venue's end of a new connection."""
        return self.driver.open()

    def client_id(self, order_id: int) -> str:
        """What the venue calls an order of ours."""
        return f"{order_id:016x}"

    def receive(self, session: Any, text: bytes) -> None:
        """Give the venue a message."""
        self.driver.venue.receive(session, Opcode.TEXT, text, self.now_ns)

    def heard(self, session: Any) -> list[bytes]:
        """Take the messages that the venue sent since the last look."""
        self.driver.collect()
        heard, self.driver.sent[session.number] = self.driver.sent[session.number], []
        return list(heard)

    def request(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Response:
        """Make a REST request; `headers` has lower-case names."""
        response: Response = self.driver.venue.request(method, target, headers, body, self.now_ns)
        return response

    def held(self) -> Sections:
        """What the venue itself holds of the account."""
        found: Sections = self.driver.state()["exchange"]["accounts"][self.account]
        return found

    def traded(self) -> Decimal:
        """Net size that the account has traded, in the base asset."""
        return Decimal(self.held()["traded"].get(self.symbol, "0"))

    def calls(self) -> SideCalls:
        """What makes the stage's REST requests."""
        return SideCalls(self)


class SideCalls:
    """Stands in for Calls: every request reaches the venue at once, and is answered at the next look unless it is not heard."""

    def __init__(self, side: Side) -> None:
        self._side = side
        self._answers: list[Answer] = []
        self.made: list[Call] = []
        self.hears = True

    def add(self, calls: Any) -> None:
        for call in calls:
            self.made.append(call)
            headers = {name.lower(): value for name, value in call.headers}
            response = self._side.request(call.method, call.target, headers, call.body)
            self._answers.append(Answer(call.tag, response.status, response.body) if self.hears else Answer(call.tag, 0, b""))

    def poll(self, now_ns: int) -> list[Answer]:
        answers, self._answers = self._answers, []
        return answers

    def close(self) -> None:
        self._answers.clear()


class BinanceSide(Side):
    """The simulated Binance and bob's account."""

    name, account, symbol, path = "binance", "bob", "BTCUSDT", "/ws-api/v3"
    far_bid, near_ask, lots, lot = 5_000_000, 7_000_000, 1000, Decimal("0.00001")

    def __init__(self) -> None:
        self.driver = VirtualVenue(lambda: SyntheticMarket([SPECS["BTCUSDT"], SPECS["ETHUSDT"]], [random.Random(n).random for n in "12"]))

    def open(self) -> Any:
        session = self.driver.venue.open(self.driver.venue.admit(self.path, {}, self.now_ns), self.now_ns)
        self.driver.sent[session.number] = []
        return session

    def heard(self, session: Any) -> list[bytes]:
        self.driver.collect()
        heard, self.driver.sent[session.number] = self.driver.sent[session.number], []
        return [payload for opcode, payload in heard if opcode == Opcode.TEXT]


class KrakenSide(Side):
    """The simulated Kraken and alice's account, which has no other tier than the highest."""

    name, account, symbol, path = "kraken", "alice", "BTC/USD", "/v2"
    options: ClassVar[Sections] = {"tier": "pro", "dead_man_s": 60}
    far_bid, near_ask, lots, lot, amends = 500_000, 700_000, 1_000_000, Decimal("0.00000001"), True

    def __init__(self) -> None:
        self.driver = KrakenDriver()

    def to_venue(self, sections: Sections) -> None:
        to_venue(sections, "kraken", "BTC/USD", "0.1", depth=100)


class CoinbaseSide(Side):
    """The simulated Coinbase and alice's account; orders are HTTP requests."""

    name, account, symbol, path = "coinbase", "alice", "BTC-USD", "/"
    far_bid, near_ask, lots, lot = 5_000_000, 7_000_000, 1_000_000, Decimal("0.00000001")

    def __init__(self) -> None:
        self.driver = CoinbaseDriver()

    def to_venue(self, sections: Sections) -> None:
        to_venue(sections, "coinbase", "BTC-USD", "0.01")

    def client_id(self, order_id: int) -> str:
        return client_oid(installation(), order_id)


SIDES: dict[str, Callable[[], Side]] = {"binance": BinanceSide, "coinbase": CoinbaseSide, "kraken": KrakenSide}
