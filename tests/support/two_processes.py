"""Two real processes, each pinned to a core of its own where there are two."""

from __future__ import annotations

import os
import signal
import time
from contextlib import contextmanager


def cores():
    """(ours, the peer's)."""
    usable = sorted(os.sched_getaffinity(0))
    return usable[0], usable[-1]


@contextmanager
def peer(action):
    """Fork a process that runs `action()` on the other core, while the body runs on ours; it must end well."""
    ours, theirs = cores()
    usable = os.sched_getaffinity(0)
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.sched_setaffinity(0, {theirs})
            action(lambda: os.getppid() == parent)
            status = 0
        finally:
            os._exit(status)
    try:
        os.sched_setaffinity(0, {ours})
        yield pid
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise
    finally:
        os.sched_setaffinity(0, usable)
    _, status = os.waitpid(pid, 0)
    assert status == 0, f"the peer process ended with status {status}"


class Watchdog:
    """Ends a loop that makes no progress: a hung peer fails the test instead of hanging it."""

    def __init__(self, limit_s=60.0):
        self.limit_s = limit_s
        self.progressed_s = time.monotonic()

    def note(self, progress):
        """Record whether anything moved; raise once nothing has for the limit."""
        now = time.monotonic()
        if progress:
            self.progressed_s = now
        elif now - self.progressed_s > self.limit_s:
            raise AssertionError(f"no progress for {self.limit_s} s")
