"""External functions: binds the C library's functions for kernels, each with a Python body of the same meaning.

They are found by name in the process, so kernels that call them are cached; a ctypes pointer in a kernel would not be.
Failures are negative errno values, never exceptions. The caller keeps the array alive across the call.
"""

from __future__ import annotations

import ctypes
import errno
import socket
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic, overload
from numpy.typing import NDArray

_LIBC = ctypes.CDLL(None, use_errno=True)
for _name in ("recv", "send"):
    getattr(_LIBC, _name).restype = ctypes.c_ssize_t
    getattr(_LIBC, _name).argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)

#: Never block, and report a closed peer as an error instead of a signal.
_FLAGS = int(socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)

_EFAULT = -errno.EFAULT
EAGAIN = errno.EAGAIN
CLOCK_REALTIME = time.CLOCK_REALTIME
CLOCK_MONOTONIC = time.CLOCK_MONOTONIC


def recv(fd: int, array: NDArray[np.uint8], offset: int, length: int) -> int:
    """Read at most `length` bytes from a socket into `array[offset:]`, without blocking.

    Returns the bytes read, 0 when the peer closed, or -errno: -EAGAIN when there is nothing, -EFAULT when the range does not
    lie within `array`. A length of 0 reads nothing and returns 0.
    """
    return _transfer(_LIBC.recv, fd, array, offset, length)


def send(fd: int, array: NDArray[np.uint8], offset: int, length: int) -> int:
    """Write at most `length` bytes of `array[offset:]` to a socket, without blocking or SIGPIPE.

    Returns the bytes written, which may be fewer, or -errno: -EAGAIN when the socket's buffer is full, -EFAULT when the
    range does not lie within `array`.
    """
    return _transfer(_LIBC.send, fd, array, offset, length)


def set_tcp_option(fd: int, option: int, value: int) -> int:
    """Set one of a TCP socket's whole-number options, such as TCP_QUICKACK; 0, or -errno."""
    return (
        0 if _LIBC.setsockopt(int(fd), socket.IPPROTO_TCP, int(option), ctypes.byref(ctypes.c_int(value)), 4) == 0 else -ctypes.get_errno()
    )


#: What `clock_gettime_ns` asks outside kernels; a virtual clock puts itself in its place.
read_clock: Callable[[int], int] = time.clock_gettime_ns


def clock_gettime_ns(clock: int) -> int:
    """The time of CLOCK_REALTIME or CLOCK_MONOTONIC, in ns."""
    return read_clock(clock)


def address_of(array: NDArray[Any]) -> int:
    """The address of an array's first byte."""
    return int(array.ctypes.data)


def _transfer(function: Any, fd: int, array: NDArray[np.uint8], offset: int, length: int) -> int:
    if offset < 0 or length < 0 or offset + length > array.size:
        return _EFAULT
    moved = int(function(int(fd), address_of(array) + int(offset), int(length), _FLAGS))
    return moved if moved >= 0 else -ctypes.get_errno()


@intrinsic
def as_pointer(typing_context: Any, address: Any) -> Any:
    """In kernels: the C pointer for an address that `address_of` gave."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], context.get_value_type(types.voidptr))

    return types.voidptr(types.int64), codegen


@intrinsic
def last_errno(typing_context: Any) -> Any:
    """In kernels: this thread's errno, read right after the call that set it."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        word = ir.IntType(32)
        function_type = ir.FunctionType(word.as_pointer(), [])
        location = cgutils.get_or_insert_function(builder.module, function_type, "__errno_location")
        return builder.sext(builder.load(builder.call(location, [])), ir.IntType(64))

    return types.int64(), codegen


@intrinsic
def _clock_gettime_ns(typing_context: Any, clock: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        word, int32 = ir.IntType(64), ir.IntType(32)
        timespec = cgutils.alloca_once(builder, ir.ArrayType(word, 2))
        function_type = ir.FunctionType(int32, [int32, timespec.type])
        function = cgutils.get_or_insert_function(builder.module, function_type, "clock_gettime")
        builder.call(function, [args[0], timespec])
        seconds = builder.load(cgutils.gep(builder, timespec, 0, 0))
        nanoseconds = builder.load(cgutils.gep(builder, timespec, 0, 1))
        return builder.add(builder.mul(seconds, ir.Constant(word, 1_000_000_000)), nanoseconds)

    return types.int64(types.int32), codegen


@intrinsic
def _set_tcp_option(typing_context: Any, fd: Any, option: Any, value: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        int32 = ir.IntType(32)
        cell = cgutils.alloca_once_value(builder, args[2])
        function_type = ir.FunctionType(int32, [int32, int32, int32, cell.type, int32])
        function = cgutils.get_or_insert_function(builder.module, function_type, "setsockopt")
        size = ir.Constant(int32, 4)
        return builder.call(function, [args[0], ir.Constant(int32, int(socket.IPPROTO_TCP)), args[1], cell, size])

    return types.int32(types.int32, types.int32, types.int32), codegen


_TRANSFER = types.intp(types.intc, types.voidptr, types.uintp, types.intc)
_recv = types.ExternalFunction("recv", _TRANSFER)
_send = types.ExternalFunction("send", _TRANSFER)


def _transfer_compiled(function: Any) -> Any:
    def body(fd: Any, array: Any, offset: Any, length: Any) -> Any:
        if offset < 0 or length < 0 or offset + length > array.size:
            return np.int64(_EFAULT)
        moved = np.int64(function(np.int32(fd), as_pointer(address_of(array) + offset), np.uint64(length), np.int32(_FLAGS)))
        return moved if moved >= 0 else -last_errno()

    return body


def is_bytes(array: Any) -> bool:
    """In overloads: whether the argument's type is that of a contiguous array of bytes."""
    return isinstance(array, types.Array) and array.ndim == 1 and array.layout == "C" and array.dtype == types.uint8


@overload(address_of)
def _address_of_compiled(array: Any) -> Any:
    def body(array: Any) -> Any:
        return np.int64(array.ctypes.data)

    return body


@overload(recv)
def _recv_compiled(fd: Any, array: Any, offset: Any, length: Any) -> Any:
    return _transfer_compiled(_recv) if is_bytes(array) and array.mutable else None


@overload(send)
def _send_compiled(fd: Any, array: Any, offset: Any, length: Any) -> Any:
    return _transfer_compiled(_send) if is_bytes(array) else None


@overload(set_tcp_option)
def _set_tcp_option_compiled(fd: Any, option: Any, value: Any) -> Any:
    def body(fd: Any, option: Any, value: Any) -> Any:
        refused = _set_tcp_option(np.int32(fd), np.int32(option), np.int32(value)) != 0
        return -last_errno() if refused else np.int64(0)

    return body


@overload(clock_gettime_ns)
def _clock_gettime_ns_compiled(clock: Any) -> Any:
    def body(clock: Any) -> Any:
        return _clock_gettime_ns(np.int32(clock))

    return body
