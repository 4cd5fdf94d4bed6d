"""External functions: kernels and Python move the same bytes and report the same errors."""

from __future__ import annotations

import errno
import socket

import numpy as np
import pytest

from shm import external
from shm.jit import njit


@njit
def receive(fd, array, offset, length):
    return external.recv(fd, array, offset, length)


@njit
def transmit(fd, array, offset, length):
    return external.send(fd, array, offset, length)


@njit
def set_option(fd, option, value):
    return external.set_tcp_option(fd, option, value)


@pytest.fixture(params=["compiled", "python"])
def calls(request):
    """(recv, send), compiled and plain."""
    return (receive, transmit) if request.param == "compiled" else (external.recv, external.send)


@pytest.fixture
def pair():
    left, right = socket.socketpair()
    yield left, right
    left.close()
    right.close()


def test_bytes_arrive_at_the_offset_asked_for(calls, pair):
    recv, send = calls
    array = np.arange(32, dtype=np.uint8)
    assert send(pair[0].fileno(), array, 4, 3) == 3
    assert recv(pair[1].fileno(), array, 20, 12) == 3
    assert array[18:25].tolist() == [18, 19, 4, 5, 6, 23, 24]


def test_an_empty_socket_is_eagain_and_a_closed_one_zero(calls, pair):
    recv, _ = calls
    array = np.zeros(8, np.uint8)
    assert recv(pair[0].fileno(), array, 0, 8) == -errno.EAGAIN
    pair[1].close()
    assert recv(pair[0].fileno(), array, 0, 8) == 0


def test_sending_to_a_closed_peer_is_an_error_and_no_signal(calls, pair):
    _, send = calls
    pair[1].close()
    assert send(pair[0].fileno(), np.zeros(8, np.uint8), 0, 8) == -errno.EPIPE


def test_a_peer_that_does_not_read_ends_in_a_short_write_then_eagain(calls, pair):
    _, send = calls
    array = np.zeros(1 << 16, np.uint8)
    for _ in range(1000):
        sent = send(pair[0].fileno(), array, 0, array.size)
        if sent < 0:
            break
    assert sent == -errno.EAGAIN


def test_a_bad_descriptor_is_ebadf(calls):
    recv, send = calls
    array = np.zeros(8, np.uint8)
    assert recv(-1, array, 0, 8) == send(-1, array, 0, 8) == -errno.EBADF


@pytest.mark.parametrize(("offset", "length"), [(-1, 1), (0, -1), (0, 9), (8, 1), (1, 8), (9, 0)])
def test_a_range_outside_the_array_is_efault_and_moves_nothing(calls, pair, offset, length):
    recv, send = calls
    array = np.zeros(8, np.uint8)
    pair[0].send(b"x" * 16)
    assert recv(pair[1].fileno(), array, offset, length) == -errno.EFAULT
    assert send(pair[1].fileno(), array, offset, length) == -errno.EFAULT
    assert not array.any()


@pytest.mark.parametrize(("offset", "length"), [(0, 8), (8, 0), (7, 1)])
def test_a_range_at_the_arrays_end_is_fine(calls, pair, offset, length):
    assert calls[1](pair[0].fileno(), np.zeros(8, np.uint8), offset, length) == length


def test_an_address_is_the_arrays_own():
    array = np.zeros(8, np.uint8)
    assert external.address_of(array[3:]) == array.ctypes.data + 3


@pytest.mark.parametrize("set_tcp_option", [set_option, external.set_tcp_option])
def test_an_option_is_the_sockets_or_says_why_not(set_tcp_option, pair):
    with socket.socket() as tcp:
        for value in (1, 0):
            assert set_tcp_option(tcp.fileno(), socket.TCP_NODELAY, value) == 0
            assert bool(tcp.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)) == bool(value)
        assert set_tcp_option(tcp.fileno(), 9999, 1) == -errno.ENOPROTOOPT
    assert set_tcp_option(-1, socket.TCP_NODELAY, 1) == -errno.EBADF
    assert set_tcp_option(pair[0].fileno(), socket.TCP_NODELAY, 1) == -errno.EOPNOTSUPP
