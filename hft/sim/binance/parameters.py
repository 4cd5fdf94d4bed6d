"""Parameters of signed requests: what is read, in which form, and what the venue says when it is not so."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from functools import lru_cache

from hft.sim.binance.errors import ApiError
from hft.sim.exchange.records import E8

DECIMAL = re.compile("([0-9]{1,20})(?:\\.([0-9]{1,20}))?")
CLIENT_ID = re.compile("[a-zA-Z0-9-_]{1,36}")
INTEGER = re.compile("[0-9]{1,19}")
SYMBOL = re.compile("[A-Z0-9\\-_.]{1,20}")


def only(params: Mapping[str, str], known: frozenset[str]) -> None:
    """Refuse parameters that nobody reads. Raises ApiError."""
    if not params.keys() <= known:
        unknown = len(params.keys() - known)
        raise ApiError(
            400, -1104, f"Not all sent parameters were read; read '{len(params) - unknown}' parameter(s) but was sent '{len(params)}'."
        )


def mandatory(params: Mapping[str, str], name: str) -> str:
    """Return a parameter. Raises ApiError when it is missing or empty."""
    text = params.get(name, "")
    if not text:
        raise ApiError(400, -1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
    return text


def decimal_e8(params: Mapping[str, str], name: str) -> int:
    """Return a positive decimal in units of 10^-8. Raises ApiError."""
    text = params.get(name)
    value = _parsed_e8(text) if text else None
    if value:
        return value
    text = mandatory(params, name)
    found = DECIMAL.fullmatch(text)
    if found is None:
        raise ApiError(
            400, -1100, f"Illegal characters found in parameter '{name}'; legal range is '^([0-9]{{1,20}})(\\.[0-9]{{1,20}})?$'."
        )
    if len((found[2] or "").rstrip("0")) > 8:
        raise ApiError(400, -1111, f"Parameter '{name}' has too much precision.")
    raise ApiError(400, -1013, f"Invalid {name}.")


@lru_cache(50_000)
def _parsed_e8(text: str) -> int | None:
    """Return a decimal in units of 10^-8, None if it is none or has more than 8 places. The same texts come again and again."""
    found = DECIMAL.fullmatch(text)
    if found is None:
        return None
    part = (found[2] or "").rstrip("0")
    return int(found[1]) * E8 + int(part.ljust(8, "0")) if len(part) <= 8 else None


def integer(params: Mapping[str, str], name: str, default: int = 0) -> int:
    """Return a non-negative integer, or the default. Raises ApiError."""
    text = params.get(name)
    if text is None:
        return default
    if not INTEGER.fullmatch(text):
        raise ApiError(400, -1100, f"Illegal characters found in parameter '{name}'; legal range is '^[0-9]{{1,20}}$'.")
    return int(text)


def limit(params: Mapping[str, str], default: int, most: int) -> int:
    """Return how many rows are asked for. Raises ApiError."""
    wanted = integer(params, "limit", default)
    if not wanted:
        raise ApiError(400, -1130, "Data sent for parameter 'limit' is not valid.")
    return min(wanted, most)


def client_id(params: Mapping[str, str], name: str) -> str:
    """Return a client order id, or nothing. Raises ApiError."""
    text = params.get(name)
    if text is None:
        return ""
    if not CLIENT_ID.fullmatch(text):
        raise ApiError(400, -1100, f"Illegal characters found in parameter '{name}'; legal range is '^[a-zA-Z0-9-_]{{1,36}}$'.")
    return text


def choice(params: Mapping[str, str], name: str, choices: Collection[str], refusal: tuple[int, str], default: str = "") -> str:
    """Return one of the choices, or the default. Raises ApiError with code and text."""
    text = params.get(name) or default
    if text in choices:
        return text
    if not text:
        mandatory(params, name)
    raise ApiError(400, *refusal)


def flag(params: Mapping[str, str], name: str) -> bool:
    """Return a boolean, false by default. Raises ApiError."""
    text = params.get(name, "false").lower()
    if text not in ("true", "false"):
        raise ApiError(400, -1100, f"Illegal characters found in parameter '{name}'; legal range is 'true|false'.")
    return text == "true"
