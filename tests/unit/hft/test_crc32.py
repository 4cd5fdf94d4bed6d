"""CRC32: a text's checksum by its parts is zlib's of the whole, with the instruction and without it."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

from hft.crc32 import BYTES_MAX, after_word, carryless, carryless_by_bits, checksum_of_terms, reduced, target_has_instruction, term
from shm.jit import JIT_ENABLED, njit

SEED = 20_260_103


@njit
def carryless_in_kernel(a, b):
    return carryless(a, b)


def state_of(text: bytes) -> int:
    state = 0
    padded = bytes(-len(text) % 8) + text
    for at in range(0, len(padded), 8):
        state = int(after_word(state, int.from_bytes(padded[at : at + 8], "little", signed=True)))
    return state


def checksum_by_parts(parts: list[bytes]) -> int:
    terms, behind = 0, 0
    for part in reversed(parts):
        terms ^= int(term(state_of(part), behind))
        behind += len(part)
    return int(checksum_of_terms(terms, behind))


def test_checksum_gives_the_published_answer() -> None:
    assert checksum_by_parts([b"123456789"]) == checksum_by_parts([b"1234", b"", b"56789"]) == 0xCBF43926


def test_checksum_by_parts_is_that_of_the_whole() -> None:
    rng = random.Random(SEED)
    for _ in range(300):
        parts = [rng.randbytes(rng.randrange(40)) for _ in range(rng.randrange(24))]
        assert checksum_by_parts(parts) == zlib.crc32(b"".join(parts)), (SEED, parts)


def test_a_part_is_moved_past_any_number_of_bytes() -> None:
    rng = random.Random(SEED)
    for behind in range(0, BYTES_MAX + 1 - 8, 7):
        part = rng.randbytes(8)
        terms = int(term(state_of(part), behind))
        assert int(checksum_of_terms(terms, behind + 8)) == zlib.crc32(part + bytes(behind)), (SEED, behind)
    state = rng.getrandbits(32)
    assert int(reduced(term(state, 0))) == state


def test_products_are_the_same_compiled_by_bits_and_in_python() -> None:
    rng = random.Random(SEED)
    python = getattr(carryless_by_bits, "py_func", carryless_by_bits)
    most = (1 << 32) - 1
    for a, b in [(0, most), (most, most), (1 << 31, 1 << 31), *((rng.getrandbits(32), rng.getrandbits(32)) for _ in range(500))]:
        found = {int(f(np.int64(a), np.int64(b))) for f in (carryless_in_kernel, carryless_by_bits, python, carryless)}
        assert len(found) == 1, (SEED, a, b)


@pytest.mark.skipif(not JIT_ENABLED, reason="nothing is compiled")
def test_kernel_falls_back_to_bits_when_the_target_lacks_the_instruction(tmp_path: Path) -> None:
    program = (
        "import zlib; from hft.crc32 import after_word, checksum_of_terms, target_has_instruction, term;"
        "word = int.from_bytes(b'12345678', 'little');"
        "terms = int(term(after_word(0, word), 8)) ^ int(term(after_word(0, word), 0));"
        "print(target_has_instruction(), checksum_of_terms(terms, 16) == zlib.crc32(b'1234567812345678'))"
    )
    environment = {**os.environ, "NUMBA_CPU_NAME": "generic", "NUMBA_CACHE_DIR": str(tmp_path)}
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run([sys.executable, "-c", program], env=environment, cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


@pytest.mark.skipif(not JIT_ENABLED, reason="nothing is compiled")
def test_kernel_contains_the_instruction_exactly_when_the_target_has_it() -> None:
    carryless_in_kernel(np.int64(0), np.int64(0))
    if carryless_in_kernel.stats.cache_hits:
        pytest.skip("loaded from the cache: there is no assembly to look at")
    assembly = carryless_in_kernel.inspect_asm(carryless_in_kernel.signatures[0])
    assert ("pclmul" in assembly) == target_has_instruction()
