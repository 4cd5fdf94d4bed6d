"""Replay: works are what the stage took in and decided, and a difference is named."""

import random

import numpy as np
import pytest

from hft.journal import JournalWriter, append
from hft.journal_format import PAGE_BYTES
from hft.journal_reader import JournalReader
from hft.records import INPUT, INTENT, MARKET, ORDER, POSITION, REPORT, InputKind, JournalKind
from hft.replay import MEASURED_FIELDS, MarketJournal, Output, ReplayError, RingJournal, StageJournal, Work, first_difference, mask
from support.crash_images import EPOCH, STAGE

SEED = 20240808


@pytest.fixture
def writer(tmp_path):
    return JournalWriter(tmp_path, STAGE, EPOCH, 16 * PAGE_BYTES, 1, 2)


def write(writer, kind, rows, aux=0):
    if writer.last_sequence and writer.last_sequence % 50 == 0:
        writer.prepare_next()
        writer.rotate(1, 2)
    assert append(writer.context, int(kind), aux, len(rows), rows.view(np.uint8), 0, rows.nbytes) > 0


def inputs(*rows):
    array = np.zeros(len(rows), INPUT)
    for row, (work, now_ns, ring, first, last) in zip(array, rows, strict=True):
        row["work"], row["now_ns"], row["ring"], row["first"], row["last"], row["kind"] = work, now_ns, ring, first, last, InputKind.RECORDS
    return array


def rows_of(dtype, **fields):
    rows = np.zeros(len(next(iter(fields.values()))), dtype)
    for field, values in fields.items():
        rows[field] = values
    return rows


def work_with(number, *outputs):
    return Work(number, number * 10, np.empty(0, INPUT), tuple(Output(int(kind), rows) for kind, rows in outputs))


def test_stage_journal_gives_each_work_its_inputs_and_outputs(writer, tmp_path):
    writer.append_json(JournalKind.SESSION, {"stage": STAGE})
    write(writer, JournalKind.VERDICT, rows_of(REPORT, order_id=[1]))
    write(writer, JournalKind.INPUT, inputs((1, 10, 3, 0, 5), (1, 10, 4, 0, 2)))
    write(writer, JournalKind.INTENT, rows_of(INTENT, order_id=[7, 8]))
    write(writer, JournalKind.POSITION, rows_of(POSITION, fills=[1]))
    write(writer, JournalKind.INPUT, inputs((1, 10, 5, 0, 1)))
    write(writer, JournalKind.ORDER, rows_of(ORDER, order_id=[7]))
    write(writer, JournalKind.INPUT, inputs((2, 20, 3, 5, 6), (4, 40, 3, 6, 9)))
    write(writer, JournalKind.SENDING, rows_of(ORDER, order_id=[7]))
    writer.close("done")
    journal = StageJournal(JournalReader(tmp_path, STAGE, EPOCH))
    works = list(journal)
    assert journal.session == {"stage": STAGE}
    assert [(work.number, work.now_ns, work.inputs["ring"].tolist()) for work in works] == [
        (0, 0, []),
        (1, 10, [3, 4, 5]),
        (2, 20, [3]),
        (4, 40, [3]),
    ]
    assert works[1].inputs["last"].tolist() == [5, 2, 1] and works[1].inputs.dtype == INPUT
    found = [[(output.kind, output.records["order_id"].tolist()) for output in work.outputs] for work in works]
    kind = JournalKind
    assert found == [[(kind.VERDICT, [1])], [(kind.INTENT, [7, 8]), (kind.ORDER, [7])], [], [(kind.SENDING, [7])]]
    assert (journal.inputs, journal.decisions) == (5, 5)


@pytest.mark.parametrize(
    ("second", "message"),
    [((4, 50, 0, 0, 0), "work 4 after work 5"), ((5, 51, 0, 0, 0), "work 5 at 51 ns and at 50 ns")],
)
def test_stage_journal_refuses_works_that_cannot_follow(writer, tmp_path, second, message):
    write(writer, JournalKind.INPUT, inputs((5, 50, 0, 0, 0)))
    write(writer, JournalKind.INPUT, inputs(second))
    with pytest.raises(ReplayError, match=f"entry 2: {message}"):
        list(StageJournal(JournalReader(tmp_path, STAGE, EPOCH)))


def test_mask_zeroes_measured_stamps_and_nothing_else():
    for dtype in (MARKET, INTENT, ORDER, REPORT):
        rows = np.frombuffer(bytearray(b"\x11" * dtype.itemsize * 2), dtype)
        masked = mask(rows)
        for field in dtype.names:
            assert masked[field].any() == (field not in MEASURED_FIELDS), field
        assert rows.tobytes() == b"\x11" * dtype.itemsize * 2


def test_received_and_exchange_times_are_not_masked():
    assert not {"received_ns", "exchange_ns", "now_ns"} & set(MEASURED_FIELDS)


def test_first_difference_is_none_when_only_measurements_and_empty_works_differ():
    left = [work_with(1), work_with(2, (JournalKind.ORDER, rows_of(ORDER, order_id=[1, 2], sent_ns=[5, 6], approved_ns=[1, 1])))]
    right = [work_with(2, (JournalKind.ORDER, rows_of(ORDER, order_id=[1, 2], sent_ns=[7, 8], decided_ns=[1, 1]))), work_with(3)]
    assert first_difference(left, right) is None
    assert first_difference([], []) is None


@pytest.mark.parametrize("field", [field for field in REPORT.names if field not in MEASURED_FIELDS])
def test_first_difference_names_the_field_whichever_it_is(field):
    left, right = np.zeros(3, REPORT), np.zeros(3, REPORT)
    right[field][1] = 9
    works = [work_with(1, (JournalKind.REPORT, left)), work_with(2, (JournalKind.VERDICT, left), (JournalKind.REPORT, left))]
    other = [works[0], work_with(2, (JournalKind.VERDICT, left), (JournalKind.REPORT, right))]
    difference = first_difference(works, other)
    shown = (lambda value: [value] * 4) if field == "reserved" else (lambda value: value)
    assert difference == {"work": 2, "entry": 1, "kind": "REPORT", "record": 1, "field": field, "expected": shown(0), "found": shown(9)}


ONE, TWO = rows_of(ORDER, order_id=[1]), rows_of(ORDER, order_id=[1, 2])
FIRST = work_with(1, (JournalKind.ORDER, ONE))


@pytest.mark.parametrize(
    ("left", "right", "work", "entry", "expected", "found"),
    [
        ([FIRST], [], 1, 0, "1 ORDER", None),
        ([], [FIRST], 1, 0, None, "1 ORDER"),
        ([FIRST], [work_with(3, (JournalKind.ORDER, ONE))], 1, 0, "1 ORDER", None),
        ([work_with(3, (JournalKind.ORDER, ONE))], [FIRST], 1, 0, None, "1 ORDER"),
        ([FIRST], [work_with(1, (JournalKind.ORDER, TWO))], 1, 0, "1 ORDER", "2 ORDER"),
        ([FIRST], [work_with(1, (JournalKind.SENDING, ONE))], 1, 0, "1 ORDER", "1 SENDING"),
        ([FIRST], [work_with(1, (JournalKind.ORDER, ONE), (JournalKind.ORDER, TWO))], 1, 1, None, "2 ORDER"),
    ],
)
def test_first_difference_names_an_entry_that_one_run_lacks(left, right, work, entry, expected, found):
    difference = first_difference(left, right)
    assert (difference["work"], difference["entry"], difference["field"]) == (work, entry, "entry")
    assert (difference["expected"], difference["found"]) == (expected, found)


def test_market_journal_gives_any_range_of_a_rings_sequences_across_files(writer, tmp_path):
    rng = random.Random(SEED)
    rings = {0: [], 5: [], 63: []}
    for i in range(170):
        rows = rows_of(MARKET, venue_id=[i * 100 + k for k in range(rng.randrange(1, 6))])
        bits = [bit for bit in rings if rng.random() < 0.7]
        aux = sum(1 << bit for bit in bits)
        write(writer, JournalKind.MARKET, rows, aux - (1 << 64) if aux >> 63 else aux)
        write(writer, JournalKind.INPUT, inputs((i + 1, i, 0, 0, 0)))
        for bit in bits:
            rings[bit] += rows["venue_id"].tolist()
    for bit, expected in rings.items():
        journal = MarketJournal(JournalReader(tmp_path, STAGE, EPOCH), bit)
        assert journal.end == len(expected)
        for _ in range(200):
            first = rng.randrange(len(expected) + 1)
            last = rng.randrange(first, min(len(expected), first + 40) + 1)
            assert journal.records(first, last)["venue_id"].tolist() == expected[first:last], (SEED, bit, first, last)
        assert journal.records(0, journal.end)["venue_id"].tolist() == expected


@pytest.mark.parametrize(("first", "last"), [(-1, 1), (0, 4), (2, 1), (4, 4)])
def test_market_journal_refuses_sequences_it_does_not_have(writer, tmp_path, first, last):
    write(writer, JournalKind.MARKET, rows_of(MARKET, venue_id=[1, 2, 3]), aux=1)
    journal = MarketJournal(JournalReader(tmp_path, STAGE, EPOCH), 0)
    with pytest.raises(ReplayError, match=f"{first} to {last} of a journal that has 0 to 3"):
        journal.records(first, last)


def test_ring_journal_without_a_bit_takes_every_entry_of_its_kind(writer, tmp_path):
    write(writer, JournalKind.ORDER, rows_of(ORDER, order_id=[1]))
    write(writer, JournalKind.SENDING, rows_of(ORDER, order_id=[2]))
    write(writer, JournalKind.ORDER, rows_of(ORDER, order_id=[3, 4]), aux=6)
    journal = RingJournal(JournalReader(tmp_path, STAGE, EPOCH), JournalKind.ORDER, None)
    assert journal.records(0, 3)["order_id"].tolist() == [1, 3, 4]
    assert len(journal.records(1, 1)) == 0 and journal.records(1, 1).dtype == ORDER
