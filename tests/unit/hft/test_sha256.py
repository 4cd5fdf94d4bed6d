"""SHA-256: the published answers, and those of the standard library at every length and place."""

from __future__ import annotations

import base64
import hashlib
import hmac
import random
from typing import Any

import numpy as np
import pytest

from hft.sha256 import BASE64_BYTES, DIGEST_BYTES, hmac_sha256, new_hmac_key, new_scratch, put_base64, put_hex_bytes, sha256

SEED = 20_260_105
LONG_MESSAGE = b"This is a test using a larger than block-size key and a larger than block-size data. "
LONG_MESSAGE += b"The key needs to be hashed before being used by the HMAC algorithm."


def bytes_of(data: bytes) -> Any:
    return np.frombuffer(bytearray(data), np.uint8) if data else np.zeros(0, np.uint8)


def hashed(data: bytes) -> bytes:
    out = np.zeros(DIGEST_BYTES, np.uint8)
    assert sha256(bytes_of(data), 0, len(data), new_scratch(), out, 0) == DIGEST_BYTES
    return out.tobytes()


def signed(secret: bytes, data: bytes) -> bytes:
    out = np.zeros(DIGEST_BYTES, np.uint8)
    assert hmac_sha256(new_hmac_key(secret), bytes_of(data), 0, len(data), new_scratch(), out, 0) == DIGEST_BYTES
    return out.tobytes()


@pytest.mark.parametrize(
    ("message", "digest"),
    [
        (b"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        (b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (
            b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
        ),
    ],
    ids=["nothing", "one block", "two blocks"],
)
def test_sha256_gives_the_published_answers(message: bytes, digest: str) -> None:
    assert hashed(message).hex() == digest


@pytest.mark.parametrize(
    ("secret", "message", "digest"),
    [
        (b"\x0b" * 20, b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
        (b"Jefe", b"what do ya want for nothing?", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
        (b"\xaa" * 20, b"\xdd" * 50, "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
        (bytes(range(1, 26)), b"\xcd" * 50, "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"),
        (
            b"\xaa" * 131,
            b"Test Using Larger Than Block-Size Key - Hash Key First",
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
        ),
        (
            b"\xaa" * 131,
            LONG_MESSAGE,
            "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
        ),
    ],
    ids=["case 1", "case 2", "case 3", "case 4", "case 6", "case 7"],
)
def test_hmac_gives_the_answers_of_rfc_4231(secret: bytes, message: bytes, digest: str) -> None:
    assert signed(secret, message).hex() == digest


def test_sha256_agrees_with_hashlib_at_every_length_around_the_blocks() -> None:
    data = random.Random(SEED).randbytes(200)
    array, scratch, out = bytes_of(data), new_scratch(), np.zeros(40, np.uint8)
    for start in (0, 1, 7):
        for end in range(start, 200):
            sha256(array, start, end, scratch, out, 3)
            assert out[3:35].tobytes() == hashlib.sha256(data[start:end]).digest(), (SEED, start, end)


def test_hmac_agrees_with_the_standard_library_for_any_secret_and_leaves_its_key_alone() -> None:
    chance = random.Random(SEED)
    scratch, out = new_scratch(), np.zeros(DIGEST_BYTES, np.uint8)
    for n in range(60):
        secret, data = chance.randbytes(chance.randrange(150)), chance.randbytes(chance.randrange(600))
        key = new_hmac_key(secret)
        for _ in range(2):
            hmac_sha256(key, bytes_of(data), 0, len(data), scratch, out, 0)
            assert out.tobytes() == hmac.digest(secret, data, "sha256"), (SEED, n)


def test_hmac_may_be_written_over_its_data() -> None:
    data = bytes_of(b"x" * 100)
    hmac_sha256(new_hmac_key(b"secret"), data, 0, 100, new_scratch(), data, 0)
    assert data[:32].tobytes() == hmac.digest(b"secret", b"x" * 100, "sha256")


def test_hex_and_base64_are_those_of_the_standard_library_at_every_length() -> None:
    raw = random.Random(SEED).randbytes(70)
    array, out = bytes_of(raw), np.zeros(200, np.uint8)
    for end in range(2, 70):
        assert out[5 : put_base64(array, 2, end, out, 5)].tobytes() == base64.b64encode(raw[2:end]), (SEED, end)
        assert out[5 : put_hex_bytes(array, 2, end, out, 5)].tobytes() == raw[2:end].hex().encode(), (SEED, end)
    assert put_base64(array, 0, DIGEST_BYTES, out, 0) == BASE64_BYTES
