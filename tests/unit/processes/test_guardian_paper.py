"""A guardian on paper: no order works and none fills after a kill, as execution's own counters say once it has obeyed."""

from __future__ import annotations

from hft.sweep import Verdict
from processes.guardian_paper import PaperSweep, Reading

MS = 1_000_000


class Stage:
    """What an execution stage on paper shows; None when it is gone."""

    def __init__(self) -> None:
        self.now_ns = 10**15
        self.sweep = PaperSweep(1000, self.now_ns, 5000 * MS)
        self.working, self.trades, self.beats, self.gone = 0, 7, True, False
        self.beat_ns = self.now_ns

    def read(self) -> Reading | None:
        if self.beats:
            self.beat_ns = self.now_ns
        return None if self.gone else Reading(self.beat_ns, self.working, self.trades)

    def run(self, seconds: float) -> Verdict:
        for _ in range(int(seconds * 100)):
            self.sweep.look(self.read, self.now_ns)
            self.now_ns += 10 * MS
        return self.sweep.verdict


def test_an_execution_that_has_obeyed_has_no_orders() -> None:
    stage = Stage()
    assert stage.run(0.1) is Verdict.PENDING, "what was under way may still arrive"
    assert stage.run(1) is Verdict.CLEAN and stage.sweep.open_orders == []


def test_an_execution_that_is_frozen_proves_nothing_until_it_beats() -> None:
    stage = Stage()
    stage.beats = False
    assert stage.run(6) is Verdict.UNCONFIRMED and "has not beaten" in stage.sweep.why
    stage.beats = True
    assert stage.run(1) is Verdict.CLEAN


def test_a_fill_after_the_kill_is_not_confirmed() -> None:
    stage = Stage()
    stage.run(0.25)
    stage.trades += 1
    assert stage.run(0.15) is Verdict.PENDING and stage.sweep.why == "1 fills after the kill"
    assert stage.run(1) is Verdict.CLEAN
    stage.trades += 2
    assert stage.run(0.15) is Verdict.UNCONFIRMED and stage.sweep.why == "2 fills after the kill"


def test_an_order_that_works_is_not_confirmed() -> None:
    stage = Stage()
    stage.working = 2
    assert stage.run(6) is Verdict.UNCONFIRMED and len(stage.sweep.open_orders or []) == 2


def test_a_paper_venue_that_has_ended_has_no_orders() -> None:
    stage = Stage()
    stage.working, stage.gone = 3, True
    assert stage.run(0.01) is Verdict.CLEAN
