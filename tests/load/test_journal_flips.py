"""Journal damage, the whole campaign: every byte flipped in every bit, and twenty thousand crash images."""

import random
from collections import Counter

import pytest

from hft.journal_format import PAGE_BYTES, JournalDamage, JournalMismatch, file_name
from support.crash_images import STAGE, crash_images, random_contents, read_journal, record_trace, replace_file, write_journal

SEED = 20240808
TRACES = 40
IMAGES_PER_TRACE = 500


@pytest.mark.load
def test_every_bit_flip_of_a_closed_journal_is_recovered_from_exactly_or_refused(tmp_path):
    rng = random.Random(SEED)
    contents = random_contents(rng, 14, 300)
    write_journal(tmp_path, contents, 3, 5 * PAGE_BYTES, rotate_at=(7,)).close("done")
    expected = read_journal(tmp_path)
    counts: Counter[str] = Counter()
    for number in (1, 2):
        image = bytearray((tmp_path / file_name(STAGE, number)).read_bytes())
        for i in range(min(len(image), len(bytes(image).rstrip(b"\0")) + 64)):
            for mask in (*(1 << bit for bit in range(8)), rng.randrange(1, 256)):
                image[i] ^= mask
                replace_file(tmp_path, bytes(image), number)
                image[i] ^= mask
                outcome = read_journal(tmp_path)
                if outcome.refusal is None:
                    counts["exact"] += 1
                    assert outcome.contents == expected.contents and outcome.tail.closed, (SEED, number, i, mask)
                else:
                    counts["refused"] += 1
                    assert isinstance(outcome.refusal, JournalDamage | JournalMismatch), (SEED, number, i, mask)
        replace_file(tmp_path, bytes(image), number)
    print(f"flips: {dict(counts)}")
    assert counts["refused"] > 10_000


@pytest.mark.load
@pytest.mark.parametrize("seed", range(SEED, SEED + TRACES))
def test_crash_images_are_recovered_from_exactly_or_refused(tmp_path, seed):
    rng = random.Random(seed)
    contents = random_contents(rng, 40, rng.choice([100, 1500, 5000]))
    steps = record_trace(tmp_path / "trace", rng, contents, 24 * PAGE_BYTES)
    counts: Counter[str] = Counter()
    for image, durable, appended in crash_images(steps, rng, IMAGES_PER_TRACE):
        replace_file(tmp_path / "image", image)
        outcome = read_journal(tmp_path / "image")
        if outcome.refusal is not None:
            counts["refused"] += 1
            assert isinstance(outcome.refusal, JournalDamage), (seed, outcome.refusal)
        else:
            counts["recovered"] += 1
            assert durable <= len(outcome.contents) <= appended, seed
            assert outcome.contents == contents[: len(outcome.contents)], seed
    print(f"seed {seed}: {dict(counts)}")
    assert counts["recovered"] and counts["refused"]
