"""Captures: every form that recorders write is read alike, and what is none is named."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest

from processes.capture import CaptureError, read_capture


def payloads(path: Path) -> list[bytes]:
    return [line.payload for line in read_capture(path) if not line.connects]


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress], ids=["plain", "gzip", "bzip2", "xz"])
def test_packed_files_are_read_as_plain_ones(pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = tmp_path / "capture"
    path.write_bytes(pack(b'1800000000000000000 {"a":1}\n\n{"b":2}\n'))
    assert [(line.number, line.stamp, line.payload) for line in read_capture(path)] == [(1, 1.8e18, b'{"a":1}'), (3, 0.0, b'{"b":2}')]


@pytest.mark.parametrize(
    "stamp",
    [b"1800000000000000000 ", b"1800000000000\t", b"1800000000.25: ", b"2024-08-08T23:54:13.9370857Z ", b"2024-08-08T23:54:13+00:00 ", b""],
)
def test_a_line_may_begin_with_its_time(stamp: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(stamp + b'{"a": 1}\r\n' + stamp + b"[2]")
    assert payloads(path) == [b'{"a": 1}', b"[2]"]


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress], ids=["gzip", "bzip2", "xz"])
def test_packed_files_that_break_off_are_refused(pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = tmp_path / "capture"
    path.write_bytes(pack(b'{"a":1}\n' * 9)[:-7])
    with pytest.raises(CaptureError, match="is cut off after line"):
        list(read_capture(path))


@pytest.mark.parametrize(("magic", "name"), [(b"\x28\xb5\x2f\xfd", "zstandard"), (b"PK\x03\x04", "zip"), (b"PAR1", "Parquet")])
def test_files_of_other_kinds_are_named(magic: bytes, name: str, tmp_path: Path) -> None:
    path = tmp_path / "capture"
    path.write_bytes(magic + b"whatever")
    with pytest.raises(CaptureError, match=name):
        list(read_capture(path))


def test_replies_that_are_no_books_and_what_was_sent_are_no_messages(tmp_path: Path) -> None:
    path = tmp_path / "x.ws"
    path.write_bytes(
        b'https://x/products -> 1.5: [{"id":"BTC-USD"}]\n'
        b"https://x/products/BTC-USD/book?level=3 -> 1.6: {}\n"
        b"https://x/api/v3/depth?limit=5&symbol=btcusdt -> 1.7: []\n"
        b'configuration: {"trades":["BTC-USD"]}\n'
        b"wss://x <- 1.8: {}\n"
        b"2.5: {}\n"
    )
    assert [(line.symbol, line.reply) for line in read_capture(path)] == [("BTC-USD", True), ("BTCUSDT", True), ("", False)]


def test_replies_of_a_file_with_the_same_name_come_at_their_time(tmp_path: Path) -> None:
    (tmp_path / "x.ws").write_bytes(b"1.0: [1]\n3.0: [3]\n")
    (tmp_path / "x.http").write_bytes(b"https://x/depth?symbol=A -> 2.0: [2]\nhttps://x/depth?symbol=A -> 4.0: [4]\n")
    assert payloads(tmp_path / "x.ws") == [b"[1]", b"[2]", b"[3]", b"[4]"]


def test_files_of_a_folder_are_connections_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "b.jsonl").write_bytes(b"[2]\n")
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b"[1]\n"))
    (tmp_path / "README.md").write_bytes(b"no capture\n")
    assert [(line.payload, line.connects) for line in read_capture(tmp_path)] == [(b"[1]", False), (b"", True), (b"[2]", False)]


def test_base64_that_is_none_stays_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"1800000000000000000 b64:AAE=\n1800000000000000001 b64:A!\n")
    assert [(line.payload, line.binary) for line in read_capture(path)] == [(b"\x00\x01", True), (b"b64:A!", False)]


def test_what_only_looks_like_a_note_is_a_message(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b'1800000000000000000 {"recorder":7}\n')
    assert payloads(path) == [b'{"recorder":7}']
