"""SHA-256: the hash of FIPS 180-4 and its HMAC (RFC 2104) inside kernels, and their bytes as text.

A secret is prepared once (`new_hmac_key`): an HMAC then costs one block more than the hash of the data. Words are 32-bit values
in int64, doubled to `word | word << 32` where they are rotated, so that a rotation is one shift.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shm.jit import njit

DIGEST_BYTES = 32
BLOCK_BYTES = 64
#: Bytes of a digest as base64.
BASE64_BYTES = 44

_STATE_WORDS, _BLOCK_WORDS, _ROUNDS = 8, 16, 64
#: Layout of the scratch: the message schedule, the state, and the bytes of the last blocks.
_STATE = _ROUNDS
_TAIL = _ROUNDS + _STATE_WORDS
SCRATCH_WORDS = _TAIL + 2 * BLOCK_BYTES

_MASK = 0xFFFFFFFF
_INNER, _OUTER = 0x36, 0x5C


def _primes(count: int) -> list[int]:
    found: list[int] = []
    candidate = 2
    while len(found) < count:
        if all(candidate % prime for prime in found):
            found.append(candidate)
        candidate += 1
    return found


def _root_fraction(prime: int, power: int) -> int:
    """The first 32 bits of the fraction of the `power`-th root of a prime."""
    low, high = 0, 1 << 40
    while high - low > 1:
        middle = (low + high) // 2
        if middle**power <= prime << (32 * power):
            low = middle
        else:
            high = middle
    return low & _MASK


_ROUND_CONSTANTS = np.array([_root_fraction(prime, 3) for prime in _primes(_ROUNDS)], np.int64)
_FIRST_STATE = np.array([_root_fraction(prime, 2) for prime in _primes(_STATE_WORDS)], np.int64)
_BASE64 = np.frombuffer(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", np.uint8).astype(np.int64)
_HEX = np.frombuffer(b"0123456789abcdef", np.uint8).astype(np.int64)


def new_scratch() -> NDArray[np.int64]:
    """What a hash works on; one a thread."""
    return np.zeros(SCRATCH_WORDS, np.int64)


def new_hmac_key(secret: bytes) -> NDArray[np.int64]:
    """A prepared key: int64[2, 8], the states after the inner and the outer padded key."""
    if len(secret) > BLOCK_BYTES:
        secret = hashlib.sha256(secret).digest()
    block = np.frombuffer(secret.ljust(BLOCK_BYTES, b"\0"), np.uint8)
    key, scratch = np.zeros((2, _STATE_WORDS), np.int64), new_scratch()
    for row, pad in enumerate((_INNER, _OUTER)):
        scratch[_STATE:_TAIL] = _FIRST_STATE
        _compress(scratch, block ^ np.uint8(pad), 0)
        key[row] = scratch[_STATE:_TAIL]
    return key


@njit
def sha256(data: NDArray[Any], start: int, end: int, scratch: NDArray[Any], out: NDArray[Any], at: int) -> int:
    """Write the 32 bytes of the hash of `data[start:end]` at `out[at:]`; return the offset after them."""
    for i in range(_STATE_WORDS):
        scratch[_STATE + i] = _FIRST_STATE[i]
    _absorb(scratch, data, start, end, 0)
    return _put_state(scratch, out, at)


@njit
def hmac_sha256(key: NDArray[Any], data: NDArray[Any], start: int, end: int, scratch: NDArray[Any], out: NDArray[Any], at: int) -> int:
    """Write the 32 bytes of the HMAC of `data[start:end]` at `out[at:]`; return the offset after them.

    `out` is uint8 with room for 32 bytes, and may be `data` itself.
    """
    for i in range(_STATE_WORDS):
        scratch[_STATE + i] = key[0, i]
    _absorb(scratch, data, start, end, BLOCK_BYTES)
    _put_state(scratch, out, at)
    for i in range(_STATE_WORDS):
        scratch[_STATE + i] = key[1, i]
    _absorb(scratch, out, at, at + DIGEST_BYTES, BLOCK_BYTES)
    return _put_state(scratch, out, at)


@njit
def _absorb(scratch: NDArray[Any], data: NDArray[Any], start: int, end: int, bytes_before: int) -> None:
    """Hash `data[start:end]` to its end, padding included; `bytes_before` whole blocks' bytes went into the state already."""
    at = start
    while at + BLOCK_BYTES <= end:
        _compress(scratch, data, at)
        at += BLOCK_BYTES
    rest = end - at
    tail = scratch[_TAIL:]
    size = BLOCK_BYTES if rest + 9 <= BLOCK_BYTES else 2 * BLOCK_BYTES
    for i in range(size):
        tail[i] = 0
    for i in range(rest):
        tail[i] = int(data[at + i])
    tail[rest] = 0x80
    bits = 8 * (bytes_before + end - start)
    for i in range(8):
        tail[size - 1 - i] = (bits >> (8 * i)) & 0xFF
    _compress(scratch, tail, 0)
    if size > BLOCK_BYTES:
        _compress(scratch, tail, BLOCK_BYTES)


@njit
def _compress(scratch: NDArray[Any], data: NDArray[Any], at: int) -> None:
    """Take one block of 64 bytes at `data[at:]` into the state."""
    for i in range(_BLOCK_WORDS):
        place = at + 4 * i
        high = (int(data[place]) << 24) | (int(data[place + 1]) << 16)
        scratch[i] = high | (int(data[place + 2]) << 8) | int(data[place + 3])
    for i in range(_BLOCK_WORDS, _ROUNDS):
        old, new = int(scratch[i - 15]), int(scratch[i - 2])
        old_twice, new_twice = old | (old << 32), new | (new << 32)
        old_mix = ((old_twice >> 7) ^ (old_twice >> 18) ^ (old >> 3)) & _MASK
        new_mix = ((new_twice >> 17) ^ (new_twice >> 19) ^ (new >> 10)) & _MASK
        scratch[i] = (int(scratch[i - 16]) + old_mix + int(scratch[i - 7]) + new_mix) & _MASK
    a, b, c, d = int(scratch[_STATE]), int(scratch[_STATE + 1]), int(scratch[_STATE + 2]), int(scratch[_STATE + 3])
    e, f, g, h = int(scratch[_STATE + 4]), int(scratch[_STATE + 5]), int(scratch[_STATE + 6]), int(scratch[_STATE + 7])
    for i in range(_ROUNDS):
        twice = e | (e << 32)
        mix = ((twice >> 6) ^ (twice >> 11) ^ (twice >> 25)) & _MASK
        first = h + mix + (g ^ (e & (f ^ g))) + int(_ROUND_CONSTANTS[i]) + int(scratch[i])
        twice = a | (a << 32)
        mix = ((twice >> 2) ^ (twice >> 13) ^ (twice >> 22)) & _MASK
        second = mix + ((a & b) | (c & (a | b)))
        h, g, f, e = g, f, e, (d + first) & _MASK
        d, c, b, a = c, b, a, (first + second) & _MASK
    for i, word in enumerate((a, b, c, d, e, f, g, h)):
        scratch[_STATE + i] = (int(scratch[_STATE + i]) + word) & _MASK


@njit
def _put_state(scratch: NDArray[Any], out: NDArray[Any], at: int) -> int:
    for i in range(_STATE_WORDS):
        word = int(scratch[_STATE + i])
        for k in range(4):
            out[at + 4 * i + k] = (word >> (24 - 8 * k)) & 0xFF
    return at + DIGEST_BYTES


@njit
def put_base64(raw: NDArray[Any], start: int, end: int, out: NDArray[Any], at: int) -> int:
    """Write the bytes `raw[start:end]` as base64 with padding; return the offset after it."""
    for i in range(start, end, 3):
        left = end - i
        second = int(raw[i + 1]) if left > 1 else 0
        third = int(raw[i + 2]) if left > 2 else 0
        bits = (int(raw[i]) << 16) | (second << 8) | third
        out[at] = _BASE64[bits >> 18]
        out[at + 1] = _BASE64[(bits >> 12) & 63]
        out[at + 2] = _BASE64[(bits >> 6) & 63] if left > 1 else 61
        out[at + 3] = _BASE64[bits & 63] if left > 2 else 61
        at += 4
    return at


@njit
def put_hex_bytes(raw: NDArray[Any], start: int, end: int, out: NDArray[Any], at: int) -> int:
    """Write the bytes `raw[start:end]` as lower-case hex; return the offset after it."""
    for i in range(start, end):
        byte = int(raw[i])
        out[at] = _HEX[byte >> 4]
        out[at + 1] = _HEX[byte & 15]
        at += 2
    return at
