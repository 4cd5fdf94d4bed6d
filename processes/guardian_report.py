"""Guardian report: what a guardian says of itself, in `guardian.json` of the instance and to people. Canceling does not need it."""

from __future__ import annotations

import time
from typing import Any

import click
import msgspec

from hft.sweep import Verdict
from processes.attach import is_alive
from processes.errors import EngineError
from processes.instance import Instance, write_durably

#: Longest that `await_verdict` waits: far beyond every deadline that a guardian may be given.
_VERDICT_TIMEOUT_S = 300.0


def describe(venue: Any, killed: bool) -> dict[str, Any]:
    """What is known of one venue, a GuardedVenue or PaperVenue."""
    sweep = venue.sweep
    known = {"name": venue.name, "killed": killed, "verdict": venue.verdict.value if killed else None}
    if not killed:
        return {**known, "open_orders": None, "listed": [], "clean_answers": 0, "cancelled_after_ms": None, "refused_cancels": 0, "why": ""}
    orders = None if sweep is None else sweep.open_orders
    after_ns = sweep.cancelled_ns - venue.killed_ns if sweep is not None and sweep.cancelled_ns else None
    why = [] if venue.verdict is Verdict.CLEAN else [text for text in (venue.problem, "" if sweep is None else sweep.why) if text]
    return {
        **known,
        "open_orders": None if orders is None else len(orders),
        "listed": [] if orders is None else orders[:20],
        "clean_answers": 0 if sweep is None else sweep.clean,
        "cancelled_after_ms": None if after_ns is None else round(after_ns / 1e6, 3),
        "refused_cancels": 0 if sweep is None else sweep.refusals,
        "why": "; ".join(dict.fromkeys(why)),
    }


def state_of(venues: list[dict[str, Any]], any_kill: bool) -> str:
    """One word for all venues."""
    if not any_kill:
        return "WATCHING"
    verdicts = {venue["verdict"] for venue in venues if venue["killed"]}
    for verdict in (Verdict.UNCONFIRMED, Verdict.PENDING):
        if verdict.value in verdicts:
            return verdict.value
    return Verdict.CLEAN.value


def write_report(instance: Instance, document: dict[str, Any]) -> None:
    """Store it where `hftctl status` finds it."""
    write_durably(instance.guardian_file, msgspec.json.encode(document))


def read_report(instance: Instance) -> dict[str, Any] | None:
    """The newest report, with `alive` for whether its guardian still runs; None without any, or if it cannot be read."""
    try:
        found: Any = msgspec.json.decode(instance.guardian_file.read_bytes())
    except (OSError, msgspec.DecodeError):
        return None
    return {**found, "alive": is_alive(found)} if isinstance(found, dict) and {"pid", "started"} <= found.keys() else None


def await_verdict(instance: Instance, scope: str) -> dict[str, Any]:
    """The guardian's report once it has a verdict on a scope that is latched. Raises EngineError without a guardian that runs."""
    deadline = time.monotonic() + _VERDICT_TIMEOUT_S
    while time.monotonic() < deadline:
        report = read_report(instance)
        if report is None or not report["alive"]:
            raise EngineError(
                f"killed {scope} and latched, but NOT CONFIRMED: no guardian runs for instance {instance.name!r}; start `hftctl guardian`"
            )
        taken = report["kills"].get(scope, {}).get("at_ns", 0)
        venues = [venue for venue in report["venues"] if scope in ("firm", f"venue.{venue['name']}")]
        is_taken = taken == instance.read_kill().get(scope, {}).get("at_ns") and bool(venues)
        if is_taken and all(venue["verdict"] not in (None, Verdict.PENDING.value) for venue in venues):
            return {**report, "verdict": state_of(venues, True), "venues": venues}
        time.sleep(0.02)
    raise EngineError(f"killed {scope} and latched, but NOT CONFIRMED: the guardian has said nothing for {_VERDICT_TIMEOUT_S:g} s")


def print_report(document: dict[str, Any]) -> None:
    """The report for people."""
    gone = "" if document.get("alive", True) else " (its process has ended)"
    click.echo(f"guardian: {document['state']}{gone}{'  ' + document['problem'] if document['problem'] else ''}")
    for scope, kill in document["kills"].items():
        click.echo(f"  {scope}: {kill['reason'] or 'no reason given'}")
    for venue in document["venues"]:
        if venue["killed"]:
            orders = "unknown" if venue["open_orders"] is None else venue["open_orders"]
            why = f"; {venue['why']}" if venue["why"] else ""
            click.echo(f"  {venue['name']}: {venue['verdict']}, open orders {orders}, clean answers {venue['clean_answers']}{why}")
