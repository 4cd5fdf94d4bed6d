"""Docs: writes the generated pages of docs/, or says which of them are not what the sources say.

    python -m processes.docs [--check]

Pages are made from `hft/records.py`, `hft/controls.py`, `hft/control_rules.py`, `hft/topology.py`, `hft/config.py` and the parameters of `strategies`
alone: equal sources give equal bytes.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable
from enum import IntEnum, IntFlag
from pathlib import Path
from typing import Any

from hft import records
from hft.control_rules import ELSEWHERE, RULES
from hft.controls import CONTROLS
from hft.records import RECORDS, Record
from hft.topology import build, mermaid
from processes.docs_config import config_page
from processes.docs_table import code, table

ROOT = Path(__file__).resolve().parent.parent

_PICTURE_BEGIN = "<!-- picture: written by `make docs` from hft/topology.py -->"
_PICTURE_END = "<!-- end of picture -->"

_CONTROLS_INTRODUCTION = """\
Generated from `hft/controls.py` by `make docs`, in the order in which `hft.risk.check` asks: the first that refuses answers.

The code is REPORT.reason of a REFUSED report; the counter is the risk stage's. CANCEL and CANCEL_ALL meet only identity (the
instrument's and strategy's rows exist) and, for CANCEL, `UNKNOWN_ORDER` and `DUPLICATE_ORDER`. REPLACE is checked as the new
order with the old one still counted. A limit of 0 refuses everything.

`hftctl risk show` has the limits in force, what is used of them, and what each control has refused. `hftctl risk set KEY VALUE` tightens one
while the engine runs; the next order is held against it. A looser value, at most the config's, waits until a second person approves it
(`hftctl risk person NAME` makes one known, `hftctl risk set ... --as NAME`, `hftctl risk approve KEY --as NAME`). Journals and `limits.json` in
the state folder have both names. Windows, and what a table's size depends on, are changed by a new config and a new start."""

_CONTROLS_HEAD = ("No.", "Code", "Name", "Refuses", "Also refuses, to fail closed", "Config key", "Counter")

_RULES_INTRODUCTION = """\
RTS 6 are articles of Commission Delegated Regulation (EU) 2017/589, 15c3-5 paragraphs of 17 CFR 240.15c3-5, FIA themes of its guides. No
crypto spot venue here is bound by them; they say what a regulated firm must have."""

_RULES_HEAD = ("No.", "Name", "RTS 6", "15c3-5", "FIA")

_ELSEWHERE_INTRODUCTION = "Controls of the same catalogue that are not checks of `hft.risk`: what does their work, or that nothing does."

_MEMBER = re.compile(r"^\s+([A-Z][A-Z0-9_]*) = -?[0-9]+\s*(?:#: (.*))?$", re.MULTILINE)


def architecture_page() -> str:
    """The written page with the picture of one venue and one strategy between its marks."""
    written = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    head, rest = written.split(_PICTURE_BEGIN)
    _, tail = rest.split(_PICTURE_END)
    picture = f"```mermaid\n{mermaid(build(['binance'], ['mm']))}\n```"
    return f"{head}{_PICTURE_BEGIN}\n{picture}\n{_PICTURE_END}{tail}"


def records_page() -> str:
    """Every record's layout, then every enum."""
    enums = [kind for _, kind in inspect.getmembers(records, _is_enum) if kind.__module__ == records.__name__]
    enums.sort(key=lambda kind: inspect.getsourcelines(kind)[1])
    parts = [
        "# Records",
        "Generated from `hft/records.py` by `make docs`. Little-endian, naturally aligned, no padding but what is named.",
        f"Layout id: `{records.LAYOUT_ID:#018x}`. Every segment and journal carries it, and every attach compares it.",
        *(_record_section(record) for record in RECORDS.values()),
        "# Enums",
        *(_enum_section(kind) for kind in enums),
    ]
    return "\n\n".join(parts) + "\n"


def controls_page() -> str:
    """Every risk control in the order of the checks, the rules behind them, and what is elsewhere."""
    rows = [(c.number, f"{int(c.code)}", f"`{c.code.name}`", c.refuses, c.fails_closed, code(c.key), code(c.counter)) for c in CONTROLS]
    rules = [(c.number, f"`{c.code.name}`", *RULES[c.number]) for c in CONTROLS]
    elsewhere = [(number, f"`{name}`", *RULES[number], words) for number, name, words in ELSEWHERE]
    parts = [
        *("# Risk controls", _CONTROLS_INTRODUCTION, table(_CONTROLS_HEAD, rows)),
        *("## What asks for them", _RULES_INTRODUCTION, table(_RULES_HEAD, rules)),
        *("## Elsewhere, or not at all", _ELSEWHERE_INTRODUCTION, table((*_RULES_HEAD, "What there is"), elsewhere)),
    ]
    return "\n\n".join(parts) + "\n"


def _is_enum(value: object) -> bool:
    return inspect.isclass(value) and issubclass(value, (IntEnum, IntFlag)) and value not in (IntEnum, IntFlag)


def _record_section(record: Record) -> str:
    offsets: dict[str, Any] = dict(record.dtype.fields or {})
    rows = [(str(offsets[name][1]), f"`{name}`", form, meaning) for name, form, meaning in record.fields]
    title = f"## {record.name}: {record.dtype.itemsize} bytes"
    return "\n\n".join([title, record.doc, table(("Offset", "Field", "Type", "Meaning"), rows)])


def _enum_section(kind: type[IntEnum | IntFlag]) -> str:
    meanings = {name: meaning or "" for name, meaning in _MEMBER.findall(inspect.getsource(kind))}
    rows = [(str(int(member)), f"`{member.name}`", meanings[str(member.name)]) for member in kind]
    return "\n\n".join([f"## {kind.__name__}", inspect.getdoc(kind) or "", table(("Value", "Name", "Meaning"), rows)])


#: path below the repository -> what makes the page
PAGES: dict[str, Callable[[], str]] = {
    "docs/architecture.md": architecture_page,
    "docs/config.md": config_page,
    "docs/records.md": records_page,
    "docs/risk-controls.md": controls_page,
}


def main(arguments: list[str]) -> int:
    """Write the pages, or with --check list those that differ; return the exit code."""
    if arguments not in ([], ["--check"]):
        print("usage: python -m processes.docs [--check]", file=sys.stderr)
        return 2
    pages = {name: make() for name, make in PAGES.items()}
    different = [name for name, text in pages.items() if not _holds(ROOT / name, text)]
    for name in different:
        if arguments:
            print(f"{name} is not what the sources say: run `make docs`", file=sys.stderr)
        else:
            (ROOT / name).write_text(pages[name], encoding="utf-8")
            print(f"wrote {name}")
    return 1 if arguments and different else 0


def _holds(path: Path, text: str) -> bool:
    return path.exists() and path.read_text(encoding="utf-8") == text


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
