"""Feed desk: a venue's feed stage against its simulator, in virtual time and without a socket."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hft.config import Config
from hft.counters import FeedCounter
from hft.records import MarketKind
from hft.websocket import read_header
from processes import feed_stage
from processes.feed_stage import FeedStage
from processes.transport.connect import LinkEvent
from processes.transport.wire import WireError, end, next_outbound, open_wire
from support.binance_stream import deliver
from support.engine import Bench, paper_config
from support.feed_fakes import FakeLink
from support.krakensim import WALL_NS, KrakenDriver

STAGE = "feed.kraken"
DEEP = "market.kraken.mm"


def to_venue(sections: dict[str, Any], venue: str, symbol: str, tick: str, **keys: Any) -> None:
    """Put a venue and its BTC-USD in the place of Binance and its pairs; `keys` are the venue's own."""
    name = f"BTC-USD.{venue.upper()}"
    instrument, limits = sections["instruments"]["BTC-USDT.BINANCE"], sections["limits"]["BTC-USDT.BINANCE"]
    sections["venues"] = {venue: sections["venues"]["binance"] | {"transport": "picows"} | keys}
    sections["instruments"] = {name: instrument | {"symbol": symbol, "tick": tick, "lot": "0.00000001", "qty_max": "10"}}
    sections["limits"] = {name: limits}
    sections["firm"] |= {"base_currency": "USD", "rates": {"USD": "1"}}
    sections["strategies"]["mm"]["instruments"] = [name]
    sections["execution"] = {venue: sections["execution"]["binance"]}
    for process in sections["placement"]["processes"].values():
        process["stages"] = [stage.replace("binance", venue) for stage in process["stages"]]


def kraken_config() -> Config:
    """paper.toml with Kraken only."""
    return paper_config(lambda sections: to_venue(sections, "kraken", "BTC/USD", "0.1", depth=100))


class KrakenFeedDesk(Bench):
    """One feed stage and one session of the simulated Kraken."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.driver = KrakenDriver()
        self._base_ns = self.now_ns = 0
        monkeypatch.setattr(feed_stage, "monotonic_ns", lambda: self.now_ns)
        monkeypatch.setattr(feed_stage, "realtime_ns", lambda: WALL_NS + self.now_ns - self._base_ns)
        super().__init__(folder, kraken_config(), [STAGE])
        # No event may be later than the clock that kernels read.
        self.now_ns -= 60_000_000_000
        self._base_ns = self.now_ns
        self.feed: FeedStage = self.stage(STAGE)  # type: ignore[assignment]
        self.link = FakeLink()
        self.feed._link = self.link  # type: ignore[assignment]
        self.session: Any = None
        self.told: list[str] = []
        self.records: list[Any] = []

    def open(self) -> None:
        self.session = self.driver.open()
        open_wire(self.feed.wire, -1, 1)
        self.link.brings(LinkEvent.OPENED)

    def lose(self) -> None:
        self.driver.venue.closed(self.session)
        self.session = None
        end(self.feed.wire, int(WireError.LOST), 0)
        self.link.brings(LinkEvent.ENDED)

    def run(self, seconds: float, step_s: float = 0.05) -> None:
        for _ in range(max(1, round(seconds / step_s))):
            self.driver.run(step_s)
            self.now_ns = self._base_ns + self.driver.now_ns
            for _ in range(6):
                self.turn(STAGE)
                self.feed.cold(self.now_ns)
                self._exchange()
            for name in ("market.kraken.execution", "market.kraken.risk", "market.kraken.portfolio"):
                self.take(name)
            for record in self.take(DEEP):
                self.records.append(record)
                self.told.append(MarketKind(int(record["kind"])).name)

    def _exchange(self) -> None:
        if self.session is None:
            return
        for text in self._texts():
            self.driver.venue.receive(self.session, 1, text, self.driver.now_ns)
        self.driver.collect()
        heard, self.driver.sent[self.session.number] = self.driver.sent[self.session.number], []
        for payload in heard:
            deliver(self.feed.wire, payload, self.now_ns)

    def _texts(self) -> list[bytes]:
        wire, texts = self.feed.wire, []
        while True:
            lane, at, length = next_outbound(wire, 0, False)
            if lane < 0:
                return texts
            data = (wire.out, wire.cancel_out, wire.control_out)[int(lane)]
            _, _, start, size, key = read_header(data, at, at + length, 1, 1 << 20)
            texts.append(
                (data[start : start + size] ^ np.resize(np.frombuffer(int(key).to_bytes(4, "little"), np.uint8), int(size))).tobytes()
            )

    def count(self, which: FeedCounter) -> int:
        return self.counter(STAGE, which)

    def best(self) -> tuple[int, int]:
        """Best bid and ask of the newest TOP, in ticks."""
        top = next(record for record in reversed(self.records) if record["kind"] == MarketKind.TOP)
        return int(top["price_ticks"]), int(top["ask_ticks"])
