"""Limit changes: which limits may be changed while an engine runs, and the rule that a change must keep.

A change is five words in a log in the control segment. Risk and strategies take them in order, journal each as an INPUT of kind CONFIG
and apply what the rule allows. So a replay, and a stage that starts again, come to the same limits.

    lower                    is tighter: taken from anybody
    higher than in force     needs two people of different names
    higher than the config   never: that is a new config, and a new start
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hft.records import FIRM_LIMITS, LIMITS
from shm.jit import njit

#: Limits that may be changed: those of which less is tighter, and that no table's size or window depends on.
CHANGEABLE_LIMITS = (
    *("order_qty_max_lots", "order_notional_max_e8", "position_max_lots", "open_orders_max", "collar_passive_bp", "collar_through_bp"),
    *("book_age_max_ns", "move_max_bp", "stop_loss_bp", "divergence_max_bp", "reference_max_bp"),
)
CHANGEABLE_FIRM = (
    *("gross_max_e8", "net_max_e8", "concentration_max_percent", "daily_loss_max_e8", "intent_age_max_ns", "strategy_rate_per_s"),
    *("firm_rate_per_s", "unknown_orders_max", "fills_max", "rejects_max", "late_after_ns", "late_max", "drawdown_max_e8"),
    *("loss_rate_max_e8", "clock_offset_max_ns", "messages_per_fill_max", "fee_max_percent", "filled_expected_e8", "filled_max_percent"),
)

# Words of a change. ROW: an instrument's, or FIRM. FIELD: the int64 of its record.
ROW, FIELD, VALUE, BY, APPROVED_BY = range(5)
FIRM = -1

_NAME = re.compile(r"[a-z][a-z0-9]{0,6}")


class Changing(NamedTuple):
    """The limits of one stage as words, and as the config gives them; made by `new_changing`."""

    limits: NDArray[np.int64]  #: [instrument, field], of the LIMITS rows in force
    firm: NDArray[np.int64]  #: [0, field], of the FIRM_LIMITS row in force
    given_limits: NDArray[np.int64]
    given_firm: NDArray[np.int64]
    counts: NDArray[np.int64]  #: changes taken from the log, and how many of them the rule allowed


def new_changing(limits: NDArray[Any], firm: NDArray[Any]) -> Changing:
    """Limits that change in place; what they are now is what the config gives."""
    of_limits, of_firm = limit_words(limits), limit_words(firm)
    return Changing(of_limits, of_firm, of_limits.copy(), of_firm.copy(), np.zeros(2, np.int64))


def limit_words(rows: NDArray[Any]) -> NDArray[np.int64]:
    """LIMITS or FIRM_LIMITS rows as [row, field] words of the same memory; every field is an int64."""
    return rows.view(np.int64).reshape(len(rows), -1)


def _mask(dtype: np.dtype[Any], names: tuple[str, ...]) -> NDArray[np.int64]:
    assert dtype.fields is not None
    mask = np.zeros(dtype.itemsize // 8, np.int64)
    mask[[dtype.fields[name][1] // 8 for name in names]] = 1
    return mask


_LIMITS_MASK, _FIRM_MASK = _mask(LIMITS, CHANGEABLE_LIMITS), _mask(FIRM_LIMITS, CHANGEABLE_FIRM)


def name_word(name: str) -> int:
    """A person's name as a word of the journal. Raises ValueError."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"name {name!r}: expected 1 to 7 of a-z and 0-9, beginning with a letter")
    return int.from_bytes(name.encode().ljust(7, b"\0"), "big")


def word_name(word: int) -> str:
    """The name that `name_word` packed; "" for 0."""
    return int(word).to_bytes(7, "big").rstrip(b"\0").decode()


@njit
def change_limit(changing: Changing, change: NDArray[Any]) -> bool:
    """Take one change; whether the rule allowed it, and it is in force."""
    changing.counts[0] += 1
    row, field, value = change[ROW], change[FIELD], change[VALUE]
    if row < FIRM or row >= len(changing.limits):
        return False
    now = changing.firm[0] if row == FIRM else changing.limits[row]
    given = changing.given_firm[0] if row == FIRM else changing.given_limits[row]
    if field < 0 or field >= len(now) or (_FIRM_MASK[field] if row == FIRM else _LIMITS_MASK[field]) == 0:
        return False
    if value <= 0 or value > given[field]:
        return False
    two = change[BY] != 0 and change[APPROVED_BY] != 0 and change[BY] != change[APPROVED_BY]
    if value > now[field] and not two:
        return False
    now[field] = value
    changing.counts[1] += 1
    return True
