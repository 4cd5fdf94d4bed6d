"""Operate: kill, arm and stop, on nothing but shared memory, files and signals.

These work with every stage frozen: they store one word, or write one file, and do not wait for a stage to agree.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from typing import Any

import click
import msgspec
from numpy.typing import NDArray

from hft import control
from hft.records import RiskCode
from processes.attach import attach_control, engine_of, is_alive
from processes.errors import EngineError
from processes.instance import Instance, write_durably
from processes.logs import log

#: How long `stop` waits for the supervisor to drain, report and unlink.
STOP_TIMEOUT_S = 30.0


def kill_scope(instance: Instance, scope: str, reason: str) -> dict[str, Any]:
    """Latch a kill of `firm`, `venue.<name>` or `strategy.<name>`, or that `instrument.<name>` may only be reduced; set its word. Idempotent."""
    engine = instance.read_engine()
    word = control.KILL_FIRM if scope == "firm" else _word_of(scope, engine)
    running = engine is not None and is_alive(engine)
    started_ns = time.monotonic_ns()
    try:
        _set_word(instance, word)
    except EngineError:
        if running:
            raise
    finally:
        # Whatever became of the word: an engine on its way out has none any more, and the next one must not trade.
        set_ns = time.monotonic_ns()
        with instance.changing_kill() as latch:
            latch.setdefault(scope, {"reason": reason, "at_ns": time.time_ns()})
            with suppress(EngineError, OSError):
                _set_word(instance, word)  # Again: an `arm` that was at work until now has cleared it.
    return {"scope": scope, "latched": True, "running": running, "set_after_ns": set_ns - started_ns}


def _set_word(instance: Instance, word: int) -> None:
    with attach_control(instance) as words:
        words[word] = words[word] or 1


def _word_of(scope: str, engine: dict[str, Any] | None) -> int:
    kind, _, name = scope.partition(".")
    if engine is None:
        raise EngineError(f"cannot kill {scope}: no engine has run here, so its name is not known; kill the firm instead")
    names: list[str] = engine["venues"] if kind == "venue" else engine["strategies"]
    if kind == "instrument":
        names = [instrument["name"] for instrument in engine["instruments"]]
    if name not in names:
        raise EngineError(f"no {kind} {name!r}; there are {', '.join(names)}")
    row = names.index(name)
    if kind == "instrument":
        return control.reduce_instrument(row)
    return control.kill_venue(row) if kind == "venue" else control.kill_strategy(row)


def scope_of(word: int, engine: dict[str, Any]) -> str:
    """The scope whose kill or reduce word this is."""
    if word == control.KILL_FIRM:
        return "firm"
    if word >= control.REDUCE:
        return f"instrument.{engine['instruments'][word - control.REDUCE]['name']}"
    if word < control.KILL_STRATEGY:
        return f"venue.{engine['venues'][word - control.KILL_VENUE]}"
    return f"strategy.{engine['strategies'][word - control.KILL_STRATEGY]}"


def latch_words(latch: dict[str, Any], engine: dict[str, Any]) -> list[int]:
    """The kill and reduce words that a latch sets. An unknown scope in it counts as the firm: a latch never weakens."""
    words = []
    for scope in latch:
        try:
            words.append(control.KILL_FIRM if scope == "firm" else _word_of(scope, engine))
        except EngineError:
            words.append(control.KILL_FIRM)
    return words


def latch_tripped(instance: Instance, words: NDArray[Any], engine: dict[str, Any]) -> None:
    """Latch what breakers and stop-losses have set words for, and log it; nothing is written if all of it is there.

    The file tells, not what was latched before: meanwhile a word may have been armed, and the latch with it, and have tripped again.
    """
    known = instance.read_kill()
    if all(scope in known for scope in _tripped(words, engine)):
        return
    with instance.changing_kill() as latch:
        for scope, code in _tripped(words, engine).items():
            if scope not in latch:
                latch[scope] = {"reason": f"R{code - 2000:03d} {code.name}", "at_ns": time.time_ns()}
                log("breaker tripped", scope=scope, code=int(code), control=code.name)


def _tripped(words: NDArray[Any], engine: dict[str, Any]) -> dict[str, RiskCode]:
    """Scope -> why its word is set, where people have not set it."""
    latching = control.latching_words()
    codes = dict(zip(latching, words[latching].tolist(), strict=True))
    return {scope_of(word, engine): RiskCode(code) for word, code in codes.items() if code > 1}


def arm_engine(instance: Instance, reason: str) -> dict[str, Any]:
    """Clear every kill, and have venues that differ from the ledger taken as they are; the latch file goes last, so that a crash between
    leaves the engine killed."""
    if not reason.strip():
        raise EngineError("--reason: say why it is safe to trade again")
    engine = instance.read_engine()
    accepted: list[str] = []
    with instance.changing_kill() as latch:
        cleared = sorted(latch)
        if engine is not None and is_alive(engine):
            with attach_control(instance) as words:
                words[control.latching_words()] = 0
                for row, venue in enumerate(engine["venues"]):
                    if words[control.venue_differs(row)]:
                        words[control.venue_accept(row)] = 1
                        accepted.append(venue)
        write_durably(instance.armed_file, msgspec.json.encode({"at_ns": time.time_ns(), "reason": reason}))
        latch.clear()
    return {"cleared": cleared, "accepted": accepted, "reason": reason}


def print_armed(document: dict[str, Any]) -> None:
    """What `arm_engine` did, for people."""
    taken = f"; balances of {', '.join(document['accepted'])} are taken as they are" if document["accepted"] else ""
    click.echo(f"armed; cleared {', '.join(document['cleared']) or 'nothing'}{taken}")


def stop_engine(instance: Instance) -> dict[str, Any]:
    """Ask the supervisor to stop and wait until it has."""
    engine = engine_of(instance)
    os.kill(engine["pid"], signal.SIGTERM)
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while is_alive(engine):
        if time.monotonic() > deadline:
            raise EngineError(
                f"engine {instance.name} (pid {engine['pid']}) has not stopped after {STOP_TIMEOUT_S:g} s; see {instance.folder / 'log'}"
            )
        time.sleep(0.02)
    return {"state": "stopped", "instance": instance.name}
