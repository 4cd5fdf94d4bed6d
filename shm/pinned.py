"""Pinned contexts: hand a kernel a large tuple of contexts through one small array.

Passing a tuple of NamedTuples from Python costs tens of microseconds a call, because every array in it is inspected and
unpacked again. `pin` stores the unpacked tuple once in a cell; a kernel reads it back with `unpin(cell)` for nothing.

The tuple's type must be part of the kernel's signature, or a cached kernel could read a cell of another shape. So the cell
is an array whose dtype names the type: `[("t<hash of the type>", "u1", size)]`. A cell holds raw addresses: it is good in
the process that pinned it (and in forks of it) as long as the `Pinned` that owns the arrays lives.

Without compilation the cell is the tuple itself, and `unpin` returns it.
"""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

import numba
import numpy as np
from numba.core import types
from numba.extending import intrinsic, overload

from shm.jit import JIT_ENABLED, njit

#: field name of a cell's dtype -> the numba type that the cell holds
_TYPES: dict[str, types.Type] = {}


class Pinned(NamedTuple):
    """A pinned tuple: what to pass to kernels, and the owner of what it points at."""

    cell: Any
    owner: tuple[Any, ...]


def pin(contexts: tuple[Any, ...]) -> Pinned:
    """Store `contexts` in a cell for kernels that call `unpin`."""
    cell = empty_cell(contexts)
    if JIT_ENABLED:
        _store(cell, contexts)
    return Pinned(cell, contexts)


def empty_cell(contexts: tuple[Any, ...]) -> Any:
    """A cell of the type that `pin(contexts)` makes, holding nothing: for signatures."""
    if not JIT_ENABLED:
        return contexts
    held = numba.typeof(contexts)
    field = "t" + hashlib.sha256(str(held).encode()).hexdigest()[:24]
    _TYPES[field] = held
    return np.zeros(1, np.dtype([(field, "u1", (_size_bytes(held),))]))


def resolved(kernel: Any, *arguments: Any) -> Any:
    """`kernel` as it is compiled for arguments of these types, to be called from Python with no others.

    An ordinary call asks for the types of its arguments each time, which for a cell costs more than the call itself. Nothing is
    checked here: a cell of another type than `arguments` had would be read as if it were of that type.
    """
    if not JIT_ENABLED:
        return kernel
    signature = tuple(numba.typeof(argument) for argument in arguments)
    kernel.compile(signature)
    return kernel.overloads[signature].entry_point


def unpin(cell: Any) -> Any:
    """The tuple that `pin` stored; in kernels and, uncompiled, in Python."""
    return cell


def _size_bytes(held: types.Type) -> int:
    """Bytes of the tuple's in-memory form, asked of the compiler's own target."""
    target = numba.core.registry.cpu_target.target_context
    return int(target.get_abi_sizeof(target.get_data_type(held)))


def _held_type(cell: Any) -> types.Type:
    (field,) = cell.dtype.fields
    return _TYPES[field]


def _pointer(context: Any, builder: Any, cell_type: types.Type, cell: Any, held: types.Type) -> Any:
    data = context.make_array(cell_type)(context, builder, cell).data
    return builder.bitcast(data, context.get_data_type(held).as_pointer())


@intrinsic
def _write(typing_context: Any, cell: types.Type, contexts: types.Type) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        held = signature.args[1]
        data = context.data_model_manager[held].as_data(builder, args[1])
        builder.store(data, _pointer(context, builder, signature.args[0], args[0], held))
        return context.get_dummy_value()

    return types.void(cell, contexts), codegen


@intrinsic
def _read(typing_context: Any, cell: types.Type) -> Any:
    held = _held_type(cell)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        stored = builder.load(_pointer(context, builder, signature.args[0], args[0], held))
        value = context.data_model_manager[held].from_data(builder, stored)
        if context.enable_nrt:
            context.nrt.incref(builder, held, value)
        return value

    return held(cell), codegen


@overload(unpin, jit_options={"forceinline": True})
def _unpin_compiled(cell: Any) -> Any:
    def body(cell: Any) -> Any:
        return _read(cell)

    return body


# Not cached: its index would hold the types of every caller, and could be read only where all their modules can.
@njit(cache=False)
def _store(cell: Any, contexts: Any) -> None:
    _write(cell, contexts)
