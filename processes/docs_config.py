"""Docs of the config: describes every key from the structs in `hft/config.py`, and every parameter of the bundled strategies."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from typing import Any, get_args

import msgspec
from msgspec import inspect as shapes

from hft import config, config_types
from processes.docs_table import code, table
from strategies.registry import STRATEGIES, load

_INTRODUCTION = """\
Generated from `hft/config.py` by `make docs`. `hftctl config-check FILE` reads a file, proves it and prints it resolved.

An unknown key is an error; so is a key without a default that is missing. Decimals are text, never floats. `<name>` and
`<instrument>` stand for names of your own. Proved besides what the tables say:

- every venue has an `execution`, every instrument a venue and `limits`, every quote asset a rate in `firm.rates`;
- what strategies and limits name exists, and no two instruments of a venue share a symbol;
- every stage is in exactly one process, and no two processes share a core;
- no product that the limits admit leaves 62 bits (`hft/bounds.py`).

[risk-controls.md](risk-controls.md) says which control reads which limit."""

_PARAMS_INTRODUCTION = """\
Keys of `[strategies.<name>] params`; numbers. A strategy of your own defines its own ([strategies.md](strategies.md))."""

_HEAD = ("Key", "Type", "Default", "Meaning")
_FIELD = re.compile(r"^    (\w+): .*?(?:  #: (.*))?$", re.MULTILINE)


def _pattern(alias: Any) -> str:
    return str(get_args(alias)[1].pattern)


#: pattern of a text -> what it is called in the tables
_TEXTS = {
    _pattern(config_types.Decimal): 'decimal text, as `"0.01"`',
    _pattern(config_types.SignedDecimal): 'decimal text, as `"-0.01"`',
    _pattern(config_types.Name): "name: up to 24 of `a-z0-9_`, a letter first",
    _pattern(config_types.InstrumentName): "instrument, as `BTC-USDT.BINANCE`",
}


def config_page() -> str:
    """Every section of a config file in its order, then the strategies' parameters."""
    shape = shapes.type_info(config.Config)
    assert isinstance(shape, shapes.StructType)
    sections = [text for field in shape.fields for text in _sections(field.type, field.name)]
    strategies = [_params(name) for name in STRATEGIES]
    return "\n\n".join(["# Config", _INTRODUCTION, *sections, "# Parameters of strategies", _PARAMS_INTRODUCTION, *strategies]) + "\n"


def _sections(shape: Any, path: str) -> Iterator[str]:
    """The section at `path`, then those inside it."""
    if isinstance(shape, shapes.UnionType):
        for kind in shape.types:
            yield from _sections(kind, path)
    if isinstance(shape, shapes.DictType) and isinstance(shape.value_type, (shapes.StructType, shapes.UnionType)):
        by_instrument = getattr(shape.key_type, "pattern", None) == _pattern(config_types.InstrumentName)
        yield from _sections(shape.value_type, f'{path}."<instrument>"' if by_instrument else f"{path}.<name>")
    if not isinstance(shape, shapes.StructType):
        return
    meanings = dict(_FIELD.findall(inspect.getsource(shape.cls)))
    rows = [] if shape.tag is None else [(code(str(shape.tag_field)), code(f'"{shape.tag}"'), "required", "As above.")]
    rows += [(code(f.name), _type(f.type), _default(f), _sentence(meanings[f.name])) for f in shape.fields]
    variant = "" if shape.tag is None else f" ({shape.tag})"
    yield "\n\n".join([f"## `[{path}]`{variant}", inspect.getdoc(shape.cls) or "", table(_HEAD, rows)])
    for field in shape.fields:
        yield from _sections(field.type, f"{path}.{field.name}")


def _sentence(meaning: str) -> str:
    return f"{meaning[:1].upper()}{meaning[1:]}."


def _default(field: shapes.Field) -> str:
    if field.required:
        return "required"
    value = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    return "none" if value is None else code(msgspec.json.encode(value).decode())


def _type(shape: Any) -> str:
    """What a value may be, in words."""
    match shape:
        case shapes.UnionType():
            return " or ".join(_type(kind) for kind in shape.types if not isinstance(kind, shapes.NoneType))
        case shapes.LiteralType():
            return " or ".join(code(msgspec.json.encode(value).decode()) for value in shape.values)
        case shapes.BoolType():
            return "true or false"
        case shapes.IntType():
            return f"integer, {shape.ge:,} to {shape.le:,}"
        case shapes.FloatType():
            return "number" if shape.le is None else f"number, {shape.ge:g} to {shape.le:g}"
        case shapes.StrType():
            return "text" if shape.pattern is None else _TEXTS.get(shape.pattern, f"text like {code(shape.pattern)}")
        case shapes.ListType():
            return f"list: each {_type(shape.item_type)}" + (f"; at least {shape.min_length}" if shape.min_length else "")
        case shapes.DictType():
            return f"table: each {_type(shape.value_type)}"
        case shapes.StructType():
            return "a section, see below"
    raise TypeError(f"no words for {shape!r}")


def _params(name: str) -> str:
    strategy = load(name)
    rows = [(code(p.name), _range(p.least, p.most, p.unit), code(f"{p.default:g}"), p.meaning) for p in strategy.params]
    doc = inspect.getdoc(sys.modules[strategy.name]) or ""
    return "\n\n".join([f"## {name}", doc.splitlines()[0], table(_HEAD, rows)])


def _range(least: float, most: float, unit: str) -> str:
    return f"{least:g} to {most:g} {unit}".rstrip()
