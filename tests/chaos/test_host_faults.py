"""A host that fails for good: a journal that is damaged is refused with the place, a disk that stays full ends the engine; nothing trades."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from hft.journal_format import ENTRY_BYTES
from hft.journal_reader import JournalReader
from support.journals import assert_positions_follow_from_fills
from support.live_engine import LiveEngine, live_engine, paper
from support.waiting import wait_until


def trading(engine: LiveEngine) -> int:
    """Start it, and wait until orders were filled; the epoch."""
    engine.start()
    engine.await_running()
    return int(engine.await_orders("trades", 2)["epoch"])


@contextmanager
def frozen_supervisor(engine: LiveEngine) -> Iterator[None]:
    """The supervisor stands still while its stages are gone."""
    assert engine.process is not None
    stages = {engine.pid_of("market"), engine.pid_of("trade")}
    engine.process.send_signal(signal.SIGSTOP)
    for pid in stages:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not any(psutil.pid_exists(pid) for pid in stages), 10, "the stages are gone")
    yield
    engine.process.send_signal(signal.SIGCONT)


def assert_ends_with_failure(engine: LiveEngine) -> None:
    assert engine.process is not None
    assert engine.process.wait(60) == 1
    assert engine.engine()["state"] == "STOPPED" and engine.engine()["failure"]
    assert engine.segments() == [] and engine.processes() == []


def test_a_journal_that_is_damaged_in_the_middle_is_refused_with_the_offset_and_nothing_trades_on_it(tmp_path: Path) -> None:
    with live_engine(tmp_path) as engine:
        epoch = trading(engine)
        with frozen_supervisor(engine):
            reader = JournalReader(engine.instance.journal_folder(epoch), "execution.binance", epoch)
            entries = list(reader.entries())
            entry = entries[len(entries) // 2]
            path = reader.files[entry.file_number - 1].path
            with open(path, "r+b") as file:
                file.seek(entry.payload_offset)
                file.write(bytes([entry.payload[0] ^ 1]))
        assert_ends_with_failure(engine)
        failures = [line["trace"] for line in engine.logged("process failed")]
        where = f"{path.name}: damage at offset {entry.payload_offset - ENTRY_BYTES}:"
        assert any(where in trace for trace in failures), f"{where} {engine.log_text()}"
        begun = [each for each in engine.instance.sessions() if list(engine.instance.journal_folder(each).glob("execution.*.journal"))]
        assert begun == [epoch], "no later epoch came as far as that it could send"


def test_a_disk_that_stays_full_ends_the_engine_and_it_trades_again_when_there_is_room(tmp_path: Path) -> None:
    with live_engine(tmp_path, paper()) as engine:
        trading(engine)
        assert engine.process is not None
        zygote = psutil.Process(engine.pid_of("trade")).ppid()
        _, hard = resource.prlimit(zygote, resource.RLIMIT_FSIZE)
        # Less than a journal file has, more than anything else that is written.
        resource.prlimit(zygote, resource.RLIMIT_FSIZE, (3 << 20, hard))
        os.kill(engine.pid_of("trade"), signal.SIGKILL)
        assert_ends_with_failure(engine)
        assert "crash loop" in engine.log_text()
        traces = [line["trace"] for line in engine.logged("process failed")]
        assert traces and all("File too large" in trace for trace in traces)
        session = engine.engine()["session"]
        engine.start()
        engine.await_running()
        status = engine.await_orders("trades", 1)
        assert status["session"] == session, "it goes on with what it had"
        assert engine.stop() == 0, engine.log_text()
        assert assert_positions_follow_from_fills(engine, engine.report()) >= 3
