"""A second process compiles nothing: every kernel that a placement runs comes from the cache."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from shm.jit import JIT_ENABLED

ROOT = Path(__file__).resolve().parents[2]

_COUNT = """
import gc, json, sys
from pathlib import Path
from hft.config import load
from processes.run import warm_process
from numba.core.dispatcher import Dispatcher
config = load(Path(sys.argv[1]))
for name in config.placement.processes:
    warm_process(config, name)
cached = [d for d in gc.get_objects() if isinstance(d, Dispatcher) and d.stats.cache_path]
print(json.dumps({
    "hits": sum(sum(d.stats.cache_hits.values()) for d in cached),
    "misses": sorted(f"{d.py_func.__module__}.{d.py_func.__name__}" for d in cached if d.stats.cache_misses),
}))
"""


@pytest.mark.skipif(not JIT_ENABLED, reason="nothing is compiled")
def test_a_second_process_of_the_paper_placement_has_no_cache_miss() -> None:
    command = [sys.executable, "-W", "ignore", "-c", _COUNT, str(ROOT / "tests" / "support" / "paper.toml")]
    runs = [subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True) for _ in range(2)]
    second = json.loads(runs[1].stdout.splitlines()[-1])
    assert second["misses"] == []
    assert second["hits"] > 0
