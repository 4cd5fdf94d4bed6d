"""Control: the layout of the shared control words: stop, halt, kill, epoch, and a heartbeat block for each process.

One int64 array in the segment `hft.<instance>.control`. Whoever sets a KILL word stores 1, and risk the RiskCode of the breaker that
tripped; anything but 0 kills, so races are harmless. It is the same with the REDUCE words. Only `arm` clears them. A process's block is written by that process alone, except ORDERED_EPOCH, which is the supervisor's.
"""

from __future__ import annotations

from enum import IntEnum

STOP = 0  #: 1: every process leaves its loop
EPOCH = 1  #: the epoch whose rings are current
HALT = 2  #: 1: no new orders until cleared by the supervisor (restart in progress, consumer behind, stopping)
READY = 3  #: 1: every process of this epoch is warm and running; strategies may trade
SUPERVISOR_BEAT = 5  #: CLOCK_MONOTONIC of the supervisor's last turn
CANCEL_ALL = 6  #: 1: execution cancels every working order (stopping)
KILL_FIRM = 16
KILL_VENUE = 17  #: + venue row
KILL_STRATEGY = 64  #: + strategy row
BEHIND_RING = 320  #: + ring number: 1 while a reports ring lags and is being caught up from the journal; its scope halts

PROCESS = 512  #: + PROCESS_WORDS * process row
PROCESS_WORDS = 16
PROCESSES_MAX = 64
REDUCE = PROCESS + PROCESS_WORDS * PROCESSES_MAX  #: + instrument row: anything but 0: orders in it may only reduce positions
INSTRUMENTS_MAX = 1024
LIMIT_CHANGES = REDUCE + INSTRUMENTS_MAX  #: how many changes of limits the log has
LIMIT_TAKEN = LIMIT_CHANGES + 1  #: how many of them risk has taken; its alone
LIMIT_LOG = LIMIT_CHANGES + 8  #: + LIMIT_WORDS * number: a change, as in hft/limit_changes.py
LIMIT_WORDS = 8
LIMIT_CHANGES_MAX = 512
#: + venue row: 1 while orders may leave to the venue: logged on, its private stream live, all that it holds known. Its execution's own.
VENUE_READY = LIMIT_LOG + LIMIT_WORDS * LIMIT_CHANGES_MAX
VENUES_MAX = KILL_STRATEGY - KILL_VENUE
#: + venue row: in how many things ledger and venue differ; while it is not 0, orders there may only reduce. Its execution's own.
VENUE_DIFFERS = VENUE_READY + VENUES_MAX + 1
VENUE_ACCEPT = VENUE_DIFFERS + VENUES_MAX  #: + venue row: 1: what the venue says is to be taken as it is; its execution clears it
#: + DIFFERENCE_WORDS * instrument row: what its base and its quote asset changed by, as (ledger, venue) each, 1e-8; 0 where both agree
DIFFERENCE = VENUE_ACCEPT + VENUES_MAX
DIFFERENCE_WORDS = 4
#: + venue row: how often its execution has said what the account had when the session began; 0: not yet
VENUE_BALANCES = DIFFERENCE + DIFFERENCE_WORDS * INSTRUMENTS_MAX
BALANCE = VENUE_BALANCES + VENUES_MAX  #: + BALANCE_WORDS * instrument row: that of its base and its quote asset, 1e-8
BALANCE_WORDS = 2
WORDS = BALANCE + BALANCE_WORDS * INSTRUMENTS_MAX

#: What stages observe as the reduce word of an instrument that nothing but its venue's difference keeps from trading.
DIFFERING = 2


class ProcessWord(IntEnum):
    """Offsets in a process's block."""

    BEAT = 0  #: CLOCK_MONOTONIC after its last burst
    PID = 1
    STARTED = 2  #: start time of the pid, so that a reused pid is not taken for it
    EPOCH = 3  #: epoch of the rings it is on
    STATE = 4  #: ProcessState
    BURSTS = 5
    WORKED = 6  #: records handled, all stages
    CORE = 7  #: pinned core, or -1
    BUILD = 8  #: shm.jit.BUILD of the sources that it has loaded


class ProcessState(IntEnum):
    """Where a process is in its life."""

    ABSENT = 0
    STARTING = 1
    WARM = 2  #: kernels ran on scratch segments
    RUNNING = 3
    LEAVING = 4  #: out of its loop for good, closing journals and connections
    STOPPED = 5
    FAILED = 6


def process_word(row: int, word: ProcessWord) -> int:
    """Index of a word of the process in row `row`."""
    return PROCESS + PROCESS_WORDS * row + word


def venue_ready(row: int) -> int:
    """Index of a venue's ready word."""
    return VENUE_READY + row


def venue_differs(row: int) -> int:
    """Index of a venue's word that counts differences."""
    return VENUE_DIFFERS + row


def venue_accept(row: int) -> int:
    """Index of the word that has a venue's balances taken as they are."""
    return VENUE_ACCEPT + row


def difference(row: int) -> int:
    """Index of the first of an instrument's DIFFERENCE_WORDS."""
    return DIFFERENCE + DIFFERENCE_WORDS * row


def venue_balances(row: int) -> int:
    """Index of the word that counts what a venue's execution said of balances."""
    return VENUE_BALANCES + row


def balance(row: int) -> int:
    """Index of the first of an instrument's BALANCE_WORDS."""
    return BALANCE + BALANCE_WORDS * row


def kill_strategy(row: int) -> int:
    """Index of a strategy's kill word."""
    return KILL_STRATEGY + row


def latching_words() -> list[int]:
    """Index of every word that stays set until somebody arms it: kills, then reduces."""
    return [*range(KILL_FIRM, BEHIND_RING), *range(REDUCE, LIMIT_CHANGES)]


def reduce_instrument(row: int) -> int:
    """Index of an instrument's reduce word."""
    return REDUCE + row


def kill_venue(row: int) -> int:
    """Index of a venue's kill word."""
    return KILL_VENUE + row
