"""A venue in virtual time: the clock jumps from deadline to deadline, and everything sent is kept."""

import json
import random

from hft.sim.binance.venue import BinanceVenue
from hft.sim.player import Settings
from hft.sim.recording import RecordedMarket
from hft.sim.recording_index import RecordingFile, scan
from hft.sim.synthetic import SPECS, SyntheticMarket
from hft.sim.venue import Opcode
from support.naive_follower import NaiveFollower

SECOND_NS = 1_000_000_000
MS = 1_000_000
WALL_NS = 1_800_000_000 * SECOND_NS
ALL = "/stream?streams=btcusdt@depth@100ms/btcusdt@bookTicker/btcusdt@trade"


def synthetic() -> SyntheticMarket:
    return SyntheticMarket([SPECS["BTCUSDT"]], [random.Random("1").random])


def recorded_lines() -> list[bytes]:
    lines = []
    for step in range(10):
        data = f'{{"e":"depthUpdate","E":{1_700_000_000_000 + step * 100},"s":"BTCUSDT","U":{10 + step},"u":{10 + step},"b":[["9{step}.00000000","1.00000000"]],"a":[]}}'
        lines.append(f'{1_700_000_000_000_000_000 + step * 100 * MS} {{"stream":"btcusdt@depth@100ms","data":{data}}}')
        if step == 3:
            lines.append(
                f'{1_700_000_000_350_000_000} {{"lastUpdateId":13,"bids":[["93.00000000","1.00000000"]],"asks":[["100.00000000","1.00000000"]]}}'
            )
    return [line.encode() for line in lines]


INDEX = scan([RecordingFile("some", recorded_lines)])


class VirtualVenue:
    """A venue, and a virtual clock that goes from deadline to deadline."""

    def __init__(self, make_market=synthetic, **settings) -> None:
        self.now_ns = 0
        self.venue = BinanceVenue(make_market, Settings(**settings), WALL_NS)
        self.sent = {}

    def open(self, target=ALL):
        session = self.venue.open(self.venue.admit(target, {}, self.now_ns), self.now_ns)
        self.sent[session.number] = []
        return session

    def run(self, seconds: float, budget: int = 1000) -> None:
        until_ns = self.now_ns + int(seconds * SECOND_NS)
        turns = 0
        while self.now_ns <= until_ns and turns < 100_000:
            turns += 1
            played = self.venue.work(self.now_ns, budget)
            self.collect()
            if not played:
                self.now_ns = max(self.venue.deadline_ns(), self.now_ns + 1)
        self.now_ns = until_ns

    def collect(self) -> None:
        for session in self.venue.sessions():
            self.sent[session.number] += session.outbox
            session.outbox.clear()

    def ask(self, session, request, opcode=Opcode.TEXT):
        body = request if isinstance(request, bytes) else json.dumps(request).encode()
        self.venue.receive(session, opcode, body, self.now_ns)
        self.now_ns += SECOND_NS // 4
        replies = [payload for kind, payload in session.outbox if kind == Opcode.TEXT and b'"stream"' not in payload[:9]]
        session.outbox.clear()
        return json.loads(replies[-1]) if replies else None

    def texts(self, session):
        return [payload for opcode, payload in self.sent[session.number] if opcode == Opcode.TEXT]

    def data(self, session):
        return [json.loads(payload)["data"] if session.combined else json.loads(payload) for payload in self.texts(session)]

    def get(self, target, method="GET", headers=None):
        response = self.venue.request(method, target, headers or {}, b"", self.now_ns)
        return response.status, json.loads(response.body), dict(response.headers)

    def fault(self, **fault):
        response = self.venue.control("POST", "/fault", json.dumps(fault).encode(), self.now_ns)
        assert response.status == 200, response.body

    def state(self):
        return json.loads(self.venue.control("GET", "/state", b"", self.now_ns).body)


def recorded(**settings) -> VirtualVenue:
    return VirtualVenue(lambda: RecordedMarket(INDEX), **settings)


def follow(driver: VirtualVenue, session) -> NaiveFollower:
    follower = NaiveFollower()
    for message in driver.data(session):
        follower.message(json.dumps(message))
    return follower
