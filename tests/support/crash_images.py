"""Crash images: what a journal's file may look like after a loss of power, from a trace of what was written.

A page that was written since the last sync may be on the disk as it was then, as it is now or as it was at any step between;
one that was being written may be torn: some of its sectors new and others old, or, on no disk we know, at any byte.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hft.journal import OFFSET, JournalWriter, append, commit
from hft.journal_format import PAGE_BYTES, JournalError, file_name
from hft.journal_reader import JournalReader, Tail
from hft.records import JournalKind

STAGE = "risk"
EPOCH = 7
SECTOR_BYTES = 512

#: kind, aux, payload
Content = tuple[int, int, bytes]


class Step(NamedTuple):
    """The file after one step of its writer, and what a reader may then find."""

    image: bytes
    appended: int  #: entries appended so far
    durable: int  #: entries before the last sync


class Outcome(NamedTuple):
    """What a reader made of a folder: contents and tail, or the refusal."""

    contents: list[Content]
    tail: Tail | None
    refusal: JournalError | None


def write_entry(writer: JournalWriter, content: Content) -> int:
    """Append one entry; its sequence or -1."""
    kind, aux, payload = content
    return int(append(writer.context, kind, aux, 1, np.frombuffer(bytearray(payload), np.uint8), 0, len(payload)))


def random_contents(rng: random.Random, n: int, payload_bytes_max: int) -> list[Content]:
    """`n` entries of any kind but END."""
    kinds = [int(kind) for kind in JournalKind if kind != JournalKind.END]
    return [
        (rng.choice(kinds), rng.getrandbits(64) - 2**63, rng.randbytes(rng.choice([0, 8, 13, 64, 128, payload_bytes_max])))
        for _ in range(n)
    ]


def write_journal(
    folder: Path, contents: list[Content], commit_every: int, file_bytes: int, rotate_at: tuple[int, ...] = ()
) -> JournalWriter:
    """An open journal with these contents, marked after every `commit_every` (0: never), rotated before the entries named."""
    writer = JournalWriter(folder, STAGE, EPOCH, file_bytes, 1, 2)
    for i, content in enumerate(contents):
        if i in rotate_at:
            writer.prepare_next()
            writer.rotate(1, 2)
        assert write_entry(writer, content) == i + 1
        if commit_every and (i + 1) % commit_every == 0:
            commit(writer.context)
    return writer


def read_journal(folder: Path) -> Outcome:
    """Read the journal in `folder` as after a crash."""
    try:
        reader = JournalReader(folder, STAGE, EPOCH)
        contents = [(entry.kind, entry.aux, bytes(entry.payload)) for entry in reader.entries()]
    except JournalError as refusal:
        return Outcome([], None, refusal)
    return Outcome(contents, reader.tail, None)


def record_trace(folder: Path, rng: random.Random, contents: list[Content], file_bytes: int) -> list[Step]:
    """Write `contents` with commits and syncs in between; the file after every step, half-done appends included."""
    writer = JournalWriter(folder, STAGE, EPOCH, file_bytes, 1, 2)
    writer.sync()
    steps = [Step(writer.context.file.tobytes(), 0, 0)]
    durable = 0
    for i, content in enumerate(contents):
        at = int(writer.context.words[OFFSET])
        write_entry(writer, content)
        image = writer.context.file.tobytes()
        steps.append(Step(image[:at] + bytes(8) + image[at + 8 :], i, durable))  # Everything but the word that publishes.
        steps.append(Step(image, i + 1, durable))
        choice = rng.random()
        if choice < 0.3:
            commit(writer.context)
        elif choice < 0.45:
            writer.sync()
            durable = i + 1
        steps.append(Step(writer.context.file.tobytes(), i + 1, durable))
    return steps


def crash_images(steps: list[Step], rng: random.Random, n: int) -> Iterator[tuple[bytes, int, int]]:
    """`n` legal images: (image, entries that must be there or be missed loudly, entries that may be there)."""
    pages = len(steps[0].image) // PAGE_BYTES
    for _ in range(n):
        now = rng.randrange(len(steps))
        durable = steps[now].durable
        first = min(k for k in range(now + 1) if steps[k].durable == durable)  # The file as it was synced.
        image = b""
        for page in range(pages):
            versions = _versions(steps[first : now + 1], page)
            image += _torn(rng, rng.choice([versions[0], versions[-1], rng.choice(versions)]), rng.choice(versions))
        yield image, durable, steps[now].appended


def _versions(steps: list[Step], page: int) -> list[bytes]:
    return list(dict.fromkeys(step.image[page * PAGE_BYTES : (page + 1) * PAGE_BYTES] for step in steps))


def _torn(rng: random.Random, old: bytes, new: bytes) -> bytes:
    """Whole, torn between sectors in any order, or torn at a byte."""
    shape = rng.randrange(4)
    if shape == 0:
        return b"".join((new if rng.random() < 0.5 else old)[k : k + SECTOR_BYTES] for k in range(0, PAGE_BYTES, SECTOR_BYTES))
    if shape == 1:
        cut = rng.randrange(PAGE_BYTES)
        return new[:cut] + old[cut:]
    return new


def replace_file(folder: Path, image: bytes, number: int = 1) -> None:
    """Put `image` in place of a file of the journal."""
    folder.mkdir(exist_ok=True)
    (folder / file_name(STAGE, number)).write_bytes(image)
