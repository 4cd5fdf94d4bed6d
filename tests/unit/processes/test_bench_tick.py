"""Does the peer of the tick-to-trade bench answer the order that it got, and do frames and orders have the lengths it is told?"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

import numpy as np
import pytest

from hft.websocket import write_frame
from processes.bench import tick_engine, tick_to_trade
from processes.bench.report import COMPILERS, compile_c
from processes.bench.tick_frames import write_frames

with_compiler = pytest.mark.skipif(not any(map(shutil.which, COMPILERS)), reason="no C compiler")
FRAMES = 3
DEADLINE_S = 30.0


@pytest.fixture
def bench(tmp_path: Path) -> tick_to_trade.Bench:
    program = compile_c(tick_to_trade._SOURCE, tmp_path)
    assert program is not None
    answer = tmp_path / "answer"
    answer.write_bytes(tick_to_trade._ANSWER)
    core = min(os.sched_getaffinity(0))
    return tick_to_trade.Bench(program, tmp_path, (core, core), tick_engine.order_of(tick_engine.make_config()), answer)


def read(end: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length:
        data += end.recv(length - len(data))
    return data


@with_compiler
def test_the_peer_answers_each_order_by_its_id(bench: tick_to_trade.Bench, tmp_path: Path) -> None:
    load = tick_to_trade.Load("few", write_frames(tmp_path / "frames", FRAMES), 1, 0)
    with tick_to_trade._connections() as (ours, theirs):
        for end in ours:
            end.settimeout(DEADLINE_S)
        out, order = tmp_path / "trips", bench.order
        fds = [end.fileno() for end in theirs]
        arguments = [*fds, bench.cores[1], load.frames.path, order.frame_bytes, 0, out, bench.answer, order.id_at, order.id_bytes]
        command = [str(bench.program), "send", *map(str, arguments), str(tick_to_trade._ANSWER.index(tick_to_trade._NO_ID))]
        with subprocess.Popen(command, pass_fds=fds) as peer:
            try:
                for n in range(FRAMES):
                    assert read(ours.market, load.frames.frame_bytes)[0] == 0x81
                    identity = f"{n + 1:016x}".encode()
                    ours.orders.sendall(order_frame(order, identity))
                    answer = read(ours.orders, len(tick_to_trade._ANSWER))
                    assert answer == tick_to_trade._ANSWER.replace(tick_to_trade._NO_ID, identity)
                assert peer.wait(DEADLINE_S) == 0
            finally:
                peer.kill()
    trips = np.fromfile(out, np.int64)
    assert len(trips) == FRAMES and (trips > 0).all()


def order_frame(order: tick_engine.Order, identity: bytes) -> bytes:
    """A masked frame of an order's length, with an id where the engine has it."""
    header = 8
    text = bytearray(b"." * (order.frame_bytes - header))
    text[order.id_at - header : order.id_at - header + order.id_bytes] = identity
    frame = np.zeros(order.frame_bytes, np.uint8)
    source = np.frombuffer(bytes(text), np.uint8)
    assert write_frame(frame, 0, 1, 0x1234_5678, source, 0, len(source)) == order.frame_bytes
    return frame.tobytes()


@with_compiler
def test_the_floor_moves_as_many_bytes_as_the_engine(bench: tick_to_trade.Bench, tmp_path: Path) -> None:
    load = tick_to_trade.Load("few", write_frames(tmp_path / "frames", FRAMES + 1), 1, 0)
    assert len(tick_to_trade.run_floor(bench, load)) == FRAMES


def test_an_order_is_as_the_venues_own_codec_writes_it() -> None:
    order = tick_engine.order_of(tick_engine.make_config())
    assert order.id_bytes == 16 and order.id_at == 8 + len('{"id":"') and 126 < order.frame_bytes < 1000
