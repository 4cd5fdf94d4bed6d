"""A recorded session through the simulator, the socket and the engine gives the same books as read from the file."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hft.book import book_at, new_books, state_hash
from hft.journal_reader import JournalReader
from hft.market_state import apply_market
from hft.records import MarketKind
from hft.replay import MarketJournal
from processes.verify_capture import BOOK, books
from support.journals import assert_positions_follow_from_fills, config_of
from support.live_engine import LiveEngine, live_engine, paper
from support.waiting import wait_until

NAME = "BTC-USDT.BINANCE"
#: Updates that may pass before the first snapshot is in.
SYNC_UPDATES = 100


def recording_only(path: str, pace: str) -> Any:
    def change(sections):
        sections["venues"]["binance"]["simulator"] = {"recording": path, "pace": pace, "loop": False}
        # As read from the file: a few sizes have a digit more than the venue's lot, from before it became coarser.
        sections["instruments"][NAME]["lot"] = "0.000001"
        for section in ("instruments", "limits"):
            sections[section] = {NAME: sections[section][NAME]}
        sections["strategies"]["mm"]["instruments"] = [NAME]
        sections["engine"]["journal_file_mb"] = 32

    return change


def snapshot_first(path: Path, folder: Path) -> Path:
    """The capture with its REST snapshot in front of everything.

    The simulator answers with the recorded snapshot whenever it is asked before playback gets there, so the engine may have it
    before the diff that its update id is in the middle of, and then begins with the very book of the snapshot. As recorded the
    snapshot came after that diff, and the first book is the one at the diff's end.
    """
    with gzip.open(path, "rb") as file:
        lines = file.readlines()
    lines.sort(key=lambda line: b'"lastUpdateId"' not in line)
    moved = folder / "snapshot_first.gz"
    with gzip.open(moved, "wb", compresslevel=1) as file:
        file.writelines(lines)
    return moved


def books_of_consumer(engine: LiveEngine, epoch: int, ring_name: str) -> np.ndarray:
    """BOOK rows, as a consumer that applies every record of a ring has them at the end of each book event."""
    topology = config_of(engine).topology()
    ring = topology.ring(ring_name)
    feed = topology.stage(ring.producer)
    journal = MarketJournal(JournalReader(engine.instance.journal_folder(epoch), feed.name, epoch), feed.outputs.index(ring))
    records = journal.records(0, journal.end)
    consumer, valid = new_books(1, 8192), np.zeros(1, np.int64)
    rows = []
    for i in range(len(records)):
        assert apply_market(consumer, valid, records, i) == 0
        if records[i]["kind"] == MarketKind.TOP and valid[0]:
            rows.append((int(records[i]["venue_id"]), int(state_hash(book_at(consumer, 0)))))
    return np.array(rows, BOOK)


@pytest.mark.parametrize("pace", ["200"])
def test_books_at_every_update_id_equal_those_read_from_the_file(recorded, tmp_path, pace):
    path = recorded("binance_spot/btcusdt_20240808.gz")
    expected = books(snapshot_first(path, tmp_path))["BTCUSDT"]
    np.testing.assert_array_equal(books(path)["BTCUSDT"], expected[1:])
    with live_engine(tmp_path, paper(recording_only(str(path), pace))) as engine:
        engine.start()
        engine.await_running()
        wait_until(lambda: engine.simulator("/state")["finished"], 90, "the recording has been played")
        last = int(expected["update_id"][-1])
        wait_until(lambda: engine.status()["stages"][0]["counters"].get("frames", 0) >= 41_000, 20, "the feed has read it all")
        assert engine.stop() == 0, engine.log_text()
        report = engine.report()
        assert (report["venues"][0]["gaps"], report["venues"][0]["crossed"], report["venues"][0]["malformed"]) == (0, 0, 0)
        for ring in ("market.binance.mm", "market.binance.execution"):
            found = books_of_consumer(engine, report["epoch"], ring)
            first = int(np.searchsorted(expected["update_id"], found["update_id"][0]))
            assert first < SYNC_UPDATES and found["update_id"][-1] == last
            np.testing.assert_array_equal(found, expected[first:])
        assert_positions_follow_from_fills(engine, report)
        replayed = engine.ctl_json("replay")
        assert replayed["equal"] is True and replayed["decisions"] > 0
