"""Kraken pair names: REST has several names for what sockets call BTC/USD."""

from __future__ import annotations

#: Assets that REST calls by an X or a Z and their name.
_MARKED = frozenset(
    ["XETC", "XETH", "XLTC", "XMLN", "XREP", "XXBT", "XXDG", "XXLM", "XXMR", "XXRP", "XZEC", "ZAUD", "ZCAD", "ZEUR", "ZGBP", "ZJPY", "ZUSD"]
)
_OLD = {"XBT": "BTC", "XDG": "DOGE"}


def asset_of(rest_name: str) -> str:
    """What sockets call an asset of REST: XXBT and XBT are BTC, ZUSD is USD."""
    name = rest_name[1:] if rest_name in _MARKED else rest_name
    return _OLD.get(name, name)


def pair_names(symbol: str) -> list[str]:
    """Every name that the venue gives a pair: BTC/USD is also XBT/USD, XBTUSD, BTCUSD and XXBTZUSD."""
    base, _, quote = symbol.partition("/")
    old = {"BTC": "XBT", "DOGE": "XDG"}
    fiat = ("USD", "EUR", "GBP", "JPY", "CAD", "AUD", "CHF")
    bases, quotes = {base, old.get(base, base)}, {quote, old.get(quote, quote)}
    bases |= {f"X{name}" for name in bases} | {f"Z{name}" for name in bases if name in fiat}
    quotes |= {f"Z{name}" for name in quotes if name in fiat} | {f"X{name}" for name in quotes if name not in fiat}
    return sorted({f"{b}{separator}{q}" for b in bases for q in quotes for separator in ("", "/")})
