"""Rows: what became of each strike, kept in a file line by line, so that a campaign that was interrupted goes on where it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from processes.chaos.ledger import Ledger
from processes.errors import EngineError


class Plan(msgspec.Struct, frozen=True, tag_field="line", tag="plan"):
    """What a campaign is: equal plans have equal schedules."""

    venue: str
    seed: int
    seconds: float
    every_s: float
    faults: str = "venue"  #: what is struck: the "venue", the engine's "process" or the "host"


class Row(msgspec.Struct, tag_field="line", tag="row"):
    """One strike. Times in ms are whole; None where there was nothing to measure."""

    number: int
    name: str
    faults: list[dict[str, Any]]
    at_s: float  #: since the session's first strike was due, and what went before it
    healed_ms: int = 0  #: after it was injected
    invalid_ms: int | None = None  #: how long a book was not valid, at most
    valid_ms: int | None = None  #: how long after healing the last book was valid again; 0 if it was before
    pulled_ms: int | None = None  #: how long a quote stood after the last event of its book, while that was not valid
    agreed_ms: int | None = None  #: how long after healing engine and venue said the same of the account
    trading_ms: int | None = (
        None  #: how long after it was injected an order of the new epoch had left; on the host: an order after it healed
    )
    doubled: int = 0  #: orders at the venue beyond those sent
    sent: int = 0  #: requests that left between the injection and the agreement
    #: process -> anonymous memory in KB, open descriptors, when the strike was over
    held: dict[str, tuple[int, int]] = {}
    wrong: list[str] = []
    late: list[str] = []  #: which bounds of time were not kept


class Session(msgspec.Struct, tag_field="line", tag="session"):
    """One run of an engine to its orderly end, seen as a whole."""

    orders: int  #: new orders that the engine sent, replacing ones included
    fills: int
    duplicates: int
    replay_equal: bool | None  #: None if it was not asked
    commit: str = ""  #: of the source that ran; empty outside a clone
    wrong: list[str] = []


class Record:
    """The file of one campaign."""

    def __init__(self, path: Path, plan: Plan) -> None:
        """Begin it, or go on with it. Raises EngineError if it is of another campaign."""
        self.rows: list[Row] = []
        self.sessions: list[Session] = []
        self._path = path
        if not path.exists():
            self._append(plan)
            return
        lines = msgspec.json.Decoder(Plan | Row | Session).decode_lines(_whole_lines(path))
        for line in lines:
            if isinstance(line, Row):
                self.rows.append(line)
            elif isinstance(line, Session):
                self.sessions.append(line)
            elif line != plan:
                raise EngineError(f"{path}: is of another campaign ({line}); give another --out, or remove it")

    def add(self, line: Row | Session) -> None:
        """Keep it."""
        if isinstance(line, Row):
            self.rows.append(line)
        else:
            self.sessions.append(line)
        self._append(line)

    def _append(self, line: Plan | Row | Session) -> None:
        with open(self._path, "ab") as file:
            file.write(msgspec.json.encode(line) + b"\n")


def _whole_lines(path: Path) -> bytes:
    """What was written whole; a torn last line is cut off, and its strike comes again."""
    text = path.read_bytes()
    whole = text[: text.rfind(b"\n") + 1]
    if len(whole) < len(text):
        path.write_bytes(whole)
    return whole


class Marks(NamedTuple):
    """Where a strike begins in a ledger's lists."""

    outages: int
    quiet: int


def measure_books(row: Row, ledger: Ledger, marks: Marks, healed_ns: int, answered_from_ns: int, now_ns: int) -> None:
    """Note how long books were not valid, and how long quotes stood on those and on quiet ones.

    Before `answered_from_ns` no cancel could reach the venue.
    """
    outages = ledger.outages[marks.outages :]
    if outages:
        row.invalid_ms = _ms(max((outage.until_ns or now_ns) - outage.from_ns for outage in outages))
        row.valid_ms = _ms(max(0, max(outage.until_ns or now_ns for outage in outages) - healed_ns))
    stood = []
    for outage in outages + ledger.quiet[marks.quiet :]:
        end = outage.until_ns or now_ns
        begins = max(outage.last_event_ns, answered_from_ns)
        for life in ledger.lives.values():
            if life.row == outage.row and life.sent_ns < end and (life.ended_ns or now_ns) > outage.from_ns:
                stood.append(max(0, min(life.ended_ns or now_ns, end) - begins))
    row.pulled_ms = _ms(max(stood)) if stood else None


def _ms(time_ns: int) -> int:
    return round(time_ns / 1e6)
