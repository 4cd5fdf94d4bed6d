"""Status: reads what an engine is doing from its shared tables; imports no numba."""

from __future__ import annotations

import time
from typing import Any

import click
from numpy.typing import NDArray

from hft import control
from hft.control import ProcessState, ProcessWord, process_word
from hft.decimals import format_units
from hft.records import LAYOUT_ID, POSITION
from hft.topology import build
from processes.attach import attach_control, engine_of
from processes.guardian_report import print_report, read_report
from processes.instance import Instance
from shm import observe
from shm.layout import SegmentKind

#: orders{} of the status -> counter of an execution stage
_ORDER_COUNTERS = {
    "sent": "SENT",
    "acked": "ACKED",
    "filled": "FILLED",
    "canceled": "CANCELED",
    "rejected": "REJECTED",
    "expired": "EXPIRED",
    "unknown": "UNKNOWN",
    "not_sent": "NOT_SENT",
    "trades": "TRADES",
    "working": "WORKING",
}


def read_counters(instance: Instance, engine: dict[str, Any]) -> dict[str, dict[str, int]]:
    """stage -> counter name -> value."""
    found = {}
    for stage in build(engine["venues"], engine["strategies"]).stages:
        segment = observe.attach(f"{instance.prefix}counters.{stage.name}", LAYOUT_ID, SegmentKind.COUNTERS)
        found[stage.name] = observe.counters(segment)
        segment.close()
    return found


def read_positions(instance: Instance) -> NDArray[Any]:
    """POSITION rows: the firm's, then each strategy's, one an instrument."""
    segment = observe.attach(f"{instance.prefix}positions", LAYOUT_ID, SegmentKind.CELL)
    rows = observe.cells(segment, POSITION)
    segment.close()
    return rows


def read_status(instance: Instance) -> dict[str, Any]:
    """Everything `hftctl status` shows; raises NotRunning."""
    engine = engine_of(instance)
    with attach_control(instance) as words:
        control_words = words.copy()
    counters = read_counters(instance, engine)
    now_ns = time.monotonic_ns()
    executions = [values for stage, values in counters.items() if stage.startswith("execution.")]
    kill_words = control_words[control.latching_words()]
    positions = read_positions(instance)
    latch = instance.read_kill()
    return {
        "instance": instance.name,
        "state": engine["state"],
        "mode": engine["mode"],
        "epoch": engine["epoch"],
        "session": engine["session"],
        "restarts": engine["restarts"],
        "halted": bool(control_words[control.HALT]),
        "kill_latched": bool(kill_words.any()) or bool(latch),
        "kills": sorted(latch),
        "kill_reasons": {scope: str(entry.get("reason", "")) for scope, entry in sorted(latch.items()) if isinstance(entry, dict)},
        "guardian": read_report(instance),
        "differences": _differences(engine, control_words),
        "stages": _stages(engine, control_words, counters, now_ns),
        "venues": [_venue(venue, counters) for venue in engine["venues"]],
        "orders": {key: sum(values[name.lower()] for values in executions) for key, name in _ORDER_COUNTERS.items()},
        "refused": _refused(counters["risk"]),
        "positions": _positions(engine, positions),
        "pnl": _pnl(engine, positions),
    }


def _differences(engine: dict[str, Any], words: Any) -> list[dict[str, Any]]:
    """What ledger and venue do not say the same of: each such asset, then, where there is more, that there is."""
    found = []
    for row, venue in enumerate(engine["venues"]):
        assets = []
        for i, instrument in enumerate(engine["instruments"]):
            pair, _, where = instrument["name"].rpartition(".")
            at = control.difference(i)
            for asset, ledger_e8, venue_e8 in zip(pair.split("-"), words[at : at + 4 : 2], words[at + 1 : at + 4 : 2], strict=True):
                if where.lower() == venue and (ledger_e8 or venue_e8):
                    texts = {"ledger": format_units(int(ledger_e8), 8), "venue_says": format_units(int(venue_e8), 8)}
                    assets.append({"venue": venue, "instrument": instrument["name"], "asset": asset, **texts})
        count = int(words[control.venue_differs(row)])
        found += assets
        if count > len(assets):
            found.append({"venue": venue, "orders_of_others": count - len(assets)})
    return found


def _stages(engine: dict[str, Any], words: Any, counters: dict[str, dict[str, int]], now_ns: int) -> list[dict[str, Any]]:
    stages = []
    for row, process in enumerate(engine["processes"]):
        beat_ns = int(words[process_word(row, ProcessWord.BEAT)])
        for stage in process["stages"]:
            stages.append(
                {
                    "name": stage,
                    "process": process["name"],
                    "pid": int(words[process_word(row, ProcessWord.PID)]),
                    "core": process["core"],
                    "state": ProcessState(int(words[process_word(row, ProcessWord.STATE)])).name,
                    "epoch": int(words[process_word(row, ProcessWord.EPOCH)]),
                    "beat_age_ms": round((now_ns - beat_ns) / 1e6, 3) if beat_ns else None,
                    "counters": {name: value for name, value in counters[stage].items() if value},
                }
            )
    return stages


def _venue(venue: str, counters: dict[str, dict[str, int]]) -> dict[str, Any]:
    feed = counters[f"feed.{venue}"]
    return {"name": venue, "connected": feed["connects"] > feed["disconnects"], **{name: feed[name] for name in _VENUE_COUNTERS}}


_VENUE_COUNTERS = ("books_valid", "frames", "events", "trades", "quotes", "gaps", "crossed", "malformed", "resyncs", "overruns")


def _refused(risk: dict[str, int]) -> dict[str, int]:
    return {name.removeprefix("refused_").upper(): value for name, value in risk.items() if name.startswith("refused_r") and value}


def _positions(engine: dict[str, Any], table: Any) -> list[dict[str, Any]]:
    count = len(engine["instruments"])
    owners = ["firm", *engine["strategies"]]
    rows = []
    for row in range(len(table)):
        position, instrument = table[row], engine["instruments"][row % count]
        lots = int(position["position_lots"])
        rows.append(
            {
                "owner": owners[row // count],
                "instrument": instrument["name"],
                "position_lots": lots,
                "position": format_units(lots * instrument["lot_units"], instrument["qty_decimals"]),
                "realised_e8": int(position["realised_e8"]),
                "unrealised_e8": int(position["unrealised_e8"]),
                "fees_quote_e8": int(position["fees_quote_e8"]),
                "cost_e8": int(position["cost_e8"]),
                "cash_ticklots": int(position["cash_ticklots"]),
                "turnover_e8": int(position["turnover_e8"]),
                "fills": int(position["fills"]),
                "working_buy_lots": int(position["working_buy_lots"]),
                "working_sell_lots": int(position["working_sell_lots"]),
            }
        )
    return rows


def _pnl(engine: dict[str, Any], table: Any) -> dict[str, Any]:
    """The firm's P&L in the base currency, each instrument at its quote's configured rate."""
    rates = engine["base_rates_e8"]
    firm = table[: len(rates)]
    sums = {key: sum(int(v) * rate // 10**8 for v, rate in zip(firm[field], rates, strict=True)) for key, field in _PNL_FIELDS.items()}
    net_e8 = sums["realised"] + sums["unrealised"] - sums["fees"]
    texts = {key: format_units(value, 8) for key, value in sums.items()}
    return {"currency": engine["base_currency"], **texts, "net": format_units(net_e8, 8), "net_e8": net_e8}


_PNL_FIELDS = {"realised": "realised_e8", "unrealised": "unrealised_e8", "fees": "fees_quote_e8", "turnover": "turnover_e8"}


def latch_text(reasons: dict[str, str]) -> str:
    """What is latched and why, "" if nothing is: kills first, then instruments that may only be reduced."""
    said = {True: [], False: []}  # type: dict[bool, list[str]]
    for scope, reason in reasons.items():
        said[scope.startswith("instrument.")].append(f"{scope}: {reason or 'no reason given'}")
    return "  ".join(f"{word} ({', '.join(said[what])})" for word, what in (("KILLED", False), ("REDUCE-ONLY", True)) if said[what])


def _difference_text(one: dict[str, Any]) -> str:
    head = f"REDUCE-ONLY {one['venue']}: "
    if "orders_of_others" in one:
        return f"{head}{one['orders_of_others']} open orders that are not the engine's; cancel them at the venue"
    changed = f"{one['asset']} ({one['instrument']}) changed by {one['ledger']} as the ledger says, by {one['venue_says']} at the venue"
    return f"{head}{changed}; mend it there, or take it as it is: hftctl arm"


def print_status(status: dict[str, Any]) -> None:
    """The status as tables."""
    latched = latch_text({scope: status["kill_reasons"].get(scope, "") for scope in status["kills"]})
    latched = latched or ("KILLED" if status["kill_latched"] else "")
    killed = f"  {latched}" if latched else ""
    click.echo(f"{status['instance']}: {status['state']}, mode {status['mode']}, epoch {status['epoch']}{killed}")
    for one in status["differences"]:
        click.echo(_difference_text(one))
    if status["guardian"] is not None:
        print_report(status["guardian"])
    click.echo(f"\n{'stage':<22}{'process':<12}{'pid':>8}{'core':>6}  {'state':<10}{'beat ms':>9}")
    for stage in status["stages"]:
        core = "-" if stage["core"] is None else stage["core"]
        beat = "-" if stage["beat_age_ms"] is None else f"{stage['beat_age_ms']:.1f}"
        click.echo(f"{stage['name']:<21} {stage['process']:<11} {stage['pid']:>8}{core:>6}  {stage['state']:<10}{beat:>9}")
    for venue in status["venues"]:
        click.echo(f"\n{venue['name']}: " + ", ".join(f"{name.replace('_', ' ')} {venue[name]}" for name in _VENUE_COUNTERS))
    click.echo("orders: " + ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in status["orders"].items()))
    if status["refused"]:
        click.echo("refused by risk: " + ", ".join(f"{code} x{count}" for code, count in status["refused"].items()))
    click.echo(f"\n{'owner':<10}{'instrument':<20}{'position':>16}{'realised':>16}{'unrealised':>16}{'fees':>14}{'fills':>8}")
    for row in status["positions"]:
        money = [format_units(row[key], 8)[:-4] for key in ("realised_e8", "unrealised_e8", "fees_quote_e8")]
        click.echo(
            f"{row['owner']:<9} {row['instrument']:<19} {row['position']:>16} {money[0]:>15} {money[1]:>15} {money[2]:>13} {row['fills']:>7}"
        )
    pnl = status["pnl"]
    words = f"{pnl['net'][:-4]} {pnl['currency']} (realised {pnl['realised'][:-4]}, unrealised {pnl['unrealised'][:-4]}, fees {pnl['fees'][:-4]})"
    click.echo(f"P&L: {words}\n")
