"""Logs: one JSON object a line, on stderr or in a file, for cold paths only; kernels count instead."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

_file: int | None = None


def to_file(path: Path) -> None:
    """Write to the end of `path` from here on: a person watches stderr."""
    global _file
    _file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def silence() -> None:
    """Write nowhere: for commands that run stages only to load, replay or time them."""
    to_file(Path(os.devnull))


def log(event: str, **fields: Any) -> None:
    """Write one line; a reader that is gone or a full disk never stops the engine."""
    line = msgspec.json.encode({"at_ns": time.time_ns(), "pid": os.getpid(), "event": event, **fields}) + b"\n"
    try:
        os.write(sys.stderr.fileno() if _file is None else _file, line)
    except OSError:
        pass
