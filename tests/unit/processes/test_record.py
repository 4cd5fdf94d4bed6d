"""The recorder: what a venue said is in the segments, whole books among it, and reads as it was."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from hft.http_client import Response, UnexpectedStatus
from hft.sim.recording_index import scan
from hft.venues.interface import Text
from processes import calls, cli, record, standby
from processes.capture import NOTES, raw_lines, read_capture
from processes.errors import EngineError
from processes.record import Order, Recorder, order_of
from processes.record_connection import Connection
from processes.segment_writer import SegmentLimits
from processes.transport.connect import LinkEvent
from processes.transport.stream import CertificateRefused
from processes.transport.wire import next_outbound, open_wire
from processes.venue_server import Simulator
from processes.venue_sim import Options, make_venue, open_recording
from processes.verify_capture import verify
from support.binance_stream import deliver, depth, snapshot, trade
from support.feed_fakes import FakeLink, FakeRequests

SECOND_NS = 1_000_000_000
#: UTC minus the clock of the test.
UTC_NS = 1_800_000_000_000_000_000
BIDS, ASKS = [("100.00", "1.00000")], [("101.00", "3.00000")]


def options(folder: Path, **changes: Any) -> dict[str, Any]:
    defaults: dict[str, Any] = {"url": "ws://127.0.0.1", "rest_url": "http://127.0.0.1", "symbols": "BTCUSDT,ETHUSDT", "folder": folder}
    defaults |= {"codec": "json", "channel": "level2_batch", "depth": "10", "snapshot_levels": 1000, "ca_file": None, "credentials": None}
    return defaults | {"segment_mb": 64.0, "segment_minutes": 60.0} | changes


class RecorderDesk:
    """A recorder whose connection, requests and clocks are moved by hand."""

    def __init__(self, order: Order, requests: FakeRequests) -> None:
        self.now_ns = SECOND_NS
        self.requests = requests
        self.recorder = Recorder(order)
        self.link = FakeLink(self.recorder._now.wire)
        self.recorder._now.link = self.link  # type: ignore[assignment]
        #: Links made for a second connection.
        self.made: list[FakeLink] = []

        def make(connection: Connection) -> FakeLink:
            self.made.append(FakeLink(connection.wire))
            return self.made[-1]

        self.recorder._make_link = make  # type: ignore[assignment]

    def opens(self, link: FakeLink | None = None) -> None:
        link = link or self.link
        assert link.wire is not None
        open_wire(link.wire, -1, 1)
        link.brings(LinkEvent.OPENED)
        self.turn()

    def turn(self, after_ns: int = 0) -> None:
        self.now_ns += after_ns
        self.recorder.turn(self.now_ns)

    def hears(self, *frames: bytes, link: FakeLink | None = None) -> None:
        link = link or self.link
        assert link.wire is not None
        for frame in frames:
            deliver(link.wire, frame, self.now_ns)
        self.recorder.take()

    def lines(self) -> list[tuple[int, bytes]]:
        """What is in the segments: receive times by the clock of the desk, and the rest of each line."""
        self.recorder.writer.close()
        split = [line.split(b" ", 1) for line in raw_lines(self.recorder.order.folder)]
        return [(int(stamp) - UTC_NS, body) for stamp, body in split]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RecorderDesk]:
    requests = FakeRequests()
    monkeypatch.setattr(calls, "Request", requests)
    desks: list[RecorderDesk] = []

    def monotonic_ns() -> int:
        return desks[0].now_ns if desks else SECOND_NS

    clock = SimpleNamespace(monotonic_ns=monotonic_ns, time_ns=lambda: monotonic_ns() + UTC_NS)
    monkeypatch.setattr(record, "time", clock)
    desks.append(RecorderDesk(order_of("binance", options(tmp_path / "out", segment_minutes=1.0)), requests))
    yield desks[0]
    desks[0].recorder.writer.close()


def test_messages_are_written_as_they_came_with_the_time_of_their_receipt(desk: RecorderDesk) -> None:
    desk.opens()
    frames = [depth(1, 2, BIDS), trade(1, "100.00", "1.0")]
    desk.hears(*frames)
    assert desk.lines() == [
        (SECOND_NS, b'{"recorder":"connected","url":"ws://venue"}'),
        (SECOND_NS, frames[0]),
        (SECOND_NS, frames[1]),
    ]
    assert desk.recorder.counts["messages"] == 2 and desk.recorder.counts["bytes"] == sum(map(len, frames))


def test_what_comes_before_the_connection_was_noticed_is_behind_its_note(desk: RecorderDesk) -> None:
    open_wire(desk.recorder._now.wire, -1, 1)
    desk.hears(depth(1, 2))
    desk.link.brings(LinkEvent.OPENED)
    desk.turn()
    assert [body[:12] for _, body in desk.lines()] == [b'{"recorder":', depth(1, 2)[:12]]


def test_whole_books_are_asked_for_once_the_connection_delivers_and_written_with_their_symbol(desk: RecorderDesk) -> None:
    desk.opens()
    desk.turn(SECOND_NS - 1)
    assert desk.requests.made == []
    desk.turn(1)
    urls = [request.url for request in desk.requests.made]
    assert urls == [f"http://127.0.0.1/api/v3/depth?symbol={symbol}&limit=1000" for symbol in ("BTCUSDT", "ETHUSDT")]
    desk.requests.made[1].answer = snapshot(7, BIDS, ASKS)
    desk.hears(depth(1, 2))
    desk.turn()
    (_, note), (_, body) = desk.lines()[-2:]
    assert json.loads(note) == {"recorder": "reply", "symbol": "ETHUSDT", "target": "/api/v3/depth?symbol=ETHUSDT&limit=1000"}
    assert body == snapshot(7, BIDS, ASKS) and desk.recorder.counts["snapshots"] == 1


def test_a_whole_book_that_was_refused_is_asked_for_no_sooner_than_the_venue_wants(desk: RecorderDesk) -> None:
    desk.opens()
    desk.turn(SECOND_NS)
    desk.requests.made[0].answer = UnexpectedStatus("429", Response(429, (("retry-after", "7"),), b""))
    desk.turn()
    desk.turn(7 * SECOND_NS - 1)
    assert len(desk.requests.made) == 2 and desk.recorder.counts["snapshots_failed"] == 1
    desk.turn(1)
    assert len(desk.requests.made) == 3


def test_the_end_of_a_connection_is_noted_and_the_next_begins_with_whole_books(desk: RecorderDesk) -> None:
    desk.opens()
    desk.turn(SECOND_NS)
    pending = desk.requests.made[0]
    desk.link.error = EngineError("LOST")
    desk.link.brings(LinkEvent.ENDED)
    desk.turn()
    assert pending.closed
    desk.opens()
    desk.turn(SECOND_NS)
    assert len(desk.requests.made) == 4
    assert [json.loads(body)["recorder"] for _, body in desk.lines()] == ["connected", "disconnected", "connected"]


def test_each_segment_begins_with_whole_books(desk: RecorderDesk) -> None:
    desk.opens()
    desk.hears(depth(1, 2))
    desk.turn(SECOND_NS)
    for request in desk.requests.made:
        request.answer = snapshot(7, BIDS, ASKS)
    desk.turn()
    desk.turn(60 * SECOND_NS)
    desk.turn()
    assert len(desk.requests.made) == 4
    desk.hears(depth(3, 4))
    desk.lines()
    assert desk.recorder.writer.segments == 2


DAY_NS = 24 * 3600 * SECOND_NS


@pytest.fixture
def long_desk(desk: RecorderDesk) -> RecorderDesk:
    """A desk whose segments do not end."""
    desk.recorder.writer._limits = SegmentLimits(age_max_ns=100 * DAY_NS)
    return desk


def overlapping(desk: RecorderDesk) -> FakeLink:
    """A second connection, open beside the first, which is about to be cut."""
    desk.opens()
    desk.turn(SECOND_NS)
    for request in desk.requests.made:
        request.answer = snapshot(7, BIDS, ASKS)
    desk.turn(23 * 3600 * SECOND_NS)
    assert desk.made == [] and desk.recorder.counts["snapshots"] == 2
    desk.turn(DAY_NS - 23 * 3600 * SECOND_NS)
    (second,) = desk.made
    desk.opens(second)
    return second


def notes(desk: RecorderDesk) -> list[str]:
    return [json.loads(body)["recorder"] for _, body in desk.lines() if body.startswith(b'{"recorder"') and b'"reply"' not in body]


def diffs(desk: RecorderDesk) -> list[bytes]:
    return [body for _, body in desk.lines() if b"depthUpdate" in body]


def test_a_connection_is_replaced_before_the_venue_cuts_it_and_everything_is_written_once(long_desk: RecorderDesk) -> None:
    desk = long_desk
    second = overlapping(desk)
    frames = [depth(n, n) for n in range(20, 26)]
    # The second is ahead of the first, which never brings its last.
    desk.hears(*frames[:2])
    desk.hears(*frames[1:4], link=second)
    desk.hears(*frames[2:5])
    desk.hears(*frames[4:], link=second)
    desk.turn(SECOND_NS)
    assert desk.recorder._link is desk.link and desk.link.dropped == 0, "both deliver for a while"
    desk.turn(SECOND_NS)
    assert desk.recorder._link is second and desk.link.dropped == 1
    desk.hears(depth(26, 26), link=second)
    desk.hears(depth(27, 27), link=desk.link)
    assert diffs(desk) == [*frames, depth(26, 26)], "what the old one still brings is not written"
    assert notes(desk) == ["connected", "replaced"]
    times = [at_ns for at_ns, _ in desk.lines()]
    assert times == sorted(times)
    counts = desk.recorder.counts
    assert (counts["connects"], counts["disconnects"], counts["replaced"], counts["messages"]) == (2, 0, 1, 7)
    assert len(desk.requests.made) == 2, "no book begins anew"
    assert all(not line.connects for line in list(read_capture(desk.recorder.order.folder))[1:])


def test_what_the_first_brought_ahead_of_the_second_is_not_written_again_when_that_brings_it(long_desk: RecorderDesk) -> None:
    desk = long_desk
    second = overlapping(desk)
    desk.hears(depth(20, 20), link=second)
    desk.hears(*[depth(n, n) for n in range(20, 24)])
    desk.turn(2 * SECOND_NS)
    assert desk.recorder._link is second
    desk.hears(*[depth(n, n) for n in range(21, 26)], link=second)
    assert diffs(desk) == [depth(n, n) for n in range(20, 26)]


def test_a_second_connection_that_has_not_delivered_does_not_take_over(long_desk: RecorderDesk) -> None:
    desk = long_desk
    second = overlapping(desk)
    desk.turn(10 * SECOND_NS)
    assert desk.recorder._link is desk.link
    desk.hears(depth(20, 20), link=second)
    desk.turn()
    assert desk.recorder._link is second


def test_a_first_connection_that_ends_early_is_replaced_at_once(long_desk: RecorderDesk) -> None:
    desk = long_desk
    second = overlapping(desk)
    desk.hears(depth(20, 20))
    desk.hears(depth(20, 20), depth(21, 21), link=second)
    desk.link.brings(LinkEvent.ENDED)
    desk.turn()
    assert desk.recorder._link is second and diffs(desk) == [depth(20, 20), depth(21, 21)] and notes(desk) == ["connected", "replaced"]


def test_a_second_connection_that_opens_when_the_first_has_ended_begins_with_whole_books(long_desk: RecorderDesk) -> None:
    desk = long_desk
    desk.opens()
    desk.turn(DAY_NS)
    (second,) = desk.made
    desk.link.error = EngineError("LOST")
    desk.link.brings(LinkEvent.ENDED)
    desk.turn()
    asked = len(desk.requests.made)
    assert second.wire is not None
    open_wire(second.wire, -1, 1)
    desk.hears(depth(30, 30), link=second)
    desk.opens(second)
    desk.turn(SECOND_NS)
    assert desk.recorder._link is second and len(desk.requests.made) == asked + 2
    assert notes(desk) == ["connected", "disconnected", "connected"] and diffs(desk) == [depth(30, 30)]


def test_the_first_connection_goes_on_while_no_second_can_be_had(long_desk: RecorderDesk) -> None:
    desk = long_desk
    desk.opens()
    desk.turn(DAY_NS)
    (second,) = desk.made
    for n in range(3):
        desk.hears(depth(n, n))
        second.brings(LinkEvent.FAILED)
        desk.turn(SECOND_NS)
    assert desk.recorder._link is desk.link and diffs(desk) == [depth(n, n) for n in range(3)]


def test_whole_books_that_were_asked_for_are_asked_for_by_the_second_connection(long_desk: RecorderDesk) -> None:
    desk = long_desk
    desk.opens()
    desk.turn(SECOND_NS)
    assert len(desk.requests.made) == 2, "not answered"
    desk.turn(DAY_NS)
    desk.opens(desk.made[0])
    assert len(desk.requests.made) == 4


def test_closing_lets_go_of_both_connections(long_desk: RecorderDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = long_desk
    second = overlapping(desk)
    monkeypatch.setattr(FakeLink, "closed", True, raising=False)
    asyncio.run(desk.recorder.close())
    assert second.dropped == desk.link.dropped == 1


def test_a_venue_whose_certificate_is_refused_ends_the_recording(desk: RecorderDesk) -> None:
    desk.link.error = CertificateRefused("wrong host")
    desk.link.brings(LinkEvent.REFUSED)
    with pytest.raises(EngineError, match="wrong host"):
        desk.turn()


@pytest.mark.parametrize(("venue", "symbol", "hello"), [("kraken", "BTC/USD", 3), ("coinbase", "BTC-USD", 1)])
def test_books_that_come_on_the_connection_are_subscribed_anew_with_each_segment(
    venue: str, symbol: str, hello: int, tmp_path: Path
) -> None:
    recorder = Recorder(order_of(venue, options(tmp_path, symbols=symbol, segment_minutes=0.01)))
    recorder._now.link = link = FakeLink()  # type: ignore[assignment]
    open_wire(recorder._now.wire, -1, 1)
    link.brings(LinkEvent.OPENED)
    recorder.turn(SECOND_NS)

    def said() -> int:
        count = 0
        while next_outbound(recorder._now.wire, 0, False)[0] >= 0:
            count += 1
        return count

    assert said() == hello, "what is subscribed"
    begun_ns = recorder.writer._begun_ns
    recorder.turn(begun_ns + 600_000_000)
    recorder.turn(begun_ns + 600_000_001)
    assert said() >= 2, "unsubscribed and subscribed"
    recorder.writer.close()


def recorded_of_a_simulator(
    venue: str, symbols: tuple[str, ...], folder: Path, limits: SegmentLimits, until: Callable[[Recorder], bool], life_ns: int | None = None
) -> Recorder:
    """A recorder that has recorded a busy simulator until it had enough; `life_ns` is for how long a connection lives."""

    async def main() -> Recorder:
        simulator = Simulator(make_venue(venue, Options(synthetic=5, symbols=symbols, rate=10.0)), False)
        urls = await simulator.start(0)
        order = order_of(venue, options(folder, url=urls["ws"], rest_url=urls["http"], symbols=",".join(symbols)))
        recorder = Recorder(order._replace(limits=limits))
        if life_ns is not None:
            recorder._opened.session.life_ns = life_ns
        recorder.connect(asyncio.get_running_loop())
        try:
            async with asyncio.timeout(60):
                while not until(recorder):
                    recorder.turn(time.monotonic_ns())
                    await asyncio.sleep(0)
        finally:
            await recorder.close()
            await simulator.stop()
        return recorder

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("venue", "symbols"),
    [("binance", ("BTCUSDT", "ETHUSDT")), ("coinbase", ("BTC-USD", "ETH-USD")), ("kraken", ("BTC/USD", "ETH/USD"))],
)
def test_what_was_recorded_of_a_simulator_verifies_and_plays_again(venue: str, symbols: tuple[str, ...], tmp_path: Path) -> None:
    def is_enough(recorder: Recorder) -> bool:
        books = recorder.counts["snapshots"] if venue == "binance" else 4
        return recorder.writer.segments >= 3 and recorder.counts["messages"] >= 1500 and books >= 4

    recorder = recorded_of_a_simulator(venue, symbols, tmp_path, SegmentLimits(bytes_max=20_000), is_enough)
    document = verify(venue, tmp_path)
    assert document["compared"] == document["equal"] > 10, document
    assert [document[name] for name in ("gaps", "crossed", "checksum_bad", "refused", "torn")] == [0] * 5
    assert document["messages"] == recorder.counts["messages"] + recorder.counts["snapshots"]
    if venue == "binance":
        index = scan([open_recording(tmp_path)])
        assert set(index.symbols) == set(symbols) and {found.symbol for found in index.snapshots} == set(symbols)
    make_venue(venue, Options(recording=(str(tmp_path),)))


def test_connections_that_replace_each_other_leave_one_capture_without_gap_or_repeat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standby, "OVERLAP_NS", 200_000_000)

    replaced_before_books: list[int] = []

    def is_enough(recorder: Recorder) -> bool:
        if recorder.counts["snapshots"] >= 2 and not replaced_before_books:
            replaced_before_books.append(recorder.counts["replaced"])
        return bool(replaced_before_books) and recorder.counts["replaced"] >= replaced_before_books[0] + 6

    life_ns = standby.REPLACE_BEFORE_NS + 200_000_000
    recorder = recorded_of_a_simulator("binance", ("BTCUSDT", "ETHUSDT"), tmp_path, SegmentLimits(), is_enough, life_ns)
    assert recorder.counts["disconnects"] <= 1, "the last one, which was closed"
    document = verify("binance", tmp_path)
    assert document["wrong"] == [] and document["compared"] > 10, document
    told = [line.payload for line in read_capture(tmp_path) if not line.connects and not line.reply]
    assert len(told) == len(set(told)), "nothing was written twice"
    assert notes_of(tmp_path).count("replaced") >= 6


def notes_of(folder: Path) -> list[str]:
    bodies = [line.split(b" ", 1)[1] for line in raw_lines(folder)]
    return [json.loads(body)["recorder"] for body in bodies if body.startswith(b'{"recorder"')]


def test_without_a_url_it_is_the_venues_public_market_data(tmp_path: Path) -> None:
    section = order_of("kraken", options(tmp_path, url=None, rest_url=None)).section
    assert (section.stream_url, section.rest_url) == record.PUBLIC["kraken"]
    own = order_of("kraken", options(tmp_path, rest_url=None)).section
    assert (own.stream_url, own.rest_url) == ("ws://127.0.0.1", "")


def test_without_a_rest_url_no_whole_book_is_asked_for(tmp_path: Path) -> None:
    recorder = Recorder(order_of("binance", options(tmp_path, rest_url=None)))
    recorder._want(0)
    assert recorder._due_ns == {}
    recorder.writer.close()


@pytest.mark.parametrize(
    ("venue", "changes", "complaint"),
    [
        ("binance", {"symbols": ""}, "symbols: expected some"),
        ("binance", {"symbols": "A,A"}, "each once"),
        ("binance", {"symbols": "BTCUSDT,x\x1b[2J"}, "as the venue writes them"),
        ("kraken", {"symbols": "X" * 25}, "as the venue writes them"),
        ("binance", {"url": "http://x"}, "the scheme must be ws or wss"),
        ("binance", {"codec": "sbe"}, "wants an API key"),
        ("coinbase", {"channel": "full"}, "needs credentials"),
        ("kraken", {"credentials": "/nowhere/key.toml"}, "nowhere"),
    ],
)
def test_options_that_do_not_fit_are_refused_before_anything_is_written(
    venue: str, changes: dict[str, Any], complaint: str, tmp_path: Path
) -> None:
    with pytest.raises(EngineError, match=complaint):
        Recorder(order_of(venue, options(tmp_path / "out", **changes)))
    assert not (tmp_path / "out" / NOTES).exists()


def test_a_text_that_the_connection_cannot_take_ends_the_recording(desk: RecorderDesk) -> None:
    with pytest.raises(EngineError, match="did not fit"):
        desk.recorder._say([Text(b"x" * (1 << 20))], desk.recorder._now)


def test_command_says_that_nothing_was_heard(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    document = {"messages": 0, "snapshots": 0, "segments": 0, "folder": str(tmp_path), "error": "refused"}
    monkeypatch.setattr(record, "record", lambda order, seconds, quiet: document)
    arguments = ["record", "--venue", "kraken", "--symbols", "BTC/USD", "--out", str(tmp_path), "--url", "ws://x", "--json"]
    result = CliRunner().invoke(cli.main, arguments)
    assert result.exit_code == 1 and "nothing was heard from ws://x: refused" in result.stderr
    assert json.loads(result.stdout) == document


def test_what_becomes_of_the_connection_is_told_in_a_line_each_where_there_is_no_terminal(
    desk: RecorderDesk, capsys: pytest.CaptureFixture[str]
) -> None:
    show = record._Shown(terminal=False)
    desk.link.error = EngineError("connection refused")
    for second in (1, 2, 3):
        show.turn(desk.recorder, second * SECOND_NS)
    desk.opens()
    show.turn(desk.recorder, 4 * SECOND_NS - 1)
    show.turn(desk.recorder, 4 * SECOND_NS)
    assert capsys.readouterr().err.splitlines() == ["hftctl: ws://127.0.0.1: connection refused", "hftctl: ws://127.0.0.1: connected"]


def test_how_far_a_recording_is_shows_on_a_terminal(desk: RecorderDesk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.opens()
    desk.hears(depth(1, 2))
    record._Shown(terminal=True).turn(desk.recorder, SECOND_NS)
    assert capsys.readouterr().err.endswith("1 messages, 0.0 MB in 1 segments, connected")


def test_recorded_folder_is_read_by_its_segments(desk: RecorderDesk) -> None:
    desk.opens()
    desk.hears(depth(1, 2))
    desk.lines()
    assert [line.payload for line in read_capture(desk.recorder.order.folder) if not line.connects] == [depth(1, 2)]
