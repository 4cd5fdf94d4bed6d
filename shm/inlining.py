"""Inlining: kernels that other kernels call are handed over as they are, and optimised once, within the one that Python calls.

Numba compiles what a kernel calls as if Python called it too: it links everything below into it, optimises that in full, makes
machine code and wrappers of it, and then hands the optimised code to the caller, which does it all again one level higher. For
a stage, ten levels deep, most of the minutes went there.

A `Kernel` keeps two compilations of its function apart. Called from Python, or asked for a pointer, it is Numba's own. Called
from a kernel it is *inner*: its code, not optimised and without machine code, is linked once into whichever kernel Python calls.
The compiler then sees that kernel as a whole, which it also inlines better than piece by piece.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm
from numba.core import compiler
from numba.core.codegen import JITCodeLibrary
from numba.core.registry import CPUDispatcher

#: How the names of compiled functions begin.
_COMPILED = "_ZN"

_Library: Any = JITCodeLibrary
_Compiler: Any = compiler.Compiler
_CPUDispatcher: Any = CPUDispatcher


class _InnerLibrary(_Library):
    """The code of one kernel, to be linked into others: never optimised alone, never made into machine code."""

    _shared_module: Any

    def finalize(self) -> None:
        self._raise_if_finalized()
        self._final_module.verify()
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        raise TypeError(f"{self.name} was compiled for other kernels: it has no address")

    def _get_module_for_linking(self) -> Any:
        """This kernel's code and that of all which it calls, each once."""
        if self._shared_module is None:
            below = self._below({})
            inner = [library for library in below if isinstance(library, _InnerLibrary)]
            self._ensure_finalized()
            module = self._final_module.clone()
            # Numba's own libraries come last: what may be defined many times is left out of a link unless something calls it already.
            for library in inner:
                module.link_in(library._final_module, preserve=True)
            for function in module.functions:
                if not function.is_declaration and function.linkage == llvm.Linkage.external:
                    function.linkage = "linkonce_odr"
            for library in below:
                if not isinstance(library, _InnerLibrary):
                    module.link_in(library._get_module_for_linking(), preserve=True)
            self._shared_module = module
        return self._shared_module

    def _below(self, found: dict[Any, None]) -> dict[Any, None]:
        """Add the libraries that this one needs, directly or not, to `found`."""
        for library in self._linking_libraries:
            if library not in found:
                found[library] = None
                if isinstance(library, _InnerLibrary):
                    library._below(found)
        return found


class _WholeLibrary(_Library):
    """The code of a kernel that Python calls, with all that it calls: nobody else can call into it, and the compiler may know."""

    def _optimize_final_module(self) -> None:
        for function in self._final_module.functions:
            if function.is_declaration and function.name.startswith(_COMPILED):
                raise RuntimeError(f"{self.name} calls {function.name}, which was not linked into it")
            if not function.is_declaration and function.linkage == llvm.Linkage.linkonce_odr:
                function.linkage = "internal"
        super()._optimize_final_module()


class _WholeCompiler(_Compiler):
    """Compiles a function for callers in Python."""

    def compile_extra(self, func: Any) -> Any:
        """Compile `func` and all that it calls."""
        self.state.library = _WholeLibrary(self.state.targetctx.codegen(), func.__qualname__)
        self.state.library.enable_object_caching()
        return super().compile_extra(func)


class InnerCompiler(_Compiler):
    """Compiles a function for callers that are kernels: for overloads, `jit_options={"pipeline_class": InnerCompiler}`."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.state.flags.no_cpython_wrapper = True
        self.state.flags.no_cfunc_wrapper = True
        self.state.flags.no_compile = True

    def compile_extra(self, func: Any) -> Any:
        """Compile `func`; the result's entry point is a stand-in by which callers find the code."""
        target = self.state.targetctx
        self.state.library = _InnerLibrary(target.codegen(), func.__qualname__)
        result = super().compile_extra(func)

        # Numba wants a builtin, and one that is nothing else's. Nobody can reach it to call it.
        entry_point = object().__format__
        target.insert_user_function(entry_point, result.fndesc, [result.library])
        return result._replace(entry_point=entry_point)


class Kernel(_CPUDispatcher):
    """A function that Numba compiles, once for Python and once for other kernels."""

    def __init__(self, py_func: Any, locals: Any = None, targetoptions: Any = None) -> None:
        super().__init__(py_func, locals, targetoptions, _WholeCompiler)
        self._inner = CPUDispatcher(py_func, locals, targetoptions, InnerCompiler)

    def get_call_template(self, args: Any, kws: Any) -> Any:
        """Numba's question while it finds the types of a kernel that calls this one."""
        return self._inner.get_call_template(args, kws)

    def get_overload(self, sig: Any) -> Any:
        """Numba's question while it makes code that calls this kernel."""
        return self._inner.get_overload(sig)
