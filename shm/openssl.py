"""OpenSSL: read and write on a TLS connection that Python opened, inside kernels and in Python alike.

The functions are those of the very library that Python's own ssl module uses, reached through it, so that there is never a
second copy. Results are those of `shm.external`: bytes moved, 0, or a negative errno. Connecting, the handshake and
verification are Python's; `adopt` gives the pointer that the functions here take, once it has made sure of it.

    SSLSocket._sslobj    | object head | weak reference to the SSLSocket | SSL* | SSLContext | ...

OpenSSL writes with write(2), so SIGPIPE must be ignored, as Python does by itself.
"""

from __future__ import annotations

import ctypes
import errno
import socket
import ssl
import weakref
from typing import Any

import numpy as np
from llvmlite import binding
from numba.core import types
from numba.extending import overload, register_jitable
from numpy.typing import NDArray

from shm.external import address_of, as_pointer, is_bytes, last_errno
from shm.jit import njit

#: Negated: the peer broke TLS, or sent an alert. The connection is of no use any more.
TLS_BROKEN = errno.EPROTO

_EAGAIN, _EINTR, _EFAULT, _EPIPE = errno.EAGAIN, errno.EINTR, errno.EFAULT, errno.EPIPE
#: The bytes of one TLS record.
_RECORD_BYTES_MAX = 16384

# openssl/ssl.h
_WANT_READ, _WANT_WRITE, _SYSCALL, _ZERO_RETURN = 2, 3, 5, 6
_CTRL_MODE, _CTRL_SET_READ_AHEAD, _CTRL_CLEAR_MODE = 33, 41, 78
_PARTIAL_WRITE, _MOVING_BUFFER, _AUTO_RETRY, _RELEASE_BUFFERS = 1, 2, 4, 16

#: Those that kernels call; see `_load`.
_IN_KERNELS = ("SSL_read", "SSL_write", "SSL_get_error", "SSL_has_pending", "ERR_clear_error")
_pointer, _int, _long = ctypes.c_void_p, ctypes.c_int, ctypes.c_long
_SIGNATURES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "SSL_read": (_int, (_pointer, _pointer, _int)),
    "SSL_write": (_int, (_pointer, _pointer, _int)),
    "SSL_get_error": (_int, (_pointer, _int)),
    "SSL_has_pending": (_int, (_pointer,)),
    "ERR_clear_error": (None, ()),
    "SSL_ctrl": (_long, (_pointer, _int, _long, _pointer)),
    "SSL_set_options": (ctypes.c_uint64, (_pointer, ctypes.c_uint64)),
    "SSL_get_fd": (_int, (_pointer,)),
    "SSL_get_version": (ctypes.c_char_p, (_pointer,)),
    "SSL_get_SSL_CTX": (_pointer, (_pointer,)),
}


class OpensslUnavailable(Exception):
    """OpenSSL's functions, or the connection's pointer, cannot be had in this Python."""


def _load() -> tuple[Any, str]:
    """The library, its functions declared and named to the kernels' linker; or None, and why not."""
    try:
        import _ssl

        # Looks in the extension module first and then in what it was linked with.
        library = ctypes.CDLL(_ssl.__file__, use_errno=True)
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
        addresses = {name: ctypes.cast(getattr(library, name), _pointer).value for name in _IN_KERNELS}
        why = ""
    except (ImportError, AttributeError, OSError) as error:
        # Kernels that speak plain TCP have these names in them too. Without a pointer nothing calls them.
        nowhere = ctypes.cast(ctypes.pythonapi.Py_IsInitialized, _pointer).value
        library, addresses, why = None, dict.fromkeys(_IN_KERNELS, nowhere), str(error)
    for name, address in addresses.items():
        binding.add_symbol(name, address)
    return library, why


_LIBRARY, _WHY_NOT = _load()


def require() -> None:
    """Raises OpensslUnavailable unless OpenSSL's functions, and a connection's pointer, can be had in this Python."""
    near, far = socket.socketpair()
    near.setblocking(False)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with far, context.wrap_socket(near, server_hostname="localhost", do_handshake_on_connect=False) as never_shaken:
        _pointer_of(never_shaken)


def adopt(connected: ssl.SSLSocket) -> int:
    """The SSL* of an open, non-blocking connection, made ready for kernels. Valid until the socket is closed or collected.

    From now on only the functions here read and write, and one thread at a time. Raises OpensslUnavailable unless all that
    lies around the pointer, and all that OpenSSL says of it, is what Python says of the connection.
    """
    pointer = _pointer_of(connected)
    # A record is written, or kept, whole, and a write repeated may come from elsewhere; reads take all there is at once, and
    # keep their buffer, which Python would have them allocate anew each time.
    _LIBRARY.SSL_ctrl(pointer, _CTRL_MODE, _PARTIAL_WRITE | _MOVING_BUFFER | _AUTO_RETRY, None)
    _LIBRARY.SSL_ctrl(pointer, _CTRL_CLEAR_MODE, _RELEASE_BUFFERS, None)
    _LIBRARY.SSL_ctrl(pointer, _CTRL_SET_READ_AHEAD, 1, None)
    # Many peers end TCP without a word. What TLS carries here tells by itself whether it is whole.
    quiet_end = int(getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0))
    _LIBRARY.SSL_set_options(pointer, quiet_end | int(ssl.OP_NO_RENEGOTIATION))
    return pointer


def _pointer_of(connected: ssl.SSLSocket) -> int:
    if _LIBRARY is None:
        raise OpensslUnavailable(f"OpenSSL's functions cannot be reached in this Python: {_WHY_NOT}")
    inner: Any = connected._sslobj  # type: ignore[attr-defined]
    if inner is None or connected.gettimeout() != 0.0:
        raise OpensslUnavailable("the connection is not an open, non-blocking one")
    head = object.__basicsize__
    if type(inner).__basicsize__ < head + 24:
        raise OpensslUnavailable("Python's TLS object is smaller than expected")
    reference, pointer, context = (ctypes.c_size_t * 3).from_address(id(inner) + head)
    if reference != id(weakref.ref(connected)) or context != id(inner.context) or not pointer:
        raise OpensslUnavailable("Python's TLS object is laid out in an unknown way")
    own_context = ctypes.c_size_t.from_address(context + head).value
    version = (_LIBRARY.SSL_get_version(pointer) or b"").decode()
    found = _LIBRARY.SSL_get_SSL_CTX(pointer), _LIBRARY.SSL_get_fd(pointer), version
    if found != (own_context, connected.fileno(), connected.version() or version):
        raise OpensslUnavailable("OpenSSL and Python do not agree on what the connection is")
    return int(pointer)


def ssl_read(pointer: int, array: NDArray[np.uint8], offset: int, length: int) -> int:
    """Read at most `length` bytes, of one TLS record, into `array[offset:]`, without blocking.

    Returns the bytes read, 0 when the peer closed, or -errno: -EAGAIN when there is nothing, -TLS_BROKEN, -EFAULT when the
    range does not lie within `array`. A length of 0 reads nothing and returns 0.
    """
    return _transfer("SSL_read", pointer, array, offset, length)


def ssl_write(pointer: int, array: NDArray[np.uint8], offset: int, length: int) -> int:
    """Write at most `length` bytes of `array[offset:]`, as one TLS record, without blocking.

    Returns the bytes written, 16384 at most, or -errno: -EAGAIN when the socket does not take the whole record. Then part of it may have
    left and OpenSSL holds the rest: the next write must be of the same bytes and length. -TLS_BROKEN; -EPIPE when the
    connection is closed; -EFAULT when the range does not lie within `array`. A length of 0 writes nothing and returns 0.
    """
    moved = _transfer("SSL_write", pointer, array, offset, length)
    return -_EPIPE if moved == 0 and length > 0 else moved


def ssl_has_pending(pointer: int) -> bool:
    """Whether OpenSSL holds bytes that have been received and not been read; they may be a part of a record only."""
    return bool(_LIBRARY.SSL_has_pending(int(pointer)))


def _transfer(name: str, pointer: int, array: NDArray[np.uint8], offset: int, length: int) -> int:
    if offset < 0 or length < 0 or offset + length > array.size:
        return -_EFAULT
    if length == 0:
        return 0
    # An error of someone else's that was never fetched would be taken for one of this connection's.
    _LIBRARY.ERR_clear_error()
    moved = int(getattr(_LIBRARY, name)(int(pointer), address_of(array) + int(offset), min(int(length), _RECORD_BYTES_MAX)))
    if moved > 0:
        return moved
    code = ctypes.get_errno()
    return _failure(int(_LIBRARY.SSL_get_error(int(pointer), moved)), code)


@njit
def _failure(kind: int, code: int) -> int:
    """What a call that moved nothing returns: `kind` is SSL_get_error's, `code` was errno."""
    if kind == _WANT_READ or kind == _WANT_WRITE:
        return -_EAGAIN
    if kind == _ZERO_RETURN:
        return 0
    if kind == _SYSCALL:
        # Had errno been EAGAIN, OpenSSL would want to read or write: it is stale, and the stream has ended.
        return 0 if code == 0 or code == _EAGAIN or code == _EINTR else -code
    return -TLS_BROKEN


_TRANSFER = types.intc(types.voidptr, types.voidptr, types.intc)
_SSL_read = types.ExternalFunction("SSL_read", _TRANSFER)
_SSL_write = types.ExternalFunction("SSL_write", _TRANSFER)
_SSL_get_error = types.ExternalFunction("SSL_get_error", types.intc(types.voidptr, types.intc))
_SSL_has_pending = types.ExternalFunction("SSL_has_pending", types.intc(types.voidptr))
_ERR_clear_error = types.ExternalFunction("ERR_clear_error", types.void())


def _transfer_compiled(function: Any) -> Any:
    def body(pointer: Any, array: Any, offset: Any, length: Any) -> Any:
        if offset < 0 or length < 0 or offset + length > array.size:
            return np.int64(-_EFAULT)
        if length == 0:
            return np.int64(0)
        _ERR_clear_error()
        moved = function(as_pointer(pointer), as_pointer(address_of(array) + offset), np.int32(min(length, _RECORD_BYTES_MAX)))
        if moved > 0:
            return np.int64(moved)
        code = last_errno()
        return np.int64(_failure(_SSL_get_error(as_pointer(pointer), moved), code))

    return body


@overload(ssl_read)
def _ssl_read_compiled(pointer: Any, array: Any, offset: Any, length: Any) -> Any:
    return _transfer_compiled(_SSL_read) if is_bytes(array) and array.mutable else None


@overload(ssl_write)
def _ssl_write_compiled(pointer: Any, array: Any, offset: Any, length: Any) -> Any:
    if not is_bytes(array):
        return None
    write = register_jitable(_transfer_compiled(_SSL_write))

    def body(pointer: Any, array: Any, offset: Any, length: Any) -> Any:
        moved = write(pointer, array, offset, length)
        return np.int64(-_EPIPE) if moved == 0 and length > 0 else moved

    return body


@overload(ssl_has_pending)
def _ssl_has_pending_compiled(pointer: Any) -> Any:
    def body(pointer: Any) -> Any:
        return _SSL_has_pending(as_pointer(pointer)) != 0

    return body
