"""OpenSSL in kernels: compiled code and Python move the same bytes over a TLS connection and report the same errors."""

from __future__ import annotations

import ctypes
import errno
import os
import random
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shm import openssl
from shm.jit import njit
from support.tls_files import TlsFiles, make_tls_files


@njit
def read(pointer, array, offset, length):
    return openssl.ssl_read(pointer, array, offset, length)


@njit
def write(pointer, array, offset, length):
    return openssl.ssl_write(pointer, array, offset, length)


@njit
def has_pending(pointer):
    return openssl.ssl_has_pending(pointer)


@pytest.fixture(params=["compiled", "python"])
def calls(request: pytest.FixtureRequest) -> Any:
    """(read, write, has_pending), compiled and plain."""
    return (read, write, has_pending) if request.param == "compiled" else (openssl.ssl_read, openssl.ssl_write, openssl.ssl_has_pending)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    return make_tls_files(tmp_path_factory.mktemp("tls"))


class Ends:
    """Both ends of a TLS connection over a socket pair, shaken, non-blocking; the client's is the kernels'."""

    def __init__(self, files: TlsFiles, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> None:
        near, far = socket.socketpair()
        for end in (near, far):
            end.setblocking(False)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        context = ssl.create_default_context(cafile=str(files.authority))
        context.maximum_version = version
        self.client = context.wrap_socket(near, server_hostname="127.0.0.1", do_handshake_on_connect=False)
        self.server = files.server_context().wrap_socket(far, server_side=True, do_handshake_on_connect=False)
        left = [self.client, self.server]
        while left:
            for end in tuple(left):
                try:
                    end.do_handshake()
                    left.remove(end)
                except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                    pass

    def received(self) -> bytes:
        """All that the server can read now."""
        data = b""
        while True:
            try:
                some = self.server.recv(1 << 16)
            except ssl.SSLWantReadError:
                return data
            if not some:
                return data
            data += some

    def close(self) -> None:
        self.client.close()
        self.server.close()


@pytest.fixture(params=["TLSv1_2", "TLSv1_3"])
def ends(request: pytest.FixtureRequest, files: TlsFiles) -> Iterator[Ends]:
    made = Ends(files, ssl.TLSVersion[request.param])
    yield made
    made.close()


def test_bytes_arrive_at_the_offset_asked_for(calls: Any, ends: Ends) -> None:
    pointer = openssl.adopt(ends.client)
    array = np.arange(32, dtype=np.uint8)
    assert calls[1](pointer, array, 4, 3) == 3
    assert ends.received() == b"\x04\x05\x06"
    ends.server.send(b"\xaa\xbb")
    assert calls[0](pointer, array, 20, 12) == 2
    assert array[18:24].tolist() == [18, 19, 0xAA, 0xBB, 22, 23]


def test_nothing_to_read_is_eagain(calls: Any, ends: Ends) -> None:
    pointer = openssl.adopt(ends.client)
    assert calls[0](pointer, np.zeros(8, np.uint8), 0, 8) == -errno.EAGAIN
    assert not calls[2](pointer)


def test_what_a_short_read_leaves_is_pending_and_comes_next(calls: Any, ends: Ends) -> None:
    pointer = openssl.adopt(ends.client)
    array = np.zeros(16, np.uint8)
    ends.server.send(b"abcdef")
    ends.server.send(b"gh")
    assert calls[0](pointer, array, 0, 4) == 4 and calls[2](pointer)
    assert calls[0](pointer, array, 4, 12) == 2 and calls[2](pointer), "the second record was received with the first"
    assert calls[0](pointer, array, 6, 10) == 2 and not calls[2](pointer)
    assert array[:8].tobytes() == b"abcdefgh"


def test_a_peer_that_ends_without_a_word_is_zero(calls: Any, ends: Ends) -> None:
    pointer = openssl.adopt(ends.client)
    ends.server.close()
    assert calls[0](pointer, np.zeros(8, np.uint8), 0, 8) == 0


def test_close_notify_is_zero(calls: Any, ends: Ends) -> None:
    pointer = openssl.adopt(ends.client)
    with pytest.raises(ssl.SSLWantReadError):
        ends.server.unwrap()
    assert calls[0](pointer, np.zeros(8, np.uint8), 0, 8) == 0


def test_writing_to_a_closed_peer_is_an_error_and_no_signal(calls: Any, ends: Ends) -> None:
    pointer = openssl.adopt(ends.client)
    ends.server.close()
    assert calls[1](pointer, np.zeros(8, np.uint8), 0, 8) == -errno.EPIPE


def test_bytes_that_are_no_tls_are_tls_broken(calls: Any, ends: Ends) -> None:
    pointer = openssl.adopt(ends.client)
    array = np.zeros(64, np.uint8)
    os.write(ends.server.fileno(), b"\x17\x03\x03\x00\x20" + bytes(32))
    assert calls[0](pointer, array, 0, 64) == -openssl.TLS_BROKEN
    assert calls[0](pointer, array, 0, 64) != -errno.EAGAIN, "it is over"
    assert not array.any()


def test_an_error_that_another_left_behind_is_not_taken_for_the_connections(calls: Any, ends: Ends) -> None:
    pointer = openssl.adopt(ends.client)
    library: Any = openssl._LIBRARY
    library.SSL_set_cipher_list.argtypes = (ctypes.c_void_p, ctypes.c_char_p)
    assert library.SSL_set_cipher_list(pointer, b"NO SUCH CIPHER") == 0 and library.ERR_peek_error() != 0
    assert calls[0](pointer, np.zeros(8, np.uint8), 0, 8) == -errno.EAGAIN


def test_a_record_held_back_goes_out_whole_by_the_same_write_again(calls: Any, ends: Ends) -> None:
    pointer = openssl.adopt(ends.client)
    seed = 4
    array = np.frombuffer(random.Random(seed).randbytes(200_000), np.uint8).copy()
    sent, received, held = 0, b"", 0
    while sent < array.size:
        moved = calls[1](pointer, array, sent, array.size - sent)
        if moved == -errno.EAGAIN:
            held += 1
            # The buffer may move between two tries; what it holds may not change.
            array = array.copy()
            received += ends.received()
        else:
            assert 0 < moved <= 16384
            sent += moved
    while len(received) < sent:
        received += ends.received()
    assert received == array.tobytes(), f"seed {seed}"
    assert held > 0


@pytest.mark.parametrize(("offset", "length"), [(-1, 1), (0, -1), (0, 9), (8, 1), (1, 8), (9, 0)])
def test_a_range_outside_the_array_is_efault_and_moves_nothing(calls: Any, files: TlsFiles, offset: int, length: int) -> None:
    ends = Ends(files)
    pointer = openssl.adopt(ends.client)
    array = np.zeros(8, np.uint8)
    ends.server.send(b"x" * 16)
    assert calls[0](pointer, array, offset, length) == -errno.EFAULT
    assert calls[1](pointer, array, offset, length) == -errno.EFAULT
    assert not array.any() and ends.received() == b""
    ends.close()


def test_a_length_of_zero_moves_nothing(calls: Any, ends: Ends) -> None:
    pointer = openssl.adopt(ends.client)
    ends.server.send(b"x")
    assert calls[0](pointer, np.zeros(8, np.uint8), 8, 0) == calls[1](pointer, np.zeros(8, np.uint8), 8, 0) == 0


def test_the_functions_are_those_that_pythons_ssl_uses() -> None:
    mapped = {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if "libssl" in line}
    assert len(mapped) <= 1, "a second copy"
    openssl.require()


@pytest.mark.parametrize("what", ["context", "reference", "pointer"])
def test_a_python_object_laid_out_differently_is_refused(files: TlsFiles, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ends = Ends(files)
    true_fields = (ctypes.c_size_t * 3).from_address(id(ends.client._sslobj) + object.__basicsize__)
    fields = dict(zip(("reference", "pointer", "context"), true_fields, strict=True))
    fields[what] = 0

    class Layout:
        def __mul__(self, count: int) -> Any:
            return self

        def from_address(self, address: int) -> Any:
            return tuple(fields.values())

    monkeypatch.setattr(openssl.ctypes, "c_size_t", Layout())
    with pytest.raises(openssl.OpensslUnavailable, match="unknown way"):
        openssl.adopt(ends.client)
    monkeypatch.undo()
    ends.close()


def test_a_connection_of_which_openssl_says_something_else_is_refused(files: TlsFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    ends = Ends(files)
    monkeypatch.setattr(ends.client, "version", lambda: "TLSv1.1")
    with pytest.raises(openssl.OpensslUnavailable, match="do not agree"):
        openssl.adopt(ends.client)
    ends.close()


def test_an_adopted_connection_takes_no_renegotiation_whatever_its_context_says(files: TlsFiles) -> None:
    ends = Ends(files, ssl.TLSVersion.TLSv1_2)
    library: Any = openssl._LIBRARY
    pointer = openssl._pointer_of(ends.client)
    assert not library.SSL_set_options(pointer, 0) & ssl.OP_NO_RENEGOTIATION
    openssl.adopt(ends.client)
    assert library.SSL_set_options(pointer, 0) & ssl.OP_NO_RENEGOTIATION
    ends.close()


def test_a_blocking_connection_is_refused(files: TlsFiles) -> None:
    ends = Ends(files)
    ends.client.setblocking(True)
    with pytest.raises(openssl.OpensslUnavailable, match="non-blocking"):
        openssl.adopt(ends.client)
    ends.close()


def test_without_openssl_kernels_still_load_and_nothing_is_adopted(monkeypatch: pytest.MonkeyPatch, files: TlsFiles) -> None:
    monkeypatch.setattr(openssl, "_SIGNATURES", {**openssl._SIGNATURES, "SSL_of_another_world": (None, ())})
    named: list[str] = []
    monkeypatch.setattr(openssl.binding, "add_symbol", lambda name, address: named.append(name) if address else None)
    library, why = openssl._load()
    assert library is None and "SSL_of_another_world" in why
    assert set(named) == set(openssl._IN_KERNELS)
    monkeypatch.setattr(openssl, "_LIBRARY", library)
    monkeypatch.setattr(openssl, "_WHY_NOT", why)
    ends = Ends(files)
    with pytest.raises(openssl.OpensslUnavailable, match="SSL_of_another_world"):
        openssl.adopt(ends.client)
    ends.close()
