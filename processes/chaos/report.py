"""Report: a campaign as a document, as a table for people, and as a page of Markdown."""

from __future__ import annotations

import os
import platform
from typing import Any

import click
import msgspec

from processes.chaos.campaign import PULLED_MS, VALID_MS
from processes.chaos.memory import growth
from processes.chaos.rows import Plan, Record, Row
from processes.chaos.schedule import count_of

#: The 99th percentiles after a SIGKILL must be below these: an order leaves again, and engine and venue agree.
TRADING_P99_MS, AGREED_P99_MS = 1000, 5000

#: After whatever befell the host has ended: an order leaves again.
RESUMED_P99_MS = 5000

_KILLS = "every SIGKILL"
_TOTALS = ("fault", "times", "trading p50 ms", "p99", "agreed after p50 ms", "p99", "lost", "doubled")
_HELD = ("process", "samples", "MB/h", "95 % bounds", "anonymous MB", "descriptors", "verdict")
_COLUMNS = (
    "no.",
    "at s",
    "fault",
    "healed ms",
    "invalid ms",
    "valid after ms",
    "pulled ms",
    "trading ms",
    "agreed after ms",
    "requests",
    "comparison",
)


def document_of(plan: Plan, record: Record) -> dict[str, Any]:
    """Return everything about a campaign as JSON-able values."""
    rows, sessions = record.rows, record.sessions
    wrong = [f"{row.number} {row.name}: {each}" for row in rows for each in row.wrong]
    wrong += [each for session in sessions for each in session.wrong]
    strikes_of_plan = count_of(plan.seconds, plan.every_s)
    late = [f"{each['process']} grows by {each['mb_per_h']} MB/h" for each in growth(rows) if each["verdict"] == "grows"]
    late += [f"{row.number} {row.name}: {each}" for row in rows for each in row.late]
    totals = _totals(rows)
    if plan.faults != "venue":
        whole, bounds = _kills(totals), {"trading_p99_ms": _trading_bound_ms(plan.faults), "agreed_p99_ms": AGREED_P99_MS}
        late += [f"{name} {whole[name]}, bound {bound}" for name, bound in bounds.items() if (whole[name] or 0) > bound]
    else:
        bounds = {"valid_ms": VALID_MS, "pulled_ms": PULLED_MS}
    return {
        **msgspec.structs.asdict(plan),
        "commit": ", ".join(dict.fromkeys(session.commit for session in sessions if session.commit)),
        "machine": f"{os.cpu_count()} cores, {platform.system()} {platform.release()}, Python {platform.python_version()}",
        "strikes": len(rows),
        "left": strikes_of_plan - len(rows),
        "bounds": bounds,
        "totals": totals,
        "memory": growth(rows),
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


def _trading_bound_ms(faults: str) -> int:
    return TRADING_P99_MS if faults == "process" else RESUMED_P99_MS


def _worst(rows: list[Row], name: str) -> int | None:
    return max((value for row in rows if (value := getattr(row, name)) is not None), default=None)


def _totals(rows: list[Row]) -> list[dict[str, Any]]:
    """One line a kind of strike, and one for all."""
    kinds = {name: [row for row in rows if row.name == name] for name in sorted({row.name for row in rows})}
    kills = [row for row in rows if row.name.startswith("SIGKILL")]
    return [_total(name, of_kind) for name, of_kind in [*kinds.items(), *([(_KILLS, kills)] if kills else []), ("all", rows)]]


def _kills(totals: list[dict[str, Any]]) -> dict[str, Any]:
    """The line of all kills; of everything if there was none."""
    return next((total for total in totals if total["fault"] == _KILLS), totals[-1])


def _total(name: str, rows: list[Row]) -> dict[str, Any]:
    trading = sorted(row.trading_ms for row in rows if row.trading_ms is not None)
    agreed = sorted(row.agreed_ms for row in rows if row.agreed_ms is not None)
    return {
        "fault": name,
        "times": len(rows),
        "trading_p50_ms": _percentile(trading, 50),
        "trading_p99_ms": _percentile(trading, 99),
        "agreed_p50_ms": _percentile(agreed, 50),
        "agreed_p99_ms": _percentile(agreed, 99),
        "lost": sum(len(row.wrong) for row in rows),
        "doubled": sum(row.doubled for row in rows),
    }


def _percentile(ordered: list[int], percent: int) -> int | None:
    """The nearest rank."""
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)] if ordered else None


def _cells(row: dict[str, Any]) -> list[str]:
    names = ("number", "at_s", "name", "healed_ms", "invalid_ms", "valid_ms", "pulled_ms", "trading_ms", "agreed_ms", "sent")
    return ["-" if row[name] is None else str(row[name]) for name in names] + ["; ".join(row["wrong"] + row["late"]) or "equal"]


def summary(document: dict[str, Any]) -> str:
    """Return a campaign in a sentence or two."""
    begin = (
        f"{document['venue']}, seed {document['seed']}, {document['seconds']:g} s: {document['strikes']} strikes, "
        f"{document['orders']} orders, {document['fills']} fills, {document['duplicates']} duplicate orders. "
    )
    if document["faults"] != "venue":
        whole, bounds = _kills(document["totals"]), document["bounds"]
        since = "the restart" if document["faults"] == "process" else "healing"
        measured = (
            f"An order left again after {whole['trading_p50_ms']} ms, p99 {whole['trading_p99_ms']} (bound {bounds['trading_p99_ms']}); "
            f"agreed {whole['agreed_p50_ms']} ms after {since}, p99 {whole['agreed_p99_ms']} (bound {bounds['agreed_p99_ms']})"
        )
    else:
        worst, bounds = document["worst_ms"], document["bounds"]
        measured = (
            f"Worst: book valid {worst['valid_ms']} ms after healing (bound {bounds['valid_ms']}), "
            f"quote pulled after {worst['pulled_ms']} ms (bound {bounds['pulled_ms']}), agreed after {worst['agreed_ms']} ms"
        )
    return f"{begin}{measured}. {_outcome(document)}."


def _outcome(document: dict[str, Any]) -> str:
    if document["passed"]:
        return "Passed"
    left = [f"{document['left']} strikes are left"] * (document["left"] > 0)
    return f"Not passed: {'; '.join([*left, *document['wrong'], *document['late']]) or 'no session came to its end'}"


def print_chaos(document: dict[str, Any]) -> None:
    """The tables, for people."""
    for header, lines in _tables(document):
        table = [list(header), *lines]
        widths = [max(len(line[k]) for line in table) for k in range(len(header) - 1)]
        wide = next(k for k, name in enumerate(header) if name in ("fault", "process"))
        for line in table:
            cells = [
                cell.ljust(width) if k == wide else cell.rjust(width) for k, (cell, width) in enumerate(zip(line, widths, strict=False))
            ]
            click.echo("  ".join([*cells, line[-1]]))
        click.echo()
    click.echo(summary(document))


def _tables(document: dict[str, Any]) -> list[tuple[tuple[str, ...], list[list[str]]]]:
    held = [_texts(each) for each in document["memory"]]
    return [
        (_COLUMNS, [_cells(row) for row in document["rows"]]),
        *([(_HELD, held)] if held else []),
        (_TOTALS, [_texts(total) for total in document["totals"]]),
    ]


def _texts(found: dict[str, Any]) -> list[str]:
    def text(value: Any) -> str:
        return " to ".join(str(each) for each in value) if isinstance(value, list) else "-" if value is None else str(value)

    return [text(value) for value in found.values()]


def markdown(document: dict[str, Any]) -> str:
    """The same as a page."""
    lines = [f"# Chaos: {document['faults']} faults, {document['venue']}, seed {document['seed']}", "", summary(document), ""]
    replay = {True: "equal", False: "different", None: "not asked"}[document["replay_equal"]]
    lines += [f"Commit {document['commit']}; {document['machine']}; a strike about every {document['every_s']:g} s; replay: {replay}."]
    for header, rows in reversed(_tables(document)):
        lines += ["", f"| {' | '.join(header)} |", f"|{'---|' * len(header)}"]
        lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(lines) + "\n"
