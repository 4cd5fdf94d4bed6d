"""Framing kernels against a naive twin and the RFC's own examples."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from hft.websocket import FrameCode, frame_bytes, mask_copy, next_mask_key, read_close, read_header, write_frame
from support.ws_peer import close_frame, frame, read_frame

LIMIT = 1 << 20


def as_array(data: bytes) -> Any:
    return np.frombuffer(data, np.uint8).copy()


def key_of(key: bytes) -> int:
    return int.from_bytes(key, "little")


def header(data: bytes, masked: int = 0, limit: int = LIMIT) -> tuple[int, ...]:
    array = as_array(b"##" + data + b"##")
    return tuple(int(value) for value in read_header(array, 2, 2 + len(data), masked, limit))


@pytest.mark.parametrize(
    ("wire", "masked", "payload"),
    [
        (bytes.fromhex("810548656c6c6f"), 0, b"Hello"),
        (bytes.fromhex("818537fa213d7f9f4d5158"), 1, b"Hello"),
        (bytes.fromhex("890548656c6c6f"), 0, b"Hello"),
        (bytes.fromhex("8a8537fa213d7f9f4d5158"), 1, b"Hello"),
    ],
)
def test_read_header_reads_the_examples_of_the_rfc(wire: bytes, masked: int, payload: bytes) -> None:
    code, first, start, size, key = header(wire, masked)
    assert (code, first, size) == (FrameCode.WHOLE, wire[0], 5)
    out = np.zeros(5, np.uint8)
    mask_copy(out, 0, as_array(wire), start - 2, size, key)
    assert out.tobytes() == payload


@pytest.mark.parametrize("key", [None, b"\x01\x02\x03\xff"])
@pytest.mark.parametrize("size", [0, 1, 3, 4, 5, 124, 125, 126, 127, 128, 65535, 65536, 65537])
def test_write_frame_writes_what_the_naive_twin_reads(size: int, key: bytes | None) -> None:
    seed = size
    body = random.Random(seed).randbytes(size)
    target = np.full(size + 64, 0xEE, np.uint8)
    end = write_frame(target, 5, 1, -1 if key is None else key_of(key), as_array(b"xyz" + body), 3, size)
    wire = target[5:end].tobytes()
    assert wire == frame(1, body, key=key)
    assert len(wire) == frame_bytes(size, 0 if key is None else 1)
    assert np.all(target[:5] == 0xEE) and np.all(target[end:] == 0xEE), "nothing outside the frame is touched"


def test_read_header_agrees_with_the_naive_twin_on_random_frames_and_needs_every_byte_of_the_header() -> None:
    seed = 20240808
    rng = random.Random(seed)
    for _ in range(300):
        size = rng.choice((0, 1, 125, 126, 300, 65535, 65536))
        masked = rng.randrange(2)
        key = rng.randbytes(4) if masked else None
        wire = frame(rng.choice((0, 1, 2)), bytes(size), fin=rng.random() < 0.5, key=key)
        code, first, start, length, found = header(wire, masked)
        twin = read_frame(wire)
        assert twin is not None
        assert (code, first, length) == (FrameCode.WHOLE, wire[0], len(twin[0].payload)), f"seed {seed}"
        assert start - 2 + length == twin[1] and found == (key_of(key) if key else 0), f"seed {seed}"
        for short in range(start - 2):
            assert header(wire[:short], masked)[0] == FrameCode.MORE, f"seed {seed}"


@pytest.mark.parametrize(
    ("wire", "masked", "code"),
    [
        (b"\xc1\x00", 0, FrameCode.RESERVED_BIT),
        (b"\xa1\x00", 0, FrameCode.RESERVED_BIT),
        (b"\x91\x00", 0, FrameCode.RESERVED_BIT),
        (b"\x83\x00", 0, FrameCode.RESERVED_OPCODE),
        (b"\x87\x00", 0, FrameCode.RESERVED_OPCODE),
        (b"\x8b\x00", 0, FrameCode.RESERVED_OPCODE),
        (b"\x8f\x00", 0, FrameCode.RESERVED_OPCODE),
        (b"\x81\x80", 0, FrameCode.MASKED),
        (b"\x81\x00", 1, FrameCode.UNMASKED),
        (b"\x09\x00", 0, FrameCode.CONTROL_FRAGMENTED),
        (b"\x89\x7e", 0, FrameCode.CONTROL_TOO_LONG),
        (b"\x88\x7f", 0, FrameCode.CONTROL_TOO_LONG),
        (b"\x81\x7e\x00\x7d", 0, FrameCode.LENGTH_NOT_MINIMAL),
        (b"\x81\x7f\x00\x00\x00\x00\x00\x00\xff\xff", 0, FrameCode.LENGTH_NOT_MINIMAL),
        (b"\x81\x7f\x80\x00\x00\x00\x00\x00\x00\x00", 0, FrameCode.LENGTH_NEGATIVE),
        (b"\x81\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", 0, FrameCode.TOO_BIG),
    ],
)
def test_read_header_refuses_what_breaks_the_protocol_as_soon_as_it_shows(wire: bytes, masked: int, code: FrameCode) -> None:
    assert header(wire, masked)[0] == code
    assert header(wire[:-1], masked)[0] == FrameCode.MORE


@pytest.mark.parametrize(("size", "code"), [(999, FrameCode.WHOLE), (1000, FrameCode.WHOLE), (1001, FrameCode.TOO_BIG)])
def test_read_header_holds_the_limit_on_both_sides(size: int, code: FrameCode) -> None:
    assert header(frame(1, bytes(size)), limit=1000)[0] == code


def test_read_header_reads_a_control_frame_whatever_the_limit() -> None:
    assert header(frame(9, bytes(125)), limit=10)[0] == FrameCode.WHOLE


def test_read_header_never_reads_outside_on_random_bytes() -> None:
    seed = 7
    rng = random.Random(seed)
    for _ in range(3000):
        data = rng.randbytes(rng.randrange(20))
        code, _, start, size, key = header(data, rng.randrange(2))
        assert code in list(FrameCode), f"seed {seed}"
        if code == FrameCode.WHOLE:
            assert 4 <= start <= 2 + len(data) and size >= 0 and 0 <= key < 1 << 32, f"seed {seed}"


def test_mask_copy_in_place_twice_is_the_identity() -> None:
    for size in range(70):
        body = random.Random(size).randbytes(size)
        array = as_array(b"12345" + body)
        for _ in range(2):
            mask_copy(array, 5, array, 5, size, 0xDEADBEEF)
        assert array.tobytes() == b"12345" + body


def test_next_mask_key_varies_stays_in_32_bits_and_never_sticks() -> None:
    words = np.array([0, 1, 0], np.int64)
    keys = [int(next_mask_key(words, 1)) for _ in range(2000)]
    assert len(set(keys)) > 1990 and min(keys) >= 0 and max(keys) < 1 << 32
    assert words[1] != 0 and words[0] == words[2] == 0


def test_next_mask_key_is_marsaglias_xorshift() -> None:
    state, words = 88172645463325252, np.array([88172645463325252], np.int64)
    for _ in range(100):
        state ^= state << 13 & (1 << 64) - 1
        state ^= state >> 7
        state ^= state << 17 & (1 << 64) - 1
        assert int(next_mask_key(words, 0)) == state & 0xFFFFFFFF


@pytest.mark.parametrize("code", [1000, 1003, 1007, 1014, 3000, 3999, 4000, 4999])
def test_read_close_takes_codes_that_may_be_sent(code: int) -> None:
    assert read_close(as_array(close_frame(code, b"why")), 2, 5) == (FrameCode.WHOLE, code)


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535])
def test_read_close_refuses_codes_that_must_not_be_sent(code: int) -> None:
    assert read_close(as_array(close_frame(code)), 2, 2)[0] == FrameCode.BAD_CLOSE


def test_read_close_takes_none_and_refuses_half_a_code() -> None:
    assert read_close(as_array(b""), 0, 0) == (FrameCode.WHOLE, 1005)
    assert read_close(as_array(b"\x03"), 0, 1)[0] == FrameCode.BAD_CLOSE
