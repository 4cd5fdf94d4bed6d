"""Cold box: messages come out whole and in order; what does not fit waits outside."""

from __future__ import annotations

import numpy as np

from processes.cold_box import ColdBox, new_cold_box, put_message, take_messages


def put(box: ColdBox, text: bytes) -> bool:
    data = np.frombuffer(bytearray(b"--" + text + b"--"), np.uint8)
    return bool(put_message(box, data, 2, 2 + len(text)))


def test_messages_come_out_in_order_and_once() -> None:
    box = new_cold_box(64, 4)
    assert put(box, b"one") and put(box, b"") and put(box, b"three")
    assert take_messages(box) == [b"one", b"", b"three"] and take_messages(box) == []


def test_a_full_box_takes_nothing_until_it_was_emptied() -> None:
    box = new_cold_box(8, 2)
    assert put(box, b"12345") and not put(box, b"6789")
    assert put(box, b"678") and not put(box, b"")
    assert take_messages(box) == [b"12345", b"678"]
    assert put(box, b"6789")


def test_a_message_larger_than_the_box_is_dropped_and_stops_nothing() -> None:
    box = new_cold_box(4, 2)
    assert put(box, b"12345") and take_messages(box) == []
