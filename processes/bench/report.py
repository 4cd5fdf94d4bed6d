"""Bench report: says on what machine, from what sources and with what outcome a benchmark ran."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numba
import numpy as np

_ROOT = Path(__file__).resolve().parent.parent.parent

#: Names a C compiler goes by, the first found is used.
COMPILERS = ("cc", "gcc", "clang")


class BenchError(Exception):
    """The engine under test failed, or did not do what was measured."""


class CompileError(Exception):
    """The reference did not compile."""


def machine() -> dict[str, Any]:
    """Processor, cores this process may use and cores there are, kernel, and the versions that decide speed."""
    return {
        "cpu": _cpu_model(),
        "cores_usable": len(os.sched_getaffinity(0)),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "numba": numba.__version__,
        "numpy": np.__version__,
    }


def git() -> dict[str, Any]:
    """The commit that the sources came from and whether they were changed since; None where there is no repository."""
    commit = _git("rev-parse", "--verify", "HEAD")
    changed = _git("status", "--porcelain")
    return {"commit": commit or None, "changed": bool(changed) if changed is not None else None}


def result_hash(outcome: Any) -> str:
    """A hash of what the work computed: work that was optimised away or changed does not go unnoticed."""
    text = json.dumps(outcome, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def finish(
    name: str, results: Mapping[str, Any], floor: Mapping[str, Any] | None, ratio: Mapping[str, Any] | None, outcome: Any = None
) -> dict[str, Any]:
    """The document that `hftctl bench NAME --json` prints; `outcome` is what the work computed, `floor` None without a reference."""
    return {
        "bench": name,
        "results": dict(results),
        "floor": None if floor is None else dict(floor),
        "ratio": None if ratio is None else dict(ratio),
        "hash": result_hash(outcome),
        "machine": machine(),
        "git": git(),
    }


def compile_c(source: Path, folder: Path, header: str = "", options: Sequence[str] = ()) -> Path | None:
    """Compile a reference with `-O3 -march=native`, and `options`, into `folder`; CompileError if it fails.

    None without a compiler, or if it does not know the `header` that the reference needs.
    """
    compiler = next((path for name in COMPILERS if (path := shutil.which(name))), None)
    if compiler is None or (header and not _knows(compiler, header)):
        return None
    program = folder / source.stem
    command = [compiler, "-O3", "-march=native", "-o", str(program), str(source), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CompileError(f"{source.name}: {done.stderr.strip()}")
    return program


def two_cores() -> tuple[int, int] | None:
    """Two usable logical processors on different cores, or any two; None with only one."""
    usable = sorted(os.sched_getaffinity(0))
    first = usable[0]
    others = [cpu for cpu in usable[1:] if _core_of(cpu) != _core_of(first)] or usable[1:]
    return (first, others[0]) if others else None


def _knows(compiler: str, header: str) -> bool:
    command = [compiler, "-E", "-x", "c", "-"]
    return subprocess.run(command, input=f"#include <{header}>\n", capture_output=True, text=True, check=False).returncode == 0


def _core_of(cpu: int) -> str:
    path = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
    return path.read_text().strip() if path.exists() else str(cpu)


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _git(*arguments: str) -> str | None:
    command = ["git", "-C", str(_ROOT), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
