"""Event loops that give turns."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import pytest

from processes.transport.loop import close_loop, new_loop, run_turns


@pytest.fixture(params=[True, False], ids=["spinning", "sleeping"])
def loop(request: pytest.FixtureRequest) -> Iterator[asyncio.SelectorEventLoop]:
    made = new_loop(request.param)
    yield made
    close_loop(made)


def test_turns_are_given_until_one_says_no(loop: asyncio.SelectorEventLoop) -> None:
    turns: list[int] = []

    def turn() -> bool:
        turns.append(1)
        return len(turns) < 50

    run_turns(loop, turn, interval_ns=1000)
    assert len(turns) == 50
    run_turns(loop, turn, interval_ns=1000)
    assert len(turns) == 51, "a loop can be run again"


def test_what_a_turn_raises_comes_out(loop: asyncio.SelectorEventLoop) -> None:
    def turn() -> bool:
        raise KeyError("broken invariant")

    with pytest.raises(KeyError, match="broken invariant"):
        run_turns(loop, turn)


def test_tasks_timers_and_sockets_go_on_between_turns(loop: asyncio.SelectorEventLoop) -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    done: list[bytes] = []

    async def talk() -> None:
        await asyncio.sleep(0.001)
        await loop.sock_sendall(ours, b"hello")
        done.append(await loop.sock_recv(theirs, 10))

    task = loop.create_task(talk())
    run_turns(loop, lambda: not task.done(), interval_ns=1000)
    task.result()
    assert done == [b"hello"]
    ours.close()
    theirs.close()


def test_a_flood_of_ready_callbacks_does_not_starve_the_turns(loop: asyncio.SelectorEventLoop) -> None:
    turns: list[int] = []
    calls: list[int] = []

    def again() -> None:
        calls.append(1)
        if len(turns) < 5:
            loop.call_soon(again)

    def turn() -> bool:
        turns.append(1)
        return len(turns) < 5

    loop.call_soon(again)
    run_turns(loop, turn, interval_ns=1000)
    assert len(turns) == 5 and calls


def test_closing_a_loop_cancels_what_is_left() -> None:
    loop = new_loop(True)
    task = loop.create_task(asyncio.sleep(3600))
    run_turns(loop, lambda: False)
    close_loop(loop)
    assert task.cancelled() and loop.is_closed()
