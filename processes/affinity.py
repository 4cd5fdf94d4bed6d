"""Affinity: gives this process its core, its scheduling class and its memory, or says why the kernel refused.

Each setter returns None when what was asked for is in force, and otherwise a sentence for the log and the status: a stage
runs on without it, slower, but never silently. What already holds is not asked for again, so a process that systemd
pinned and scheduled needs no right to do so itself.
"""

from __future__ import annotations

import ctypes
import gc
import os
import resource
from pathlib import Path

MCL_CURRENT = 1
MCL_FUTURE = 2
PR_SET_TIMERSLACK = 29
PR_GET_TIMERSLACK = 30
CAP_IPC_LOCK = 14

_libc = ctypes.CDLL(None, use_errno=True)


def pin(core: int) -> str | None:
    """Run this thread, and the threads it starts later, on `core` only."""
    allowed = os.sched_getaffinity(0)
    if allowed == {core}:
        return None
    try:
        os.sched_setaffinity(0, {core})
    except (OSError, ValueError, OverflowError) as error:
        return f"core {core}: not pinned, {_reason(error)}; runs on {','.join(map(str, sorted(allowed)))}"
    return None


def set_fifo(priority: int) -> str | None:
    """Run this thread under SCHED_FIFO at `priority`, 1..99."""
    if os.sched_getscheduler(0) == os.SCHED_FIFO and os.sched_getparam(0).sched_priority == priority:
        return None
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
    except (OSError, ValueError, OverflowError) as error:
        limit = resource.getrlimit(resource.RLIMIT_RTPRIO)[0]
        return f"SCHED_FIFO {priority}: not set, {_reason(error)}; the limit on realtime priority (ulimit -r) is {_limit(limit)}"
    return None


def lock_memory() -> str | None:
    """Keep every page of this process in memory, the present ones and those to come. A fork does not inherit it."""
    limit = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    if limit != resource.RLIM_INFINITY and not _has_capability(CAP_IPC_LOCK):
        # mlockall might succeed now, and then fail an allocation in the middle of trading.
        return f"memory: not locked, the limit on locked memory (ulimit -l) is {_limit(limit)}, expected unlimited"
    if _libc.mlockall(MCL_CURRENT | MCL_FUTURE) != 0:
        return f"memory: not locked, {os.strerror(ctypes.get_errno())}"
    return None


def freeze_gc() -> int:
    """Collect once, then exempt what is left from collection and switch the collector off; return the objects exempted.

    From here on a reference cycle is never freed, so hot loops must make none.
    """
    gc.collect()
    gc.freeze()
    gc.disable()
    return gc.get_freeze_count()


def timer_slack_ns() -> int:
    """How late the kernel may wake this thread from a sleep, ns."""
    return int(_libc.prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0))


def set_timer_slack(slack_ns: int) -> str | None:
    """Let the kernel wake this thread from a sleep at most `slack_ns` late; realtime threads have none anyway."""
    if slack_ns < 1:
        return f"timer slack {slack_ns} ns: not set, expected at least 1"
    if timer_slack_ns() == slack_ns:
        return None
    if _libc.prctl(PR_SET_TIMERSLACK, ctypes.c_ulong(slack_ns), 0, 0, 0) != 0:
        return f"timer slack {slack_ns} ns: not set, {os.strerror(ctypes.get_errno())}"
    return None


def _has_capability(number: int) -> bool:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> number & 1)
    return False


def _reason(error: Exception) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)


def _limit(value: int) -> str:
    return "unlimited" if value == resource.RLIM_INFINITY else str(value)
