"""Memory: what each process of a campaign's engine holds, and whether that grows with time."""

from __future__ import annotations

import math
import statistics
from pathlib import Path
from typing import Any, NamedTuple

from processes.chaos.rows import Row

#: Growth is judged from so long after the campaign began: tables fill, files are mapped for the first time.
WARM_UP_S = 300.0
#: The 95 % bound of the growth must be below this.
SLOPE_MAX_MB_PER_H = 1.0
_SAMPLES_MIN = 20
_KB_PER_MB, _S_PER_H = 1024.0, 3600.0
#: Of a normal distribution: samples are many.
_SIGMAS_95 = 1.96


class Held(NamedTuple):
    """What a process holds."""

    anonymous_kb: int
    files: int


def measure(pid: int) -> Held | None:
    """Anonymous resident memory and open descriptors of a process; None if it is gone."""
    folder = Path("/proc") / str(pid)
    try:
        lines = (folder / "status").read_text().splitlines()
        files = len(list((folder / "fd").iterdir()))
    except OSError:
        return None
    found = [int(line.split()[1]) for line in lines if line.startswith("RssAnon:")]
    return Held(found[0], files) if found else None


def growth(rows: list[Row]) -> list[dict[str, Any]]:
    """For each process, how fast its memory grew after the warm-up, with the 95 % bounds, and how many descriptors it had.

    The verdict is "flat" if even the upper bound is below SLOPE_MAX_MB_PER_H, "grows" if even the lower one is not, else "inconclusive",
    as it is without samples enough. Descriptors must not have become more from the warm-up to the end.
    """
    warm = [row for row in rows if row.at_s >= WARM_UP_S]
    names = sorted({name for row in rows for name in row.held})
    return [_growth_of(name, [row for row in warm if name in row.held]) for name in names]


def _growth_of(name: str, rows: list[Row]) -> dict[str, Any]:
    found: dict[str, Any] = {"process": name, "samples": len(rows)}
    if len(rows) < _SAMPLES_MIN:
        return found | {"mb_per_h": None, "bounds_mb_per_h": None, "anonymous_mb": None, "files": None, "verdict": "inconclusive"}
    hours = [row.at_s / _S_PER_H for row in rows]
    megabytes = [row.held[name][0] / _KB_PER_MB for row in rows]
    slope, intercept = statistics.linear_regression(hours, megabytes)
    rests = sum((value - intercept - slope * hour) ** 2 for hour, value in zip(hours, megabytes, strict=True))
    spread = sum((hour - statistics.fmean(hours)) ** 2 for hour in hours)
    margin = _SIGMAS_95 * math.sqrt(rests / (len(rows) - 2) / spread)
    files = [row.held[name][1] for row in rows]
    low, high = slope - margin, slope + margin
    verdict = "flat" if high < SLOPE_MAX_MB_PER_H else "grows" if low >= SLOPE_MAX_MB_PER_H else "inconclusive"
    return found | {
        "mb_per_h": round(slope, 3),
        "bounds_mb_per_h": [round(low, 3), round(high, 3)],
        "anonymous_mb": [round(min(megabytes), 1), round(max(megabytes), 1)],
        "files": [files[0], files[-1]],
        "verdict": verdict,
    }
