"""Inbound: turns received bytes into the messages of a wire, and answers what the protocol wants answered."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hft.websocket import CONTROL_BIT, FIN, OPCODE_BITS, FrameCode, Opcode, read_close, read_header
from processes.transport.wire import (
    CANCELS,
    CLOSE_CODE,
    DEAF,
    FRAME_HEAD,
    FRAME_TAIL,
    FRAMES_IN,
    MESSAGE_BYTES_MAX,
    MESSAGE_END,
    MESSAGE_OPCODE,
    MESSAGE_START,
    MESSAGES_IN,
    ORDERS,
    PARSED,
    PINGS_IN,
    PONGS_IN,
    RAW_TAIL,
    RECEIVED_NS,
    Wire,
    copy_bytes,
    drop_unsent,
    fail,
    queue_pong,
    start_close,
)
from shm.jit import njit

_WHOLE = int(FrameCode.WHOLE)
_MORE = int(FrameCode.MORE)
_TOO_BIG = int(FrameCode.TOO_BIG)
_UNEXPECTED_CONTINUATION = int(FrameCode.UNEXPECTED_CONTINUATION)
_UNFINISHED_MESSAGE = int(FrameCode.UNFINISHED_MESSAGE)
_CONTINUATION = int(Opcode.CONTINUATION)
_PING = int(Opcode.PING)
_PONG = int(Opcode.PONG)


@njit
def parse(wire: Wire, now_ns: int) -> None:
    """Read the frames in the bytes that have arrived, as long as the queue of messages has room."""
    words = wire.words
    while words[FRAME_TAIL] - words[FRAME_HEAD] < wire.frames.shape[0]:
        if words[DEAF]:
            words[PARSED] = words[RAW_TAIL]
        if words[PARSED] == words[RAW_TAIL]:
            return
        code, first, start, size, _ = read_header(wire.data, words[PARSED], words[RAW_TAIL], 0, _payload_bytes_max(words))
        if code == _MORE:
            return
        if code != _WHOLE:
            fail(wire, code, now_ns)
            continue
        if start + size > words[RAW_TAIL]:
            return
        words[PARSED] = start + size
        if first & FIN and not first & CONTROL_BIT and first & OPCODE_BITS != _CONTINUATION and words[MESSAGE_START] < 0:
            words[FRAMES_IN] += 1
            push_message(wire.frames, words, start, size, first & OPCODE_BITS)
        else:
            accept_frame(wire, first, start, size, now_ns)


@njit
def accept_frame(wire: Wire, first: int, start: int, size: int, now_ns: int) -> None:
    """Take in one whole frame: its first byte and its payload at `data[start:start+size]`. The caller saw to room for a message."""
    words = wire.words
    words[FRAMES_IN] += 1
    opcode = first & OPCODE_BITS
    if opcode & CONTROL_BIT:
        _accept_control(wire, opcode, start, size, now_ns)
    elif size > _payload_bytes_max(words):
        fail(wire, _TOO_BIG, now_ns)
    elif opcode == _CONTINUATION:
        if words[MESSAGE_START] < 0:
            fail(wire, _UNEXPECTED_CONTINUATION, now_ns)
            return
        copy_bytes(wire.data, words[MESSAGE_END], wire.data, start, size)
        words[MESSAGE_END] += size
        if first & FIN:
            push_message(wire.frames, words, words[MESSAGE_START], words[MESSAGE_END] - words[MESSAGE_START], words[MESSAGE_OPCODE])
            words[MESSAGE_START] = -1
    elif words[MESSAGE_START] >= 0:
        fail(wire, _UNFINISHED_MESSAGE, now_ns)
    elif first & FIN:
        push_message(wire.frames, words, start, size, opcode)
    else:
        words[MESSAGE_START] = start
        words[MESSAGE_END] = start + size
        words[MESSAGE_OPCODE] = opcode


@njit
def room_for_bytes(wire: Wire) -> int:
    """Free bytes at `data[RAW_TAIL:]`, after moving what is kept down if no queued message would be moved."""
    words = wire.words
    if words[FRAME_HEAD] == words[FRAME_TAIL]:
        if words[PARSED] == words[RAW_TAIL] and words[MESSAGE_START] < 0:
            words[PARSED] = 0
            words[RAW_TAIL] = 0
        elif words[RAW_TAIL] > wire.data.size // 2:
            _compact(wire)
    return wire.data.size - words[RAW_TAIL]


@njit
def _compact(wire: Wire) -> None:
    words = wire.words
    data = wire.data
    kept: Any = np.int64(0)
    if words[MESSAGE_START] >= 0:
        kept = words[MESSAGE_END] - words[MESSAGE_START]
        copy_bytes(data, 0, data, words[MESSAGE_START], kept)
        words[MESSAGE_START] = 0
        words[MESSAGE_END] = kept
    partial = words[RAW_TAIL] - words[PARSED]
    copy_bytes(data, kept, data, words[PARSED], partial)
    words[PARSED] = kept
    words[RAW_TAIL] = kept + partial


@njit
def _accept_control(wire: Wire, opcode: int, start: int, size: int, now_ns: int) -> None:
    words = wire.words
    if opcode == _PING:
        words[PINGS_IN] += 1
        queue_pong(wire, start, size)
    elif opcode == _PONG:
        words[PONGS_IN] += 1
    else:
        code, close_code = read_close(wire.data, start, size)
        if code != _WHOLE:
            fail(wire, code, now_ns)
            return
        words[CLOSE_CODE] = close_code
        words[DEAF] = 1
        # A peer that said CLOSE may ignore what comes after it: an order sent now would be UNKNOWN, one dropped is NOT_SENT.
        drop_unsent(wire, CANCELS)
        drop_unsent(wire, ORDERS)
        start_close(wire, close_code, now_ns)


@njit
def push_message(frames: NDArray[Any], words: NDArray[Any], start: int, size: int, opcode: int) -> None:
    """Queue the message at `data[start:start+size]`; the caller saw to room."""
    row = words[FRAME_TAIL] & (frames.shape[0] - 1)
    frames[row, 0] = start
    frames[row, 1] = size
    frames[row, 2] = opcode
    frames[row, 3] = words[RECEIVED_NS]
    words[FRAME_TAIL] += 1
    words[MESSAGES_IN] += 1


@njit
def _payload_bytes_max(words: NDArray[Any]) -> int:
    if words[MESSAGE_START] < 0:
        return words[MESSAGE_BYTES_MAX]
    return words[MESSAGE_BYTES_MAX] - (words[MESSAGE_END] - words[MESSAGE_START])
