"""Risk show: every limit in force beside what is used of it, what was changed, and what each control has refused."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import click

from hft.control import venue_balances
from hft.controls import CONTROLS
from processes.attach import attach_control, engine_of
from processes.instance import Instance
from processes.limit_set import read_limits
from processes.status import latch_text, read_status


def read_risk(instance: Instance) -> dict[str, Any]:
    """Everything `hftctl risk show` shows; raises NotRunning."""
    engine, status = engine_of(instance), read_status(instance)
    config, limits = engine["config"], read_limits(instance)
    firm = [position for position in status["positions"] if position["owner"] == "firm"]
    return {
        "instance": status["instance"],
        "limits_changed": limits["changed"],
        "limits_pending": limits["pending"],
        "kill_reasons": status["kill_reasons"],
        "instruments": [
            _instrument(position, _changed(limits, f"limits.{position['instrument']}", config["limits"][position["instrument"]]))
            for position in firm
        ],
        "firm": {
            "pnl": status["pnl"]["net"],
            "currency": status["pnl"]["currency"],
            "limits": _changed(limits, "firm", _limits(config["firm"])),
        },
        "balances": _balances(instance, engine),
        "controls": [
            {
                "number": control.number,
                "name": control.code.name,
                "key": control.key,
                "refuses": control.refuses,
                "refused": status["refused"].get(control.number, 0),
            }
            for control in CONTROLS
        ],
    }


def _balances(instance: Instance, engine: dict[str, Any]) -> dict[str, str]:
    """Venue -> what BALANCE holds orders against there."""
    with attach_control(instance) as words:
        said = [bool(words[venue_balances(row)]) for row in range(len(engine["venues"]))]
    found = {}
    for venue, is_said in zip(engine["venues"], said, strict=True):
        if engine["config"]["execution"][venue]["kind"] == "paper":
            found[venue] = "not asked: orders are filled on paper, without an account"
        else:
            found[venue] = "the account's, as the venue said" if is_said else "not known yet: no new orders"
    return found


def _instrument(position: dict[str, Any], limits: dict[str, Any]) -> dict[str, Any]:
    held, most = Decimal(position["position"]), Decimal(limits["position_max"])
    used = {"position": position["position"], "position_used_percent": round(float(100 * abs(held) / most), 1)}
    return {"instrument": position["instrument"], **used, "fills": position["fills"], "limits": dict(limits)}


def _changed(limits: dict[str, Any], section: str, given: dict[str, Any]) -> dict[str, Any]:
    """The limits of a section that are in force: the config's, but for what was changed since."""
    values = {key: limits["changed"].get(f"{section}.{key}", {}).get("value", value) for key, value in given.items()}
    return {key: type(given[key])(value) for key, value in values.items()}


def _limits(firm: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in firm.items() if key not in ("base_currency", "rates")}


def print_risk(document: dict[str, Any]) -> None:
    """The document as tables."""
    click.echo(f"{document['instance']}: {latch_text(document['kill_reasons']) or 'armed'}")
    click.echo(f"\n{'instrument':<24}{'position':>14}{'of':>14}{'used %':>9}{'order max':>14}{'notional max':>14}{'open':>6}{'move bp':>9}")
    for row in document["instruments"]:
        limits = row["limits"]
        click.echo(
            f"{row['instrument']:<24}{row['position']:>14}{limits['position_max']:>14}{row['position_used_percent']:>9}"
            f"{limits['order_qty_max']:>14}{limits['order_notional_max']:>14}{limits['open_orders_max']:>6}{limits['move_max_bp']:>9}"
        )
    firm = document["firm"]
    click.echo(f"\nfirm, P&L {firm['pnl']} {firm['currency']}")
    for key, value in firm["limits"].items():
        click.echo(f"  {key:<24}{value:>14}")
    for venue, balances in document["balances"].items():
        click.echo(f"balances at {venue}: {balances}")
    for what in ("changed", "pending"):
        for key, entry in document[f"limits_{what}"].items():
            approved = f", approved by {entry['approved_by']}" if "approved_by" in entry else ""
            click.echo(f"{what}: {key} = {entry['value']}, asked by {entry['by']}{approved}: {entry['reason']}")
    click.echo(f"\n{'control':<8}{'name':<26}{'refused':>9}  key")
    for control in document["controls"]:
        click.echo(f"{control['number']:<8}{control['name']:<26}{control['refused']:>9}  {control['key']}")
