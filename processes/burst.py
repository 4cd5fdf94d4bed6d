"""Burst: the bounded compiled loop over all stages of a process.

A stage's kernel is called through a pointer, with its context pinned (`shm/pinned.py`). So every stage is compiled once
whatever it is placed with, and the burst, which is all that depends on the placement, is small. A call costs a few ns.
Each stage is given a time that is not before what the stages ahead of it have done: the clock is read once a cycle, and again
after a stage that did something.
"""

from __future__ import annotations

from typing import Any

import numba
from numba.core import types

from processes import execution, feed, portfolio, risk, strategy, venue_execution
from shm.clock import monotonic_ns
from shm.jit import JIT_ENABLED, njit
from shm.pinned import unpin

#: Groups of stages in a burst: stages of one type, in the order in which a cycle visits them.
GROUPS_MAX = 10


@njit
def run_feed(cell: Any, now_ns: int) -> int:
    """A feed's turn."""
    return feed.work(unpin(cell)[0], now_ns)


@njit
def run_strategy(cell: Any, now_ns: int) -> int:
    """A strategy's turn; its callbacks are pinned with it."""
    pinned = unpin(cell)
    return strategy.work(pinned[0], pinned[1], now_ns)


@njit
def run_risk(cell: Any, now_ns: int) -> int:
    """Risk's turn."""
    return risk.work(unpin(cell)[0], now_ns)


@njit
def run_execution(cell: Any, now_ns: int) -> int:
    """An execution's turn."""
    return execution.work(unpin(cell)[0], now_ns)


@njit
def run_venue_execution(cell: Any, now_ns: int) -> int:
    """The turn of an execution whose orders are at a venue."""
    return venue_execution.work(unpin(cell)[0], now_ns)


@njit
def run_portfolio(cell: Any, now_ns: int) -> int:
    """The portfolio's turn."""
    return portfolio.work(unpin(cell)[0], now_ns)


#: kind of stage -> the kernel that takes its turn, in the order of a cycle
TURNS: dict[str, Any] = {
    "feed": run_feed,
    "strategy": run_strategy,
    "risk": run_risk,
    "execution": run_execution,
    "venue_execution": run_venue_execution,
    "portfolio": run_portfolio,
}


class _Pointer(types.WrapperAddressProtocol):
    """A kernel compiled for one cell type, as a value of function type."""

    def __init__(self, kernel: Any, cell_type: Any) -> None:
        self._signature = types.int64(cell_type, types.int64)
        kernel.compile(self._signature.args)
        compiled = kernel.overloads[self._signature.args]
        self._keep = kernel
        self._address = int(compiled.library.get_pointer_to_function(compiled.fndesc.llvm_cfunc_wrapper_name))

    def __wrapper_address__(self) -> int:
        return self._address

    def signature(self) -> Any:
        """The numba signature that callers use."""
        return self._signature


def type_of(cell: Any) -> Any:
    """What tells cells that one compiled kernel can take: their dtype, which names the type of what they hold."""
    return cell.dtype if JIT_ENABLED else None


def group(kernel: Any, cells: tuple[Any, ...]) -> Any:
    """A group for a burst: `kernel(cell, now_ns)` compiled for the type that all `cells` have."""
    if not JIT_ENABLED:
        return (kernel, cells)
    return (_Pointer(kernel, numba.typeof(cells[0])), cells)


def groups_of(groups: list[Any]) -> tuple[Any, ...]:
    """Up to GROUPS_MAX groups as a burst takes them: (turn, cells) each, None for absent ones."""
    return (*groups, *[None] * (GROUPS_MAX - len(groups)))


@njit
def burst(cell: Any, until_ns: int, cycles_max: int, idle_max: int, given_ns: int) -> int:
    """Cycle over all stages until `until_ns`, `cycles_max` cycles or `idle_max` idle ones in a row; return the work done.

    `given_ns` is the time that stages are given: 0 means the clock's; a replay gives what was recorded.
    """
    a, b, c, d, e, f, g, h, i, j = unpin(cell)
    total = 0
    idle = 0
    for _ in range(cycles_max):
        now_ns = monotonic_ns()
        done = _cycle(a, b, c, d, e, f, g, h, i, j, given_ns, now_ns)
        total += done
        idle = 0 if done > 0 else idle + 1
        if idle >= idle_max or now_ns >= until_ns:
            break
    return total


@njit
def _cycle(a: Any, b: Any, c: Any, d: Any, e: Any, f: Any, g: Any, h: Any, i: Any, j: Any, given_ns: int, now_ns: int) -> int:
    """One turn of each stage. Groups are arguments of their own: only then does the compiler drop the branches of absent ones."""
    done = 0
    if a is not None:
        done += _turns(a, given_ns, now_ns)
    if b is not None:
        done += _turns(b, given_ns, now_ns if done == 0 else monotonic_ns())
    if c is not None:
        done += _turns(c, given_ns, now_ns if done == 0 else monotonic_ns())
    if d is not None:
        done += _turns(d, given_ns, now_ns if done == 0 else monotonic_ns())
    if e is not None:
        done += _turns(e, given_ns, now_ns if done == 0 else monotonic_ns())
    if f is not None:
        done += _turns(f, given_ns, now_ns if done == 0 else monotonic_ns())
    if g is not None:
        done += _turns(g, given_ns, now_ns if done == 0 else monotonic_ns())
    if h is not None:
        done += _turns(h, given_ns, now_ns if done == 0 else monotonic_ns())
    if i is not None:
        done += _turns(i, given_ns, now_ns if done == 0 else monotonic_ns())
    if j is not None:
        done += _turns(j, given_ns, now_ns if done == 0 else monotonic_ns())
    return done


@njit
def _turns(stages: Any, given_ns: int, now_ns: int) -> int:
    """A turn of each stage of a group; the clock is read anew after one that did something."""
    done = 0
    for cell in stages[1]:
        if given_ns != 0:
            done += stages[0](cell, given_ns)
        else:
            done += stages[0](cell, now_ns if done == 0 else monotonic_ns())
    return done
