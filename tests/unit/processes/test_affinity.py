"""affinity: each setter takes effect, or says why not. Run in a child process, so that the tests keep their own core."""

import os
import subprocess
import sys

import pytest

from processes import affinity


def outcome(code: str) -> str:
    """What a fresh interpreter prints for `code`."""
    script = f"import ctypes, gc, os, resource\nfrom processes import affinity\n{code}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_pin_leaves_the_thread_on_one_core():
    core = max(os.sched_getaffinity(0))
    assert outcome(f"print(affinity.pin({core}), os.sched_getaffinity(0))") == f"None {{{core}}}"


def test_pin_names_the_core_and_the_reason_when_there_is_no_such_core():
    text = outcome("print(affinity.pin(4000))")
    assert text.startswith("core 4000: not pinned, ")
    assert "runs on" in text


@pytest.mark.parametrize("core", [-1, 1 << 40])
def test_pin_refuses_what_is_not_a_core_number(core):
    assert outcome(f"print(affinity.pin({core}))").startswith(f"core {core}: not pinned, ")


def test_pin_asks_the_kernel_for_nothing_when_already_there(monkeypatch):
    def refused(pid, cores):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3})
    monkeypatch.setattr(os, "sched_setaffinity", refused)
    assert affinity.pin(3) is None
    assert affinity.pin(4) == "core 4: not pinned, Operation not permitted; runs on 3"


def test_set_fifo_is_in_force_or_says_why_not():
    text = outcome("print(affinity.set_fifo(1), os.sched_getscheduler(0) == os.SCHED_FIFO)")
    assert text == "None True" or (text.startswith("SCHED_FIFO 1: not set, ") and text.endswith("False")), text


def test_set_fifo_refuses_a_priority_that_does_not_exist():
    assert outcome("print(affinity.set_fifo(100))").startswith("SCHED_FIFO 100: not set, ")


def test_set_fifo_asks_the_kernel_for_nothing_when_already_scheduled_so(monkeypatch):
    def refused(pid, policy, param):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "sched_getscheduler", lambda pid: os.SCHED_FIFO)
    monkeypatch.setattr(os, "sched_getparam", lambda pid: os.sched_param(80))
    monkeypatch.setattr(os, "sched_setscheduler", refused)
    assert affinity.set_fifo(80) is None
    reason = affinity.set_fifo(50)
    assert reason is not None and "Operation not permitted" in reason and "ulimit -r" in reason


def test_lock_memory_is_in_force_or_says_why_not():
    text = outcome("print(affinity.lock_memory(), [l.split()[1] for l in open('/proc/self/status') if l.startswith('VmLck')][0] != '0')")
    assert text == "None True" or (text.startswith("memory: not locked, ") and text.endswith("False")), text


def test_lock_memory_refuses_a_limit_that_would_fail_a_later_allocation():
    text = outcome(
        "affinity._has_capability = lambda number: False\n"
        "resource.setrlimit(resource.RLIMIT_MEMLOCK, (1 << 20, 1 << 20))\n"
        "print(affinity.lock_memory())"
    )
    assert text == "memory: not locked, the limit on locked memory (ulimit -l) is 1048576, expected unlimited"


def test_freeze_gc_exempts_what_is_alive_and_switches_the_collector_off():
    assert outcome("n = affinity.freeze_gc(); print(n > 1000, n == gc.get_freeze_count(), gc.isenabled())") == "True True False"


def test_timer_slack_reads_back_what_was_set():
    # A realtime thread has none; the tests run under the fair scheduler.
    assert outcome("print(affinity.set_timer_slack(1234), affinity.timer_slack_ns())") == "None 1234"


@pytest.mark.parametrize("slack_ns", [0, -1])
def test_timer_slack_refuses_what_would_mean_the_default(slack_ns):
    assert affinity.set_timer_slack(slack_ns) == f"timer slack {slack_ns} ns: not set, expected at least 1"
