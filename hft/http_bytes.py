"""HTTP bytes: reads HTTP/1.1 responses in byte arrays, as RFC 9112 has them, strictly.

What `hft/http_client.py` does with objects for cold requests, kernels do here on the hot path. Whatever could be read in two
ways is refused, because the order behind a response misread is an order misjudged: bare LF, folded headers, two lengths, a
body that ends with the connection, an encoding that was not asked for.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shm.jit import njit


class HttpCode(IntEnum):
    """What `read_response` found; from NOT_HTTP on, the peer cannot be understood and the connection is of no more use."""

    WHOLE = 0
    MORE = 1  #: more bytes are needed
    NOT_HTTP = 1301  #: the first line is not an HTTP/1.1 status line
    BAD_STATUS = 1302  #: a status outside 100..599, or 101
    BAD_HEADER = 1303
    BAD_LENGTH = 1304  #: Content-Length is not a number, or the length is said twice
    BAD_CHUNK = 1305
    NO_LENGTH = 1306  #: a body that ends with the connection: nobody can tell whether it is whole
    ENCODED = 1307  #: a Content-Encoding or Transfer-Encoding that was not asked for
    HEAD_TOO_BIG = 1308
    TOO_BIG = 1309  #: the response does not fit


#: Longest head, and longest trailer.
HEAD_BYTES_MAX = 16384
#: Interim responses (1xx) that are passed over.
INTERIM_MAX = 16

_WHOLE = int(HttpCode.WHOLE)
_MORE = int(HttpCode.MORE)
_NOT_HTTP = int(HttpCode.NOT_HTTP)
_BAD_STATUS = int(HttpCode.BAD_STATUS)
_BAD_HEADER = int(HttpCode.BAD_HEADER)
_BAD_LENGTH = int(HttpCode.BAD_LENGTH)
_BAD_CHUNK = int(HttpCode.BAD_CHUNK)
_NO_LENGTH = int(HttpCode.NO_LENGTH)
_ENCODED = int(HttpCode.ENCODED)
_HEAD_TOO_BIG = int(HttpCode.HEAD_TOO_BIG)
_TOO_BIG = int(HttpCode.TOO_BIG)

_CR, _LF, _SPACE, _TAB, _COLON, _COMMA, _SEMICOLON = 13, 10, 32, 9, 58, 44, 59
_LENGTH_DIGITS_MAX = 18
_CHUNK_DIGITS_MAX = 8
_RETRY_DIGITS_MAX = 7
_CHUNK_LINE_BYTES_MAX = 256


def _table(text: str) -> NDArray[Any]:
    return np.frombuffer(text.encode(), np.uint8)


_VERSION = _table("HTTP/1.1 ")
_CONTENT_LENGTH = _table("content-length")
_TRANSFER_ENCODING = _table("transfer-encoding")
_CONTENT_ENCODING = _table("content-encoding")
_CONNECTION = _table("connection")
_RETRY_AFTER = _table("retry-after")
_CHUNKED = _table("chunked")
_IDENTITY = _table("identity")
_CLOSE = _table("close")

#: 1 where a byte may stand in a header's name.
_TOKEN = np.array([chr(byte).isascii() and (chr(byte).isalnum() or chr(byte) in "!#$%&'*+-.^_`|~") for byte in range(256)], np.uint8)


@njit
def read_response(data: NDArray[Any], start: int, end: int, limit: int) -> tuple[int, int, int, int, int, int]:
    """Read the response at `data[start:end]`; no byte of it may lie beyond `limit`, the end of its buffer.

    Returns (HttpCode, status, body_start, body_end, keep_alive, retry_after_s). The body is at `data[body_start:body_end]`,
    and was moved together there if it came in chunks; that is done once it is whole, so MORE means: call again with the same
    start and more bytes. `keep_alive` is 1 if the connection may be used again: the peer does not say close, and not a byte
    follows. `retry_after_s` is 0 if the peer names no number of seconds. Interim responses are passed over.
    """
    code, status, body, body_end, after, keep_alive, retry_after_s = _read(data, start, end, limit)
    if code == _MORE and end >= limit:
        code = _TOO_BIG
    if code != _WHOLE:
        return code, status, body, body, 0, retry_after_s
    # Nothing was asked that could be answered by more.
    return _WHOLE, status, body, body_end, keep_alive if after == end else 0, retry_after_s


@njit
def _read(data: NDArray[Any], start: int, end: int, limit: int) -> tuple[int, int, int, int, int, int, int]:
    """(code, status, body_start, body_end, end of the response, keep_alive, retry_after_s)."""
    at: Any = np.int64(start)
    for _ in range(INTERIM_MAX):
        code, status, at, keep_alive, length, retry_after_s = _read_head(data, at, end)
        if code != _WHOLE:
            return code, status, at, at, at, 0, 0
        if status >= 200:
            break
    if status < 200:
        return _BAD_STATUS, status, at, at, at, 0, 0
    if length == _UNSAID:
        return _NO_LENGTH, status, at, at, at, 0, retry_after_s
    if length == _CHUNKS:
        code, body_end, after = _read_chunks(data, at, end, limit)
        return code, status, at, body_end, after, keep_alive, retry_after_s
    code = _WHOLE
    if length > limit - at:
        code = _TOO_BIG
    elif length > end - at:
        code = _MORE
    return code, status, at, at + length, at + length, keep_alive, retry_after_s


#: Values of a body's length that are none.
_UNSAID, _CHUNKS = -1, -2


@njit
def _read_head(data: NDArray[Any], start: int, end: int) -> tuple[int, int, int, int, int, int]:
    """(code, status, where the body begins, keep_alive, body's length or _UNSAID or _CHUNKS, retry_after_s)."""
    code, status, at = _read_status_line(data, start, end)
    length: Any = np.int64(_UNSAID)
    keep_alive: Any = np.int64(1)
    retry_after_s: Any = np.int64(0)
    while code == _WHOLE:
        code, name_end, value, value_end, following = _read_header_line(data, at, end)
        if code == _WHOLE and following - start > HEAD_BYTES_MAX:
            code = _HEAD_TOO_BIG
        if code == _MORE and end - start > HEAD_BYTES_MAX:
            code = _HEAD_TOO_BIG
        if code != _WHOLE:
            break
        if name_end == at:
            if status == 204 or status == 304 or status < 200:
                length = np.int64(0)
            return _WHOLE, status, following, keep_alive, length, retry_after_s
        if _is_word(data, at, name_end, _CONTENT_LENGTH):
            code, length = (_BAD_LENGTH, length) if length != _UNSAID else _read_length(data, value, value_end)
        elif _is_word(data, at, name_end, _TRANSFER_ENCODING):
            if not _is_word(data, value, value_end, _CHUNKED):
                code = _ENCODED
            elif length != _UNSAID:
                code = _BAD_LENGTH
            length = np.int64(_CHUNKS)
        elif _is_word(data, at, name_end, _CONTENT_ENCODING):
            if value_end > value and not _is_word(data, value, value_end, _IDENTITY):
                code = _ENCODED
        elif _is_word(data, at, name_end, _CONNECTION):
            if _lists_close(data, value, value_end):
                keep_alive = np.int64(0)
        elif _is_word(data, at, name_end, _RETRY_AFTER):
            retry_after_s = _read_number(data, value, value_end, _RETRY_DIGITS_MAX)
        at = following
    return code, status, at, keep_alive, length, retry_after_s


@njit
def _read_status_line(data: NDArray[Any], start: int, end: int) -> tuple[int, int, int]:
    """(code, status, where the headers begin) of `HTTP/1.1 200 OK`; the reason may be missing, and its space too."""
    for i in range(_VERSION.size):
        if start + i >= end:
            return _MORE, 0, start
        if data[start + i] != _VERSION[i]:
            return _NOT_HTTP, 0, start
    at = start + _VERSION.size
    status: Any = np.int64(0)
    for i in range(3):
        if at + i >= end:
            return _MORE, 0, start
        digit = np.int64(data[at + i]) - 48
        if digit < 0 or digit > 9:
            return _NOT_HTTP, 0, start
        status = status * 10 + digit
    at += 3
    if at >= end:
        return _MORE, 0, start
    if data[at] != _SPACE and data[at] != _CR:
        return _NOT_HTTP, 0, start
    code, line_end = _end_of_line(data, at, end)
    if code == _BAD_HEADER:
        return _NOT_HTTP, 0, start
    if code == _MORE:
        return (_HEAD_TOO_BIG if end - start > HEAD_BYTES_MAX else _MORE), 0, start
    if status < 100 or status > 599 or status == 101:
        return _BAD_STATUS, status, start
    return _WHOLE, status, line_end + 2


@njit
def _end_of_line(data: NDArray[Any], start: int, end: int) -> tuple[int, int]:
    """(code, offset of the CRLF) of the line that goes through `start`; BAD_HEADER if a control character is in it."""
    at: Any = np.int64(start)
    while at < end:
        byte = data[at]
        if byte == _CR:
            if at + 1 >= end:
                return _MORE, at
            return (_WHOLE if data[at + 1] == _LF else _BAD_HEADER), at
        if (byte < _SPACE and byte != _TAB) or byte == 127:
            return _BAD_HEADER, at
        at += 1
    return _MORE, at


@njit
def _read_header_line(data: NDArray[Any], start: int, end: int) -> tuple[int, int, int, int, int]:
    """(code, end of the name, value, its end, next line) of `Name: value`, without spaces around it; an empty line has no name."""
    at: Any = np.int64(start)
    while at < end and _TOKEN[data[at]]:
        at += 1
    if at == end:
        return _MORE, at, at, at, at
    if at == start:
        code, line_end = _end_of_line(data, at, end)
        if code == _WHOLE and line_end != at:
            code = _BAD_HEADER
        # A line that begins with anything but a name or its own end is one that folds, or rubbish.
        if code == _MORE and data[at] != _CR:
            code = _BAD_HEADER
        return code, at, at, at, line_end + 2
    if data[at] != _COLON:
        return _BAD_HEADER, at, at, at, at
    code, line_end = _end_of_line(data, at, end)
    value: Any = np.int64(at + 1)
    value_end: Any = np.int64(line_end)
    if code == _WHOLE:
        while value < value_end and (data[value] == _SPACE or data[value] == _TAB):
            value += 1
        while value_end > value and (data[value_end - 1] == _SPACE or data[value_end - 1] == _TAB):
            value_end -= 1
    return code, at, value, value_end, line_end + 2


@njit
def _read_length(data: NDArray[Any], start: int, end: int) -> tuple[int, int]:
    """(code, length): digits alone."""
    length: Any = np.int64(0)
    if start == end or end - start > _LENGTH_DIGITS_MAX:
        return _BAD_LENGTH, length
    for i in range(start, end):
        digit = np.int64(data[i]) - 48
        if digit < 0 or digit > 9:
            return _BAD_LENGTH, length
        length = length * 10 + digit
    return _WHOLE, length


@njit
def _read_number(data: NDArray[Any], start: int, end: int, digits_max: int) -> int:
    """The number that the digits are, or 0 if they are anything else."""
    nothing: Any = np.int64(0)
    if end - start > digits_max:
        return nothing
    code, number = _read_length(data, start, end)
    return number if code == _WHOLE else nothing


@njit
def _read_chunks(data: NDArray[Any], start: int, end: int, limit: int) -> tuple[int, int, int]:
    """(code, end of the body that begins at `start`, end of the response): joins the chunks once all are there."""
    code, total, after = _walk_chunks(data, start, end, limit, 0)
    if code != _WHOLE:
        return code, start, after
    _walk_chunks(data, start, end, limit, 1)
    return _WHOLE, start + total, after


@njit
def _walk_chunks(data: NDArray[Any], start: int, end: int, limit: int, join: int) -> tuple[int, int, int]:
    """(code, bytes in all chunks, end of the trailer); with `join` the bytes are moved together at `start`."""
    at: Any = np.int64(start)
    total: Any = np.int64(0)
    while True:
        code, size, at = _read_chunk_line(data, at, end)
        if code != _WHOLE:
            return code, total, at
        if size == 0:
            break
        if at + size + 2 > limit:
            return _TOO_BIG, total, at
        if at + size + 2 > end:
            # What has come of the end of the chunk can be wrong already.
            if at + size < end and data[at + size] != _CR:
                return _BAD_CHUNK, total, at
            return _MORE, total, at
        if data[at + size] != _CR or data[at + size + 1] != _LF:
            return _BAD_CHUNK, total, at
        if join:
            for i in range(size):
                data[start + total + i] = data[at + i]
        total += size
        at += size + 2
    trailer = at
    while True:
        code, name_end, _, _, following = _read_header_line(data, at, end)
        if code == _MORE and end - trailer > HEAD_BYTES_MAX:
            code = _HEAD_TOO_BIG
        if code != _WHOLE:
            return code, total, at
        if name_end == at:
            return _WHOLE, total, following
        at = following


@njit
def _read_chunk_line(data: NDArray[Any], start: int, end: int) -> tuple[int, int, int]:
    """(code, size, where the chunk begins) of `1a;extension`."""
    at: Any = np.int64(start)
    size: Any = np.int64(0)
    while at < end:
        digit = _hex_digit(data[at])
        if digit < 0:
            break
        if at - start == _CHUNK_DIGITS_MAX:
            return _BAD_CHUNK, size, at
        size = size * 16 + digit
        at += 1
    if at == end:
        return _MORE, size, at
    if at == start or (data[at] != _CR and data[at] != _SEMICOLON):
        return _BAD_CHUNK, size, at
    code, line_end = _end_of_line(data, at, end)
    if code == _BAD_HEADER or line_end - start > _CHUNK_LINE_BYTES_MAX:
        return _BAD_CHUNK, size, at
    return code, size, line_end + 2


@njit
def _hex_digit(byte: int) -> int:
    value: Any = np.int64(byte)
    if 48 <= value <= 57:
        return value - 48
    value |= 32
    return value - 87 if 97 <= value <= 102 else -1


@njit
def _is_word(data: NDArray[Any], start: int, end: int, word: NDArray[Any]) -> bool:
    """Whether `data[start:end]` is the lower-case `word`, in any case."""
    if end - start != word.size:
        return False
    for i in range(word.size):
        byte = data[start + i]
        if (byte | 32 if 65 <= byte <= 90 else byte) != word[i]:
            return False
    return True


@njit
def _lists_close(data: NDArray[Any], start: int, end: int) -> bool:
    """Whether "close" is in the list `data[start:end]`."""
    at: Any = np.int64(start)
    while at < end:
        following: Any = np.int64(at)
        while following < end and data[following] != _COMMA:
            following += 1
        first: Any = np.int64(at)
        last: Any = np.int64(following)
        while first < last and (data[first] == _SPACE or data[first] == _TAB):
            first += 1
        while last > first and (data[last - 1] == _SPACE or data[last - 1] == _TAB):
            last -= 1
        if _is_word(data, first, last, _CLOSE):
            return True
        at = following + 1
    return False
