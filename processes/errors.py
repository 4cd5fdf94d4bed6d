"""Errors at the edges of the engine, and the exit codes they become.

EngineError          1   something the user can act on: the message says what was found and expected
  NotRunning         3   no engine runs under this instance name
"""

from __future__ import annotations


class EngineError(Exception):
    """An operation cannot be done; the message says why and what was expected."""

    exit_code = 1


class NotRunning(EngineError):
    """No engine is running."""

    exit_code = 3
