"""Journal reader: every damage is recovered from exactly or refused; nothing wrong passes in silence."""

import os
import random
import re
import subprocess
import sys

import numpy as np
import pytest

from hft import journal_format, records
from hft.journal import OFFSET, JournalWriter, append, commit
from hft.journal_format import HEADER_BYTES, PAGE_BYTES, JournalDamage, JournalError, JournalMismatch, file_name
from hft.journal_reader import JournalReader, stages
from hft.records import JournalKind
from support.crash_images import (
    EPOCH,
    STAGE,
    crash_images,
    random_contents,
    read_journal,
    record_trace,
    replace_file,
    write_entry,
    write_journal,
)

FILE_BYTES = 5 * PAGE_BYTES
SEED = 20240808


@pytest.fixture
def contents():
    return random_contents(random.Random(SEED), 12, 100)


def image_of(folder, number=1):
    return (folder / file_name(STAGE, number)).read_bytes()


def boundaries(folder):
    """Offset before each entry, and behind the last."""
    entries = list(JournalReader(folder, STAGE, EPOCH).entries())
    return [entry.payload_offset - 32 for entry in entries] + [entries[-1].payload_offset + (len(entries[-1].payload) + 7) // 8 * 8]


@pytest.mark.parametrize("fill", [False, True], ids=["cut", "zeros behind"])
def test_reader_recovers_exactly_the_whole_entries_of_every_prefix(tmp_path, contents, fill):
    write_journal(tmp_path / "whole", contents, 0, FILE_BYTES)
    image = image_of(tmp_path / "whole")
    ends = boundaries(tmp_path / "whole")
    for n in range(HEADER_BYTES, ends[-1] + 1):
        cut = image[:n] + bytes(len(image) - n if fill else 0)
        replace_file(tmp_path / "cut", cut)
        outcome = read_journal(tmp_path / "cut")
        whole = sum(cut[:end] == image[:end] for end in ends[1:])
        assert outcome.contents == contents[:whole], (SEED, n)
        assert outcome.tail.offset == ends[whole]
        assert outcome.tail.dropped_bytes == max(0, len(cut[:n].rstrip(b"\0")) - ends[whole])


def test_reader_refuses_every_file_that_ends_inside_its_header(tmp_path, contents):
    write_journal(tmp_path / "whole", contents, 0, FILE_BYTES)
    image = image_of(tmp_path / "whole")
    for n in range(HEADER_BYTES):
        replace_file(tmp_path / "cut", image[:n])
        refusal = read_journal(tmp_path / "cut").refusal
        assert isinstance(refusal, JournalDamage) and refusal.offset == n


def test_reader_refuses_every_prefix_that_ends_before_the_mark(tmp_path, contents):
    writer = write_journal(tmp_path / "whole", contents, 5, FILE_BYTES)
    image = image_of(tmp_path / "whole")
    ends = boundaries(tmp_path / "whole")
    writer.close("not in the image")
    for n in range(HEADER_BYTES, ends[10], 7):
        replace_file(tmp_path / "cut", image[:n])
        refusal = read_journal(tmp_path / "cut").refusal
        whole = sum(end <= n for end in ends[1:])
        assert isinstance(refusal, JournalDamage) and refusal.offset == ends[whole], n
        assert f"damage at offset {ends[whole]}" in str(refusal) and f"entry {whole + 1}" in str(refusal)


@pytest.mark.parametrize("rotate_at", [(), (4, 8)], ids=["one file", "three files"])
def test_reader_recovers_exactly_or_refuses_every_single_byte_flip_of_a_closed_journal(tmp_path, contents, rotate_at):
    write_journal(tmp_path, contents, 0, FILE_BYTES, rotate_at).close("done")
    expected = read_journal(tmp_path)
    assert expected.tail.closed
    rng = random.Random(SEED)
    refused = exact = 0
    for number in range(1, len(rotate_at) + 2):
        image = bytearray(image_of(tmp_path, number))
        used = len(bytes(image).rstrip(b"\0")) + 64
        for i in range(used):
            image[i] ^= (mask := rng.randrange(1, 256))
            replace_file(tmp_path, image, number)
            image[i] ^= mask
            outcome = read_journal(tmp_path)
            if outcome.refusal is None:
                exact += 1
                assert outcome.contents == expected.contents and outcome.tail.closed, (SEED, number, i, mask)
            else:
                refused += 1
                assert isinstance(outcome.refusal, JournalDamage | JournalMismatch), (SEED, number, i, mask)
        replace_file(tmp_path, image, number)
    assert refused > exact > 0


def test_reader_loses_nothing_before_the_mark_and_says_what_it_drops_behind_it_when_a_byte_flips(tmp_path, contents):
    writer = write_journal(tmp_path / "whole", contents, 10, FILE_BYTES)
    image = bytearray(image_of(tmp_path / "whole"))
    end = int(writer.context.words[OFFSET])
    rng = random.Random(SEED)
    dropped = 0
    for i in range(end):
        image[i] ^= (mask := rng.randrange(1, 256))
        replace_file(tmp_path / "flipped", image)
        image[i] ^= mask
        outcome = read_journal(tmp_path / "flipped")
        if outcome.refusal is None and outcome.contents != contents:
            dropped += 1
            assert outcome.contents == contents[:11] and outcome.tail.dropped_bytes > 0, (SEED, i, mask)
    assert dropped > 0


def test_reader_recovers_exactly_or_refuses_crash_images(tmp_path):
    rng = random.Random(SEED)
    contents = random_contents(rng, 40, 1500)
    recovered = refused = 0
    steps = record_trace(tmp_path / "trace", rng, contents, 10 * PAGE_BYTES)
    for image, durable, appended in crash_images(steps, rng, 400):
        replace_file(tmp_path / "image", image)
        outcome = read_journal(tmp_path / "image")
        if outcome.refusal is not None:
            refused += 1
            assert isinstance(outcome.refusal, JournalDamage), (SEED, outcome.refusal)
            continue
        recovered += 1
        assert durable <= len(outcome.contents) <= appended, SEED
        assert outcome.contents == contents[: len(outcome.contents)], SEED
    assert recovered > 20 and refused > 20


def test_reader_takes_a_half_written_last_entry_for_a_torn_tail_and_says_how_much_it_dropped(tmp_path, contents):
    writer = write_journal(tmp_path, contents, 0, FILE_BYTES)
    at = int(writer.context.words[OFFSET])
    write_entry(writer, (8, 0, b"\xff" * 64))
    writer.context.file[at // 8 + 6] = 0
    outcome = read_journal(tmp_path)
    assert outcome.contents == contents
    assert (outcome.tail.offset, outcome.tail.dropped_bytes, outcome.tail.last_sequence) == (at, 96, 12)


@pytest.mark.parametrize("word", [0, 1, 3, 4], ids=["length and kind", "sequence", "checksum", "payload"])
def test_reader_refuses_a_missing_word_when_a_whole_entry_follows(tmp_path, word):
    writer = write_journal(tmp_path, [(8, 0, b"\xff" * 64)] * 3, 0, FILE_BYTES)
    writer.context.file[(HEADER_BYTES + 96) // 8 + word] = 0
    refusal = read_journal(tmp_path).refusal
    assert isinstance(refusal, JournalDamage)
    assert refusal.offset == HEADER_BYTES + 96
    assert "entry 2, since entry 3 follows at 448" in refusal.expected


def test_reader_refuses_an_entry_out_of_sequence(tmp_path):
    write_journal(tmp_path, [(8, 0, b"\xff" * 64)] * 4, 0, FILE_BYTES)
    image = image_of(tmp_path)
    replace_file(tmp_path, image[:352] + image[448:])
    refusal = read_journal(tmp_path).refusal
    assert isinstance(refusal, JournalDamage) and "found sequence 3, expected sequence 2" in str(refusal)


def test_reader_refuses_a_kind_it_does_not_know(tmp_path):
    write_journal(tmp_path, [(99, 0, b"")], 0, FILE_BYTES)
    refusal = read_journal(tmp_path).refusal
    assert isinstance(refusal, JournalDamage) and "kind 99" in str(refusal)


def test_reader_refuses_when_both_marks_are_broken_and_reads_when_one_is(tmp_path, contents):
    writer = write_journal(tmp_path, contents, 0, FILE_BYTES)
    writer.context.file[24] ^= 1
    assert read_journal(tmp_path).contents == contents
    writer.context.file[28] ^= 1
    refusal = read_journal(tmp_path).refusal
    assert isinstance(refusal, JournalDamage) and refusal.offset == 192


@pytest.mark.parametrize(
    ("field", "write", "read", "found", "expected"),
    [
        ("stage", {"stage": "risk"}, {"stage": "feed.x"}, "risk", "feed.x"),
        ("epoch", {"epoch": 8}, {"epoch": 9}, "8", "9"),
        ("number", {}, {"number": 2}, "1", "2"),
    ],
)
def test_reader_refuses_another_journals_file_naming_found_and_expected(tmp_path, field, write, read, found, expected):
    stage, epoch = write.get("stage", STAGE), write.get("epoch", EPOCH)
    JournalWriter(tmp_path, stage, epoch, FILE_BYTES, 1, 2)
    target = tmp_path / file_name(read.get("stage", stage), 1)
    source = tmp_path / file_name(stage, 1)
    if field == "number":
        writer = write_journal(tmp_path / "other", [(8, 0, b"")] * 2, 0, FILE_BYTES, rotate_at=(1,))
        target, source, stage, epoch = tmp_path / "other" / file_name(STAGE, 2), tmp_path / "other" / file_name(STAGE, 1), STAGE, EPOCH
        writer.close("done")
    target.write_bytes(source.read_bytes())
    with pytest.raises(JournalMismatch, match=re.escape(f"{field} is {found}, expected {expected}")):
        list(JournalReader(target.parent, read.get("stage", stage), read.get("epoch", epoch)).entries())


def test_reader_refuses_another_layout_naming_found_and_expected(tmp_path, contents, monkeypatch):
    write_journal(tmp_path, contents, 0, FILE_BYTES)
    was = records.LAYOUT_ID
    monkeypatch.setattr(records, "LAYOUT_ID", was ^ 1)
    with pytest.raises(JournalMismatch, match=f"layout id is {was:#x}, expected {was ^ 1:#x}"):
        JournalReader(tmp_path, STAGE, EPOCH)


@pytest.mark.parametrize(("constant", "value", "field"), [("MAGIC", b"NOTAJRNL", "magic"), ("VERSION", 2, "version")])
def test_reader_refuses_another_format_naming_found_and_expected(tmp_path, contents, monkeypatch, constant, value, field):
    write_journal(tmp_path, contents, 0, FILE_BYTES)
    monkeypatch.setattr(journal_format, constant, value)
    with pytest.raises(JournalMismatch, match=f"{field} is .*, expected {re.escape(str(value))}"):
        JournalReader(tmp_path, STAGE, EPOCH)


def test_reader_refuses_a_journal_that_lost_its_last_file(tmp_path, contents):
    write_journal(tmp_path, contents, 0, FILE_BYTES, rotate_at=(6,))
    (tmp_path / file_name(STAGE, 2)).unlink()
    refusal = read_journal(tmp_path).refusal
    assert isinstance(refusal, JournalDamage) and "no file risk.000002.journal" in str(refusal)


def test_reader_refuses_a_journal_with_a_hole_in_its_files(tmp_path, contents):
    write_journal(tmp_path, contents, 0, FILE_BYTES, rotate_at=(4, 8))
    (tmp_path / file_name(STAGE, 2)).unlink()
    refusal = read_journal(tmp_path).refusal
    assert isinstance(refusal, JournalDamage) and "no file risk.000002.journal" in str(refusal)


def test_reader_refuses_when_an_earlier_file_ends_too_early(tmp_path, contents):
    writer = JournalWriter(tmp_path, STAGE, EPOCH, FILE_BYTES, 1, 2)
    for content in contents:
        write_entry(writer, content)
    before = writer.context.file[:32].copy()
    writer.prepare_next()
    first = writer.context
    writer.rotate(1, 2)
    first.file[:32] = before  # As if neither the mark of the rotation nor the last entry had reached the disk.
    ends = boundaries(tmp_path)
    first.file[ends[11] // 8 : ends[12] // 8] = 0
    refusal = read_journal(tmp_path).refusal
    assert isinstance(refusal, JournalDamage) and refusal.offset == ends[11]
    assert "entry 12, since risk.000002.journal begins with 13" in str(refusal)


def test_reader_refuses_a_following_file_of_another_run(tmp_path):
    for name, payload in (("a", b"one"), ("b", b"two")):
        write_journal(tmp_path / name, [(8, 0, payload)] * 2, 0, FILE_BYTES, rotate_at=(1,))
    replace_file(tmp_path / "a", image_of(tmp_path / "b", 2), 2)
    refusal = read_journal(tmp_path / "a").refusal
    assert isinstance(refusal, JournalDamage) and refusal.path.name == file_name(STAGE, 2)


@pytest.mark.parametrize("make", ["nothing", "folder", "symlink", "fifo", "empty"])
def test_reader_refuses_what_is_no_file(tmp_path, make):
    path = tmp_path / file_name(STAGE, 1)
    if make == "folder":
        path.mkdir()
    elif make == "symlink":
        path.symlink_to("/etc/passwd")
    elif make == "fifo":
        os.mkfifo(path)
    elif make == "empty":
        path.touch()
    with pytest.raises(JournalError, match=path.name):
        JournalReader(tmp_path, STAGE, EPOCH)


def test_records_refuses_a_payload_of_another_size(tmp_path):
    write_journal(tmp_path, [(JournalKind.ORDER, 0, bytes(120)), (JournalKind.END, 0, bytes(128))], 0, FILE_BYTES)
    for entry in JournalReader(tmp_path, STAGE, EPOCH).entries():
        with pytest.raises(JournalError, match="are not 1 records"):
            entry.records()


def test_poll_follows_a_writer_through_rotation_to_its_end(tmp_path):
    writer = JournalWriter(tmp_path, STAGE, EPOCH, FILE_BYTES, 1, 2)
    reader = JournalReader(tmp_path, STAGE, EPOCH)
    rng = random.Random(SEED)
    contents = random_contents(rng, 60, 300)
    seen = []
    for i, content in enumerate(contents):
        if rng.random() < 0.1:
            writer.prepare_next()
            writer.rotate(1, 2)
        assert write_entry(writer, content) == i + 1
        while rng.random() < 0.5 and (polled := reader.poll()):
            seen += polled
    writer.close("done")
    while polled := reader.poll():
        seen += polled
    assert [(e.kind, e.aux, bytes(e.payload)) for e in seen[:-1]] == contents, SEED
    assert seen[-1].kind == JournalKind.END and [e.sequence for e in seen] == list(range(1, 62))


def test_poll_sees_nothing_of_an_entry_before_its_first_word(tmp_path):
    writer = write_journal(tmp_path, [(8, 0, b"x" * 64)] * 2, 0, FILE_BYTES)
    reader = JournalReader(tmp_path, STAGE, EPOCH)
    at = (HEADER_BYTES + 96) // 8
    first_word = int(writer.context.file[at])
    writer.context.file[at] = 0
    assert [entry.sequence for entry in reader.poll()] == [1]
    assert reader.poll() == []
    writer.context.file[at] = first_word
    assert [entry.sequence for entry in reader.poll()] == [2]


def test_poll_refuses_a_published_entry_that_fails_its_checksum(tmp_path):
    writer = write_journal(tmp_path, [(8, 0, b"x" * 64)] * 2, 0, FILE_BYTES)
    writer.context.file[(HEADER_BYTES + 96) // 8 + 5] ^= 1
    reader = JournalReader(tmp_path, STAGE, EPOCH)
    assert len(reader.poll()) == 1
    with pytest.raises(JournalDamage, match="damage at offset 352"):
        reader.poll()


def test_reader_gives_every_entry_of_a_journal_of_many_blocks(tmp_path):
    writer = JournalWriter(tmp_path, STAGE, EPOCH, 1 << 21, 1, 2)
    source = np.frombuffer(bytearray(random.Random(SEED).randbytes(40_000)), np.uint8)
    for i in range(3000):
        assert append(writer.context, 8, i, 1, source, i * 13 % 7, 8 * (i % 9)) == i + 1
    assert append(writer.context, 8, 3000, 1, source, 0, 40_000) == 3001
    commit(writer.context)
    entries = list(JournalReader(tmp_path, STAGE, EPOCH).entries())
    assert [entry.aux for entry in entries] == list(range(3001))
    assert bytes(entries[-1].payload) == source.tobytes()


def test_stages_names_the_stages_with_journals(tmp_path):
    for stage in ("strategy.mm", "feed.binance", "risk"):
        JournalWriter(tmp_path, stage, EPOCH, FILE_BYTES, 1, 2)
    (tmp_path / "notes.txt").touch()
    assert stages(tmp_path) == ["feed.binance", "risk", "strategy.mm"]


def test_reader_imports_without_numba():
    program = "import sys, hft.journal_reader; sys.exit('numba' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, check=True)
