"""Pinned contexts: hand a kernel a large tuple of contexts through one small array.

Passing a tuple of NamedTuples from Python costs tens of microseconds a call, because every array in it is inspected and
unpacked again. `pin` stores the unpacked tuple once in a cell; a kernel gets it back with `unpin(cell)` for nothing: each
NamedTuple in it stays where it is, and a kernel that is given one gets a pointer (`InCell`) and loads the fields it uses.

The tuple's type must be part of the kernel's signature, or a cached kernel could read a cell of another shape. So the cell
is an array whose dtype names the type: `[("t<hash of the type>", "u1", size)]`. A cell holds raw addresses: it is good in
the process that pinned it (and in forks of it) as long as the `Pinned` that owns the arrays lives.

Without compilation the cell is the tuple itself, and `unpin` returns it.
"""

from __future__ import annotations

import functools
import hashlib
from typing import Any, NamedTuple

import numba
import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.datamodel import models
from numba.core.imputils import impl_ret_borrowed
from numba.core.typing.templates import AttributeTemplate
from numba.extending import infer_getattr, intrinsic, lower_getattr_generic, overload, register_model
from numba.np.numpy_support import from_dtype, map_layout

from shm.inlining import InnerCompiler
from shm.jit import JIT_ENABLED, njit

#: field name of a cell's dtype -> the numba type that the cell holds
_TYPES: dict[str, types.Type] = {}


_kinds: Any = types


class InCell(_kinds.Type):
    """The type of a NamedTuple that stays in a cell: a pointer to it, and to kernels the NamedTuple itself.

    By value, a context of hundreds of words would be unpacked into as many arguments of every kernel that it is handed to.
    """

    def __init__(self, held: Any) -> None:
        self.held = held
        self.instance_class = held.instance_class
        super().__init__(name=f"InCell({held})")


@register_model(InCell)
class _InCellModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: InCell) -> None:
        super().__init__(manager, kind, ir.IntType(8).as_pointer())


class Pinned(NamedTuple):
    """A pinned tuple: what to pass to kernels, and the owner of what it points at."""

    cell: Any
    owner: tuple[Any, ...]


def pin(contexts: tuple[Any, ...]) -> Pinned:
    """Store `contexts` in a cell for kernels that call `unpin`."""
    if not JIT_ENABLED:
        return Pinned(contexts, contexts)
    held = _type_of(contexts)
    cell = _cell_for(held)
    _compiled(_store, (numba.typeof(cell), held))(cell, contexts)
    return Pinned(cell, contexts)


def empty_cell(contexts: tuple[Any, ...]) -> Any:
    """A cell of the type that `pin(contexts)` makes, holding nothing: for signatures."""
    return _cell_for(_type_of(contexts)) if JIT_ENABLED else contexts


def _cell_for(held: types.Type) -> Any:
    field = "t" + hashlib.sha256(str(held).encode()).hexdigest()[:24]
    _TYPES[field] = held
    return np.zeros(1, np.dtype([(field, "u1", (_size_bytes(held),))]))


def _type_of(value: Any) -> types.Type:
    """`numba.typeof(value)`, which would work out the type of every array's records again: most of the time that pinning takes."""
    if isinstance(value, tuple):
        return _kinds.BaseTuple.from_types([_type_of(member) for member in value], type(value))
    if type(value) is not np.ndarray or not value.dtype.names:
        return numba.typeof(value)
    return _kinds.Array(_record(value.dtype, value.dtype.isalignedstruct), value.ndim, map_layout(value), not value.flags.writeable)


@functools.cache
def _record(dtype: np.dtype[Any], aligned: bool) -> types.Type:
    # `aligned` is part of the type, and not of what makes two dtypes equal.
    return from_dtype(dtype)


def resolved(kernel: Any, *arguments: Any) -> Any:
    """`kernel` as it is compiled for arguments of these types, to be called from Python with no others.

    An ordinary call asks for the types of its arguments each time, which for a cell costs more than the call itself. Nothing is
    checked here: a cell of another type than `arguments` had would be read as if it were of that type.
    """
    if not JIT_ENABLED:
        return kernel
    return _compiled(kernel, tuple(numba.typeof(argument) for argument in arguments))


def _compiled(kernel: Any, signature: tuple[types.Type, ...]) -> Any:
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


def _read_type(held: Any) -> Any:
    """What a kernel sees of `held` in a cell: NamedTuples as pointers, tuples of such as tuples of pointers, all else by value."""
    if isinstance(held, _kinds.BaseNamedTuple):
        return InCell(held)
    if isinstance(held, _kinds.BaseTuple):
        return _kinds.Tuple([_read_type(member) for member in held])
    return held


def _load(context: Any, builder: Any, held: Any, address: Any) -> Any:
    """The value of `_read_type(held)` for what is stored at `address`."""
    if isinstance(held, _kinds.BaseNamedTuple):
        return builder.bitcast(address, ir.IntType(8).as_pointer())
    if isinstance(held, _kinds.BaseTuple):
        members = [_load(context, builder, member, _member(builder, address, i)) for i, member in enumerate(held)]
        return context.make_tuple(builder, _read_type(held), members)
    return context.data_model_manager[held].from_data(builder, _load_words(builder, address))


def _member(builder: Any, address: Any, i: int) -> Any:
    return builder.gep(address, [ir.Constant(ir.IntType(32), 0), ir.Constant(ir.IntType(32), i)], inbounds=True)


def _load_words(builder: Any, address: Any) -> Any:
    """What is at `address`, loaded scalar by scalar, so that the compiler drops what is not used.

    A cell does not change once it is pinned, which lets the compiler load a word once however much is written in between.
    """
    kind = address.type.pointee
    if not isinstance(kind, ir.Aggregate):
        word = builder.load(address)
        word.set_metadata("invariant.load", builder.module.add_metadata([]))
        return word
    value = ir.Constant(kind, ir.Undefined)
    for i in range(len(kind)):
        value = builder.insert_value(value, _load_words(builder, _member(builder, address, i)), i)
    return value


@infer_getattr
class _InCellFields(AttributeTemplate):
    key = InCell

    def generic_resolve(self, kind: InCell, name: str) -> Any:
        """The type of a field as a kernel sees it, None for no field."""
        if name not in kind.held.fields:
            return None
        return _read_type(kind.held[kind.held.fields.index(name)])


@lower_getattr_generic(InCell)
def _field(context: Any, builder: Any, kind: InCell, pointer: Any, name: str) -> Any:
    i = kind.held.fields.index(name)
    stored = builder.bitcast(pointer, context.get_data_type(kind.held).as_pointer())
    value = _load(context, builder, kind.held[i], _member(builder, stored, i))
    return impl_ret_borrowed(context, builder, _read_type(kind.held[i]), value)


@intrinsic
def _read(typing_context: Any, cell: types.Type) -> Any:
    held = _held_type(cell)
    seen = _read_type(held)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        value = _load(context, builder, held, _pointer(context, builder, signature.args[0], args[0], held))
        return impl_ret_borrowed(context, builder, seen, value)

    return seen(cell), codegen


@overload(unpin, jit_options={"pipeline_class": InnerCompiler})
def _unpin_compiled(cell: Any) -> Any:
    def body(cell: Any) -> Any:
        return _read(cell)

    return body


# Not cached: its index would hold the types of every caller, and could be read only where all their modules can.
@njit(cache=False)
def _store(cell: Any, contexts: Any) -> None:
    _write(cell, contexts)
