"""Does the scanner, with bounds checks on, survive a million mutants of real frames without a wrong price?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PATHS = ("binance_spot/btcusdt_20240808.gz", "binance_spot/ethusdt_20240808.gz")


def fuzz(mutants: int, seed: int, paths: list[Path], timeout_s: int) -> dict[str, int]:
    """Run the fuzz in a process with bounds checks, which proves first that they are on."""
    environment = {**os.environ, "NUMBA_BOUNDSCHECK": "1", "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    # The cache folder's own key knows of bounds checks; one from outside need not. And it is compiled code that is tried.
    for name in ("NUMBA_CACHE_DIR", "NUMBA_DISABLE_JIT"):
        environment.pop(name, None)
    command = [sys.executable, "-m", "support.scanner_fuzz", str(mutants), str(seed), *map(str, paths)]
    done = subprocess.run(command, check=False, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=timeout_s)
    assert done.returncode == 0, f"seed {seed}: {done.stderr[-4000:]}"
    outcomes: dict[str, int] = json.loads(done.stdout)
    assert outcomes["mutants"] == mutants
    assert min(outcomes["DEPTH"], outcomes["QUOTE"], outcomes["MALFORMED"]) > mutants // 200, f"seed {seed}: too few kinds in {outcomes}"
    return outcomes


def test_scanner_reads_no_mutant_of_made_frames_wrongly() -> None:
    fuzz(20_000, 1, [], timeout_s=250)


@pytest.mark.load
@pytest.mark.timeout(1800)
def test_scanner_reads_none_of_a_million_mutants_of_recorded_frames_wrongly(recorded: Callable[[str], Path]) -> None:
    seed = int(os.environ.get("FUZZ_SEED", "20240808"))
    fuzz(1_000_000, seed, [recorded(name) for name in PATHS], timeout_s=1700)
