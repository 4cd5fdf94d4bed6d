"""Pipeline: a whole engine in one process and in virtual time, fed by the simulated venue, repeatable but for its stamps."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hft.config import Config
from hft.journal import JournalWriter, append
from hft.journal_reader import Entry, JournalReader
from hft.records import JournalKind
from hft.sim.synthetic import SPECS, SyntheticMarket
from processes import calls, feed_stage
from processes.burst import burst
from processes.transport.connect import LinkEvent
from support.binance_stream import deliver
from support.engine import Bench, paper_config
from support.feed_fakes import FakeLink, FakeRequests
from support.virtual_venue import WALL_NS, VirtualVenue

STREAMS = "/stream?streams=" + "/".join(f"{s}@{kind}" for s in ("btcusdt", "ethusdt") for kind in ("depth@100ms", "bookTicker", "trade"))
#: Virtual time begins so long ago that no event is later than the clock, and no stamp older than the longest allowed age.
PAST_NS = 30_000_000_000


def pipeline_config() -> Config:
    """paper.toml with room for stamps of another clock, frames from outside, and small journals."""

    def change(sections: dict[str, Any]) -> None:
        sections["venues"]["binance"] |= {"transport": "picows", "snapshot_levels": 100}
        sections["engine"]["journal_file_mb"] = 1
        sections["firm"] |= {"intent_age_max_ms": 60_000, "send_age_max_ms": 60_000}

    return paper_config(change)


class Pipeline(Bench):
    """Every stage of one engine under one burst; `run` plays so much of the venue's flow."""

    def __init__(self, folder: Path, seed: int, monkeypatch: pytest.MonkeyPatch, begin_ns: int | None = None, session: Any = None) -> None:
        self.requests = FakeRequests()
        monkeypatch.setattr(calls, "Request", self.requests)
        monkeypatch.setattr(feed_stage, "monotonic_ns", lambda: self.now_ns)
        monkeypatch.setattr(feed_stage, "realtime_ns", lambda: WALL_NS + self.now_ns - self._begin_ns)
        super().__init__(folder, pipeline_config(), session=session)
        self._warm()
        self.now_ns = time.monotonic_ns() - PAST_NS if begin_ns is None else begin_ns
        chance = random.Random(seed)
        specs = [SPECS["BTCUSDT"], SPECS["ETHUSDT"]]
        self.driver = VirtualVenue(lambda: SyntheticMarket(specs, [random.Random(chance.random()).random for _ in specs]), unlimited=True)
        self.session = self.driver.open(STREAMS)
        self.feed: Any = self.stage("feed.binance")
        self.feed._link = self.link = FakeLink()
        self.link.brings(LinkEvent.OPENED)
        self._taken = 0
        self._begin_ns = self.now_ns

    def _warm(self) -> None:
        """Compile what there is to compile: it may take longer than stamps may be old."""
        burst(self.loop.cell(), 0, 0, 1, 0)
        for stage in self.loop.stages:
            stage.warm()

    def run(self, seconds: float, step_s: float = 0.005) -> None:
        until_ns = self.driver.now_ns + int(seconds * 1e9)
        while self.driver.now_ns < until_ns:
            self.driver.run(step_s)
            self.now_ns = self._begin_ns + self.driver.now_ns
            for payload in self.driver.texts(self.session)[self._taken :]:
                deliver(self.feed.wire, payload, self.now_ns)
                self._taken += 1
            self.cycle()

    def cycle(self) -> None:
        """One cycle of the burst, the answers of the venue's REST desk, and the cold work."""
        burst(self.loop.cell(), 0, 1, 1, self.now_ns)
        for request in self.requests.made:
            if request.answer is None:
                target = request.url.removeprefix("http://127.0.0.1")
                request.answer = self.driver.venue.request("GET", target, {}, b"", self.driver.now_ns).body
        for stage in self.loop.stages:
            stage.cold(self.now_ns)


def records_of(folder: Path, stage: str, kind: JournalKind) -> NDArray[Any]:
    """All records of one kind in a closed journal."""
    parts = [entry.records() for entry in JournalReader(folder, stage, 1).entries() if entry.kind == kind]
    return np.concatenate(parts)


def rewrite_journal(folder: Path, into: Path, stage: str, change: Callable[[Entry, NDArray[np.uint8]], None]) -> None:
    """Copy a journal entry by entry with good checksums, letting `change` alter each payload in place."""
    writer = JournalWriter(into, stage, 1, 1 << 24, 1, 1)
    for entry in JournalReader(folder, stage, 1).entries():
        payload = np.frombuffer(bytearray(entry.payload), np.uint8)
        change(entry, payload)
        if entry.kind != JournalKind.END:
            assert append(writer.context, entry.kind, entry.aux, entry.record_count, payload, 0, len(payload)) >= 0
    writer.close("rewritten")
