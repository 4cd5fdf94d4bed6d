"""Ring bench, small: it measures, compares and hashes; nothing here is judged by the clock."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from processes.bench import report, ring

SMALL = {"rounds": 1, "size": ring.Size(slices=2, round_trips=50, records=2_000)}
two_cores_only = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="spins on two cores")
with_compiler = pytest.mark.skipif(not any(map(shutil.which, report.COMPILERS)), reason="no C compiler")


def leftovers():
    return list(Path("/dev/shm").glob(f"hft.bench.{os.getpid()}.*"))


@two_cores_only
@with_compiler
def test_the_report_has_results_floor_and_ratios():
    usable = os.sched_getaffinity(0)
    document = ring.run(**SMALL)
    assert document["bench"] == "ring"
    assert set(document["ratio"]) == {"round_trip", "throughput", "throughput_single"}
    assert all(value > 0 for value in document["ratio"].values())
    assert document["floor"]["round_trip_ns"] == min(document["floor"]["round_trip_ns_all"])
    assert document["oversubscribed"] is False
    assert document["hash"] == report.result_hash([SMALL["size"], 2_000 * 1_999 // 2])
    assert (os.sched_getaffinity(0), leftovers()) == (usable, [])


@two_cores_only
def test_without_a_compiler_there_is_no_floor_and_no_ratio(monkeypatch):
    monkeypatch.setattr(report, "COMPILERS", ())
    document = ring.run(**SMALL)
    assert document["floor"] is document["ratio"] is None
    assert document["results"]["single_ns"] > 0


def test_with_one_core_nothing_is_measured_or_judged(monkeypatch):
    monkeypatch.setattr(ring, "two_cores", lambda: None)
    document = ring.run(**SMALL)
    assert document["oversubscribed"] is True
    assert document["ratio"] is None


@two_cores_only
def test_a_peer_that_ends_early_is_an_error_and_leaves_nothing(monkeypatch):
    monkeypatch.setattr(ring, "_be_peer", lambda *arguments: os._exit(1))
    with pytest.raises(ChildProcessError, match="ended early"):
        ring.run(**SMALL)
    assert leftovers() == []


def test_a_wrong_sum_is_an_error(monkeypatch):
    def measured_wrong(cores, size, figures, sums):
        sums.add(1)
        for name in ("round_trip_ns", "single_ns", "batched_ns"):
            figures.setdefault(name, []).append(1.0)

    monkeypatch.setattr(report, "COMPILERS", ())
    monkeypatch.setattr(ring, "two_cores", lambda: (0, 1))
    monkeypatch.setattr(ring, "_measure", measured_wrong)
    with pytest.raises(AssertionError, match=r"summed \{1\}, not 1999000"):
        ring.run(**SMALL)
