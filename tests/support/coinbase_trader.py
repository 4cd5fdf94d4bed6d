"""The engine's own Coinbase code at the simulated venue, in virtual time: a feed that keeps books, and a trader with one account."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hft.book import best_ticks, book_at, level_lots, worse_ticks
from hft.counters import FeedCounter
from hft.records import MARKET, ORDER, VENUE_EVENT, IntentKind, MarketFlag, MarketKind, Side, TimeInForce
from hft.sim.coinbase.keys import ALICE_KEY, secret_of
from hft.sim.coinbase.session import Session
from hft.sim.venue import Ending, Opcode
from hft.venues.book_feed import SHUTDOWN, SYNCED, WANTS_SYNC
from hft.venues.coinbase.account import CoinbaseAccount
from hft.venues.coinbase.feed import new_feed, on_disconnect, on_frame, on_snapshot, on_timer
from hft.venues.coinbase.market import CoinbaseMarket
from hft.venues.coinbase.orders import REQUEST_BYTES_MAX, encode, encode_market, new_codec
from hft.venues.coinbase.private import scan_private, scan_response
from hft.venues.interface import Booked, Call, Credentials, Outgoing, Snapshot, Text
from hft.venues.outcomes import Scanned
from support.bookings import nothing_booked
from support.coinbase_desk import HOST, PREFIX, request_of, table
from support.coinbasesim import SECOND_NS, CoinbaseDriver

STEP_S = 0.05
LEVELS_MAX = 2000


def credentials(key: str = ALICE_KEY) -> Credentials:
    return Credentials(key, secret_of(key).encode(), key.partition("-")[0])


class FeedClient:
    """One market-data connection that reconnects, and asks for whole books, as the feed stage does."""

    def __init__(self, channel: str, driver: CoinbaseDriver, symbols: Sequence[str] = ("BTC-USD",), silence_s: float = 3) -> None:
        self.driver, self.symbols = driver, symbols
        rows = range(len(symbols))
        self.counters = np.zeros(len(FeedCounter), np.int64)
        self.feed = new_feed(table(), symbols, rows, LEVELS_MAX, int(silence_s * SECOND_NS), self.counters, channel, 1 << 14)
        signed = {"credentials": credentials("alice-view"), "utc_ns": lambda: self.driver.utc_ns} if channel != "level2_batch" else {}
        self.market = CoinbaseMarket(symbols, rows, "ws://sim", channel, **signed)  # type: ignore[arg-type]
        self.out = np.zeros(3 * LEVELS_MAX, MARKET)
        self.told: list[tuple[str, int]] = []  #: kind and reason of the records that say what a book is worth
        self.trades: list[tuple[int, int, int, int]] = []  #: id, aggressor, price, size
        self.session: Session | None = None
        self.connects = 0
        self._taken = 0

    @property
    def now_ns(self) -> int:
        return self.driver.now_ns + 1

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds / STEP_S)):
            self.driver.run(STEP_S)
            self._turn()

    def lose(self) -> None:
        """Forget a connection that is gone."""
        assert self.session is not None
        self.driver.venue.closed(self.session)
        self.session = None
        while self._note(on_disconnect(self.feed, self.now_ns, self.out)):
            pass

    def _turn(self) -> None:
        if self.session is None:
            self.session, self._taken = self.driver.open(), 0
            self.connects += 1
            self._say(self.market.hello(self.now_ns))
        self._hear()
        if self.session.close is not None:
            self.lose()
            return
        while self._note(on_timer(self.feed, self.now_ns, self.out)):
            pass
        if self.feed.words[SHUTDOWN]:
            self.lose()
            return
        for row in self.feed.rows:
            if self.feed.state[row, WANTS_SYNC]:
                self.feed.state[row, WANTS_SYNC] = 0
                self._say(self.market.resync(int(row), self.now_ns))
        self._say(self.market.tick(self.now_ns))

    def _hear(self) -> None:
        assert self.session is not None
        self.driver.collect()
        said = self.driver.sent[self.session.number]
        while self._taken < len(said):
            data: Any = np.frombuffer(bytearray(said[self._taken] or b" "), np.uint8)
            self._taken += 1
            self._note(on_frame(self.feed, data, 0, len(data), int(Opcode.TEXT), self.now_ns, self.out))

    def _say(self, outgoing: Sequence[Outgoing]) -> None:
        assert self.session is not None
        for each in outgoing:
            if isinstance(each, Text):
                self.driver.venue.receive(self.session, Opcode.TEXT, each.data, self.driver.now_ns)
                self.driver.collect()
                continue
            # What came before the answer is queued, as on a socket.
            self._hear()
            headers = {name.lower(): value for name, value in each.headers}
            response = self.driver.venue.request(each.method, each.target, headers, each.body, self.driver.now_ns)
            if response.status != 200:
                self.feed.state[each.tag, WANTS_SYNC] = 1
                continue
            data: Any = np.frombuffer(bytearray(response.body), np.uint8)
            self._note(on_snapshot(self.feed, each.tag, data, 0, len(data), self.now_ns, self.out))

    def _note(self, count: Any) -> int:
        for record in self.out[: int(count)]:
            kind = MarketKind(int(record["kind"]))
            if kind in (MarketKind.VALID, MarketKind.INVALID):
                self.told.append((kind.name, int(record["venue_id"])))
            elif kind == MarketKind.TRADE:
                aggressor = 1 if record["flags"] & MarketFlag.BID else -1
                self.trades.append((int(record["venue_id"]), aggressor, int(record["price_ticks"]), int(record["qty_lots"])))
        return int(count)

    def valid(self, row: int = 0) -> bool:
        return bool(self.feed.state[row, SYNCED])

    def levels(self, row: int = 0) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Its book, best first, in ticks and lots."""
        book = book_at(self.feed.books, row)
        sides = []
        for side in (1, -1):
            levels, ticks = [], int(best_ticks(book, side))
            while ticks > 0:
                levels.append((ticks, int(level_lots(book, side, ticks))))
                ticks = int(worse_ticks(book, side, ticks))
            sides.append(levels)
        return sides[0], sides[1]

    def true_levels(self, row: int = 0) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """The venue's book, in the same units."""
        book = self.driver.book(self.symbols[row])
        bids, asks = ([(units(price), units(size)) for price, size in book[name]] for name in ("bids", "asks"))
        return bids, asks


def units(text: str) -> int:
    return int(text.replace(".", ""))


class Trader:
    """One account: codec, account session, and what the venue says of its orders."""

    def __init__(self, driver: CoinbaseDriver | None = None, key: str = ALICE_KEY, **options: Any) -> None:
        self.driver = driver or CoinbaseDriver()
        symbols = list(self.driver.state()["exchange"]["status"])
        rows = list(range(len(symbols)))
        self.codec = new_codec(table(), symbols, rows, credentials(key), HOST, PREFIX, **options)
        self.account = CoinbaseAccount(credentials(key), self.codec, symbols, rows, "ws://sim")
        self.out, self.request = np.zeros(64, VENUE_EVENT), np.zeros(REQUEST_BYTES_MAX, np.uint8)
        self.events: list[dict[str, int]] = []
        self.clock_error_ns = 0  #: our clock minus the true one
        self.session: Session | None = None
        self._counter = 0
        self.connect()

    @property
    def now_ns(self) -> int:
        return self.driver.now_ns

    @property
    def utc_ns(self) -> int:
        return self.driver.utc_ns + self.clock_error_ns

    def connect(self) -> None:
        self.say(self.account.prepare(self.now_ns, self.utc_ns))
        assert self.account.endpoint() is not None
        self.session, self._taken = self.driver.open(), 0
        self.say(self.account.hello(self.now_ns, self.utc_ns))
        self.hear()

    def disconnect(self) -> None:
        assert self.session is not None
        self.driver.venue.closed(self.session)
        self.session = None
        self.account.lost(self.now_ns)

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds / STEP_S)):
            self.driver.run(STEP_S)
            self.hear()
            self.say(self.account.tick(self.now_ns, self.utc_ns))

    def say(self, outgoing: Sequence[Outgoing]) -> None:
        for each in outgoing:
            if isinstance(each, Call):
                headers = {name.lower(): value for name, value in each.headers}
                response = self.driver.venue.request(each.method, each.target, headers, each.body, self.now_ns)
                status, body = (response.status, response.body) if response.ending is Ending.SENT else (0, b"")
                self.say(self.account.answer(each.tag, status, body, self.now_ns, self.utc_ns))
            else:
                assert self.session is not None
                self.driver.venue.receive(self.session, Opcode.TEXT, each.data, self.now_ns)

    def hear(self) -> list[dict[str, int]]:
        """Take what the private stream says; return the new events."""
        before = len(self.events)
        self.driver.collect()
        while self.session is not None and self._taken < len(self.driver.sent[self.session.number]):
            payload = self.driver.sent[self.session.number][self._taken]
            self._taken += 1
            data: Any = np.frombuffer(bytearray(payload), np.uint8)
            count = int(scan_private(self.codec, data, 0, len(data), self.now_ns, self.out))
            assert count != Scanned.MALFORMED, payload
            if count == Scanned.COLD:
                self.say(self.account.take(payload, self.now_ns, self.utc_ns))
            self._take(count)
        return self.events[before:]

    def _take(self, count: int) -> None:
        names = [name for name in VENUE_EVENT.names or () if not name.startswith("reserved")]
        self.events += [{name: int(row[name]) for name in names} for row in self.out[: max(count, 0)]]

    def send(
        self, kind: IntentKind = IntentKind.NEW, ref: int = 0, market: bool = False, on_way_s: float = 0.0, **fields: int
    ) -> tuple[int, list[dict[str, int]]]:
        """Send a request that is so long on its way; its id, and the events that the answer and the stream made of it, in this order."""
        self._counter += 1
        identity = 7 << 40 | self._counter
        orders = np.zeros(1, ORDER)
        told = {"side": Side.BUY, "tif": TimeInForce.GTC, "price_ticks": 5_000_000, "qty_lots": 1_000_000} | fields
        for name, value in {"order_id": identity, "kind": kind, **told}.items():
            orders[name] = value
        venue_utc_ns = self.utc_ns + self.account.clock_offset_ns
        if market:
            end = encode_market(self.codec, 0, told["side"], told["qty_lots"], identity, venue_utc_ns, self.request, 0)
        else:
            end = encode(self.codec, orders, 0, identity, ref, venue_utc_ns, self.request, 0)
        assert end > 0
        asked = request_of(self.request[: int(end)].tobytes())
        self.run(on_way_s)
        before = len(self.events)
        headers = {name.lower(): value for name, value in asked.headers.items()}
        response = self.driver.venue.request(asked.method, asked.target, headers, asked.body, self.now_ns)
        body = response.body or b" "
        if response.ending is Ending.SENT:
            data: Any = np.frombuffer(bytearray(body), np.uint8)
            count = int(scan_response(self.codec, int(kind), identity, response.status, data, 0, len(body), self.now_ns, self.out))
            assert count != Scanned.MALFORMED, body
            self._take(count)
        self.hear()
        return identity, self.events[before:]

    def query(self, order_id: int) -> list[Any]:
        self.account.events = []
        self.say(self.account.query(order_id, 0, self.now_ns, self.utc_ns))
        return list(self.account.events)

    def reconcile(self, booked: Booked = nothing_booked) -> Snapshot:
        """Ask until the answer is whole, as far as the request rate lets."""
        self.say(self.account.reconcile(booked, self.now_ns, self.utc_ns))
        for _ in range(200):
            if self.account.snapshot is not None:
                return self.account.snapshot
            self.run(STEP_S)
        raise AssertionError("no snapshot came")

    def held(self) -> Any:
        """What the venue itself holds of the account."""
        return self.driver.state()["exchange"]["accounts"]["alice"]

    def touch(self) -> tuple[int, int]:
        """Best bid and ask of the venue, in ticks."""
        bid, ask = self.driver.best()
        return int(bid * 100), int(ask * 100)
