"""Kraken rules: what `GET /0/public/AssetPairs` demands of orders.

A price is a multiple of `tick_size`, a size has at most `lot_decimals` decimals and is at least `ordermin`, price x size at least `costmin`.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from hft.venues.interface import InstrumentRules

#: Where the rules are asked for; public.
PAIRS_PATH = "/0/public/AssetPairs"

#: Statuses in which limit orders are taken.
_TRADING = ("online", "limit_only")


class RulesError(ValueError):
    """The venue's answer is not the documented table of pairs."""


class _Pair(msgspec.Struct):
    wsname: str
    tick_size: str
    lot_decimals: int
    ordermin: str = ""
    costmin: str = ""
    status: str = ""


class _Answer(msgspec.Struct):
    error: list[str]
    result: dict[str, _Pair] = {}


_decode = msgspec.json.Decoder(_Answer).decode

#: Names of assets in `wsname` that the socket of version 2 writes otherwise.
_NEW_NAMES = {"XBT": "BTC", "XDG": "DOGE"}


def _asset(name: str) -> str:
    return _NEW_NAMES.get(name, name)


def parse_rules(body: bytes) -> list[InstrumentRules]:
    """Rules of every pair in the answer, symbols as the socket writes them. Raises RulesError."""
    try:
        answer = _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise RulesError(f"expected the venue's table of pairs: {error}") from None
    if answer.error:
        raise RulesError(f"the venue answered {answer.error[0]}")
    rules = []
    for pair in answer.result.values():
        base, slash, quote = pair.wsname.partition("/")
        if not slash or not 0 <= pair.lot_decimals <= 18:
            raise RulesError(f"expected base/quote and 0 to 18 decimals, was {pair.wsname!r}, {pair.lot_decimals}")
        base, quote = _asset(base), _asset(quote)
        rules.append(
            InstrumentRules(
                symbol=f"{base}/{quote}",
                base=base,
                quote=quote,
                status="trading" if pair.status in _TRADING else pair.status or "without status",
                tick=pair.tick_size,
                lot=f"{Decimal(1).scaleb(-pair.lot_decimals):f}",
                qty_min=pair.ordermin,
                notional_min=pair.costmin,
            )
        )
    return rules
