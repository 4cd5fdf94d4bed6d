"""Dispatch: one name for kernels that differ by the type of their first argument, chosen when the caller is compiled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from numba.extending import overload

from shm.inlining import InnerCompiler


def by_type(kernels: Mapping[type, Any], name: str) -> Callable[..., Any]:
    """A function that calls the kernel `name` of `kernels[T]`, where T is the NamedTuple type of its first argument.

    `kernels` maps to modules, or whatever has kernels as attributes. It is read when a caller is compiled, or as plain Python
    at each call.
    """

    def call(first: Any, *rest: Any) -> Any:
        return getattr(kernels[type(first)], name)(first, *rest)

    @overload(call, jit_options={"pipeline_class": InnerCompiler})
    def compiled(first: Any, *rest: Any) -> Any:
        kernel = getattr(kernels[first.instance_class], name)

        def body(first: Any, *rest: Any) -> Any:
            return kernel(first, *rest)

        return body

    call.__name__ = call.__qualname__ = name
    return call
