"""Segments: what was written is what is read, by whoever wrote it and however it ended."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from processes.capture import NOTES, CaptureError, Line, raw_lines, read_capture
from processes.errors import EngineError
from processes.segment_writer import SegmentLimits, SegmentWriter

UTC_NS, SECOND_NS = 1_800_000_000_123_456_789, 1_000_000_000
LIMITS = SegmentLimits(bytes_max=10_000, age_max_ns=60 * SECOND_NS)


class Clock:
    """Both clocks, moved by hand."""

    def __init__(self) -> None:
        self.now_ns, self.offset_ns = 5_000, UTC_NS

    def utc_ns(self) -> int:
        return self.now_ns + self.offset_ns


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def open_writer(tmp_path: Path, clock: Clock) -> Iterator[Callable[..., SegmentWriter]]:
    writers: list[SegmentWriter] = []

    def make(venue: str = "kraken", limits: SegmentLimits = LIMITS) -> SegmentWriter:
        writers.append(SegmentWriter(tmp_path, venue, {"url": "ws://x"}, limits, clock.utc_ns, lambda: clock.now_ns))
        return writers[-1]

    yield make
    for writer in writers:
        writer.close()


def notes(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / NOTES).read_bytes().splitlines()]


def test_what_was_written_is_read_with_the_times_of_both_clocks(
    tmp_path: Path, clock: Clock, open_writer: Callable[..., SegmentWriter]
) -> None:
    writer = open_writer()
    writer.note(5_000, "connected", url="ws://x")
    writer.message(5_001, b'{"a":1}')
    writer.message(5_002, b"\x00\xff\n", binary=True)
    writer.message(5_003, b'{\r\n"a": 2}')
    writer.note(5_004, "reply", symbol="BTCUSDT", target="/depth")
    writer.message(5_004, b'{"lastUpdateId":1}')
    writer.note(5_005, "disconnected", why="LOST")
    writer.close()
    lines = list(read_capture(tmp_path))
    assert [(line.payload, line.binary, line.connects, line.symbol, line.reply) for line in lines] == [
        (b"", False, True, "", False),
        (b'{"a":1}', False, False, "", False),
        (b"\x00\xff\n", True, False, "", False),
        (b'{  "a": 2}', False, False, "", False),
        (b'{"lastUpdateId":1}', False, False, "BTCUSDT", True),
        (b"", False, True, "", False),
    ]
    begun, segment, ended = notes(tmp_path)
    assert begun == {"recording": 1, "venue": "kraken", "url": "ws://x", "begun_ns": UTC_NS + 5_000}
    stamps = [int(line.split(b" ")[0]) for line in raw_lines(tmp_path)]
    assert [stamp - segment["utc_minus_monotonic_ns"] for stamp in stamps] == [5_000, 5_001, 5_002, 5_003, 5_004, 5_004, 5_005]
    assert (ended["ended"], ended["lines"], ended["utc_minus_monotonic_ns"]) == (segment["segment"], 7, UTC_NS)
    assert ended["bytes"] == (tmp_path / segment["segment"]).stat().st_size


def test_a_segment_ends_when_it_is_old_or_large_and_the_next_message_begins_another(
    tmp_path: Path, clock: Clock, open_writer: Callable[..., SegmentWriter]
) -> None:
    writer = open_writer()
    assert not writer.turn(clock.now_ns) and not list(tmp_path.glob("*.gz")), "nothing to write, no segment"
    writer.message(clock.now_ns, b"{}")
    clock.now_ns += LIMITS.age_max_ns - 1
    assert not writer.turn(clock.now_ns)
    clock.now_ns += 1
    assert writer.turn(clock.now_ns)
    clock.offset_ns -= 7 * SECOND_NS  # the wall clock was set back
    noise = random.Random(1)
    while not writer.turn(clock.now_ns):
        writer.message(clock.now_ns, noise.randbytes(500).hex().encode())
        clock.now_ns += SECOND_NS // 10
    writer.message(clock.now_ns, b"[]")
    writer.close()
    told = notes(tmp_path)
    segments = [note for note in told if "segment" in note]
    assert len(segments) == writer.segments == 3
    assert [note["utc_minus_monotonic_ns"] for note in segments] == [UTC_NS, UTC_NS - 7 * SECOND_NS, UTC_NS - 7 * SECOND_NS]
    assert sorted(note["segment"] for note in segments) == sorted(path.name for path in tmp_path.glob("*.gz"))
    payloads = [line.payload for line in read_capture(tmp_path)]
    assert len(payloads) == writer.lines and (payloads[0], payloads[-1]) == (b"{}", b"[]")


def read_torn(folder: Path) -> tuple[list[Line], bool]:
    lines = list(read_capture(folder))
    return [line for line in lines if not line.torn], any(line.torn for line in lines)


def test_a_torn_segment_is_read_up_to_its_tear(tmp_path: Path, clock: Clock, open_writer: Callable[..., SegmentWriter]) -> None:
    writer = open_writer()
    sent = [b'{"n":%d,"x":"%s"}' % (n, random.Random(n).randbytes(20).hex().encode()) for n in range(200)]
    for payload in sent[:150]:
        writer.message(clock.now_ns, payload)
    clock.now_ns += LIMITS.flush_ns
    writer.turn(clock.now_ns)
    for payload in sent[150:]:
        writer.message(clock.now_ns, payload)
    [segment] = tmp_path.glob("*.gz")
    lines, torn = read_torn(tmp_path)
    assert torn and [line.payload for line in lines] == sent[:150], "what was flushed is there while the recorder lives, or after it died"
    writer.close()
    whole = segment.read_bytes()
    most = 0
    for size in range(0, len(whole), 97):
        segment.write_bytes(whole[:size])
        lines, torn = read_torn(tmp_path)
        assert [line.payload for line in lines] == sent[: len(lines)] and len(lines) >= most, f"cut at {size}"
        assert torn or size == 0
        most = len(lines)
    segment.write_bytes(whole[:-1])
    assert read_torn(tmp_path)[1] and len(list(read_capture(segment))) == 201, "named by itself, too"


def test_a_torn_file_that_nobody_recorded_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.gz").write_bytes(gzip.compress(b"1800000000000000000 {}\n" * 1000)[:-4])
    with pytest.raises(CaptureError, match="cut off after line"):
        list(read_capture(tmp_path / "x.gz"))


def test_recordings_of_one_venue_follow_each_other_in_a_folder(
    tmp_path: Path, clock: Clock, open_writer: Callable[..., SegmentWriter]
) -> None:
    for payload in (b"[1]", b"[2]"):
        writer = open_writer()
        writer.message(clock.now_ns, payload)
        writer.close()
        clock.now_ns += SECOND_NS
    assert [line.payload for line in read_capture(tmp_path)] == [b"[1]", b"[2]"]
    with pytest.raises(EngineError, match="holds recordings of kraken, not of binance"):
        open_writer("binance")


def test_a_folder_that_is_recorded_into_takes_no_second_recorder(open_writer: Callable[..., SegmentWriter]) -> None:
    open_writer()
    with pytest.raises(EngineError, match="is being recorded into already"):
        open_writer()


def test_a_folder_whose_notes_are_something_else_is_refused(tmp_path: Path, open_writer: Callable[..., SegmentWriter]) -> None:
    (tmp_path / NOTES).write_bytes(b"hello\n")
    with pytest.raises(EngineError, match="is not of a recording"):
        open_writer()
    assert (tmp_path / NOTES).read_bytes() == b"hello\n"
