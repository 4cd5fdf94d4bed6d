"""Sections: a config file as plain tables: one venue of several kept, and written as TOML again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Sections = dict[str, Any]

_WIDE = {"daily_loss_max": "200000", "drawdown_max": "200000", "loss_rate_max": "100000", "fills_window_ms": 1000}


def only(sections: Sections, venue: str) -> Sections:
    """Return the sections with one venue left: its instruments, its limits and its stages. No guardian: it would kill for faults that
    the engine is to mend by itself; and no stop-loss short of all, and wide breakers, which no restart forgives: a market that runs away
    from a strategy, or fills it for long, would end its orders."""
    kept = {key: section for key, section in sections.items() if key != "guardian"}
    for key in ("venues", "execution"):
        kept[key] = {venue: sections[key][venue]}
    for key in ("instruments", "limits"):
        kept[key] = {name: section for name, section in sections[key].items() if name.endswith(f".{venue.upper()}")}
    kept["limits"] = {name: section | {"stop_loss_bp": 10_000} for name, section in kept["limits"].items()}
    kept["firm"] = sections["firm"] | _WIDE
    strategies = sections["strategies"].items()
    kept["strategies"] = {
        name: strategy | {"instruments": [each for each in strategy["instruments"] if each in kept["instruments"]]}
        for name, strategy in strategies
        if any(each in kept["instruments"] for each in strategy["instruments"])
    }
    gone = {name for name in sections["strategies"] if name not in kept["strategies"]}
    gone_stages = {f"{kind}.{name}" for kind in ("feed", "execution") for name in sections["venues"] if name != venue}
    gone_stages |= {f"strategy.{name}" for name in gone}
    processes = sections["placement"]["processes"].items()
    left = {name: process | {"stages": [each for each in process["stages"] if each not in gone_stages]} for name, process in processes}
    kept["placement"] = sections["placement"] | {"processes": {name: process for name, process in left.items() if process["stages"]}}
    return kept


def at_venue(sections: Sections, venue: str, urls: dict[str, str], key_file: Path) -> Sections:
    """Return the sections of one venue with a simulator that somebody else runs: where it listens, and a key of its customer."""
    found = dict(sections)
    order_path = sections["execution"][venue]["order_url"].partition("127.0.0.1")[2]
    order_entry = {"order_url": urls["ws"].rstrip("/") + order_path, "rest_url": urls["http"], "credentials": str(key_file)}
    feed = {key: value for key, value in sections["venues"][venue].items() if key != "simulator"}
    found["venues"] = {venue: feed | {"stream_url": urls["ws"], "rest_url": urls["http"]}}
    found["execution"] = {venue: sections["execution"][venue] | order_entry}
    return found


def write_config(path: Path, sections: Sections) -> Path:
    """Write sections as TOML."""
    path.write_text("\n".join(_lines("", sections)) + "\n")
    return path


def _lines(prefix: str, table: Sections) -> Iterator[str]:
    plain = {key: value for key, value in table.items() if not isinstance(value, dict)}
    if prefix and (plain or not table):
        yield f"[{prefix}]"
    for key, value in plain.items():
        yield f"{json.dumps(key)} = {json.dumps(value)}"
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _lines(f"{prefix}.{json.dumps(key)}".lstrip("."), value)
