"""Bench run: runs benchmarks by name, and shows a document as a table."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from typing import Any

import click

from processes.logs import silence

#: name on the command line -> module with `run(rounds)`
_MODULES = {
    "ring": "processes.bench.ring",
    "codec": "processes.bench.codec",
    "book": "processes.bench.book",
    "risk": "processes.bench.risk",
    "orders": "processes.bench.orders",
    "kill": "processes.bench.kill",
    "tick-to-trade": "processes.bench.tick_to_trade",
}


def run_bench(name: str, rounds: int | None, **options: Any) -> dict[str, Any]:
    """One benchmark's document, run with its own options; for `all`, {"benches": [...]} in order."""
    if name == "all":
        return {"benches": [run_bench(each, rounds) for each in _MODULES]}
    silence()
    print(f"bench {name}", file=sys.stderr, flush=True)
    module = importlib.import_module(_MODULES[name])
    document: dict[str, Any] = module.run(**options) if rounds is None else module.run(rounds=rounds, **options)
    return document


def print_bench(document: dict[str, Any]) -> None:
    """Ratios, results and reference as tables, and what they ran on."""
    for bench in document.get("benches", [document]):
        machine, git = bench["machine"], bench["git"]
        commit = f"{(git['commit'] or 'no commit')[:12]}{' + changes' if git['changed'] else ''}"
        click.echo(f"\n{bench['bench']}  ({machine['cpu']}, {machine['cores_usable']} cores, {commit}, hash {bench['hash']})")
        if bench["floor"] is None:
            click.echo("  no reference: it needs a C compiler and two cores, under TLS OpenSSL's headers")
        for title in ("ratio", "results", "floor"):
            for key, value in _flat(bench[title] or {}):
                click.echo(f"  {title:<8}{key:<52}{_text(value):>16}")


def _flat(tree: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for key, value in tree.items():
        path = f"{prefix}.{key}" if prefix else str(key)
        rows += _flat(value, path) if isinstance(value, Mapping) else [(path, value)]
    return rows


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.3f}" if abs(value) < 100 else f"{value:,.0f}"
    if isinstance(value, list):
        return " .. ".join(_text(each) for each in value[:2]) if len(value) == 2 else f"{len(value)} values"
    return str(value)
