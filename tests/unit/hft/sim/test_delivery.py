"""Delivery and armed faults, with plain sessions."""

from collections import Counter

import msgspec
import pytest

from hft.sim.armed_faults import ArmedFaults
from hft.sim.delivery import Delivery
from hft.sim.faults import Channel, FaultError, decode_fault, kinds
from hft.sim.venue import MS, Close, Ending, Opcode, json_response


class Session:
    def __init__(self, private: bool = False) -> None:
        self.outbox: list[tuple[Opcode, bytes]] = []
        self.close: Close | None = None
        self.stalled_until_ns = 0
        self.private = private

    def take(self) -> list[bytes]:
        found = [payload for _, payload in self.outbox]
        self.outbox.clear()
        return found


class Desk:
    """A delivery with one session, and faults by keyword."""

    def __init__(self) -> None:
        self.faults = ArmedFaults()
        self.counters: Counter[str] = Counter()
        self.delivery = Delivery(self.faults, self.counters)
        self.session = Session()

    def arm(self, now_ns: int = 0, **fault) -> None:
        self.faults.arm(decode_fault(msgspec.json.encode(fault)), now_ns)

    def send(self, payload: bytes = b"{1.5}", channel: Channel = "public", now_ns: int = 0, symbol: str = "A") -> list[bytes]:
        self.delivery.send((self.session,), payload, channel, now_ns, symbol)
        return self.session.take()


@pytest.mark.parametrize(
    ("armed", "struck"),
    [
        ("any", {"book", "public", "private", "reply"}),
        ("public", {"book", "public"}),
        ("book", {"book"}),
        ("private", {"private"}),
        ("reply", {"reply"}),
    ],
)
def test_a_fault_strikes_the_channels_it_names(armed, struck):
    found = set()
    for channel in ("book", "public", "private", "reply"):
        desk = Desk()
        desk.arm(kind="drop", channel=armed)
        if desk.send(channel=channel) == []:
            found.add(channel)
            assert desk.send(channel=channel) == [b"{1.5}"]
    assert found == struck


def test_a_fault_strikes_as_often_as_it_counts_and_once_for_all_sessions():
    desk, other = Desk(), Session()
    desk.arm(kind="duplicate", channel="private", count=2, symbol="A")
    for expected in (2, 2, 1):
        desk.delivery.send((desk.session, other), b"x", "private", 0, "A")
        assert len(desk.session.take()) == len(other.take()) == expected
    desk.arm(kind="drop", count=0)
    assert desk.send() == [b"{1.5}"]


def test_a_late_frame_does_not_hold_up_those_behind_it():
    desk = Desk()
    desk.arm(kind="delay", channel="public", delay_ms=100)
    assert desk.send(b"1") == [] and desk.send(b"2", now_ns=50 * MS) == [b"2"]
    assert desk.delivery.deadline_ns() == 100 * MS
    desk.delivery.work(100 * MS)
    assert desk.session.take() == [b"1"]


def test_slowness_keeps_the_order_of_frames():
    desk = Desk()
    desk.arm(kind="slow", delay_ms=100, for_ms=10)
    assert desk.send(b"1") == [] and desk.send(b"2", now_ns=20 * MS) == [] and desk.send(b"3", now_ns=99 * MS) == []
    desk.delivery.work(100 * MS)
    assert desk.session.take() == [b"1", b"2", b"3"]
    assert desk.send(b"4", now_ns=101 * MS) == [b"4"]


def test_a_reordered_frame_comes_behind_the_next_one():
    desk = Desk()
    desk.arm(kind="reorder", channel="public", count=2)
    assert desk.send(b"1") == [] and desk.send(b"2") == [] and desk.send(b"3") == [b"3", b"1", b"2"]


def test_silence_loses_what_it_covers_until_it_is_over():
    desk = Desk()
    desk.arm(kind="silence", channel="private", for_ms=10)
    assert desk.send(channel="private") == [] and desk.send() != [] and desk.send(channel="private", now_ns=10 * MS) != []
    assert desk.counters["silenced"] == 1


def test_connections_that_are_gone_get_nothing_late():
    desk = Desk()
    desk.arm(kind="delay", channel="public", delay_ms=100)
    desk.arm(kind="reorder", channel="public")
    desk.send(b"1")
    desk.send(b"2")
    desk.delivery.forget(desk.session)
    desk.delivery.work(1000 * MS)
    assert desk.session.take() == [] and desk.send(b"3") == [b"3"]


@pytest.mark.parametrize(
    ("fault", "ending", "status"),
    [
        ({"kind": "lose_ack", "action": "cancel"}, Ending.HELD, 200),
        ({"kind": "lose_ack", "action": "any", "hang_up": True}, Ending.DROPPED, 200),
        ({"kind": "order_error", "action": "cancel", "status": 504}, Ending.SENT, 504),
        ({"kind": "order_error", "action": "place"}, Ending.SENT, 200),
    ],
)
def test_a_rest_answer_meets_the_fate_of_its_action(fault, ending, status):
    desk = Desk()
    desk.arm(**fault)
    answer = desk.delivery.answer(json_response({}), "cancel")
    assert (answer.ending, answer.status) == (ending, status)


def test_a_socket_answer_meets_the_same_fates():
    desk = Desk()

    def reply():
        desk.delivery.reply(desk.session, b"done", "place", b"unknown", 0)
        return desk.session.take()

    for fault, expected in (
        ({"kind": "lose_ack"}, []),
        ({"kind": "order_error"}, [b"unknown"]),
        ({"kind": "order_error", "action": "cancel"}, [b"done"]),
        ({"kind": "drop", "channel": "reply"}, []),
    ):
        desk.arm(**fault)
        assert reply() == expected
    desk.faults = desk.delivery._faults = ArmedFaults()
    desk.arm(kind="lose_ack", hang_up=True)
    assert reply() == [] and desk.session.close == Close(0, "injected")


def test_sockets_are_struck_by_what_they_carry():
    desk, public, private = Desk(), Session(), Session(private=True)
    desk.delivery.strike_sockets(decode_fault(b'{"kind":"half_open","sockets":"public","for_ms":5}'), (public, private), 7)
    assert (public.stalled_until_ns, private.stalled_until_ns) == (7 + 5 * MS, 0)
    desk.delivery.strike_sockets(decode_fault(b'{"kind":"disconnect","code":1012}'), (public, private), 7)
    assert public.close == private.close == Close(1012, "injected")


def test_questions_about_faults_use_them_up():
    desk = Desk()
    for fault in (
        {"kind": "wrong_checksum", "symbol": "A"},
        {"kind": "stale_snapshot", "behind": 3},
        {"kind": "refuse_order", "action": "amend"},
        {"kind": "rest_error"},
    ):
        desk.arm(**fault)
    faults = desk.faults
    assert [faults.wrong_checksum(symbol) for symbol in "BAA"] == [False, True, False]
    assert (faults.stale_by("A"), faults.stale_by("A")) == (3, 0)
    assert faults.refusal("place") is None and faults.refusal("amend") is not None and faults.refusal("amend") is None
    assert faults.rest_error() is not None and faults.rest_error() is None and not faults.waiting


def test_the_vocabulary_is_closed():
    assert {"drop", "half_open", "lose_ack", "clock_skew", "wrong_checksum", "instrument_status"} <= set(kinds())
    for body in (
        b'{"kind":"none"}',
        b'{"kind":"drop","count":-1}',
        b'{"kind":"order_error","status":200}',
        b'{"kind":"drop","x":1}',
        b"\xff",
    ):
        with pytest.raises(FaultError):
            decode_fault(body)
