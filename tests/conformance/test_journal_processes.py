"""Journal between processes: what one appends, another sees whole and in order, even if the first is killed meanwhile."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hft.journal_format import PAGE_BYTES, file_name
from hft.journal_reader import JournalReader
from hft.records import JournalKind

STAGE, EPOCH, FILE_BYTES = "risk", 3, 64 * PAGE_BYTES
SEED = 20240808

WRITER = f"""
import sys
from pathlib import Path
import numpy as np
from hft.journal import JournalWriter, append, commit
entries = int(sys.argv[2])
writer = JournalWriter(Path(sys.argv[1]), {STAGE!r}, {EPOCH}, {FILE_BYTES}, 1, 2)
source = np.zeros(64, np.int64)
for i in range(1, entries + 1):
    source[:] = i
    while append(writer.context, 8, i, 1, source.view(np.uint8), 0, i % 65 * 8) < 0:
        writer.prepare_next()
        writer.rotate(1, 2)
    if i % 16 == 0:
        commit(writer.context)
    if i == 1:
        print("ready", flush=True)
writer.close("done")
"""


@pytest.fixture
def start(tmp_path):
    """Start a writer of so many entries; it is dead when the test is over."""
    started = []

    def start(entries: int) -> tuple[Path, subprocess.Popen[str]]:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        arguments = [sys.executable, "-c", WRITER, str(tmp_path), str(entries)]
        process = subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        return tmp_path, process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def check(entry, sequence):
    assert entry.sequence == sequence, "FORBIDDEN: lost, duplicated or reordered entry"
    expected = sequence.to_bytes(8, "little") * (sequence % 65)
    assert (entry.aux, bytes(entry.payload)) == (sequence, expected), "FORBIDDEN: torn entry"


def follow(folder, until):
    """Poll until `until(entry)`; the number of entries seen. A torn entry raises JournalDamage."""
    reader, seen = JournalReader(folder, STAGE, EPOCH), 0
    while True:
        for entry in reader.poll():
            if until(entry):
                return seen
            seen += 1
            check(entry, seen)


def test_reader_sees_every_entry_whole_and_in_order_while_another_process_appends(start):
    folder, process = start(30_000)
    assert follow(folder, lambda entry: entry.kind == JournalKind.END) == 30_000
    assert process.wait() == 0
    assert (folder / file_name(STAGE, 20)).exists()


@pytest.mark.parametrize("kill_after", [random.Random(SEED + k).randrange(1, 5_000) for k in range(3)])
def test_journal_of_a_killed_writer_has_every_entry_that_anyone_saw(start, kill_after):
    folder, process = start(1_000_000)
    seen = follow(folder, lambda entry: entry.sequence > kill_after)
    process.send_signal(signal.SIGKILL)
    process.wait()
    reader = JournalReader(folder, STAGE, EPOCH)
    entries = list(reader.entries())
    for i, entry in enumerate(entries):
        check(entry, i + 1)
    assert len(entries) > seen == kill_after
    assert reader.tail is not None and reader.tail.last_sequence == len(entries)
