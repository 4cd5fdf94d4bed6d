"""Picows kernels: what the picows transport does to a wire; a pinned cell makes a call from Python cheap."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hft.websocket import FrameCode, first_byte_code
from processes.transport.direct import killed
from processes.transport.inbound import accept_frame, push_message, room_for_bytes
from processes.transport.wire import (
    BYTES_IN,
    DEAF,
    FRAME_HEAD,
    FRAME_TAIL,
    FRAMES_IN,
    MESSAGE_START,
    PARSED,
    RAW_TAIL,
    RECEIVED_NS,
    Wire,
    copy_bytes,
    fail,
    next_outbound,
)
from shm.jit import njit
from shm.pinned import unpin

_WHOLE = int(FrameCode.WHOLE)


@njit
def take_whole(
    data: NDArray[Any], frames: NDArray[Any], words: NDArray[Any], landing: NDArray[Any], opcode: int, size: int, received_ns: int
) -> int:
    """Take in a whole TEXT or BINARY message from `landing`; returns the messages waiting.

    Returns -1, and takes nothing, when it is not that simple: see `take_frame`.
    """
    if words[DEAF] or words[MESSAGE_START] >= 0 or words[FRAME_TAIL] - words[FRAME_HEAD] >= frames.shape[0]:
        return -1
    start: Any = np.int64(0) if words[FRAME_HEAD] == words[FRAME_TAIL] else words[RAW_TAIL]
    if data.size - start < size:
        return -1
    copy_bytes(data, start, landing, 0, size)
    words[RAW_TAIL] = start + size
    words[PARSED] = start + size
    words[RECEIVED_NS] = received_ns
    words[BYTES_IN] += size
    words[FRAMES_IN] += 1
    push_message(frames, words, start, size, opcode)
    return words[FRAME_TAIL] - words[FRAME_HEAD]


@njit
def take_frame(wire: Wire, landing: NDArray[Any], first: int, size: int, received_ns: int) -> int:
    """Take in any frame, whose payload is in `landing`; returns the messages waiting, or -1 when there is no room for it."""
    words = wire.words
    if words[DEAF]:
        return 0
    if words[FRAME_TAIL] - words[FRAME_HEAD] >= wire.frames.shape[0] or room_for_bytes(wire) < size:
        return -1
    start = words[RAW_TAIL]
    copy_bytes(wire.data, start, landing, 0, size)
    words[RAW_TAIL] = start + size
    words[PARSED] = start + size
    words[RECEIVED_NS] = received_ns
    words[BYTES_IN] += size
    code = first_byte_code(first)
    if code != _WHOLE:
        fail(wire, code, received_ns)
    else:
        accept_frame(wire, first, start, size, received_ns)
    return words[FRAME_TAIL] - words[FRAME_HEAD]


# No other thread waits for the interpreter meanwhile: letting go of it would cost more than the kernel.
@njit(nogil=False)
def take_pinned(cell: Any, opcode: int, size: int, received_ns: int) -> int:
    """`take_whole` of a pinned (wire, landing, kill words)."""
    wire, landing, _ = unpin(cell)
    return take_whole(wire.data, wire.frames, wire.words, landing, opcode, size, received_ns)


@njit(nogil=False)
def outbound(cell: Any, held_bytes: int, firm: int, venue: int) -> tuple[int, int, int]:
    """See `next_outbound`; of a pinned (wire, landing, kill words)."""
    wire, _, kills = unpin(cell)
    return next_outbound(wire, held_bytes, killed(kills, firm, venue))
