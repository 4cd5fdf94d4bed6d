"""Counters: what each kind of stage counts, by name; the numbers are places in its counter block."""

from __future__ import annotations

from enum import IntEnum


class FeedCounter(IntEnum):
    """Counted by a feed."""

    FRAMES = 0
    EVENTS = 1  #: book events published
    RECORDS = 2  #: MARKET records made
    TRADES = 3
    QUOTES = 4
    MALFORMED = 5
    IGNORED = 6  #: unknown events, replies
    GAPS = 7
    CROSSED = 8
    SILENT = 9
    OVERRUNS = 10  #: a consumer's ring was full
    RESYNCS = 11
    CONNECTS = 12
    DISCONNECTS = 13
    QUOTE_MISMATCHES = 14  #: the diff book and bookTicker disagreed at the same update id
    BOOKS_VALID = 15  #: gauge: how many instruments have a valid book
    JOURNAL_FULL = 16
    CHECKSUM_OK = 17  #: book messages whose checksum the book had
    CHECKSUM_BAD = 18
    HEARTBEATS = 19
    CLOCK_OFFSET_US = 20  #: gauge: how far the venue's clock is behind ours, and the way from there, at the least


class StrategyCounter(IntEnum):
    """Counted by a strategy."""

    EVENTS = 0
    REPORTS = 1
    INTENTS = 2
    INTENTS_DROPPED = 3  #: the ring to risk was full
    REFUSED = 4
    BOOK_ERRORS = 5
    WORKING = 6  #: gauge
    JOURNAL_FULL = 7


class RiskCounter(IntEnum):
    """Counted by risk."""

    INTENTS = 0
    APPROVED = 1
    REFUSED = 2
    LAST_REFUSAL = 3  #: gauge: the newest RiskCode
    REPORTS = 4
    QUOTES = 5
    REFUSALS_DROPPED = 6  #: the strategy's ring was full
    WORKING = 7  #: gauge
    JOURNAL_FULL = 8
    LIMITS_CHANGED = 9
    LIMITS_NOT_CHANGED = 10  #: the rule did not allow it
    REFUSED_BY_CODE = 16  #: + RiskCode - 2000, up to 100 of them


class ExecutionCounter(IntEnum):
    """Counted by an execution stage."""

    SENT = 0
    ACKED = 1
    FILLED = 2  #: orders filled in full
    CANCELED = 3
    REJECTED = 4
    EXPIRED = 5
    UNKNOWN = 6  #: gauge: orders whose outcome is not known
    TRADES = 7  #: fills, partial ones included
    NOT_SENT = 8
    CANCELS_SENT = 9
    CANCEL_REJECTED = 10
    WORKING = 11  #: gauge
    REPORTS = 12
    BEHIND = 13  #: a reports ring was full
    JOURNAL_FULL = 14
    BOOK_ERRORS = 15


class PortfolioCounter(IntEnum):
    """Counted by the portfolio."""

    REPORTS = 0
    FILLS = 1
    MARKS = 2
    JOURNAL_FULL = 3
    NO_STRATEGY = 4  #: fills of a strategy that the session does not have, booked for the firm alone


#: How many codes REFUSED_BY_CODE has room for.
REFUSAL_CODES = 100


def _risk_labels() -> type[IntEnum]:
    names = {counter.name: int(counter) for counter in RiskCounter if counter is not RiskCounter.REFUSED_BY_CODE}
    names |= {f"RESERVED_{i}": i for i in range(len(names), RiskCounter.REFUSED_BY_CODE)}
    names |= {f"REFUSED_R{code:03d}": RiskCounter.REFUSED_BY_CODE + code for code in range(REFUSAL_CODES)}
    return IntEnum("RiskLabels", names)  # type: ignore[return-value]


#: role -> its counters, in order of place
COUNTERS_BY_ROLE: dict[str, type[IntEnum]] = {
    "feed": FeedCounter,
    "strategy": StrategyCounter,
    "risk": _risk_labels(),
    "execution": ExecutionCounter,
    "portfolio": PortfolioCounter,
}
