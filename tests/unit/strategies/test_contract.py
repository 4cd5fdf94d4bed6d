"""The strategy contract: what a module must have, how parameters resolve, what staging does, and that loading compiles nothing twice."""

from __future__ import annotations

import math
import subprocess
import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from hft.orders import COUNTER_MAX, id_counter, id_epoch, id_strategy
from hft.records import INTENT, IntentKind, OrderFlag, Side, TimeInForce
from shm.jit import JIT_ENABLED
from strategies import contract, market_maker
from strategies.contract import CALLBACKS, ContractError, Param, View, check_module, new_view, resolve_params, sample_view
from strategies.registry import STRATEGIES, load

BUY = int(Side.BUY)


def module(**replaced: Any) -> ModuleType:
    """A module like the market maker, with some names replaced; None removes one."""
    made = ModuleType("mine.strategy")
    for name in ("PARAMS", *CALLBACKS):
        value = replaced.get(name, getattr(market_maker, name))
        if value is not None:
            setattr(made, name, value)
    return made


def staged(view: View) -> list[dict[str, int]]:
    rows = view.intents[: view.words[contract.STAGED]]
    return [{name: int(row[name]) for name in INTENT.names if name != "reserved"} for row in rows]


@pytest.mark.parametrize("name", STRATEGIES)
def test_bundled_strategy_keeps_the_contract(name: str) -> None:
    strategy = load(name)
    assert len(strategy.callbacks) == len(CALLBACKS)
    assert all(param.meaning and math.isfinite(param.default) for param in strategy.params)


def test_registry_loads_a_module_by_its_import_path() -> None:
    assert load("strategies.market_maker").name == "strategies.market_maker"


@pytest.mark.parametrize(
    ("code", "says"), [("market_taker", "there are market_maker, bench_taker"), ("no.such.module", "cannot be imported")]
)
def test_registry_names_what_it_has_when_a_strategy_is_unknown(code: str, says: str) -> None:
    with pytest.raises(ContractError, match=says):
        load(code)


@pytest.mark.parametrize("missing", ["PARAMS", *CALLBACKS])
def test_module_is_refused_when_something_is_missing(missing: str) -> None:
    with pytest.raises(ContractError, match=missing):
        check_module(module(**{missing: None}))


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ((("size", 1.0),), "tuple of Param"),
        ((Param("size", 1, 0, 2, "lots", "Size."),) * 2, "one parameter twice"),
        ((Param("size", 3, 0, 2, "lots", "Size."),), r"default of size must be in \[0, 2\]"),
    ],
)
def test_module_is_refused_when_its_params_make_no_sense(params: Any, says: str) -> None:
    with pytest.raises(ContractError, match=says):
        check_module(module(PARAMS=params))


@pytest.mark.skipif(not JIT_ENABLED, reason="plain Python functions have no signature")
def test_module_is_refused_when_a_callback_has_another_signature() -> None:
    def on_book(cell: Any, instrument: int, now_ns: int) -> int:
        return 0

    with pytest.raises(ContractError, match="on_book must be made with @callback"):
        check_module(module(on_book=on_book))


def test_params_take_defaults_and_given_values_in_order() -> None:
    strategy = load("bench_taker")
    assert resolve_params(strategy, {}).tolist() == [1, 0, 0]
    assert resolve_params(strategy, {"away_ticks": 7, "qty_lots": 3}).tolist() == [3, 7, 0]


@pytest.mark.parametrize("given", [{"size": 1.0}, {"qty_lots": 0.5}, {"qty_lots": math.nan}, {"qty_lots": math.inf}, {"post_only": 1.5}])
def test_params_are_refused_when_unknown_or_out_of_range(given: dict[str, float]) -> None:
    with pytest.raises(ContractError, match=next(iter(given))):
        resolve_params(load("bench_taker"), given)


def test_staging_fills_the_intent_and_numbers_it() -> None:
    view = sample_view()
    view.words[contract.EPOCH], view.words[contract.STRATEGY] = 5, 2
    first = contract.quote(view, 1, BUY, 100, 7)
    second = contract.send(view, 1, -BUY, 101, 8, TimeInForce.IOC, 0)
    third = contract.replace(view, first, 1, BUY, 99, 6)
    fourth = contract.cancel(view, second, 1)
    fifth = contract.cancel_all(view, 1)
    ids = [first, second, third, fourth, fifth]
    assert [(id_epoch(i), id_strategy(i), id_counter(i)) for i in ids] == [(5, 2, n) for n in range(1, 6)]
    rows = staged(view)
    assert [row["order_id"] for row in rows] == ids and {row["strategy"] for row in rows} == {2}
    assert [row["kind"] for row in rows] == [
        IntentKind.NEW,
        IntentKind.NEW,
        IntentKind.REPLACE,
        IntentKind.CANCEL,
        IntentKind.CANCEL_ALL,
    ]
    assert [row["ref_order_id"] for row in rows] == [0, 0, first, second, 0]
    assert [(row["side"], row["price_ticks"], row["qty_lots"]) for row in rows[:3]] == [(BUY, 100, 7), (-BUY, 101, 8), (BUY, 99, 6)]
    assert [(row["tif"], row["flags"]) for row in rows[:3]] == [
        (TimeInForce.GTC, OrderFlag.POST_ONLY),
        (TimeInForce.IOC, 0),
        (TimeInForce.GTC, OrderFlag.POST_ONLY),
    ]


def test_staging_refuses_and_counts_when_too_much_is_asked_at_once() -> None:
    view = sample_view()
    ids = [contract.quote(view, 0, BUY, 100, 1) for _ in range(contract.INTENTS_MAX + 2)]
    assert all(ids[:-2]) and ids[-2:] == [0, 0]
    assert view.words[contract.STAGED] == contract.INTENTS_MAX and view.words[contract.UNSTAGED] == 2


def test_staging_refuses_when_the_order_ids_have_run_out() -> None:
    view = sample_view()
    view.words[contract.COUNTER_NEXT] = COUNTER_MAX
    assert contract.quote(view, 0, BUY, 100, 1) > 0
    assert contract.quote(view, 0, BUY, 100, 1) == 0
    assert view.words[contract.UNSTAGED] == 1


def test_view_of_any_table_size_has_the_type_that_callbacks_are_compiled_for() -> None:
    import numba

    assert numba.typeof(sample_view(1, 1)) == numba.typeof(sample_view(7, 12))
    plain = sample_view()
    real = new_view(plain.books, plain.valid, plain.orders, plain.positions, plain.instruments, np.zeros(3), 1, 2)
    assert numba.typeof(real) == numba.typeof(plain)


COUNT_MISSES = """
import gc
from numba.core.dispatcher import Dispatcher
from strategies.registry import STRATEGIES, load
for name in STRATEGIES:
    load(name)
print(sum(sum(d.stats.cache_misses.values()) for d in gc.get_objects() if isinstance(d, Dispatcher)))
"""


@pytest.mark.skipif(not JIT_ENABLED, reason="nothing is compiled")
def test_loading_strategies_compiles_nothing_in_a_second_process() -> None:
    misses = [subprocess.run([sys.executable, "-c", COUNT_MISSES], capture_output=True, text=True, check=True).stdout for _ in range(2)]
    assert misses[1].strip() == "0", f"first and second process compiled {misses}"
