"""hftctl risk: limits and controls of a running engine, and who may change them."""

from __future__ import annotations

from typing import Any

import click

from processes.cli_options import Group, as_utf8, emit, instance_option, json_option
from processes.instance import Instance


@click.group(cls=Group)
def risk() -> None:
    """Look at limits and controls."""


@risk.command("reduce")
@click.argument("instrument")
@click.option("--reason", default="hftctl risk reduce", callback=as_utf8, help="Kept with the latch.")
@json_option
@instance_option
def risk_reduce(instrument: str, reason: str, as_json: bool, instance: Instance) -> None:
    """Let orders in INSTRUMENT only reduce positions, and cancel the working ones; latched until `arm`."""
    from processes.operate import kill_scope

    document = kill_scope(instance, f"instrument.{instrument}", reason)
    emit(document, as_json, lambda d: click.echo(f"reduce-only: {instrument}; latched{'' if d['running'] else ' (no engine is running)'}"))


as_option = click.option("--as", "name", metavar="NAME", help="Who you are; your secret is asked for.")


def person_of(name: str | None) -> tuple[str, str] | None:
    """A name with the secret that is asked for: on the terminal, else one line of stdin."""
    return None if name is None else (name, click.prompt(f"secret of {name}", hide_input=True, err=True))


@risk.command("set")
@click.argument("key")
@click.argument("value")
@click.option("--reason", required=True, callback=as_utf8, help="Kept with the change.")
@as_option
@json_option
@instance_option
def risk_set(key: str, value: str, reason: str, name: str | None, as_json: bool, instance: Instance) -> None:
    """Tighten limit KEY of the running engine to VALUE at once, or ask for a looser one, which somebody else must approve."""
    from processes.limit_set import set_limit

    emit_change(set_limit(instance, key, value, reason, person_of(name)), as_json)


def emit_change(document: dict[str, Any], as_json: bool) -> None:
    """What became of a change of a limit; exit 1 when risk has not taken it."""
    taken_ms = document["taken_after_ms"]
    what = "waits for an approval" if document["pending"] else "risk has not taken it yet; to stop orders now: hftctl kill"
    what = what if taken_ms is None else f"in force after {taken_ms:.2f} ms"
    emit(document, as_json, lambda d: click.echo(f"{d['key']} = {d['value']}: {what}"))
    if not document["in_force"] and not document["pending"]:
        raise SystemExit(1)


@risk.command("approve")
@click.argument("key")
@click.option("--as", "name", required=True, metavar="NAME", help="Who you are; your secret is asked for.")
@json_option
@instance_option
def risk_approve(key: str, name: str, as_json: bool, instance: Instance) -> None:
    """Put the looser limit KEY into force that somebody else has asked for."""
    from processes.limit_set import approve_limit

    person = person_of(name)
    assert person is not None
    emit_change(approve_limit(instance, key, person), as_json)


@risk.command("person")
@click.argument("name")
@json_option
@instance_option
def risk_person(name: str, as_json: bool, instance: Instance) -> None:
    """Make NAME known as somebody who may ask for and approve looser limits; a new secret is asked for."""
    from processes.people import add_person

    add_person(instance, name, click.prompt(f"new secret of {name}", hide_input=True, confirmation_prompt=True, err=True))
    emit({"name": name}, as_json, lambda d: click.echo(f"{d['name']} may ask for and approve looser limits"))


@risk.command("show")
@json_option
@instance_option
def risk_show(as_json: bool, instance: Instance) -> None:
    """Show every limit, what is used of it, and what each control has refused."""
    from processes.risk_show import print_risk, read_risk

    emit(read_risk(instance), as_json, print_risk)
