"""Contract: what a strategy must provide, and what it is given.

A strategy is a module with `PARAMS`, a tuple of `Param`, and the six callbacks named in `CALLBACKS`, each made with

    @callback
    def on_book(cell, instrument, now_ns):
        view = view_of(cell)
        ...
        return 0

after the kernels it calls: a callback is compiled where it is defined. What it does not answer is `nothing`: `on_trade = nothing`.

A callback decides from the view, its arguments and nothing else: no clock, no randomness, no I/O, no state of its own but
`view.floats` and `view.ints`. It asks for things by `quote`, `send`, `cancel`, `replace` and `cancel_all`, which stage an
intent; the strategy's stage stamps and publishes what was staged after the callback returns, and by the next callback the
staged orders are in `view.orders`. It returns how many intents it staged, or any count it likes; the stage ignores it.

- `on_book`: an instrument's book is valid and its event is complete. `view.market[0]` is the event's last record.
- `on_trade`: a public trade, in `view.market[0]`.
- `on_report`: something became of an own order, in `view.report[0]`; orders and positions already count it.
- `on_timer`: the configured interval passed; called for each instrument of the strategy.
- `on_disconnect`: the instrument's book became invalid; called once. Nothing may be quoted until `on_book`.
- `on_halt`: new orders are refused from here; called once for each instrument. Cancels pass.

Every callback has one signature, given when it is defined, so that it loads from the cache and is called through a pointer:
a stage's kernel is compiled once for all strategies. The view comes as a pinned cell because a pointer call copies its
arguments: 60 ns for the view by value, 5 ns for the cell.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any, NamedTuple

import numba
import numpy as np
from numba import types
from numpy.typing import NDArray

from hft.book import Books, new_books
from hft.orders import Orders, new_orders, order_id
from hft.records import INSTRUMENT, INTENT, MARKET, POSITION, REPORT, IntentKind, OrderFlag, TimeInForce
from shm.jit import JIT_ENABLED, njit
from shm.pinned import empty_cell, unpin

#: Names of the callbacks, in the order in which `Strategy.callbacks` holds them.
CALLBACKS = ("on_book", "on_trade", "on_report", "on_timer", "on_disconnect", "on_halt")
ON_BOOK, ON_TRADE, ON_REPORT, ON_TIMER, ON_DISCONNECT, ON_HALT = range(6)

#: Cells of state that a strategy has for each instrument, of each type.
STATE_MAX = 64

#: Intents that one callback can stage.
INTENTS_MAX = 64

# Indices of View.words.
STAGED = 0  #: intents staged; the stage publishes them and sets it back to 0
COUNTER_NEXT = 1  #: counter of the next order id
EPOCH = 2
STRATEGY = 3  #: the strategy's row
UNSTAGED = 4  #: intents that could not be staged: too many at once, or no order ids left
WORDS = 8

_NEW, _CANCEL = int(IntentKind.NEW), int(IntentKind.CANCEL)
_REPLACE, _CANCEL_ALL = int(IntentKind.REPLACE), int(IntentKind.CANCEL_ALL)
_GTC, _POST_ONLY = int(TimeInForce.GTC), int(OrderFlag.POST_ONLY)


class ContractError(Exception):
    """A strategy module or its parameters break the contract; the message names what was found and expected."""


class Param(NamedTuple):
    """One parameter: a float from the config, inside [least, most]."""

    name: str
    default: float
    least: float
    most: float
    unit: str
    meaning: str


class View(NamedTuple):
    """What a callback sees; arrays of one instrument table have a row for each instrument of the engine."""

    books: Books
    valid: NDArray[Any]  #: [instrument] -> 1 while its book may be used
    orders: Orders  #: the strategy's own orders
    positions: NDArray[Any]  #: POSITION of the strategy, by instrument
    instruments: NDArray[Any]  #: INSTRUMENT
    market: NDArray[Any]  #: MARKET, one row: the record that the callback is about
    report: NDArray[Any]  #: REPORT, one row: the report that the callback is about
    params: NDArray[Any]  #: float64, in the order of PARAMS
    floats: NDArray[Any]  #: float64 [instrument, STATE_MAX], the strategy's to write
    ints: NDArray[Any]  #: int64 [instrument, STATE_MAX], the strategy's to write
    intents: NDArray[Any]  #: INTENT, staged by the functions below
    words: NDArray[Any]  #: int64, see the indices above


def new_view(
    books: Books,
    valid: NDArray[Any],
    orders: Orders,
    positions: NDArray[Any],
    instruments: NDArray[Any],
    params: NDArray[Any],
    strategy: int,
    epoch: int,
) -> View:
    """A view with empty state; `strategy` is the row that order ids carry, `params` comes from `resolve_params`."""
    count = len(instruments)
    words = np.zeros(WORDS, np.int64)
    words[EPOCH], words[STRATEGY], words[COUNTER_NEXT] = epoch, strategy, 1
    return View(
        books=books,
        valid=valid,
        orders=orders,
        positions=positions,
        instruments=instruments,
        market=np.zeros(1, MARKET),
        report=np.zeros(1, REPORT),
        params=params,
        floats=np.zeros((count, STATE_MAX)),
        ints=np.zeros((count, STATE_MAX), np.int64),
        intents=np.zeros(INTENTS_MAX, INTENT),
        words=words,
    )


def sample_view(instruments: int = 1, params: int = 1) -> View:
    """A view over empty tables, of the type that every callback is compiled for."""
    return new_view(
        books=new_books(instruments, 8),
        valid=np.zeros(instruments, np.int64),
        orders=new_orders(8, instruments),
        positions=np.zeros(instruments, POSITION),
        instruments=np.zeros(instruments, INSTRUMENT),
        params=np.zeros(params),
        strategy=0,
        epoch=1,
    )


@njit
def view_of(cell: Any) -> Any:
    """The View that a callback's cell holds.

    A call of its own, not inlined into the callback: there, Numba would take writes into the view's arrays for dead code.
    """
    return unpin(cell)


#: The one signature of every callback: (cell of a pinned View, instrument row, now_ns) -> int64.
SIGNATURE = types.int64(numba.typeof(empty_cell(sample_view())), types.int64, types.int64)

#: Decorator that compiles a callback with that signature.
callback = njit(SIGNATURE)


@callback
def nothing(cell: Any, instrument: int, now_ns: int) -> int:
    """For what a strategy does not answer: `on_trade = nothing`."""
    return 0


class _FirstClass(types.WrapperAddressProtocol):
    """A compiled callback as a value of function type, so that kernels taking it do not depend on which one it is."""

    def __init__(self, dispatcher: Any) -> None:
        self._compiled = dispatcher.overloads[dispatcher.signatures[0]]

    def __wrapper_address__(self) -> int:
        return int(self._compiled.library.get_pointer_to_function(self._compiled.fndesc.llvm_cfunc_wrapper_name))

    def signature(self) -> Any:
        """The numba signature that callers use."""
        return SIGNATURE


class Strategy(NamedTuple):
    """A checked strategy: hand `callbacks` to kernels, in the order of CALLBACKS."""

    name: str
    params: tuple[Param, ...]
    callbacks: tuple[Any, ...]


def check_module(module: ModuleType) -> Strategy:
    """The strategy in `module`, or ContractError saying what is missing."""
    name = module.__name__
    params = getattr(module, "PARAMS", None)
    if not isinstance(params, tuple) or not all(isinstance(param, Param) for param in params):
        raise ContractError(f"strategy {name}: PARAMS must be a tuple of Param, was {params!r}")
    names = [param.name for param in params]
    if len(set(names)) != len(names):
        raise ContractError(f"strategy {name}: PARAMS names one parameter twice: {', '.join(names)}")
    for param in params:
        if not param.least <= param.default <= param.most:
            raise ContractError(f"strategy {name}: default of {param.name} must be in [{param.least}, {param.most}], was {param.default}")
    callbacks = tuple(_first_class(name, wanted, getattr(module, wanted, None)) for wanted in CALLBACKS)
    return Strategy(name, params, callbacks)


def _first_class(name: str, wanted: str, found: Any) -> Any:
    if found is None or not callable(found):
        raise ContractError(f"strategy {name}: must define {wanted}(cell, instrument, now_ns), found {found!r}")
    if not JIT_ENABLED:
        return found
    signatures = getattr(found, "nopython_signatures", None)
    if signatures is None or [str(s) for s in signatures] != [str(SIGNATURE)]:
        raise ContractError(f"strategy {name}: {wanted} must be made with @callback from strategies.contract, found {found!r}")
    return _FirstClass(found)


def resolve_params(strategy: Strategy, given: Mapping[str, float]) -> NDArray[np.float64]:
    """The values of the strategy's parameters in the order of PARAMS; ContractError names an unknown or impossible one."""
    known = {param.name: param for param in strategy.params}
    for name, value in given.items():
        if name not in known:
            raise ContractError(f"strategy {strategy.name}: no parameter {name!r}; there are {', '.join(known)}")
        param = known[name]
        # NaN is in no range.
        if not param.least <= value <= param.most:
            raise ContractError(f"strategy {strategy.name}: {name} must be in [{param.least}, {param.most}] {param.unit}, was {value}")
    return np.array([given.get(param.name, param.default) for param in strategy.params], np.float64)


@njit
def send(view: View, instrument: int, side: int, price_ticks: int, qty_lots: int, tif: int, flags: int) -> int:
    """Stage a new order; return its id, or 0 if it could not be staged."""
    return _stage(view, _NEW, 0, instrument, side, price_ticks, qty_lots, tif, flags)


@njit
def quote(view: View, instrument: int, side: int, price_ticks: int, qty_lots: int) -> int:
    """Stage a new order that only rests: GTC, post-only; return its id, or 0."""
    return _stage(view, _NEW, 0, instrument, side, price_ticks, qty_lots, _GTC, _POST_ONLY)


@njit
def replace(view: View, ref_order_id: int, instrument: int, side: int, price_ticks: int, qty_lots: int) -> int:
    """Stage the replacement of an own order by one that only rests; return the new order's id, or 0."""
    return _stage(view, _REPLACE, ref_order_id, instrument, side, price_ticks, qty_lots, _GTC, _POST_ONLY)


@njit
def cancel(view: View, ref_order_id: int, instrument: int) -> int:
    """Stage the cancel of an own order; return the cancel's own id, or 0."""
    return _stage(view, _CANCEL, ref_order_id, instrument, 0, 0, 0, 0, 0)


@njit
def cancel_all(view: View, instrument: int) -> int:
    """Stage the cancel of all own orders in the instrument; return the cancel's own id, or 0."""
    return _stage(view, _CANCEL_ALL, 0, instrument, 0, 0, 0, 0, 0)


@njit
def _stage(
    view: View, kind: int, ref_order_id: int, instrument: int, side: int, price_ticks: int, qty_lots: int, tif: int, flags: int
) -> int:
    words = view.words
    identity = order_id(words[EPOCH], words[STRATEGY], words[COUNTER_NEXT])
    if identity < 0 or words[STAGED] >= len(view.intents):
        words[UNSTAGED] += 1
        return 0
    intent = view.intents[words[STAGED]]
    words[STAGED] += 1
    words[COUNTER_NEXT] += 1
    intent["order_id"] = identity
    intent["ref_order_id"] = ref_order_id
    intent["price_ticks"] = price_ticks
    intent["qty_lots"] = qty_lots
    intent["received_ns"] = 0
    intent["decoded_ns"] = 0
    intent["decided_ns"] = 0
    intent["kind"] = kind
    intent["strategy"] = words[STRATEGY]
    intent["instrument"] = instrument
    intent["side"] = side
    intent["tif"] = tif
    intent["flags"] = flags
    return identity
