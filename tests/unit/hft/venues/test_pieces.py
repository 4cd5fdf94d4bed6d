"""Pieces: a text is stepped over if it is there to its last byte, and nothing behind it counts."""

from __future__ import annotations

import numpy as np
import pytest

from hft.venues.pieces import new_pieces, skip_piece, skip_plain_text

TEXTS = ('{"price":', ",", '"12345678', "exactly8", "exactly8sixteen!")


@pytest.mark.parametrize("piece", range(len(TEXTS)))
def test_a_piece_is_stepped_over_only_if_every_byte_is_there(piece: int) -> None:
    pieces, text = new_pieces(TEXTS), TEXTS[piece].encode()
    for behind in (b"\0" * 8, b"\xff" * 8, b'"price":'):
        data = np.frombuffer(bytearray(b"x" + text + behind), np.uint8)
        assert skip_piece(pieces, data, 1, piece) == 1 + len(text)
        for at in range(len(text)):
            for bit in range(8):
                wrong = data.copy()
                wrong[1 + at] ^= 1 << bit
                assert skip_piece(pieces, wrong, 1, piece) == -1
    assert skip_piece(pieces, data, -1, piece) == -1


def test_no_byte_behind_the_array_is_looked_at() -> None:
    pieces = new_pieces(TEXTS)
    data = np.frombuffer(bytearray(b'{"price":1234567'), np.uint8)
    assert skip_piece(pieces, data, 0, 0) == 9 and skip_piece(pieces, data[:15], 0, 0) == -1


@pytest.mark.parametrize(
    ("text", "end"), [(b'BTC-USD"', 7), (b'"', 0), (b'a\\"b"', -1), (b"BTC-USD", -1), (b'B\x1f"', -1), (b'B\x7f"', -1), (b"", -1)]
)
def test_a_plain_text_ends_at_its_quote(text: bytes, end: int) -> None:
    data = np.frombuffer(bytearray(b"zz" + text + b'"'), np.uint8)
    found = skip_plain_text(data, 2, 2 + len(text))
    assert found == (end + 2 if end >= 0 else -1) and skip_plain_text(data, -1, 2 + len(text)) == -1
