"""Report: a campaign as a document, as a table for people, and as a page of Markdown."""

from __future__ import annotations

import os
import platform
from typing import Any

import click
import msgspec

from processes.chaos.campaign import PULLED_MS, VALID_MS
from processes.chaos.rows import Plan, Record, Row
from processes.chaos.schedule import count_of

_COLUMNS = ("no.", "at s", "fault", "healed ms", "invalid ms", "valid after ms", "pulled ms", "agreed after ms", "requests", "comparison")


def document_of(plan: Plan, record: Record) -> dict[str, Any]:
    """Return everything about a campaign as JSON-able values."""
    rows, sessions = record.rows, record.sessions
    wrong = [f"{row.number} {row.name}: {each}" for row in rows for each in row.wrong]
    wrong += [each for session in sessions for each in session.wrong]
    strikes_of_plan = count_of(plan.seconds, plan.every_s)
    late = [f"{row.number} {row.name}: {each}" for row in rows for each in row.late]
    return {
        **msgspec.structs.asdict(plan),
        "commit": ", ".join(dict.fromkeys(session.commit for session in sessions if session.commit)),
        "machine": f"{os.cpu_count()} cores, {platform.system()} {platform.release()}, Python {platform.python_version()}",
        "strikes": len(rows),
        "left": strikes_of_plan - len(rows),
        "bounds_ms": {"valid": VALID_MS, "pulled": PULLED_MS},
        "worst_ms": {name: _worst(rows, name) for name in ("valid_ms", "pulled_ms", "agreed_ms")},
        "orders": sum(session.orders for session in sessions),
        "fills": sum(session.fills for session in sessions),
        "duplicates": sum(session.duplicates for session in sessions),
        "replay_equal": all(session.replay_equal for session in sessions) if any(s.replay_equal is not None for s in sessions) else None,
        "passed": len(rows) == strikes_of_plan and bool(sessions) and not wrong and not late,
        "wrong": wrong,
        "late": late,
        "rows": [msgspec.to_builtins(row) for row in rows],
    }


def _worst(rows: list[Row], name: str) -> int | None:
    return max((value for row in rows if (value := getattr(row, name)) is not None), default=None)


def _cells(row: dict[str, Any]) -> list[str]:
    names = ("number", "at_s", "name", "healed_ms", "invalid_ms", "valid_ms", "pulled_ms", "agreed_ms", "sent")
    return ["-" if row[name] is None else str(row[name]) for name in names] + ["; ".join(row["wrong"] + row["late"]) or "equal"]


def summary(document: dict[str, Any]) -> str:
    """Return a campaign in a sentence or two."""
    worst, bounds = document["worst_ms"], document["bounds_ms"]
    return (
        f"{document['venue']}, seed {document['seed']}, {document['seconds']:g} s: {document['strikes']} strikes, "
        f"{document['orders']} orders, {document['fills']} fills, {document['duplicates']} duplicate orders. "
        f"Worst: book valid {worst['valid_ms']} ms after healing (bound {bounds['valid']}), "
        f"quote pulled after {worst['pulled_ms']} ms (bound {bounds['pulled']}), agreed after {worst['agreed_ms']} ms. "
        f"{_outcome(document)}."
    )


def _outcome(document: dict[str, Any]) -> str:
    if document["passed"]:
        return "Passed"
    left = [f"{document['left']} strikes are left"] * (document["left"] > 0)
    return f"Not passed: {'; '.join([*left, *document['wrong'], *document['late']]) or 'no session came to its end'}"


def print_chaos(document: dict[str, Any]) -> None:
    """The table, for people."""
    table = [list(_COLUMNS), *(_cells(row) for row in document["rows"])]
    widths = [max(len(line[k]) for line in table) for k in range(len(_COLUMNS) - 1)]
    for line in table:
        cells = [cell.ljust(width) if k == 2 else cell.rjust(width) for k, (cell, width) in enumerate(zip(line, widths, strict=False))]
        click.echo("  ".join([*cells, line[-1]]))
    click.echo(f"\n{summary(document)}")


def markdown(document: dict[str, Any]) -> str:
    """The same as a page."""
    lines = [f"# Chaos: {document['venue']}, seed {document['seed']}", "", summary(document), ""]
    replay = {True: "equal", False: "different", None: "not asked"}[document["replay_equal"]]
    lines += [f"Commit {document['commit']}; {document['machine']}; a strike about every {document['every_s']:g} s; replay: {replay}.", ""]
    lines += [f"| {' | '.join(_COLUMNS)} |", f"|{'---|' * len(_COLUMNS)}"]
    lines += [f"| {' | '.join(_cells(row))} |" for row in document["rows"]]
    return "\n".join(lines) + "\n"
