"""Command: `hftctl chaos`, which runs a campaign and leaves its result beside the files of its engine."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec

from processes.chaos.campaign import run_campaign
from processes.chaos.report import document_of, markdown
from processes.chaos.rows import Plan
from processes.instance import default_state_dir, write_durably


def chaos(plan: Plan, config_file: Path, folder: Path | None, replays: bool) -> dict[str, Any]:
    """Run a campaign, or go on with one that was interrupted; return its document, also in `result.json` and `result.md`."""
    folder = folder or default_state_dir() / "chaos" / f"{plan.venue}-{plan.seed}"
    _say(f"chaos: venue {plan.venue}, seed {plan.seed}, {plan.seconds:g} s, a strike about every {plan.every_s:g} s")
    record = run_campaign(plan, config_file, folder, replays, _say)
    document = document_of(plan, record)
    write_durably(folder / "result.json", msgspec.json.format(msgspec.json.encode(document)))
    write_durably(folder / "result.md", markdown(document).encode())
    _say(f"result in {folder / 'result.json'} and {folder / 'result.md'}")
    return document


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
