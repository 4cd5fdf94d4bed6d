"""Recovery: rebuilds positions and open orders from the journals of a session's earlier epochs."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hft.journal_reader import JournalReader
from hft.ledger import apply_fill
from hft.records import POSITION, JournalKind, ReportKind
from hft.tables import Tables
from processes.instance import Instance


def empty_positions(tables: Tables) -> NDArray[Any]:
    """POSITION rows of an empty account: the firm's, then each strategy's, one an instrument."""
    count = len(tables.instruments)
    rows = np.zeros((1 + len(tables.strategies)) * count, POSITION)
    rows["instrument"] = np.tile(np.arange(count), 1 + len(tables.strategies))
    rows["strategy"] = np.repeat(np.arange(-1, len(tables.strategies)), count)
    return rows


def recover_positions(instance: Instance, tables: Tables, session: int, epoch: int) -> NDArray[Any]:
    """Positions after every fill that the executions journaled in epochs [session, epoch)."""
    rows = empty_positions(tables)
    count = len(tables.instruments)
    for earlier in instance.sessions():
        if not session <= earlier < epoch:
            continue
        for venue in tables.venues:
            for report in fills_of(instance, venue, earlier):
                instrument, strategy = int(report[0]["instrument"]), int(report[0]["strategy"])
                for row in (instrument, (1 + strategy) * count + instrument):
                    apply_fill(rows, row, tables.instrument_rows, report, 0)
    return rows


def fills_of(instance: Instance, venue: str, epoch: int) -> list[NDArray[Any]]:
    """The TRADE reports of one execution's journal, one-row arrays in order; none if it has no journal."""
    folder, stage = instance.journal_folder(epoch), f"execution.{venue}"
    if not any(folder.glob(f"{stage}.*.journal")):
        return []
    entries = JournalReader(folder, stage, epoch).entries()
    reports = (entry.records() for entry in entries if entry.kind == JournalKind.REPORT)
    return [report.copy() for report in reports if report[0]["kind"] == ReportKind.TRADE]


def pack_rows(rows: NDArray[Any]) -> str:
    """Rows as text, for a SESSION entry."""
    return base64.b64encode(rows.tobytes()).decode()


def unpack_rows(text: str) -> NDArray[Any]:
    """The POSITION rows that `pack_rows` packed."""
    return np.frombuffer(base64.b64decode(text), POSITION).copy()
