"""Faults of the host: what is torn is what a loss of power may leave; a fault that did not strike, or that nobody minded, is told of."""

from __future__ import annotations

import errno
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from hft.journal import JournalWriter, append, commit
from hft.journal_reader import JournalReader
from hft.records import REPORT, JournalKind
from hft.topology import ORDER_SLOTS_FOR_CANCELS
from processes.chaos import host
from processes.chaos.host import Healed, befall
from processes.chaos.ledger import Ledger
from processes.chaos.schedule import Strike
from processes.chaos.subject import Subject
from support.engine import row

STAGE, SLOTS, MB = "execution.binance", 1024, 1 << 20
STAGES_PIDS, ZYGOTE, SUPERVISOR = [101, 102], 90, 80


def write_journal(folder: Path, epoch: int = 1) -> None:
    writer = JournalWriter(folder, STAGE, epoch, MB, 1, 1)
    for number in range(1, 40):
        report = row(REPORT, order_id=number)
        assert append(writer.context, int(JournalKind.REPORT), 0, 1, report.view("u1"), 0, report.nbytes) > 0
        commit(writer.context)
    writer.abandon()


@pytest.mark.parametrize("seed", range(30))
def test_a_torn_journal_has_every_entry_that_was_not_lost_and_a_tail_that_is_none(tmp_path: Path, seed: int) -> None:
    write_journal(tmp_path)
    lost = [int(report["order_id"]) for report in host._tear(tmp_path, STAGE, 1, random.Random(seed))]
    reader = JournalReader(tmp_path, STAGE, 1)
    ids = [int(entry.records()[0]["order_id"]) for entry in reader.entries()]
    assert ids + lost == list(range(1, 40)) and len(lost) <= 20
    assert reader.tail is not None and reader.tail.dropped_bytes > 0 and not reader.tail.closed


class FakeSubject:
    """An engine of which nothing runs: `reacts` is what it does about a signal or a limit, as who looks at it would see it."""

    def __init__(self, folder: Path, reacts: Callable[[FakeSubject], None] = lambda subject: None) -> None:
        self.reacts = reacts
        self.folder = folder
        self.venue, self.epoch, self.state, self.lives, self.supervisor = "binance", 1, "RUNNING", True, SUPERVISOR
        self.refused, self.overruns, self.restarted, self.sent = 0, 0, False, 0
        self.signals: list[tuple[str, int]] = []
        self.lost: list[Any] = []
        self.config = SimpleNamespace(engine=SimpleNamespace(journal_file_mb=1))
        self.instance = SimpleNamespace(
            folder=folder, prefix="hft.x.", segment=lambda epoch, ring: ring, journal_folder=lambda epoch: folder / "journal"
        )
        (folder / "log").mkdir(parents=True)
        self.log = folder / "log" / "processes.jsonl"
        self.log.write_text("before\n")

    def signal(self, process: str, number: int) -> None:
        self.signals.append((process, number))
        self.reacts(self)

    def status(self) -> dict[str, Any]:
        return {"refused": {"R091": self.refused}, "venues": [{"overruns": self.overruns}]}

    def pids(self) -> list[int]:
        return STAGES_PIDS

    def has_restarted(self) -> bool:
        return self.restarted

    def end(self) -> None:
        self.lives = False

    def launch(self, say: object) -> None:
        self.reacts(self)

    def befall(self, strike: Strike) -> Healed:
        ledger = SimpleNamespace(poll=lambda: None, leave=lambda: None, lose=self.lost.extend, sent=self.sent)
        return befall(cast(Subject, self), cast(Ledger, ledger), strike)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(host, "_STRIKE_S", 0.05)
    monkeypatch.setattr(host, "_GONE_S", 0.05)
    monkeypatch.setattr(host, "_SHM", tmp_path / "shm")
    monkeypatch.setattr(host, "_runs", lambda pid: False)
    monkeypatch.setattr(host, "_parent", lambda pid: ZYGOTE)


@pytest.mark.parametrize(("found", "said"), [(1, []), (0, ["nothing found the ring full in 0.05 s"])])
def test_a_consumer_stands_still_until_its_ring_is_full_and_goes_on_in_any_case(tmp_path: Path, found: int, said: list[str]) -> None:
    def reacts(subject: FakeSubject) -> None:
        subject.overruns = found

    subject = FakeSubject(tmp_path, reacts)
    assert subject.befall(Strike("full ring", (), freezes="portfolio", befalls="ring")).wrong == said
    assert subject.signals == [("portfolio", signal.SIGSTOP), ("portfolio", signal.SIGCONT)]


@pytest.mark.parametrize(
    ("unread", "goes"),
    [(SLOTS - ORDER_SLOTS_FOR_CANCELS, False), (SLOTS - ORDER_SLOTS_FOR_CANCELS + 1, True), (SLOTS - 1, True), (SLOTS, False)],
)
def test_cancels_go_only_where_they_have_taken_slots_of_their_own_and_some_are_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unread: int, goes: bool
) -> None:
    ring = SimpleNamespace(unread=unread, slots=SLOTS)
    look = SimpleNamespace(attach=lambda *what: SimpleNamespace(close=lambda: None), ring_state=lambda segment: ring)
    monkeypatch.setattr(host, "observe", look)

    def reacts(subject: FakeSubject) -> None:
        subject.refused = 1

    wrong = FakeSubject(tmp_path, reacts).befall(Strike("full ring", (), freezes="execution", befalls="ring")).wrong
    assert wrong == ([] if goes else ["no cancel goes where new orders are refused"])


class Limits:
    """What `resource.prlimit` is asked for; `end` is called when no process may write any more."""

    def __init__(self, ends: Callable[[], None]) -> None:
        self.of = dict.fromkeys([*STAGES_PIDS, ZYGOTE], (-1, -1))
        self.least = dict(self.of)
        self._ends = ends

    def prlimit(self, pid: int, which: int, limit: tuple[int, int] | None = None) -> tuple[int, int]:
        before = self.of[pid]
        if limit is not None:
            if limit == (-1, -1) and pid == STAGES_PIDS[0]:
                raise ProcessLookupError(errno.ESRCH, "it has died of it")
            self.of[pid] = limit
            self.least[pid] = limit if limit != (-1, -1) else self.least[pid]
            if all(each != (-1, -1) for each in self.of.values()):
                self._ends()
        return before


@pytest.mark.parametrize(
    ("state", "line", "trades", "said"),
    [
        ("RESTARTING", "File too large", False, []),
        ("RUNNING", "File too large", False, ["no process ended in 0.05 s"]),
        ("RESTARTING", "something else", False, ["nobody said that the disk is full"]),
        ("RESTARTING", "File too large", True, ["it traded without a journal"]),
    ],
)
def test_a_full_disk_has_to_end_a_process_and_be_told_of_and_is_lifted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str, line: str, trades: bool, said: list[str]
) -> None:
    subject = FakeSubject(tmp_path)

    def ends() -> None:
        subject.state, subject.restarted = state, trades
        subject.log.write_text(f"before\n{line}\n")

    limits = Limits(ends)
    monkeypatch.setattr(host.resource, "prlimit", limits.prlimit)
    assert subject.befall(Strike("full disk", (), 1, befalls="disk")).wrong == said
    assert set(limits.least.values()) == {(MB - 4096, -1)} and limits.of[ZYGOTE] == limits.of[STAGES_PIDS[1]] == (-1, -1)


@pytest.mark.parametrize(("line", "restarts", "said"), [("journal tail recovered", True, 0), ("nothing", True, 1), ("nothing", False, 2)])
def test_torn_journals_have_to_be_recovered_and_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, restarts: bool, said: int
) -> None:
    subject = FakeSubject(tmp_path)
    write_journal(tmp_path / "journal")
    signals = []

    def kill(pid: int, number: int) -> None:
        signals.append((pid, number))
        if number == signal.SIGCONT:
            subject.restarted = restarts
            subject.log.write_text(f"before\n{line}\n")

    monkeypatch.setattr(os, "kill", kill)
    assert len(subject.befall(Strike("torn journals", (), befalls="journals")).wrong) == said
    assert signals == [(SUPERVISOR, signal.SIGSTOP), (SUPERVISOR, signal.SIGCONT)] and subject.signals == [("all", signal.SIGKILL)]
    reader = JournalReader(tmp_path / "journal", STAGE, 1)
    assert len(list(reader.entries())) == 39 - len(subject.lost) and reader.tail is not None and reader.tail.dropped_bytes > 0


@pytest.mark.parametrize(
    ("left", "reclaims", "said"),
    [(True, True, []), (True, False, ["hft.x.e1.orders was not reclaimed"]), (False, True, ["nothing was left to reclaim"])],
)
def test_segments_have_to_be_left_and_reclaimed(tmp_path: Path, left: bool, reclaims: bool, said: list[str]) -> None:
    ring = tmp_path / "shm" / "hft.x.e1.orders"
    ring.parent.mkdir()
    if left:
        ring.touch()

    def reacts(subject: FakeSubject) -> None:
        assert not subject.lives
        if reclaims:
            ring.unlink(missing_ok=True)

    assert FakeSubject(tmp_path, reacts).befall(Strike("stale segments", (), befalls="segments")).wrong == said
