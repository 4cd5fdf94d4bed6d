"""Limit set: tightens a limit at once, asks for a looser one, and approves what somebody else asked for.

`limits.json` in the state folder keeps what was changed and what waits for an approval; the next engine begins with it. A tighter limit
is in shared memory before it is in the file: the file only outlives the engine.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from hft import control
from hft.config import Config
from hft.limit_changes import name_word
from processes.attach import attach_control, engine_of
from processes.errors import EngineError
from processes.instance import Instance, write_durably
from processes.limit_log import Limit, append, in_force, limit_of
from processes.logs import log
from processes.people import prove

#: How long risk may take to say that it has taken a change.
PATIENCE_S = 2.0


def read_limits(instance: Instance) -> dict[str, Any]:
    """`changed` and `pending`: key -> what was asked for, by whom and why. Raises EngineError for a damaged file."""
    try:
        found: dict[str, Any] = msgspec.json.decode(instance.limits_file.read_bytes(), type=dict[str, dict[str, dict[str, str]]])
    except FileNotFoundError:
        return {"changed": {}, "pending": {}}
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise EngineError(f"{instance.limits_file}: damaged: {error}; nobody knows which limits were tightened") from error
    return {"changed": found.get("changed", {}), "pending": found.get("pending", {})}


def set_limit(instance: Instance, key: str, text: str, reason: str, person: tuple[str, str] | None) -> dict[str, Any]:
    """Tighten a limit of the running engine, or ask for a looser one as `person`, a name and its secret."""
    config = _config(instance)
    limit = limit_of(config, key, text)
    if limit.value > limit.given:
        raise EngineError(f"{key}: {text} is looser than the config, which a new config and a new start can change")
    with _locked(instance) as limits, attach_control(instance) as words:
        now = in_force(config, words, limit)
        entry = {"value": text, "by": person[0] if person else _user(), "reason": reason}
        if limit.value > now:
            if person is None:
                raise EngineError(f"{key}: {text} is looser than what is in force: say who you are with --as, and have it approved")
            prove(instance, *person)
            limits["pending"][key] = entry
            return {"key": key, "value": text, "in_force": False, "pending": True, "taken_after_ms": None}
        taken_ms = _apply(words, limit, entry["by"], "")
        limits["pending"].pop(key, None)
        limits["changed"][key] = entry
    return {"key": key, "value": text, "in_force": taken_ms is not None, "pending": False, "taken_after_ms": taken_ms}


def approve_limit(instance: Instance, key: str, person: tuple[str, str]) -> dict[str, Any]:
    """Put what another person asked for into force."""
    config = _config(instance)
    prove(instance, *person)
    with _locked(instance) as limits, attach_control(instance) as words:
        entry = limits["pending"].get(key)
        if entry is None:
            waiting = ", ".join(limits["pending"]) or "nothing"
            raise EngineError(f"nobody has asked for {key}; what waits for an approval: {waiting}")
        if entry["by"] == person[0]:
            raise EngineError(f"{key}: {person[0]} asked for it, so somebody else must approve it")
        taken_ms = _apply(words, limit_of(config, key, entry["value"]), entry["by"], person[0])
        del limits["pending"][key]
        limits["changed"][key] = entry | {"approved_by": person[0]}
    return {"key": key, "value": entry["value"], "in_force": taken_ms is not None, "pending": False, "taken_after_ms": taken_ms}


def begin_with(instance: Instance, config: Config, words: NDArray[np.int64]) -> None:
    """Put into the log of a new engine what was changed in earlier ones; what is not tighter than the config is forgotten."""
    with _locked(instance) as limits:
        for key, entry in list(limits["changed"].items()):
            try:
                limit = limit_of(config, key, entry["value"])
            except EngineError as error:
                log("limit change forgotten", key=key, why=str(error))
                del limits["changed"][key]
                continue
            if limit.value >= limit.given:
                del limits["changed"][key]
            else:
                append(words, _change(limit, entry["by"], entry.get("approved_by", "")))


def _apply(words: NDArray[np.int64], limit: Limit, by: str, approved_by: str) -> float | None:
    """Put the change into the log and wait until risk has taken it; return how long that was, in ms, None if it has not."""
    began_ns = time.monotonic_ns()
    number = append(words, _change(limit, by, approved_by))
    # SYNC taken: pairs with store_release in risk's _take_changes().
    while words[control.LIMIT_TAKEN] <= number:
        if time.monotonic_ns() - began_ns > PATIENCE_S * 1e9:
            return None
        time.sleep(0.0001)
    return (time.monotonic_ns() - began_ns) / 1e6


def _change(limit: Limit, by: str, approved_by: str) -> list[int]:
    return [limit.row, limit.field, limit.value, name_word(by), name_word(approved_by) if approved_by else 0]


def _config(instance: Instance) -> Config:
    return msgspec.convert(engine_of(instance)["config"], Config)


def _user() -> str:
    """The user who runs this, as far as a journal's word has room."""
    letters = "".join(c for c in pwd.getpwuid(os.getuid()).pw_name.lower() if c.isascii() and c.isalnum()).lstrip("0123456789")
    return letters[:7] or "user"


@contextmanager
def _locked(instance: Instance) -> Iterator[dict[str, Any]]:
    """What `limits.json` has, while nobody else changes it; written back when nothing was raised."""
    lock = os.open(instance.folder / "limits.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        limits = read_limits(instance)
        yield limits
        write_durably(instance.limits_file, msgspec.json.encode(limits))
    finally:
        os.close(lock)
