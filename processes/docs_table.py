"""Docs tables: writes Markdown that every generated page is made of."""

from __future__ import annotations

from collections.abc import Sequence


def code(text: str) -> str:
    """Each part of a comma-separated list as code; nothing for nothing."""
    return ", ".join(f"`{part}`" for part in text.split(", ")) if text else ""


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A table; `|` in cells is escaped."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
