"""Registry: finds a strategy by the name or import path that the config gives."""

from __future__ import annotations

import importlib

from strategies.contract import ContractError, Strategy, check_module

#: name in the config -> module
STRATEGIES = {
    "market_maker": "strategies.market_maker",
    "bench_taker": "strategies.bench_taker",
}


def load(code: str) -> Strategy:
    """The checked strategy called `code`: a name of STRATEGIES, or the import path of a user's module.

    Loading compiles its callbacks, or reads them from the cache. Raises ContractError.
    """
    path = STRATEGIES.get(code, code)
    if code not in STRATEGIES and ("." not in code or code.startswith(".")):
        raise ContractError(f"no strategy {code!r}; there are {', '.join(STRATEGIES)}, or give an import path such as mine.scalper")
    try:
        module = importlib.import_module(path)
    except ImportError as error:
        raise ContractError(f"strategy {code!r} cannot be imported: {error}") from error
    return check_module(module)
