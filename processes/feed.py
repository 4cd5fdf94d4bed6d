"""Feed: drains a venue's market-data connection, publishes book events to every consumer.

An event's records are published by one tail store. A consumer without room loses the instrument: nothing more of it is
published there until half the ring is free, then RESET, the whole book, VALID. Nobody waits and nobody asks for anything.
An event that the journal file has no room for is lost at every consumer in the same way, and comes back in the next file.
Rings without depth get best prices, validity and trades, but no levels.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hft.counters import FeedCounter
from hft.journal import append
from hft.journal import room as journal_room
from hft.records import MARKET, JournalKind, MarketFlag, MarketKind
from hft.units import as_int
from hft.venues.book_feed import republish
from hft.venues.feeds import on_frame, on_timer
from processes.common import JOURNAL_FAILED, RESERVE_BYTES, ROTATE, Common, may_work
from processes.transport.direct import acknowledge, direct_flush, direct_poll
from processes.transport.wire import Wire, next_message, release_message
from shm.clock import monotonic_ns
from shm.counters import add
from shm.jit import njit
from shm.ring import Ring, copy_record, has_room, publish_many, room, slot_at

_MARKET_BYTES = MARKET.itemsize
_MARKET = int(JournalKind.MARKET)
_LEVEL, _TRADE, _QUOTE = int(MarketKind.LEVEL), int(MarketKind.TRADE), int(MarketKind.QUOTE)
_RESET, _LOST, _CLOCK = int(MarketKind.RESET), int(MarketFlag.LOST), int(MarketKind.CLOCK)
_DECODE_NS_MAX = (1 << 31) - 1
#: What the entries around the records of one event take, more than enough.
_ENTRIES_BYTES = 1024

#: Frames taken in one `work`.
FRAMES_MAX = 16

# Indices of Feed.words.
TIMER_DUE_NS = 0
ANY_LOST = 1  #: 1 while some consumer has lost some instrument
OFFSET_LEAST_NS = 2  #: least received_ns - exchange_ns since the clock was told
OFFSET_NS = 3  #: what it was then
UTC_NS = 4  #: CLOCK_REALTIME - CLOCK_MONOTONIC, from cold code; 0 before it looked
CLOCK_DUE_NS = 5
FEED_WORDS = 8
#: Both offsets before any event that has a time.
NO_OFFSET = 2**62

#: How often silence is looked for.
_TIMER_NS = 50_000_000
#: How often the clock is told.
_CLOCK_NS = 250_000_000


class Feed(NamedTuple):
    """Context of a feed stage."""

    common: Common
    wire: Wire
    book: Any  #: the venue's feed: decoder, books and their synchronisation
    out: tuple[Ring, ...]
    depth: NDArray[np.int64]  #: out ring -> 1 if it gets levels
    lost: NDArray[np.int64]  #: [out ring, instrument] -> 1 until the whole book is published again
    staging: NDArray[Any]  #: MARKET
    staging_bytes: NDArray[np.uint8]
    words: NDArray[np.int64]
    kills: NDArray[np.int64]  #: two zero words: a feed sends no orders
    direct: NDArray[np.int64]  #: one cell: 1 if the wire is read and written here
    clock_row: NDArray[np.int64]  #: one cell: the instrument whose row the venue's clock is told under


@njit
def work(ctx: Feed, now_ns: int) -> int:
    """Read the socket, publish what it brought; return how many frames were taken."""
    if not may_work(ctx.common):
        return 0
    if ctx.direct[0] != 0:
        direct_poll(ctx.wire, now_ns)
    done = 0
    while done < FRAMES_MAX:
        row = next_message(ctx.wire)
        if row < 0:
            break
        frame = ctx.wire.frames[row]
        count = on_frame(ctx.book, ctx.wire.data, frame[0], frame[0] + frame[1], frame[2], frame[3], ctx.staging)
        release_message(ctx.wire)
        publish_event(ctx, count)
        done += 1
    add(ctx.common.counters, FeedCounter.FRAMES, done)
    if now_ns >= ctx.words[TIMER_DUE_NS]:
        ctx.words[TIMER_DUE_NS] = now_ns + _TIMER_NS
        count = on_timer(ctx.book, now_ns, ctx.staging)
        while count > 0:
            publish_event(ctx, count)
            count = on_timer(ctx.book, now_ns, ctx.staging)
    if now_ns >= ctx.words[CLOCK_DUE_NS]:
        _tell_clock(ctx, now_ns)
    if ctx.words[ANY_LOST] != 0 and ctx.common.words[ROTATE] == 0:
        done += _catch_up(ctx, now_ns)
    if ctx.direct[0] != 0:
        direct_flush(ctx.wire, ctx.kills, 0, 1)
        if done == 0:
            acknowledge(ctx.wire)
    return done


@njit
def publish_event(ctx: Feed, count: int) -> None:
    """Journal and publish the first `count` staged records to every ring that can take them."""
    if count <= 0:
        return
    last = ctx.staging[count - 1]
    last["decode_ns"] = min(monotonic_ns() - last["received_ns"], _DECODE_NS_MAX)
    if last["exchange_ns"] > 0:
        ctx.words[OFFSET_LEAST_NS] = min(ctx.words[OFFSET_LEAST_NS], last["received_ns"] - last["exchange_ns"])
    instrument = as_int(last["instrument"])
    tops = 0
    for i in range(count):
        tops += is_top(ctx.staging[i]["kind"])
    outputs = as_int(0)
    journaled = _fits_journal(ctx, count)
    for k in range(len(ctx.out)):
        if ctx.lost[k, instrument] != 0:
            continue
        if journaled and has_room(ctx.out[k], count if ctx.depth[k] != 0 else tops):
            outputs |= as_int(1) << k
        else:
            ctx.lost[k, instrument] = 1
            ctx.words[ANY_LOST] = 1
            add(ctx.common.counters, FeedCounter.OVERRUNS, 1)
    _publish_to(ctx, count, outputs)
    counters = ctx.common.counters
    add(counters, FeedCounter.EVENTS, 1)
    add(counters, FeedCounter.RECORDS, count)
    if last["kind"] == _TRADE:
        add(counters, FeedCounter.TRADES, 1)
    elif last["kind"] == _QUOTE:
        add(counters, FeedCounter.QUOTES, 1)


@njit
def _tell_clock(ctx: Feed, now_ns: int) -> None:
    """Say how far the venue's clock is behind ours: the least delay seen, which is the way here and the difference of the clocks."""
    words, row = ctx.words, ctx.staging[0]
    if words[OFFSET_LEAST_NS] != NO_OFFSET:
        words[OFFSET_NS] = words[OFFSET_LEAST_NS]
    if words[OFFSET_NS] == NO_OFFSET or words[UTC_NS] == 0 or not _fits_journal(ctx, 1):
        return
    words[CLOCK_DUE_NS] = now_ns + _CLOCK_NS
    words[OFFSET_LEAST_NS] = NO_OFFSET
    row["received_ns"] = now_ns
    row["exchange_ns"] = now_ns + words[UTC_NS]
    row["venue_id"] = words[OFFSET_NS] + words[UTC_NS]
    row["price_ticks"] = row["qty_lots"] = row["ask_ticks"] = row["ask_lots"] = 0
    row["decode_ns"] = row["flags"] = 0
    row["instrument"] = ctx.clock_row[0]
    row["kind"] = _CLOCK
    # Where there is no room the next one comes soon.
    outputs = as_int(0)
    for k in range(len(ctx.out)):
        if has_room(ctx.out[k], 1):
            outputs |= as_int(1) << k
    _publish_to(ctx, 1, outputs)
    ctx.common.counters[FeedCounter.CLOCK_OFFSET_US] = row["venue_id"] // 1000


@njit
def _fits_journal(ctx: Feed, count: int) -> bool:
    """Whether the journal file has room for `count` records; if a new one would have, that is asked for."""
    journal = ctx.common.journal
    # Runs of records are entries of their own.
    need = count * _MARKET_BYTES + _ENTRIES_BYTES
    if journal_room(journal) >= need or need > journal.file.size * 8 - RESERVE_BYTES:
        return True
    ctx.common.words[ROTATE] = 1
    add(ctx.common.counters, FeedCounter.JOURNAL_FULL, 1)
    return False


@njit
def is_top(kind: int) -> int:
    """1 for the kinds that rings without depth carry."""
    return 0 if kind == _LEVEL else 1


@njit
def _publish_to(ctx: Feed, count: int, outputs: int) -> None:
    """Journal the staged records in runs that go to the same rings, and publish them to the rings in `outputs`."""
    if outputs == 0:
        return
    deep = as_int(0)
    for k in range(len(ctx.out)):
        deep |= ctx.depth[k] << k
    first = 0
    while first < count:
        top = is_top(ctx.staging[first]["kind"])
        end = first + 1
        while end < count and is_top(ctx.staging[end]["kind"]) == top:
            end += 1
        run_outputs = outputs if top else outputs & deep
        size = (end - first) * _MARKET_BYTES
        if append(ctx.common.journal, _MARKET, run_outputs, end - first, ctx.staging_bytes, first * _MARKET_BYTES, size) < 0:
            ctx.common.words[JOURNAL_FAILED] = 1
        first = end
    for k in range(len(ctx.out)):
        if outputs >> k & 1:
            _publish_one(ctx, k, count)


@njit
def _publish_one(ctx: Feed, k: int, count: int) -> None:
    ring, n = ctx.out[k], 0
    for i in range(count):
        if ctx.depth[k] != 0 or is_top(ctx.staging[i]["kind"]) != 0:
            copy_record(ring, slot_at(ring, n), ctx.staging, i)
            n += 1
    publish_many(ring, n)


@njit
def _catch_up(ctx: Feed, now_ns: int) -> int:
    """Give one consumer one lost instrument's whole book when half its ring is free; return 1 if one was given."""
    any_lost = as_int(0)
    for k in range(len(ctx.out)):
        ring = ctx.out[k]
        for instrument in range(ctx.lost.shape[1]):
            if ctx.lost[k, instrument] == 0:
                continue
            any_lost = as_int(1)
            half = ring.slots.size >> 1
            if room(ring) < half:
                break
            count = republish(ctx.book, instrument, now_ns, ctx.staging)
            if count <= 0 or (ctx.depth[k] != 0 and count > half):
                continue
            if not _fits_journal(ctx, count):
                return 0
            if ctx.staging[0]["kind"] == _RESET:
                ctx.staging[0]["flags"] |= _LOST
                ctx.staging[count - 1]["flags"] |= _LOST
            ctx.lost[k, instrument] = 0
            _publish_to(ctx, count, as_int(1) << k)
            return 1
    ctx.words[ANY_LOST] = any_lost
    return 0
