"""Common: what a stage observes of the control words, and that it journals before it acts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hft import control
from hft.journal import JournalWriter
from hft.journal_reader import JournalReader
from hft.records import MARKET, InputKind, JournalKind
from hft.topology import build
from processes.common import (
    BUDGET,
    CANCEL_ALL_CELL,
    FIRM_CELL,
    HALT_CELL,
    JOURNAL_FAILED,
    RESERVE_BYTES,
    ROTATE,
    VENUE_CELL,
    WORK,
    Common,
    is_halted,
    may_work,
    new_common,
    note_word,
    observe,
    take_in,
)
from shm.ring import local_ring, publish_many, release_many

TOPOLOGY = build(["binance", "kraken"], ["a", "b"])
FIRST_STRATEGY = VENUE_CELL + 2
CELLS = FIRST_STRATEGY + 2


@pytest.fixture
def common(tmp_path: Path) -> Iterator[Common]:
    writer = JournalWriter(tmp_path, "some", 1, 1 << 20, 1, 1)
    words = np.zeros(control.WORDS, np.int64)
    words[control.READY] = 1
    yield new_common(words, np.zeros(4, np.int64), writer.context, TOPOLOGY)
    writer.close("test over")


def inputs(folder: Path) -> list[Any]:
    return [e.records()[0] for e in JournalReader(folder, "some", 1).poll() if e.kind == JournalKind.INPUT]


def look(common: Common, now_ns: int = 5) -> int:
    assert may_work(common)
    return int(observe(common, now_ns))


def ring(name: str) -> int:
    return TOPOLOGY.ring(name).number


WORDS = [
    (control.HALT, HALT_CELL),
    (control.CANCEL_ALL, CANCEL_ALL_CELL),
    (control.KILL_FIRM, FIRM_CELL),
    (control.kill_venue(0), VENUE_CELL),
    (control.kill_venue(1), VENUE_CELL + 1),
    (control.kill_strategy(0), FIRST_STRATEGY),
    (control.kill_strategy(1), FIRST_STRATEGY + 1),
    (control.BEHIND_RING + ring("reports.binance.risk"), HALT_CELL),
    (control.BEHIND_RING + ring("reports.kraken.portfolio"), HALT_CELL),
    (control.BEHIND_RING + ring("reports.binance.a"), FIRST_STRATEGY),
    (control.BEHIND_RING + ring("reports.kraken.b"), FIRST_STRATEGY + 1),
]


def test_reduce_words_are_observed_where_somebody_asks_for_them_and_halt_nothing(common: Common, tmp_path: Path) -> None:
    common.control[control.reduce_instrument(1)] = 2076
    assert look(common) == 0, "this stage does not ask"
    asking = common._replace(reduces=np.zeros(2, np.int64), venue_of=np.array([0, 1]))
    assert look(asking, 7) == 1 and look(asking, 8) == 0
    assert asking.reduces.tolist() == [0, 2076] and not asking.halts.any()
    asking.control[control.reduce_instrument(1)] = 0
    assert look(asking, 9) == 1
    found = [(int(i["kind"]), int(i["first"]), int(i["value"]), int(i["now_ns"])) for i in inputs(tmp_path)]
    assert found == [(InputKind.REDUCE, 1, 2076, 7), (InputKind.REDUCE, 1, 0, 9)]


def test_a_venue_that_differs_is_observed_for_each_of_its_instruments_unless_another_word_is_set(common: Common) -> None:
    asking = common._replace(reduces=np.zeros(3, np.int64), venue_of=np.array([0, 1, 1]))
    asking.control[control.venue_differs(1)] = 7
    asking.control[control.reduce_instrument(2)] = 2076
    assert look(asking) == 2 and asking.reduces.tolist() == [0, control.DIFFERING, 2076]
    asking.control[control.reduce_instrument(2)] = 0
    assert look(asking) == 1 and asking.reduces.tolist() == [0, control.DIFFERING, control.DIFFERING]
    asking.control[control.venue_differs(1)] = 0
    assert look(asking) == 2 and not asking.reduces.any() and not asking.halts.any()


@pytest.mark.parametrize(("word", "cell"), WORDS)
def test_each_control_word_sets_its_own_cell_and_is_journaled_once_a_change(common: Common, tmp_path: Path, word: int, cell: int) -> None:
    assert look(common) == 0 and inputs(tmp_path) == []
    for value in (1, 0):
        common.control[word] = value
        assert look(common, 70 + value) == 1
        assert common.halts.tolist() == [value if k == cell else 0 for k in range(CELLS)]
        assert look(common) == 0, "an unchanged word is no news"
    seen = inputs(tmp_path)
    assert [(r["kind"], r["value"], r["now_ns"], r["work"]) for r in seen] == [
        (InputKind.KILL, 2 * cell + 1, 71, 1),
        (InputKind.KILL, 2 * cell, 70, 2),
    ]


@pytest.mark.parametrize("name", ["reports.risk.a", "market.binance.a", "orders.risk.kraken", "intents.b.risk"])
def test_other_rings_that_are_behind_halt_nobody(common: Common, name: str) -> None:
    common.control[control.BEHIND_RING + ring(name)] = 1
    assert look(common) == 0 and not common.halts.any()


def test_an_engine_that_is_not_ready_is_halted(common: Common) -> None:
    common.control[control.READY] = 0
    assert look(common) == 1 and common.halts[HALT_CELL] == 1
    common.control[control.HALT] = 1
    assert look(common) == 0, "halted for two reasons is halted once"
    common.control[control.READY] = 1
    assert look(common) == 0 and common.halts[HALT_CELL] == 1
    common.control[control.HALT] = 0
    assert look(common) == 1 and common.halts[HALT_CELL] == 0


def test_any_value_but_zero_halts(common: Common) -> None:
    common.control[control.KILL_FIRM] = -7
    look(common)
    assert common.halts[FIRM_CELL] == 1


@pytest.mark.parametrize("cell", [HALT_CELL, CANCEL_ALL_CELL, FIRM_CELL])
def test_halt_stop_and_the_firms_kill_halt_everyone(common: Common, cell: int) -> None:
    common.halts[cell] = 1
    assert all(is_halted(common, venue, strategy) for venue in (-1, 0, 1) for strategy in (-1, 0, 1))


def test_a_venues_kill_halts_that_venue_only(common: Common) -> None:
    common.halts[VENUE_CELL + 1] = 1
    assert is_halted(common, 1, 0) and is_halted(common, 1, -1)
    assert not is_halted(common, 0, 0) and not is_halted(common, -1, 1)


def test_a_strategys_kill_halts_that_strategy_at_every_venue(common: Common) -> None:
    common.halts[FIRST_STRATEGY] = 1
    assert all(is_halted(common, venue, 0) for venue in (-1, 0, 1))
    assert not any(is_halted(common, venue, 1) for venue in (-1, 0, 1)) and not is_halted(common, 0, -1)


def test_a_work_counts_once_however_much_it_takes_in(common: Common, tmp_path: Path) -> None:
    ring = local_ring(MARKET, 256)
    for _ in range(2):
        assert may_work(common)
        publish_many(ring, 2)
        assert take_in(common, ring, 3, 99) == 2
        release_many(ring, 2)
        note_word(common, int(InputKind.TIMER), 1234, 99)
    assert may_work(common)
    assert [int(r["work"]) for r in inputs(tmp_path)] == [1, 1, 2, 2] and common.words[WORK] == 2
    _, _, taken, timer = inputs(tmp_path)
    assert (taken["kind"], taken["ring"], taken["first"], taken["last"], taken["now_ns"]) == (InputKind.RECORDS, 3, 2, 4, 99)
    assert (timer["kind"], timer["ring"], timer["value"]) == (InputKind.TIMER, -1, 1234)


def test_a_stage_takes_no_more_than_its_budget_and_notes_nothing_from_an_empty_ring(common: Common, tmp_path: Path) -> None:
    ring = local_ring(MARKET, 256)
    assert may_work(common) and take_in(common, ring, 3, 99) == 0 and inputs(tmp_path) == []
    publish_many(ring, BUDGET + 1)
    for count in (BUDGET, 1, 0):
        assert take_in(common, ring, 3, 99) == count
        release_many(ring, count)
    assert [(int(r["first"]), int(r["last"])) for r in inputs(tmp_path)] == [(0, BUDGET), (BUDGET, BUDGET + 1)]


def test_a_stage_works_only_while_its_journal_has_the_reserve(common: Common) -> None:
    words = common.journal.words
    offset = int(words[0])
    while may_work(common):
        words[0] += 4096
    assert common.words[ROTATE] == 1 and int(words[2] - words[0]) < RESERVE_BYTES + 4096
    words[0] = offset


def test_an_append_that_does_not_fit_is_remembered(common: Common) -> None:
    offset = int(common.journal.words[0])
    note_word(common, int(InputKind.TIMER), 0, 0)
    assert common.words[JOURNAL_FAILED] == 0
    common.journal.words[0] = common.journal.words[2]
    note_word(common, int(InputKind.TIMER), 0, 0)
    assert common.words[JOURNAL_FAILED] == 1
    common.journal.words[0] = offset + 96
