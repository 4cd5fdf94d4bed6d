"""Command: `hftctl chaos`, which runs a campaign and leaves its result beside the files of its engine."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

import msgspec

from processes.chaos.campaign import run_campaign
from processes.chaos.report import document_of, markdown
from processes.chaos.rows import Plan
from processes.errors import EngineError
from processes.instance import default_state_dir, write_durably


def chaos(plan: Plan, config_file: Path, folder: Path | None, replays: bool) -> dict[str, Any]:
    """Run a campaign, or go on with one that was interrupted; return its document, also in `result.json` and `result.md`."""
    folder = folder or default_state_dir() / "chaos" / f"{plan.venue}-{plan.faults}-{plan.seed}"
    _say(f"chaos: {plan.faults} faults, venue {plan.venue}, seed {plan.seed}, {plan.seconds:g} s, a strike about every {plan.every_s:g} s")
    signals: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: _end(signals, number))
    record = run_campaign(plan, config_file, folder, replays, _say, lambda: bool(signals))
    document = document_of(plan, record)
    write_durably(folder / "result.json", msgspec.json.format(msgspec.json.encode(document)))
    write_durably(folder / "result.md", markdown(document).encode())
    _say(f"result in {folder / 'result.json'} and {folder / 'result.md'}")
    return document


def _end(signals: list[int], number: int) -> None:
    """The first signal ends the campaign after its strike, the second at once, by the way that stops the engine."""
    signals.append(number)
    if len(signals) > 1:
        raise EngineError(f"{signal.Signals(number).name}: the campaign is interrupted; the same command goes on with it")
    _say(f"{signal.Signals(number).name}: ends after this strike; the same command goes on with the next")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
