"""What only the picows transport can do wrong."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from hft.websocket import FrameCode
from processes.transport.connect import LinkEvent
from processes.transport.wire import ERROR, MESSAGES_IN, STATE, WireError, WireState, make_wire
from support.ws_drivers import Driver
from support.ws_peer import Peer, frame


@pytest.fixture
def peer() -> Iterator[Peer]:
    made = Peer()
    yield made
    made.close()


@pytest.fixture
def driver(peer: Peer) -> Iterator[Driver]:
    made = Driver("picows", peer.url, make_wire(messages_max=4))
    made.until(lambda: LinkEvent.OPENED in made.events, peer.pump)
    yield made
    made.close()


def test_what_the_step_raises_comes_out_of_the_next_tick(driver: Driver, peer: Peer) -> None:
    def broken(message: object) -> None:
        raise KeyError("broken invariant")

    driver.on_message = broken
    peer.send(frame(1, b"x"))
    with pytest.raises(KeyError, match="broken invariant"):
        driver.until(lambda: False, peer.pump)
    driver.on_message = lambda message: None
    assert driver.wire.words[STATE] == WireState.CLOSED
    driver.until(lambda: LinkEvent.ENDED in driver.events, peer.pump)
    assert "DROPPED" in str(driver.link.error)


def test_messages_that_nobody_takes_end_the_connection_when_the_queue_is_full(driver: Driver, peer: Peer) -> None:
    driver.taking = False
    peer.send(b"".join(frame(1, b"%d" % i) for i in range(4)))
    driver.until(lambda: driver.wire.words[MESSAGES_IN] == 4, peer.pump)
    assert driver.wire.words[STATE] == WireState.OPEN
    peer.send(frame(1, b"one too many"))
    driver.until(lambda: LinkEvent.ENDED in driver.events, peer.pump)
    assert "OVERRUN" in str(driver.link.error)


def test_a_full_queue_is_offered_to_the_step_before_the_connection_is_given_up(driver: Driver, peer: Peer) -> None:
    bodies = [b"%d" % i for i in range(40)]
    peer.send(b"".join(frame(1, body) for body in bodies))
    driver.until(lambda: len(driver.messages) == len(bodies), peer.pump)
    assert [message.payload for message in driver.messages] == bodies
    assert driver.wire.words[ERROR] == WireError.NONE


def test_reserved_bits_that_picows_lets_pass_are_refused(driver: Driver, peer: Peer) -> None:
    peer.send(frame(1, b"compressed", reserved=4))
    driver.until(lambda: driver.wire.words[ERROR] != WireError.NONE, peer.pump)
    assert driver.wire.words[ERROR] == FrameCode.RESERVED_BIT and not driver.messages


def test_giving_up_in_the_middle_of_an_upgrade_leaves_nothing_open() -> None:
    peer = Peer(answer=lambda request: b"")
    driver = Driver("picows", peer.url)
    driver.until(lambda: peer.upgraded, peer.pump)
    driver.link.close(time.monotonic_ns())
    driver.until(lambda: driver.link.closed, peer.pump)
    driver.until(lambda: peer.client_gone, peer.pump)
    driver.close()
    peer.close()
