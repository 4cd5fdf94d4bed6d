"""Host: what befalls the machine that an engine runs on: rings that nobody empties, a disk that is full, journals torn, segments left behind.

Each fault here strikes, sees that it has struck, heals, and returns when it healed (CLOCK_MONOTONIC ns) and what did not happen.
"""

from __future__ import annotations

import os
import random
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hft.crc32c_table import checksum
from hft.journal_format import ENTRY_BYTES, MARK_WORD, PAGE_BYTES
from hft.journal_reader import JournalReader, stages
from hft.records import LAYOUT_ID, JournalKind
from hft.topology import ORDER_SLOTS_FOR_CANCELS
from processes.chaos.ledger import Ledger
from processes.chaos.schedule import ALL, Strike
from processes.chaos.subject import Subject, await_until
from shm import observe
from shm.layout import SegmentKind

_SHM = Path("/dev/shm")
#: How long a fault is waited for.
_STRIKE_S = 40.0
_GONE_S = 10.0
#: So many of a journal's newest entries are lost with the power, at most.
_LOST_MAX = 20
#: What a process whose disk is full says of it, and what recovery says of a torn tail.
_NO_ROOM, _TAIL = b"File too large", b"journal tail recovered"


class Healed(NamedTuple):
    """What became of a fault."""

    at_ns: int
    wrong: list[str]


def befall(subject: Subject, ledger: Ledger, strike: Strike) -> Healed:
    """Have the strike's fault befall the host, up to its end. Raises EngineError where the engine does not start again."""
    return _FAULTS[strike.befalls](subject, ledger, strike)


def _full_ring(subject: Subject, ledger: Ledger, strike: Strike) -> Healed:
    """Stop who empties a ring until its producer has found it full."""
    before = _refused(subject) if strike.freezes == "execution" else _overruns(subject)
    subject.signal(strike.freezes, signal.SIGSTOP)
    try:
        if strike.freezes == "execution":
            is_full = await_until(lambda: _refused(subject) > before, _STRIKE_S)
            wrong = ["no cancel goes where new orders are refused"] * (not _cancels_go(subject))
        else:
            is_full = await_until(lambda: _overruns(subject) > before, _STRIKE_S)
            wrong = []
    finally:
        subject.signal(strike.freezes, signal.SIGCONT)
    return Healed(time.monotonic_ns(), wrong + [f"nothing found the ring full in {_STRIKE_S:g} s"] * (not is_full))


def _refused(subject: Subject) -> int:
    """Intents that risk has refused because an orders ring was full."""
    return int(subject.status()["refused"].get("R091", 0))


def _overruns(subject: Subject) -> int:
    return int(subject.status()["venues"][0]["overruns"])


def _cancels_go(subject: Subject) -> bool:
    """Whether cancels have taken slots that are kept for them, and others are free."""
    segment = observe.attach(subject.instance.segment(subject.epoch, f"orders.risk.{subject.venue}"), LAYOUT_ID, SegmentKind.RING)
    state = observe.ring_state(segment)
    segment.close()
    return state.slots - ORDER_SLOTS_FOR_CANCELS < state.unread < state.slots


def _full_disk(subject: Subject, ledger: Ledger, strike: Strike) -> Healed:
    """Let no process make another journal file until one has died of it and its successors could not begin either."""
    logged = _logged(subject)
    pids = [*subject.pids(), _parent(subject.pids()[0])]
    room = (subject.config.engine.journal_file_mb << 20) - PAGE_BYTES
    wrong = []
    limits = {pid: resource.prlimit(pid, resource.RLIMIT_FSIZE) for pid in pids}
    for pid, (_, hard) in limits.items():
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (room, hard))
    try:
        if not await_until(lambda: subject.state == "RESTARTING", _STRIKE_S):
            wrong.append(f"no process ended in {_STRIKE_S:g} s")
        ledger.poll()
        sent = ledger.sent
        until_ns = time.monotonic_ns() + strike.lasts_ms * 1_000_000
        await_until(lambda: time.monotonic_ns() >= until_ns or not subject.lives, _STRIKE_S)
        if subject.has_restarted() or ledger.sent != sent:
            wrong.append("it traded without a journal")
    finally:
        for pid, limit in limits.items():
            _limit(pid, limit)
    wrong += ["nobody said that the disk is full"] * (_NO_ROOM not in _said(subject, logged))
    return Healed(time.monotonic_ns(), wrong)


def _limit(pid: int, limit: tuple[int, int]) -> None:
    try:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, limit)
    except ProcessLookupError:
        pass  # It has died of it.


def _parent(pid: int) -> int:
    """The zygote, from which every later process has its limits."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def _torn_journals(subject: Subject, ledger: Ledger, strike: Strike) -> Healed:
    """Kill all, and leave what a loss of power may: marks and newest entries that never reached the disk, and a part of another entry.

    What was sent and filled in them only the venue knows.
    """
    logged, rng = _logged(subject), random.Random(strike.seed)
    pids, supervisor = subject.pids(), subject.supervisor
    os.kill(supervisor, signal.SIGSTOP)  # Else it begins anew from journals that are whole.
    try:
        subject.signal(ALL, signal.SIGKILL)
        await_until(lambda: not any(_runs(pid) for pid in pids), _GONE_S)
        ledger.leave()
        folder = subject.instance.journal_folder(subject.epoch)
        for stage in stages(folder):
            lost = _tear(folder, stage, subject.epoch, rng)
            if stage == f"execution.{subject.venue}":
                ledger.lose(lost)
    finally:
        os.kill(supervisor, signal.SIGCONT)
    healed_ns = time.monotonic_ns()
    restarted = await_until(subject.has_restarted, _STRIKE_S)
    wrong = [f"did not restart in {_STRIKE_S:g} s"] * (not restarted)
    return Healed(healed_ns, wrong + ["no torn tail was found"] * (_TAIL not in _said(subject, logged)))


def _tear(folder: Path, stage: str, epoch: int, rng: random.Random) -> list[Any]:
    """Take a journal's newest entries away, and leave the beginning of one; the file ends there, or is as long as it was.

    Returns the reports that were lost. Entries before the mark are not: it goes back to where it was before them.
    """
    reader = JournalReader(folder, stage, epoch)
    entries = list(reader.entries())
    tail = reader.tail
    assert tail is not None
    in_file = [entry for entry in entries if entry.file_number == len(reader.files)]
    lost = in_file[max(1, len(in_file) - rng.randint(0, _LOST_MAX)) :]
    reports = [report.copy() for entry in lost if entry.kind == JournalKind.REPORT for report in entry.records()]
    offset = lost[0].payload_offset - ENTRY_BYTES if lost else tail.offset
    mark = np.array([offset, lost[0].sequence - 1 if lost else tail.last_sequence, 0], np.int64)
    length = rng.randint(1, 200)
    torn = (length | int(JournalKind.REPORT) << 32).to_bytes(8, "little") + rng.randbytes(rng.randint(0, ENTRY_BYTES + length))
    with open(tail.path, "r+b") as file:
        file.seek(MARK_WORD * 8)
        file.write((mark.tobytes() + checksum(mark.tobytes()).to_bytes(8, "little")) * 2)
        file.seek(offset)
        file.write(bytes(tail.offset - offset))
        file.seek(offset)
        file.write(torn)
        if rng.random() < 0.5:
            file.truncate()
    return reports


def _runs(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def _stale_segments(subject: Subject, ledger: Ledger, strike: Strike) -> Healed:
    """Kill everything, the supervisor first, and start again: nobody has unlinked what was shared."""
    pids, rings = subject.pids(), f"{subject.instance.prefix}e{subject.epoch}.*"
    subject.end()
    await_until(lambda: not any(_runs(pid) for pid in pids), _GONE_S)
    left = sorted(_SHM.glob(rings))
    subject.launch(lambda line: None)
    wrong = ["nothing was left to reclaim"] * (not left)
    return Healed(time.monotonic_ns(), wrong + [f"{path.name} was not reclaimed" for path in sorted(_SHM.glob(rings))])


def _logged(subject: Subject) -> int:
    """How long the log is now."""
    path = _log(subject)
    return path.stat().st_size if path.exists() else 0


def _said(subject: Subject, since: int) -> bytes:
    """What processes have logged since."""
    return _log(subject).read_bytes()[since:]


def _log(subject: Subject) -> Path:
    return subject.instance.folder / "log" / "processes.jsonl"


_FAULTS: dict[str, Callable[[Subject, Ledger, Strike], Healed]] = {
    "ring": _full_ring,
    "disk": _full_disk,
    "journals": _torn_journals,
    "segments": _stale_segments,
}
