"""Faults of the host: what is torn is what a loss of power may leave, and recovery loses nothing that was whole."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from hft.journal import JournalWriter, append
from hft.journal_reader import JournalReader
from hft.records import REPORT, JournalKind
from processes.chaos.host import _tear
from support.engine import row

STAGE = "execution.binance"


@pytest.mark.parametrize("seed", range(30))
def test_a_torn_journal_has_every_entry_that_was_whole_and_a_tail_that_is_none(tmp_path: Path, seed: int) -> None:
    writer = JournalWriter(tmp_path, STAGE, 1, 1 << 20, 1, 1)
    for number in range(1, 40):
        report = row(REPORT, order_id=number)
        assert append(writer.context, int(JournalKind.REPORT), 0, 1, report.view("u1"), 0, report.nbytes) > 0
    writer.abandon()
    _tear(tmp_path, STAGE, 1, random.Random(seed))
    reader = JournalReader(tmp_path, STAGE, 1)
    ids = [int(entry.records()[0]["order_id"]) for entry in reader.entries()]
    assert ids == list(range(1, 40)) and reader.tail is not None and reader.tail.dropped_bytes > 0 and not reader.tail.closed
