"""Limit log: the changes of limits in the control segment, and what a key of the config and a value mean there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from hft import control
from hft.config import Config
from hft.decimals import UnitsError
from hft.limit_changes import CHANGEABLE_FIRM, CHANGEABLE_LIMITS, FIRM, change_limit, limit_words, new_changing
from hft.records import FIRM_LIMITS, LIMITS
from hft.tables import build_tables, fill_limits, firm_row
from processes.errors import EngineError
from shm.atomics import store_release


class Limit(NamedTuple):
    """One limit, as its key and a value in the words of the config name it."""

    row: int  #: an instrument's, or FIRM
    field: int  #: the int64 of its record
    value: int  #: asked for
    given: int  #: the config's


def append(words: NDArray[np.int64], change: Sequence[int]) -> int:
    """Put a change (row, field, value, by, approved by) into the log; return its number. Raises EngineError when the log is full."""
    number = int(words[control.LIMIT_CHANGES])
    if number >= control.LIMIT_CHANGES_MAX:
        raise EngineError(f"limits were changed {number} times since the engine was started; stop it and start it again for more")
    at = control.LIMIT_LOG + control.LIMIT_WORDS * number
    words[at : at + len(change)] = change
    # SYNC limits: pairs with load_acquire in take_changes() of risk and strategies.
    store_release(words, control.LIMIT_CHANGES, number + 1)
    return number


def limit_of(config: Config, key: str, text: str) -> Limit:
    """What `key` = `text` asks for; raises EngineError for a key that is none, that may not be changed, or a value that is none."""
    section, _, name = key.rpartition(".")
    kind, _, instrument = section.partition(".")
    changed = msgspec.to_builtins(config)
    table = changed["firm"] if section == "firm" else changed["limits"].get(instrument) if kind == "limits" else None
    if table is None or not isinstance(table.get(name), (int, str)):
        raise EngineError(f"no limit {key!r}; there are limits.<instrument>.<key> and firm.<key>, as in the config")
    rows, given = build_tables(config).instrument_rows, table[name]

    def words(value: object) -> NDArray[np.int64]:
        table[name] = value
        try:
            return _words(msgspec.convert(changed, Config), instrument, rows)
        except (msgspec.ValidationError, UnitsError) as error:
            raise EngineError(f"{key}: {error}") from error

    before = words(given)
    asked = words(int(text) if isinstance(given, int) and text.isdigit() else text)
    # Which word it is, is told by another value.
    differ = np.flatnonzero(words((given - 1 or 2) if isinstance(given, int) else f"1{given}") != before)
    names = (LIMITS if instrument else FIRM_LIMITS).names or ()
    if len(differ) != 1 or names[differ[0]] not in (CHANGEABLE_LIMITS if instrument else CHANGEABLE_FIRM):
        raise EngineError(f"{key} cannot be changed while an engine runs")
    field = int(differ[0])
    return Limit(list(config.instruments).index(instrument) if instrument else FIRM, field, int(asked[field]), int(before[field]))


def _words(config: Config, instrument: str, rows: NDArray[Any]) -> NDArray[np.int64]:
    """The words of an instrument's limits, of the firm's for ""."""
    if not instrument:
        return limit_words(firm_row(config))[0]
    limits, row = np.zeros(1, LIMITS), list(config.instruments).index(instrument)
    fill_limits(limits, config, instrument, rows[row])
    return limit_words(limits)[0]


def in_force(config: Config, words: NDArray[np.int64], limit: Limit) -> int:
    """The value in force of a limit, after all that the log has."""
    tables = build_tables(config)
    changing = new_changing(tables.limit_rows, tables.firm)
    for n in range(int(words[control.LIMIT_CHANGES])):
        at = control.LIMIT_LOG + control.LIMIT_WORDS * n
        change_limit(changing, words[at : at + control.LIMIT_WORDS])
    return int(changing.firm[0, limit.field] if limit.row == FIRM else changing.limits[limit.row, limit.field])
