"""Common: what every stage's kernel carries: its own words, the control words, counters and its journal.

A stage journals each input before it acts on it (`take_in`, `note_word`), and each thing it decides before it publishes
it. That is all a replay needs.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hft import control
from hft.journal import Journal, append, fetch_ahead, room
from hft.limit_changes import APPROVED_BY, BY, FIELD, ROW, VALUE, Changing, change_limit
from hft.records import INPUT, InputKind, JournalKind
from hft.topology import Topology
from hft.units import as_int
from shm.atomics import load_acquire
from shm.jit import njit
from shm.ring import Ring, available, head_sequence

# Indices of Common.words.
WORK = 0  #: number of `work` calls that took something in
WORK_OPEN = 1  #: 1 once this call has journaled an input
ROTATE = 2  #: 1: the journal needs its next file before this stage works again
TIMER_DUE = 4  #: CLOCK_MONOTONIC of the next timer
JOURNAL_FAILED = 5  #: 1: an append did not fit although room was checked: the stage must stop
STAGE_WORDS = 16

# Cells of Common.halts: 1 while it forbids new orders, as this stage observed it last.
HALT_CELL = 0  #: halted, not ready, or a reports ring of risk or portfolio is behind
CANCEL_ALL_CELL = 1  #: stopping: working orders are cancelled too
FIRM_CELL = 2  #: the firm is killed
VENUE_CELL = 3  #: + venue row: killed; then one for each strategy: killed, or its reports ring is behind

#: Bytes a journal file must still hold before a stage works: more than one `work` can ever append.
RESERVE_BYTES = 1 << 18

#: Records a stage takes from one ring in one `work`.
BUDGET = 64

_NONE = np.zeros(0, np.int64)
_INPUT_BYTES = INPUT.itemsize
_RECORDS, _KILL, _REDUCE, _CONFIG = int(InputKind.RECORDS), int(InputKind.KILL), int(InputKind.REDUCE), int(InputKind.CONFIG)
_INPUT = int(JournalKind.INPUT)


class Common(NamedTuple):
    """Every array has one writer: this stage, but for `control`."""

    words: NDArray[np.int64]
    control: NDArray[np.int64]
    counters: NDArray[np.int64]
    journal: Journal
    input: NDArray[Any]  #: INPUT, one row of scratch
    input_bytes: NDArray[np.uint8]  #: its bytes
    halts: NDArray[np.int64]  #: see the cells above
    venues: NDArray[np.int64]  #: one cell: number of venues
    reduces: NDArray[np.int64]  #: instrument -> its reduce word as observed last, or DIFFERING; empty where nobody asks
    venue_of: NDArray[np.int64]  #: instrument -> its venue's row, of the same length
    behind: NDArray[np.int64]  #: [k, 2]: number of a reports ring, and the cell of `halts` that it sets while behind


def new_common(
    control_words: NDArray[np.int64],
    counters: NDArray[np.int64],
    journal: Journal,
    topology: Topology,
    venue_of: NDArray[np.int64] = _NONE,
) -> Common:
    """A stage's own part of its context; it observes the reduce words of the instruments at these venues' rows, one each."""
    scratch = np.zeros(1, INPUT)
    venues = sum(stage.role == "feed" for stage in topology.stages)
    strategies = [stage.name for stage in topology.stages if stage.role == "strategy"]
    reports = [ring for ring in topology.rings if ring.kind == "reports" and ring.producer != "risk"]
    cells = [VENUE_CELL + venues + strategies.index(r.consumer) if r.consumer in strategies else HALT_CELL for r in reports]
    return Common(
        words=np.zeros(STAGE_WORDS, np.int64),
        control=control_words,
        counters=counters,
        journal=journal,
        input=scratch,
        input_bytes=scratch.view(np.uint8),
        halts=np.zeros(VENUE_CELL + venues + len(strategies), np.int64),
        venues=np.array([venues], np.int64),
        reduces=np.zeros(len(venue_of), np.int64),
        venue_of=venue_of,
        behind=np.array([[ring.number, cell] for ring, cell in zip(reports, cells, strict=True)], np.int64).reshape(-1, 2),
    )


@njit
def may_work(common: Common) -> bool:
    """Begin a `work`: False when the journal must rotate first. What it will be written to is fetched meanwhile."""
    common.words[WORK_OPEN] = 0
    if room(common.journal) < RESERVE_BYTES:
        common.words[ROTATE] = 1
        return False
    fetch_ahead(common.journal)
    return True


@njit
def journal_bytes(common: Common, kind: int, outputs: int, source: NDArray[np.uint8], offset: int, n_bytes: int) -> None:
    """Append one record to the stage's journal; `outputs` has a bit for each of the stage's output rings that it goes to."""
    if append(common.journal, kind, outputs, 1, source, offset, n_bytes) < 0:
        common.words[JOURNAL_FAILED] = 1


@njit
def take_in(common: Common, ring: Ring, number: int, now_ns: int) -> int:
    """Journal that this `work` takes what waits in the ring with this number, at most BUDGET; return how many records.

    The caller handles them by `slot_of` and then releases them.
    """
    count = min(available(ring), BUDGET)
    if count > 0:
        first = head_sequence(ring)
        _note(common, _RECORDS, number, first, first + count, 0, now_ns)
    return count


@njit
def note_word(common: Common, kind: int, value: int, now_ns: int) -> None:
    """Journal that this `work` saw a timer pass or a control word change."""
    _note(common, kind, -1, 0, 0, value, now_ns)


@njit
def note_row(common: Common, kind: int, row: int, which: int, value: int, now_ns: int) -> None:
    """Journal that this `work` saw a control word of an instrument change."""
    _note(common, kind, -1, row, which, value, now_ns)


@njit
def _note(common: Common, kind: int, ring: int, first: int, last: int, value: int, now_ns: int) -> None:
    if common.words[WORK_OPEN] == 0:
        common.words[WORK_OPEN] = 1
        common.words[WORK] += 1
    row = common.input[0]
    row["work"] = common.words[WORK]
    row["now_ns"] = now_ns
    row["first"] = first
    row["last"] = last
    row["value"] = value
    row["ring"] = ring
    row["kind"] = kind
    journal_bytes(common, _INPUT, 0, common.input_bytes, 0, _INPUT_BYTES)


@njit
def take_changes(common: Common, changing: Changing, now_ns: int) -> int:
    """Journal each change of a limit that is new in the log, and apply what the rule allows; return how many there were."""
    # SYNC limits: pairs with store_release in limit_log.append().
    count, first = load_acquire(common.control, control.LIMIT_CHANGES), changing.counts[0]
    for n in range(first, min(count, control.LIMIT_CHANGES_MAX)):
        at = control.LIMIT_LOG + control.LIMIT_WORDS * n
        change, row = common.control[at : at + control.LIMIT_WORDS], common.input[0]
        row["by"] = change[BY]
        row["approved_by"] = change[APPROVED_BY]
        _note(common, _CONFIG, -1, change[ROW], change[FIELD], change[VALUE], now_ns)
        row["by"] = 0
        row["approved_by"] = 0
        change_limit(changing, change)
    return as_int(changing.counts[0] - first)


@njit
def _nothing_halts(common: Common) -> bool:
    """Whether no word forbids anything and no cell says that one did: what is true nearly always, told in a few loads."""
    words, halts = common.control, common.halts
    # SYNC control: pairs with the plain stores of the supervisor and of `hftctl kill`; each word stands for itself.
    any_halt = load_acquire(words, control.HALT) | load_acquire(words, control.CANCEL_ALL) | (1 - load_acquire(words, control.READY))
    for k in range(1 + common.venues[0]):
        any_halt |= load_acquire(words, control.KILL_FIRM + k)
    for k in range(len(halts) - VENUE_CELL - common.venues[0]):
        any_halt |= load_acquire(words, control.KILL_STRATEGY + k)
    for k in range(len(common.behind)):
        # SYNC behind: pairs with store_release in execution's _publish_to() and catch_up().
        any_halt |= load_acquire(words, control.BEHIND_RING + common.behind[k, 0])
    for cell in range(len(halts)):
        any_halt |= halts[cell]
    return any_halt == 0


@njit
def _observe_all(common: Common, now_ns: int) -> int:
    """`observe`, word by word."""
    words, halts = common.control, common.halts
    venues = common.venues[0]
    changes = 0
    for cell in range(len(halts)):
        # SYNC control: pairs with the plain stores of the supervisor and of `hftctl kill`; each word stands for itself.
        if cell == HALT_CELL:
            value = load_acquire(words, control.HALT) | (1 - load_acquire(words, control.READY))
        elif cell == CANCEL_ALL_CELL:
            value = load_acquire(words, control.CANCEL_ALL)
        elif cell == FIRM_CELL:
            value = load_acquire(words, control.KILL_FIRM)
        elif cell < VENUE_CELL + venues:
            value = load_acquire(words, control.KILL_VENUE + cell - VENUE_CELL)
        else:
            value = load_acquire(words, control.KILL_STRATEGY + cell - VENUE_CELL - venues)
        for k in range(len(common.behind)):
            if common.behind[k, 1] == cell:
                # SYNC behind: pairs with store_release in execution's _publish_to() and catch_up().
                value |= load_acquire(words, control.BEHIND_RING + common.behind[k, 0])
        value = as_int(value != 0)
        if value != halts[cell]:
            note_word(common, _KILL, cell * 2 + value, now_ns)
            halts[cell] = value
            changes += 1
    return changes


@njit
def observe(common: Common, now_ns: int) -> int:
    """Read the halt, kill and reduce words; journal and take over each that changed; return how many did."""
    changes = 0 if _nothing_halts(common) else _observe_all(common, now_ns)
    reduces = common.reduces
    for row in range(len(reduces)):
        # SYNC reduce: pairs with store_release in risk's _act_on_breakers(), and plain stores of `hftctl`; each stands for itself.
        word = load_acquire(common.control, control.REDUCE + row)
        # SYNC differs: pairs with the plain store in Agreement._say().
        if word == 0 and load_acquire(common.control, control.VENUE_DIFFERS + common.venue_of[row]) != 0:
            word = as_int(control.DIFFERING)
        if word != reduces[row]:
            _note(common, _REDUCE, -1, row, 0, word, now_ns)
            reduces[row] = word
            changes += 1
    return changes


@njit
def is_halted(common: Common, venue: int, strategy: int) -> bool:
    """Whether an order of this strategy to this venue may not be sent; -1 asks for no venue or strategy in particular."""
    halts = common.halts
    if halts[HALT_CELL] | halts[CANCEL_ALL_CELL] | halts[FIRM_CELL] != 0:
        return True
    if venue >= 0 and halts[VENUE_CELL + venue] != 0:
        return True
    return strategy >= 0 and halts[VENUE_CELL + common.venues[0] + strategy] != 0
