"""Journal: what the writer promises, and what it refuses."""

import errno
import itertools
import os
import random
import subprocess
import sys

import numpy as np
import pytest

from hft import journal as journal_module
from hft.journal import JournalWriter, append, append2, commit, prepare_file, room
from hft.journal_format import END_RESERVE_BYTES, ENTRY_BYTES, FILE_BYTES_MIN, HEADER_BYTES, PAGE_BYTES, JournalError, file_name
from hft.journal_reader import JournalReader
from hft.records import ORDER, JournalKind
from support.crash_images import EPOCH, STAGE, random_contents, read_journal, write_entry, write_journal

FILE_BYTES = 5 * PAGE_BYTES
SEED = 20240808


@pytest.fixture
def writer(tmp_path):
    return JournalWriter(tmp_path, STAGE, EPOCH, FILE_BYTES, 1_700_000_000_000_000_000, 123)


def bytes_array(data):
    return np.frombuffer(bytearray(data), np.uint8)


def test_append_numbers_entries_from_one_and_the_reader_gives_them_back(tmp_path):
    contents = random_contents(random.Random(SEED), 60, 200)
    writer = write_journal(tmp_path, contents, 0, FILE_BYTES)
    assert writer.last_sequence == 60
    outcome = read_journal(tmp_path)
    assert outcome.contents == contents, SEED
    assert (outcome.tail.closed, outcome.tail.dropped_bytes, outcome.tail.last_sequence) == (False, 0, 60)


def test_append_keeps_records_fields_when_they_are_read_as_records(writer, tmp_path):
    orders = np.zeros(3, ORDER)
    orders["order_id"] = [5, 6, 7]
    orders["price_ticks"] = -(2**62)
    assert append(writer.context, JournalKind.ORDER, -9, 2, orders.view(np.uint8), 128, 256) == 1
    (entry,) = JournalReader(tmp_path, STAGE, EPOCH).entries()
    assert (entry.sequence, entry.kind, entry.aux, entry.record_count) == (1, JournalKind.ORDER, -9, 2)
    np.testing.assert_array_equal(entry.records(), orders[1:])
    assert not entry.records().flags.writeable


def test_append2_joins_the_two_ends_of_a_ring_that_wraps(writer, tmp_path):
    source = bytes_array(range(64))
    assert append2(writer.context, JournalKind.REPORT, 1, 1, source, 48, 16, 0, 24) == 1
    assert append2(writer.context, JournalKind.REPORT, 1, 1, source, 56, 8, 0, 3) == 2
    outcome = read_journal(tmp_path)
    assert [content[2] for content in outcome.contents] == [bytes([*range(48, 64), *range(24)]), bytes([*range(56, 64), 0, 1, 2])]


def test_append_fills_a_file_to_the_last_byte_and_refuses_the_next(writer, tmp_path):
    fits = room(writer.context)
    assert fits == FILE_BYTES - END_RESERVE_BYTES - HEADER_BYTES - ENTRY_BYTES
    source = bytes_array(bytes(FILE_BYTES))
    assert append(writer.context, JournalKind.MARKET, 0, 1, source, 0, fits + 1) == -1
    assert append(writer.context, JournalKind.MARKET, 0, 1, source, 0, fits) == 1
    assert room(writer.context) < 0
    before = writer.context.file.copy()
    assert append(writer.context, JournalKind.MARKET, 0, 1, source, 0, 0) == -1
    np.testing.assert_array_equal(writer.context.file, before)
    assert read_journal(tmp_path).tail.last_sequence == 1


@pytest.mark.parametrize(
    ("offset", "n_bytes", "second_offset", "second_bytes"),
    [(-1, 8, 0, 0), (0, -1, 0, 0), (57, 8, 0, 0), (0, 65, 0, 0), (0, 8, -1, 8), (0, 8, 0, -8), (0, 8, 60, 8), (0, 7, 0, 8)],
)
def test_append2_refuses_runs_that_are_not_in_the_source(writer, tmp_path, offset, n_bytes, second_offset, second_bytes):
    source = bytes_array(bytes(64))
    assert append2(writer.context, JournalKind.REPORT, 0, 1, source, offset, n_bytes, second_offset, second_bytes) == -1
    assert read_journal(tmp_path).contents == []


def test_append_accepts_the_narrow_integers_of_records(writer, tmp_path):
    source = bytes_array(bytes(16))
    assert append(writer.context, np.int32(JournalKind.INTENT), np.int32(-2), np.int32(3), source, np.int32(8), np.int32(8)) == 1
    (entry,) = JournalReader(tmp_path, STAGE, EPOCH).entries()
    assert (entry.kind, entry.aux, entry.record_count) == (JournalKind.INTENT, -2, 3)


def test_entries_stay_visible_when_the_writer_is_killed(tmp_path):
    program = (
        "import os, signal, sys, numpy as np; from pathlib import Path; from hft.journal import JournalWriter, append;"
        f"w = JournalWriter(Path(sys.argv[1]), {STAGE!r}, {EPOCH}, {FILE_BYTES}, 1, 2);"
        "s = np.frombuffer(bytearray(range(200)), np.uint8);"
        "[append(w.context, 8, i, 1, s, i, 40) for i in range(50)]; os.kill(os.getpid(), signal.SIGKILL)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], env=environment, check=False)
    assert done.returncode == -9
    outcome = read_journal(tmp_path)
    assert outcome.contents == [(8, i, bytes(range(200))[i : i + 40]) for i in range(50)]
    assert outcome.tail.dropped_bytes == 0


def test_rotate_goes_on_in_the_next_file_with_the_next_sequence(tmp_path):
    contents = random_contents(random.Random(SEED), 30, 200)
    writer = write_journal(tmp_path, contents, 4, FILE_BYTES, rotate_at=(10, 11, 20))
    writer.close("done")
    reader = JournalReader(tmp_path, STAGE, EPOCH)
    entries = list(reader.entries())
    assert [entry.sequence for entry in entries] == list(range(1, 32))
    assert [entry.file_number for entry in entries] == [1] * 10 + [2] + [3] * 9 + [4] * 11
    assert [(e.kind, e.aux, bytes(e.payload)) for e in entries[:-1]] == contents, SEED
    assert [file.header.first_sequence for file in reader.files] == [1, 11, 12, 21]
    assert reader.tail.closed


def test_rotate_refuses_and_changes_nothing_when_no_file_is_prepared(writer, tmp_path):
    write_entry(writer, (8, 0, b"x" * 8))
    with pytest.raises(JournalError, match="no next file is prepared"):
        writer.rotate(1, 2)
    assert write_entry(writer, (8, 0, b"y" * 8)) == 2
    assert [path.name for path in tmp_path.iterdir()] == [file_name(STAGE, 1)]


def test_rotate_leaves_the_old_context_unable_to_append(writer):
    old = writer.context
    writer.prepare_next()
    assert writer.rotate(1, 2) is writer.context
    assert append(old, 8, 0, 1, bytes_array(b"x" * 8), 0, 8) == -1


def test_prepare_next_touches_a_bounded_number_of_pages_a_call(writer):
    assert [writer.prepare_next(pages=2) for _ in range(3)] == [False, False, True]
    assert writer.prepared
    assert writer.prepare_next(pages=2)


def test_prepare_next_adopts_the_file_another_process_prepared(writer, tmp_path):
    path = prepare_file(tmp_path, STAGE, 2, FILE_BYTES)
    inode = path.stat().st_ino
    writer.prepare_next()
    writer.rotate(1, 2)
    assert writer.path.stat().st_ino == inode
    assert not path.exists()


def test_prepare_next_refuses_a_prepared_file_of_another_size(writer, tmp_path):
    prepare_file(tmp_path, STAGE, 2, FILE_BYTES + PAGE_BYTES)
    with pytest.raises(JournalError, match=f"{FILE_BYTES + PAGE_BYTES} bytes, expected {FILE_BYTES}"):
        writer.prepare_next()


def test_prepare_file_refuses_to_replace_a_prepared_file(tmp_path):
    prepare_file(tmp_path, STAGE, 2, FILE_BYTES)
    with pytest.raises(JournalError, match="File exists"):
        prepare_file(tmp_path, STAGE, 2, FILE_BYTES)
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("file_bytes", [0, -PAGE_BYTES, FILE_BYTES_MIN - PAGE_BYTES, FILE_BYTES_MIN + 1])
def test_prepare_file_refuses_sizes_that_are_no_whole_pages_or_too_few(tmp_path, file_bytes):
    with pytest.raises(JournalError, match=f"got {file_bytes}"):
        prepare_file(tmp_path, STAGE, 1, file_bytes)


@pytest.mark.parametrize("stage", ["", "Risk", "../risk", "a/b", ".risk", "-risk", "x" * 33, "risk\n", "rísk"])
def test_writer_refuses_stage_names_that_are_no_file_names(tmp_path, stage):
    with pytest.raises(JournalError, match="a stage's name"):
        JournalWriter(tmp_path / "journal", stage, EPOCH, FILE_BYTES, 1, 2)
    assert not (tmp_path / "journal").exists()


def test_writer_allocates_files_in_full_for_its_owner_only(writer, tmp_path):
    status = writer.path.stat()
    assert status.st_size == FILE_BYTES and status.st_blocks * 512 >= FILE_BYTES
    assert status.st_mode & 0o777 == 0o600
    assert JournalWriter(tmp_path / "new", STAGE, EPOCH, FILE_BYTES, 1, 2).folder.stat().st_mode & 0o777 == 0o700


def test_writer_refuses_a_second_journal_of_the_same_stage_and_epoch(writer, tmp_path):
    write_entry(writer, (8, 0, b"x" * 8))
    with pytest.raises(JournalError, match="already"):
        JournalWriter(tmp_path, STAGE, EPOCH, FILE_BYTES, 1, 2)
    assert read_journal(tmp_path).tail.last_sequence == 1


def test_full_disk_is_an_error_and_loses_nothing_when_the_next_file_is_made(writer, tmp_path, monkeypatch):
    write_entry(writer, (8, 0, b"x" * 8))

    def refuse(descriptor, offset, length):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(journal_module.os, "posix_fallocate", refuse)
    with pytest.raises(JournalError, match="No space left"):
        writer.prepare_next()
    assert [path.name for path in tmp_path.iterdir()] == [file_name(STAGE, 1)]
    assert write_entry(writer, (8, 0, b"y" * 8)) == 2
    assert read_journal(tmp_path).tail.last_sequence == 2


def test_append_json_writes_what_json_gives_back(writer, tmp_path):
    content = {"epoch": EPOCH, "instruments": [{"name": "BTC-USDT.BINANCE", "tick": "0.01"}], "text": "é\n"}
    assert writer.append_json(JournalKind.SESSION, content) == 1
    (entry,) = JournalReader(tmp_path, STAGE, EPOCH).entries()
    assert entry.json() == content


def test_append_json_raises_when_the_content_does_not_fit(writer, tmp_path):
    with pytest.raises(JournalError, match="SESSION of 30013 bytes does not fit"):
        writer.append_json(JournalKind.SESSION, {"text": "x" * 30002})
    assert read_journal(tmp_path).contents == []


def test_close_ends_even_a_full_file_and_gives_back_what_was_not_used(tmp_path):
    writer = JournalWriter(tmp_path, STAGE, EPOCH, FILE_BYTES, 1, 2)
    source = bytes_array(bytes(FILE_BYTES))
    append(writer.context, JournalKind.MARKET, 0, 1, source, 0, room(writer.context))
    writer.prepare_next()
    writer.close("the disk is full " * 1000)
    assert [path.name for path in tmp_path.iterdir()] == [file_name(STAGE, 1)]
    entries = list(JournalReader(tmp_path, STAGE, EPOCH).entries())
    assert entries[-1].kind == JournalKind.END and entries[-1].json()["reason"].startswith("the disk is full")
    assert (tmp_path / file_name(STAGE, 1)).stat().st_size == FILE_BYTES


def test_an_abandoned_journal_has_everything_but_its_end_and_takes_nothing_more(tmp_path):
    writer = write_journal(tmp_path, random_contents(random.Random(SEED), 20, 200), 0, FILE_BYTES)
    writer.prepare_next()
    writer.abandon()
    assert append(writer.context, JournalKind.MARKET, 0, 1, bytes_array(b"x"), 0, 1) == -1
    outcome = read_journal(tmp_path)
    assert (len(outcome.contents), outcome.tail.closed) == (20, False), SEED


def test_close_shortens_the_file_and_leaves_its_context_unable_to_append(writer):
    context = writer.context
    writer.close("done")
    writer.close("again")
    assert writer.path.stat().st_size == PAGE_BYTES
    assert append(context, 8, 0, 1, bytes_array(b"x" * 8), 0, 8) == -1
    assert writer.last_sequence == 1


def test_commit_alternates_its_slots_and_skips_when_nothing_is_new(writer):
    def marks():
        return writer.context.file[24:32].copy()

    seen = [marks()]
    for _ in range(3):
        write_entry(writer, (8, 0, b"x" * 8))
        commit(writer.context)
        seen.append(marks())
        commit(writer.context)
        np.testing.assert_array_equal(marks(), seen[-1])
    changed = [[bool((a[k : k + 4] != b[k : k + 4]).any()) for k in (0, 4)] for a, b in itertools.pairwise(seen)]
    assert changed == [[True, False], [False, True], [True, False]]


def test_sync_marks_what_was_appended(writer, tmp_path):
    write_entry(writer, (8, 0, b"x" * 8))
    writer.sync()
    assert JournalReader(tmp_path, STAGE, EPOCH).files[0].mark().sequence == 1


def test_header_relates_the_two_clocks(writer, tmp_path):
    header = JournalReader(tmp_path, STAGE, EPOCH).files[0].header
    assert (header.created_realtime_ns, header.created_monotonic_ns) == (1_700_000_000_000_000_000, 123)
