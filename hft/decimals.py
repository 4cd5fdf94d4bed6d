"""Decimals turns decimal text into ticks and lots by digits, and back; imports nothing compiled.

Text is strict ASCII decimal, never a float; anything else is a `UnitsError` that names the text.
"""

from __future__ import annotations

import re
from typing import Any

#: Magnitudes stay below this, as in `hft.units`.
_UNITS_LIMIT = 1 << 62

_DECIMAL = re.compile(r"(-?)(0|[1-9][0-9]{0,18})(?:\.([0-9]{1,30}))?", re.ASCII)


class UnitsError(ValueError):
    """Text that is not a decimal number of whole units; the message carries the text and what was expected."""


def parse_units(text: str, decimals: int) -> int:
    """Return strict ASCII decimal `text` as an integer of 10^-decimals.

    Digits beyond `decimals` must be zeros. Signs other than a leading "-", exponents, blanks, leading zeros, "-0" and
    non-ASCII digits raise UnitsError, and so does a result of 2^62 or more.
    """
    match = _DECIMAL.fullmatch(text)
    if match is None:
        raise UnitsError(f"expected a plain decimal number, was {text[:40]!r}")
    sign, whole, fraction = match.group(1), match.group(2), match.group(3) or ""
    kept, excess = fraction[:decimals], fraction[decimals:]
    if excess.strip("0"):
        raise UnitsError(f"expected at most {decimals} decimals, was {text!r}")
    units = int(whole + kept.ljust(decimals, "0"))
    if units >= _UNITS_LIMIT:
        raise UnitsError(f"expected less than 2^62 units of 10^-{decimals}, was {text!r}")
    if sign and units == 0:
        raise UnitsError(f"expected an unsigned zero, was {text!r}")
    return -units if sign else units


def format_units(units: int, decimals: int) -> str:
    """Return `units` of 10^-decimals as decimal text with exactly `decimals` digits after the point."""
    digits = str(abs(units)).rjust(decimals + 1, "0")
    sign = "-" if units < 0 else ""
    return f"{sign}{digits[: len(digits) - decimals]}.{digits[len(digits) - decimals :]}" if decimals else f"{sign}{digits}"


def price_to_ticks(text: str, instrument: Any) -> int:
    """Return the price `text` in ticks of the INSTRUMENT row; raise UnitsError when it is off the tick grid."""
    return _to_steps(text, int(instrument["price_decimals"]), int(instrument["tick_units"]), "tick")


def qty_to_lots(text: str, instrument: Any) -> int:
    """Return the size `text` in lots of the INSTRUMENT row; raise UnitsError when it is off the lot grid."""
    return _to_steps(text, int(instrument["qty_decimals"]), int(instrument["lot_units"]), "lot")


def ticks_to_price(price_ticks: int, instrument: Any) -> str:
    """Return `price_ticks` as decimal text in the instrument's price decimals."""
    return format_units(int(price_ticks) * int(instrument["tick_units"]), int(instrument["price_decimals"]))


def lots_to_qty(qty_lots: int, instrument: Any) -> str:
    """Return `qty_lots` as decimal text in the instrument's size decimals."""
    return format_units(int(qty_lots) * int(instrument["lot_units"]), int(instrument["qty_decimals"]))


def _to_steps(text: str, decimals: int, step_units: int, step_name: str) -> int:
    if step_units <= 0:
        raise UnitsError(f"expected a {step_name} size above 0, was {step_units}")
    steps, rest = divmod(parse_units(text, decimals), step_units)
    if rest:
        raise UnitsError(f"expected a multiple of the {step_name} {format_units(step_units, decimals)}, was {text!r}")
    return steps
