"""Kill bench over real sockets, small: it sees what arrives late, and measures; nothing here is judged by the clock."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path

import numpy as np
import pytest

from processes.bench.kill_trigger import Trigger
from processes.bench.kill_wire import Recorder, last_arrivals, measure_bare, measure_engine
from processes.bench.orders import simulator
from support.waiting import wait_until

TRIGGERS, SEED = 4, 3
READ_LATER_NS = 100_000_000
two_cores_only = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="spins on two cores")


@pytest.fixture
def core() -> int:
    """Where everything but the loop that is measured runs."""
    return max(os.sched_getaffinity(0))


def test_an_order_that_leaves_after_the_word_is_seen_when_it_arrived_however_late_it_was_read(core: int) -> None:
    trigger = Trigger(2, SEED)
    with Recorder(core, None) as recorder, socket.create_connection(recorder.address) as line:
        line.send(b"before")
        wait_until(lambda: len(recorder.arrivals()) == 1, 20, "the first is noted")
        os.kill(recorder.pid, signal.SIGSTOP)
        trigger.set_ns[0] = time.monotonic_ns()
        line.send(b"too late")
        sent_ns = time.monotonic_ns()
        wait_until(lambda: time.monotonic_ns() > sent_ns + READ_LATER_NS, 20, "it is read much later")
        os.kill(recorder.pid, signal.SIGCONT)
        wait_until(lambda: len(recorder.arrivals()) == 2, 20, "the second is noted")
        trigger.cleared_ns[0] = trigger.set_ns[1] = trigger.cleared_ns[1] = time.monotonic_ns()
        line.send(b"allowed again")
        wait_until(lambda: len(recorder.arrivals()) == 3, 20, "the third is noted")
        first, second = last_arrivals(trigger, recorder.arrivals()).tolist()
        # Over loopback it has arrived when `send` returns.
        assert 0 < first < sent_ns - trigger.set_ns[0] + READ_LATER_NS // 2 and second == 0


@two_cores_only
def test_the_engine_and_the_bare_writer_are_measured_at_the_same_kind_of_socket(tmp_path: Path, core: int) -> None:
    with simulator(core) as urls:
        engine = measure_engine(tmp_path / "engine", urls, Trigger(TRIGGERS, SEED), 8, core)
    bare = measure_bare(Trigger(TRIGGERS, SEED), core)
    for wire in (engine, bare):
        assert len(wire.late_ns) == len(wire.undisturbed) == TRIGGERS and wire.orders >= TRIGGERS, wire
        assert (wire.late_ns >= 0).all() and wire.longest_ns > 0 and wire.summary()["measured"] == TRIGGERS
    assert engine.late_ns.dtype == np.int64
