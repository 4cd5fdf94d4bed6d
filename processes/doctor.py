"""Doctor: grades this host for low-latency trading, and says how to mend what it finds.

It reads /proc, /sys and /dev and changes nothing; `tuning/apply.sh` does the changing. Cores that the config pins are
judged more strictly than a host where nothing is pinned.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from processes import doctor_cores, doctor_system
from processes.doctor_subject import GRADES, Finding, Subject
from processes.host import Host

__all__ = ["Finding", "document", "examine", "grade", "print_findings", "table", "worst"]

CHECKS: tuple[Callable[[Subject], Finding], ...] = (
    doctor_cores.cores_exist,
    doctor_cores.isolated_cores,
    doctor_cores.tickless_cores,
    doctor_cores.rcu_offloaded,
    doctor_cores.governor,
    doctor_cores.smt,
    doctor_cores.idle_states,
    doctor_cores.irq_default,
    doctor_cores.irq_placement,
    doctor_cores.irq_balancer,
    doctor_system.numa,
    doctor_system.realtime_throttling,
    doctor_system.watchdogs,
    doctor_system.clock_source,
    doctor_system.timer_slack,
    doctor_system.huge_pages,
    doctor_system.transparent_huge_pages,
    doctor_system.swap,
    doctor_system.memory_lock,
    doctor_system.realtime_priority,
    doctor_system.open_files,
    doctor_system.shared_memory,
    doctor_system.virtualisation,
    doctor_system.mitigations,
    doctor_system.kernel,
)

_COLOURS = {"ok": "green", "warn": "yellow", "bad": "bold red", "unknown": "dim"}


def grade(root: Path = Path("/"), cores: Iterable[int] = (), statvfs: Callable[[Path], Any] = os.statvfs) -> list[Finding]:
    """Grade the host below `root`; `cores` are those the config pins to. One finding a check, in a fixed order."""
    subject = Subject(Host(root), frozenset(cores), statvfs)
    return [check(subject) for check in CHECKS]


def worst(findings: Sequence[Finding]) -> str:
    """The worst grade; `unknown` counts as better than `warn`, since it proves nothing."""
    return max((finding.grade for finding in findings), key=GRADES.index, default="ok")


def document(findings: Sequence[Finding]) -> dict[str, Any]:
    """The findings for `--json`: `grade`, `counts` by grade, and `findings[]` with the fields of Finding."""
    counts = {name: sum(finding.grade == name for finding in findings) for name in GRADES}
    return {"grade": worst(findings), "counts": counts, "findings": [finding._asdict() for finding in findings]}


def examine(config_file: Path | None = None) -> dict[str, Any]:
    """Grade this host, and the cores that a config pins to when one is given; the document of `hftctl doctor --json`."""
    from hft.config import load

    cores: list[int] = []
    if config_file is not None:
        cores = [process.core for process in load(config_file).placement.processes.values() if process.core is not None]
    return document(grade(cores=cores))


def print_findings(examined: dict[str, Any]) -> None:
    """Print what `examine` found, for people."""
    print(table([Finding(**finding) for finding in examined["findings"]]), end="")


def table(findings: Sequence[Finding], width: int | None = None) -> str:
    """The findings for people: one row a check, then why it matters and the fix for each that is not ok."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    rows = Table("check", "grade", "found", "expected", title="Host", title_justify="left")
    for finding in findings:
        colour = _COLOURS[finding.grade]
        rows.add_row(finding.name, f"[{colour}]{finding.grade}[/]", escape(finding.found), escape(finding.expected))
    console = Console(width=width)
    with console.capture() as capture:
        console.print(rows)
        for finding in findings:
            if finding.grade != "ok":
                console.print(f"[{_COLOURS[finding.grade]}]{finding.name}[/]: {escape(finding.why)}")
                console.print(f"  fix: {escape(finding.fix)}", highlight=False)
    return capture.get()
