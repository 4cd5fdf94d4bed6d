"""Config of a placement: every stage is in exactly one process, and no two processes share a core."""

from __future__ import annotations

from typing import Any


def prove_placement(config: Any, fail: Any) -> None:
    """Check the placement of a Config; `fail(key, message)` raises ConfigError."""
    expected = {stage.name for stage in config.topology().stages}
    placed: dict[str, str] = {}
    cores: dict[int, str] = {}
    for name, process in config.placement.processes.items():
        for stage in process.stages:
            if stage not in expected:
                fail(f"placement.processes.{name}.stages", f"no stage {stage!r}; there are {', '.join(sorted(expected))}")
            if stage in placed:
                fail(f"placement.processes.{name}.stages", f"{stage} is already in {placed[stage]}")
            placed[stage] = name
        if process.core is not None:
            if process.core in cores:
                fail(f"placement.processes.{name}.core", f"core {process.core} is already taken by {cores[process.core]}")
            cores[process.core] = name
    if missing := expected - set(placed):
        fail("placement.processes", f"no process runs {', '.join(sorted(missing))}")
