"""CRC32C: the instruction, the tables in a kernel and the tables in NumPy agree."""

import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hft.crc32c import LANE_WORDS, crc32c, crc32c_byte, crc32c_past_lane, crc32c_word, crc32c_word_by_table, target_has_instruction, word_at
from hft.crc32c_table import INITIAL, SEGMENT_BYTES, checksum, checksum_runs
from shm.jit import JIT_ENABLED, njit

SEED = 20240808


@njit
def word_in_kernel(crc, word):
    return crc32c_word(crc, word)


@njit
def word_at_in_kernel(data, offset):
    return word_at(data, offset)


def bytes_array(data):
    return np.frombuffer(bytearray(data), np.uint8)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"123456789", 0xE3069283),
        (b"", 0),
        (bytes(32), 0x8A9136AA),  # RFC 3720 B.4
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
    ],
)
def test_crc32c_gives_the_published_answer(data, expected):
    assert crc32c(bytes_array(data), 0, len(data)) == expected
    assert checksum(data) == expected


def test_crc32c_agrees_with_the_table_at_every_length_and_alignment():
    rng = random.Random(SEED)
    data = rng.randbytes(80)
    for start in range(9):
        for end in range(start, 80):
            assert crc32c(bytes_array(data), start, end) == checksum(data[start:end]), (SEED, start, end)


def test_lanes_side_by_side_give_the_state_after_all_of_them():
    rng = random.Random(SEED)

    def state(crc, words):
        for word in words:
            crc = crc32c_word(crc, word)
        return crc

    for _ in range(50):
        begun = rng.getrandbits(32)
        lanes = [[rng.getrandbits(62) for _ in range(LANE_WORDS)] for _ in range(3)]
        first, second, third = state(begun, lanes[0]), state(0, lanes[1]), state(0, lanes[2])
        joined = crc32c_past_lane(crc32c_past_lane(first) ^ second) ^ third
        assert joined == state(begun, [word for lane in lanes for word in lane]), SEED


def test_crc32c_word_is_the_same_compiled_by_table_and_in_python():
    rng = random.Random(SEED)
    python = getattr(crc32c_word_by_table, "py_func", crc32c_word_by_table)
    for _ in range(500):
        crc = rng.choice([0, INITIAL, 1 << 31, rng.getrandbits(32)])
        word = rng.choice([0, -1, -(2**63), 2**63 - 1, rng.getrandbits(64) - 2**63])
        expected = checksum(word.to_bytes(8, "little", signed=True)) if crc == INITIAL else None
        found = {int(f(np.int64(crc), np.int64(word))) for f in (word_in_kernel, crc32c_word_by_table, python, crc32c_word)}
        assert len(found) == 1, (SEED, crc, word)
        assert expected is None or found == {expected ^ INITIAL}, (SEED, crc, word)


def test_crc32c_byte_continues_where_words_end():
    crc = INITIAL
    for byte in b"123456789":
        crc = crc32c_byte(crc, byte)
    assert crc ^ INITIAL == 0xE3069283


def test_word_at_reads_any_alignment_in_kernels_and_in_python():
    data = bytes(range(100, 130))
    for offset in range(23):
        expected = int.from_bytes(data[offset : offset + 8], "little", signed=True)
        assert word_at(bytes_array(data), offset) == expected
        assert word_at_in_kernel(bytes_array(data), offset) == expected


def test_checksum_runs_agrees_with_checksum_for_runs_of_every_size_class():
    rng = random.Random(SEED)
    data = rng.randbytes(4 * SEGMENT_BYTES)
    bounds = []
    for size in [8, 16, 32, 160, SEGMENT_BYTES - 8, SEGMENT_BYTES, SEGMENT_BYTES + 8, 2 * SEGMENT_BYTES, 2 * SEGMENT_BYTES + 8, len(data)]:
        start = rng.randrange(0, len(data) - size + 1)
        bounds.append((start, start + size))
    rng.shuffle(bounds)
    starts, ends = np.array(bounds).T
    found = checksum_runs(bytes_array(data), starts, ends).tolist()
    assert found == [checksum(data[start:end]) for start, end in bounds], SEED


def test_checksum_runs_gives_nothing_for_no_runs():
    assert len(checksum_runs(bytes_array(b""), np.empty(0, np.int64), np.empty(0, np.int64))) == 0


@pytest.mark.skipif(not JIT_ENABLED, reason="nothing is compiled")
def test_kernel_falls_back_to_the_table_when_the_target_lacks_the_instruction(tmp_path):
    program = (
        "import numpy as np; from hft.crc32c import crc32c, target_has_instruction;"
        "print(target_has_instruction(), hex(crc32c(np.frombuffer(bytearray(b'123456789'), np.uint8), 0, 9)))"
    )
    environment = {**os.environ, "NUMBA_CPU_NAME": "generic", "NUMBA_CACHE_DIR": str(tmp_path)}
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run([sys.executable, "-c", program], env=environment, cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "0xe3069283"]


@pytest.mark.skipif(not JIT_ENABLED, reason="nothing is compiled")
def test_kernel_contains_the_instruction_exactly_when_the_target_has_it():
    word_in_kernel(np.int64(0), np.int64(0))
    if word_in_kernel.stats.cache_hits:
        pytest.skip("loaded from the cache: there is no assembly to look at")
    assembly = word_in_kernel.inspect_asm(word_in_kernel.signatures[0])
    assert ("crc32q" in assembly) == target_has_instruction()
