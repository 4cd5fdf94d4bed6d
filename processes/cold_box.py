"""Cold box: keeps whole messages, in order, from the kernel that does not read them to the cold code that does."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from shm.jit import njit

_USED, _COUNT = 0, 1


class ColdBox(NamedTuple):
    """Messages that wait; made by `new_cold_box`."""

    data: NDArray[Any]  #: uint8, their bytes one behind the other
    ends: NDArray[Any]  #: int64, where each one ends
    words: NDArray[Any]  #: int64: bytes used, messages


def new_cold_box(bytes_max: int, messages_max: int) -> ColdBox:
    """An empty box."""
    return ColdBox(np.zeros(bytes_max, np.uint8), np.zeros(messages_max, np.int64), np.zeros(2, np.int64))


@njit
def put_message(box: ColdBox, data: NDArray[Any], start: int, end: int) -> bool:
    """Keep `data[start:end]`; False if there is no room. One that is larger than an empty box is not kept, and True."""
    words = box.words
    size = end - start
    if size > len(box.data):
        return True
    if words[_USED] + size > len(box.data) or words[_COUNT] == len(box.ends):
        return False
    for k in range(size):
        box.data[words[_USED] + k] = data[start + k]
    words[_USED] += size
    box.ends[words[_COUNT]] = words[_USED]
    words[_COUNT] += 1
    return True


def take_messages(box: ColdBox) -> list[bytes]:
    """Every message that waits, oldest first; the box is empty then."""
    messages, start = [], 0
    for end in box.ends[: box.words[_COUNT]]:
        messages.append(box.data[start:end].tobytes())
        start = int(end)
    box.words[:] = 0
    return messages
