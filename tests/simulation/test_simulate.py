"""Fault simulation, compiled: seeds in processes of their own, whose kernels tell a time that is set."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
#: Two at a time; what one of them does takes no more than this even where kernels have to be compiled first.
WORKERS, TIMEOUT_S = 2, 800


def begin(first: int, seeds: int, *options: str, **environment: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "processes.cli", "simulate", "--seed", str(first), "--seeds", str(seeds), "--json", *options]
    return subprocess.Popen(command, cwd=ROOT, env=os.environ | environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def end(process: subprocess.Popen[bytes], timeout_s: float = TIMEOUT_S) -> dict[str, Any]:
    """The document that it printed; whatever else ended it is the failure's message."""
    try:
        out, errors = process.communicate(timeout=timeout_s)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    assert process.returncode in (0, 1) and out, errors.decode(errors="replace")[-2000:]
    document: dict[str, Any] = json.loads(out)
    return document


def campaign(first: int, seeds: int, timeout_s: float = TIMEOUT_S) -> list[dict[str, Any]]:
    share = seeds // WORKERS
    running = [begin(first + k * share, share) for k in range(WORKERS)]
    return [end(process, timeout_s) for process in running]


def broken(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [violation for document in documents for violation in document["violations"]]


@pytest.mark.timeout(1600)
def test_no_seed_breaks_an_invariant_and_a_sample_does_the_same_twice() -> None:
    documents = campaign(1, 500, timeout_s=1500)
    assert broken(documents) == []
    assert [document["different"] for document in documents] == [[], []]
    assert all(document["orders"] > 200 and document["fills"] > 100 and document["restarts"] > 10 for document in documents)
    struck = set(documents[0]["faults"]) | set(documents[1]["faults"])
    assert {"engine: SIGKILL", "engine: SIGSTOP", "network: cut", "network: stuck"} <= struck


def test_a_seed_does_the_same_in_another_process_and_as_plain_python() -> None:
    running = [begin(3, 6, PYTHONHASHSEED="1"), begin(3, 6, PYTHONHASHSEED="2", NUMBA_DISABLE_JIT="1")]
    one, other = (end(process) for process in running)
    assert one["trace"] == other["trace"]


@pytest.mark.load
@pytest.mark.timeout(0)
def test_twenty_thousand_seeds_break_no_invariant() -> None:
    documents = campaign(100_000, 20_000, timeout_s=36_000)
    assert broken(documents) == []
    assert [document["different"] for document in documents] == [[], []]
