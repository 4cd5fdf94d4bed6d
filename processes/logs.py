"""Logs: one JSON object a line on stderr, for cold paths only; kernels count instead."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import msgspec


def log(event: str, **fields: Any) -> None:
    """Write one line; a reader that is gone or a full disk never stops the engine."""
    line = msgspec.json.encode({"at_ns": time.time_ns(), "pid": os.getpid(), "event": event, **fields}) + b"\n"
    try:
        os.write(sys.stderr.fileno(), line)
    except OSError:
        pass
