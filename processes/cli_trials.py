"""hftctl bench, chaos and simulate: what the engine is tried with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from processes.cli_options import Numbers, emit, json_option


@click.command()
@click.argument("name", type=click.Choice(["ring", "codec", "book", "risk", "orders", "kill", "tick-to-trade", "all"]))
@click.option("--rounds", type=click.IntRange(1, 99), help="Alternated runs; the default is each benchmark's own.")
@click.option("--seconds", type=click.FloatRange(1, 3600), help="orders: how long each run sends; 10 unless told otherwise.")
@click.option(
    "--end-to-end", type=click.IntRange(1, 100_000), help="kill: triggers measured at the venue's socket; 200 unless told otherwise."
)
@click.option("--path", type=click.Choice(["binance", "kraken", "coinbase"]), help="tick-to-trade: whose market data and order entry.")
@click.option("--tls", is_flag=True, default=None, help="tick-to-trade: over TLS, against an echo by OpenSSL alone.")
@json_option
def bench(name: str, rounds: int | None, as_json: bool, **options: Any) -> None:
    """Measure one part against a reference in the same run."""
    from processes.bench.run import print_bench, run_bench

    given = {key: value for key, value in options.items() if value is not None}
    for key in given:
        whose = {"seconds": "orders", "end_to_end": "kill"}.get(key, "tick-to-trade")
        if name != whose:
            raise click.UsageError(f"--{key.replace('_', '-')} is of the {whose} bench, found {name}")
    document = run_bench(name, rounds, **given)
    emit(document, as_json, print_bench)
    if document.get("floor", {}) is None:
        raise SystemExit(1)


@click.command()
@click.option(
    "--venue", type=click.Choice(["binance", "coinbase", "kraken"]), default="binance", show_default=True, help="At whose simulator."
)
@click.option(
    "--faults",
    type=click.Choice(["venue", "process", "host"]),
    default="venue",
    show_default=True,
    help="Strike the venue, our processes, or what is under them: rings, disk, journals, segments, clocks.",
)
@click.option("--for", "seconds", type=Numbers(min=1), help="Trade for S seconds.  [default: 600]")
@click.option("--minutes", type=Numbers(min=0.1), help="The same in minutes.")
@click.option("--every", "every_s", type=Numbers(min=0.5), default=5.0, show_default=True, help="A strike about every S seconds.")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=1, show_default=True, help="Of the schedule.")
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    default=Path("configs/paper-orders.toml"),
    show_default=True,
    help="Trades through the venue's order entry at its simulator; other venues in it are left out.",
)
@click.option(
    "--out", "folder", type=click.Path(path_type=Path, file_okay=False), help="Folder of its files; one that has some is gone on with."
)
@click.option("--replay/--no-replay", "replays", default=True, show_default=True, help="Replay the newest epoch at the end.")
@json_option
def chaos(
    seconds: float | None, minutes: float | None, config_file: Path, folder: Path | None, replays: bool, as_json: bool, **plan: Any
) -> None:
    """Trade while the venue misbehaves, our processes die or their host fails every few seconds, and compare engine and venue each time."""
    from processes.chaos.command import chaos as run
    from processes.chaos.report import print_chaos
    from processes.chaos.rows import Plan

    if seconds is not None and minutes is not None:
        raise click.UsageError("--for and --minutes: expected one of them, found both")
    length_s = 60 * minutes if minutes is not None else seconds or 600.0
    document = run(Plan(seconds=length_s, **plan), config_file, folder, replays)
    emit(document, as_json, print_chaos)
    if not document["passed"]:
        raise SystemExit(1)


@click.command()
@click.option(
    "--seeds", type=click.IntRange(1, 10_000_000), default=1, show_default=True, help="Simulate so many seeds, one after another."
)
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=1, show_default=True, help="The first of them.")
@click.option(
    "--venue", "venues", multiple=True, type=click.Choice(["binance", "coinbase", "kraken"]), help="Only these; default: what a seed draws."
)
@json_option
def simulate(seeds: int, seed: int, venues: tuple[str, ...], as_json: bool) -> None:
    """Trade with simulated venues and faults in virtual time, one thread, and check every invariant at every step."""
    from processes.simulate.command import campaign, print_simulate

    document = campaign(seed, seeds, tuple(sorted(set(venues))))
    emit(document, as_json, print_simulate)
    if not document["passed"]:
        raise SystemExit(1)
