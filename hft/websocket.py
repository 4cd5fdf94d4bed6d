"""WebSocket framing: reads and writes RFC 6455 frames in byte arrays, for either role.

     0               1               2 .. 13
    +-+-+-+-+-------+-+-------------+---------------------------+----------------+---------+
    |F|R|R|R|opcode |M| length      | 16-bit length if 126      | masking key    | payload |
    |I|S|S|S|       |A| 0..125,     | 64-bit length if 127      | if M           |         |
    |N|V|V|V|       |S| 126, 127    | (both big-endian, minimal)|                |         |
    +-+-+-+-+-------+-+-------------+---------------------------+----------------+---------+

No extension is ever offered, so reserved bits are errors. Payloads are bytes: TEXT is not checked to be UTF-8, because the
venue scanners take only the ASCII they know and count the rest as malformed.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shm.jit import njit


class Opcode(IntEnum):
    """What a frame carries."""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


class FrameCode(IntEnum):
    """What `read_header` found; from RESERVED_BIT on, the peer broke the protocol."""

    WHOLE = 0  #: the header is there; its payload may not be yet
    MORE = 1  #: more bytes are needed to tell
    RESERVED_BIT = 1101
    RESERVED_OPCODE = 1102
    MASKED = 1103  #: a server masked its frame
    UNMASKED = 1104  #: a client did not mask its frame
    CONTROL_FRAGMENTED = 1105
    CONTROL_TOO_LONG = 1106
    LENGTH_NOT_MINIMAL = 1107
    LENGTH_NEGATIVE = 1108  #: the top bit of a 64-bit length
    TOO_BIG = 1109
    UNEXPECTED_CONTINUATION = 1110
    UNFINISHED_MESSAGE = 1111  #: a new message began inside a fragmented one
    BAD_CLOSE = 1112  #: a close payload of one byte, or a code that must not be sent


class CloseCode(IntEnum):
    """The close codes this engine sends, and NO_STATUS for a peer's close frame without one."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    NO_STATUS = 1005
    TOO_BIG = 1009


FIN = 0x80
RESERVED_BITS = 0x70
OPCODE_BITS = 0x0F
MASK_BIT = 0x80
CONTROL_BIT = 0x08
HEADER_BYTES_MAX = 14
CONTROL_BYTES_MAX = 125

_WHOLE = int(FrameCode.WHOLE)
_MORE = int(FrameCode.MORE)
_RESERVED_BIT = int(FrameCode.RESERVED_BIT)
_RESERVED_OPCODE = int(FrameCode.RESERVED_OPCODE)
_MASKED = int(FrameCode.MASKED)
_UNMASKED = int(FrameCode.UNMASKED)
_CONTROL_FRAGMENTED = int(FrameCode.CONTROL_FRAGMENTED)
_CONTROL_TOO_LONG = int(FrameCode.CONTROL_TOO_LONG)
_LENGTH_NOT_MINIMAL = int(FrameCode.LENGTH_NOT_MINIMAL)
_LENGTH_NEGATIVE = int(FrameCode.LENGTH_NEGATIVE)
_TOO_BIG = int(FrameCode.TOO_BIG)
_BAD_CLOSE = int(FrameCode.BAD_CLOSE)
_NO_STATUS = int(CloseCode.NO_STATUS)


@njit
def first_byte_code(first: int) -> int:
    """FrameCode of a frame's first byte: WHOLE, or why it must be refused."""
    opcode = first & OPCODE_BITS
    if first & RESERVED_BITS:
        return _RESERVED_BIT
    if opcode > 10 or 2 < opcode < 8:
        return _RESERVED_OPCODE
    if opcode & CONTROL_BIT and not first & FIN:
        return _CONTROL_FRAGMENTED
    return _WHOLE


@njit
def read_header(data: NDArray[Any], start: int, end: int, masked: int, payload_bytes_max: int) -> tuple[int, int, int, int, int]:
    """Read the frame header at `data[start:end]`.

    `masked` is 1 when the peer is a client, 0 when it is a server. Returns (FrameCode, first byte, payload's offset, payload's
    bytes, masking key, of which the first byte on the wire is the lowest); all but the first are 0 unless the code is WHOLE.
    An offending header is refused as soon as its offence can be seen, however few of its bytes are there.
    """
    if end - start < 2:
        return _MORE, 0, 0, 0, 0
    first: Any = np.int64(data[start])
    second: Any = np.int64(data[start + 1])
    code = first_byte_code(first)
    if code != _WHOLE:
        return code, 0, 0, 0, 0
    if (second & MASK_BIT) != masked * MASK_BIT:
        return (_UNMASKED if masked else _MASKED), 0, 0, 0, 0
    size = second & 0x7F
    if first & CONTROL_BIT and size > CONTROL_BYTES_MAX:
        return _CONTROL_TOO_LONG, 0, 0, 0, 0
    at = start + 2
    if size >= 126:
        width = 2 if size == 126 else 8
        if end - at < width:
            return _MORE, 0, 0, 0, 0
        size = np.int64(0)
        for i in range(width):
            size = (size << 8) | np.int64(data[at + i])
        at += width
        if size < 0:
            return _LENGTH_NEGATIVE, 0, 0, 0, 0
        if size < (126 if width == 2 else 65536):
            return _LENGTH_NOT_MINIMAL, 0, 0, 0, 0
    if size > payload_bytes_max and not first & CONTROL_BIT:
        return _TOO_BIG, 0, 0, 0, 0
    key: Any = np.int64(0)
    if masked:
        if end - at < 4:
            return _MORE, 0, 0, 0, 0
        for i in range(4):
            key |= np.int64(data[at + i]) << (8 * i)
        at += 4
    return _WHOLE, first, at, size, key


@njit
def frame_bytes(payload_bytes: int, masked: int) -> int:
    """Bytes of a whole frame with that payload."""
    extra = 0 if payload_bytes < 126 else (2 if payload_bytes < 65536 else 8)
    return 2 + extra + 4 * masked + payload_bytes


@njit
def mask_copy(target: NDArray[Any], at: int, source: NDArray[Any], offset: int, length: int, key: int) -> None:
    """Copy `source[offset:offset+length]` to `target[at:]`, each byte XORed with the masking key; in place is allowed."""
    key0, key1, key2, key3 = np.uint8(key & 0xFF), np.uint8(key >> 8 & 0xFF), np.uint8(key >> 16 & 0xFF), np.uint8(key >> 24 & 0xFF)
    # Unsigned indices are never wrapped around, so that this loop becomes vector instructions.
    into, source_at, one, two, three = np.uint64(at), np.uint64(offset), np.uint64(1), np.uint64(2), np.uint64(3)
    whole = length >> 2
    for quad in range(whole):
        i = np.uint64(4 * quad)
        target[into + i] = source[source_at + i] ^ key0
        target[into + i + one] = source[source_at + i + one] ^ key1
        target[into + i + two] = source[source_at + i + two] ^ key2
        target[into + i + three] = source[source_at + i + three] ^ key3
    for rest in range(4 * whole, length):
        target[at + rest] = source[offset + rest] ^ np.uint8((key >> (8 * (rest & 3))) & 0xFF)


@njit
def write_frame(target: NDArray[Any], at: int, opcode: int, key: int, source: NDArray[Any], offset: int, length: int) -> int:
    """Write one whole frame (FIN set) at `target[at:]`; returns the offset after it.

    A `key` of 0 or more masks the payload with it, as a client must; -1 leaves it unmasked, as a server must. The caller has
    made sure of `frame_bytes` free bytes.
    """
    masked = 0 if key < 0 else MASK_BIT
    target[at] = FIN | opcode
    if length < 126:
        target[at + 1] = masked | length
        at += 2
    else:
        width = 2 if length < 65536 else 8
        target[at + 1] = masked | (126 if width == 2 else 127)
        for i in range(width):
            target[at + 2 + i] = (np.int64(length) >> (8 * (width - 1 - i))) & 0xFF
        at += 2 + width
    if masked:
        for i in range(4):
            target[at + i] = (key >> (8 * i)) & 0xFF
        at += 4
    mask_copy(target, at, source, offset, length, key if masked else 0)
    return at + length


@njit
def next_mask_key(words: NDArray[Any], index: int) -> int:
    """Advance the xorshift64 state in `words[index]` (never 0) and return 32 bits of it, 0 .. 2**32 - 1.

    Masking keeps a browser's script from choosing the bytes a proxy sees. Here no one chooses payloads but the engine, so
    keys have to differ from frame to frame and connection to connection, not to be secret: connecting seeds the state from
    the system's entropy.
    """
    state: Any = np.int64(words[index])
    state ^= state << np.int64(13)
    state ^= (state >> np.int64(7)) & np.int64(0x01FFFFFFFFFFFFFF)
    state ^= state << np.int64(17)
    words[index] = state
    return state & np.int64(0xFFFFFFFF)


@njit
def read_close(data: NDArray[Any], offset: int, length: int) -> tuple[int, int]:
    """The close code in a CLOSE frame's payload: (WHOLE, code), NO_STATUS if it has none, or (BAD_CLOSE, 0)."""
    if length == 0:
        return _WHOLE, _NO_STATUS
    if length == 1:
        return _BAD_CLOSE, 0
    code: Any = (np.int64(data[offset]) << 8) | np.int64(data[offset + 1])
    if 3000 <= code <= 4999 or 1000 <= code <= 1003 or 1007 <= code <= 1014:
        return _WHOLE, code
    return _BAD_CLOSE, 0
