"""hftctl: the command line. Every command imports what it needs when it runs, so that status, stop and kill are quick."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from processes.cli_options import Group, Numbers, as_utf8, config_option, emit, instance_option, json_option
from processes.cli_risk import risk
from processes.cli_trials import bench, chaos, simulate
from processes.errors import EngineError
from processes.instance import Instance


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option("0.1.0", prog_name="hftctl")
def main() -> None:
    """Run and watch a shared-memory multiprocess trading engine."""


for command in (risk, bench, chaos, simulate):
    main.add_command(command)


@main.command()
@config_option
@click.option("--for", "seconds", type=Numbers(min=1), help="Stop by itself after S seconds and print the report.")
@click.option("--detach", is_flag=True, help="Return when the engine trades; it goes on in the background.")
@click.option("--new-session", is_flag=True, help="Begin flat, also when the engine before did not stop in order.")
@json_option
@instance_option
def start(config_file: Path, seconds: float | None, detach: bool, new_session: bool, as_json: bool, instance: Instance) -> None:
    """Start an engine."""
    from processes import start as starting

    if detach:
        document = starting.start_detached(instance, config_file, seconds, new_session)
    else:
        document = starting.start_foreground(instance, config_file, seconds, quiet=as_json, new_session=new_session)
    emit(document, as_json, starting.print_end)


@main.command()
@json_option
@instance_option
def stop(as_json: bool, instance: Instance) -> None:
    """Stop an engine in order: cancel all, drain, report, unlink."""
    from processes.operate import stop_engine

    emit(stop_engine(instance), as_json, lambda d: click.echo(f"{d['state']}"))


@main.command()
@click.option("--venue", help="Only orders of this venue.")
@click.option("--strategy", help="Only orders of this strategy.")
@click.option("--all", "everything", is_flag=True, help="The whole firm (the default).")
@click.option("--reason", default="hftctl kill", callback=as_utf8, help="Kept with the latch.")
@click.option("--verify", is_flag=True, help="Wait for the guardian's verdict on the venues' open orders; exit 1 unless there are none.")
@json_option
@instance_option
def kill(venue: str | None, strategy: str | None, everything: bool, reason: str, verify: bool, as_json: bool, instance: Instance) -> None:
    """Stop all new orders at once and cancel the working ones; latched until `arm`."""
    from processes.operate import kill_scope

    if sum((venue is not None, strategy is not None, everything)) > 1:
        raise click.UsageError("give at most one of --venue, --strategy and --all")
    if verify and strategy is not None:
        raise click.UsageError("--verify: a venue cannot tell a strategy's orders from others; kill the venue or all")
    scope = f"venue.{venue}" if venue is not None else f"strategy.{strategy}" if strategy is not None else "firm"
    document = kill_scope(instance, scope, reason)
    if verify:
        from processes.guardian_report import await_verdict, print_report

        document = await_verdict(instance, scope)
        emit(document, as_json, print_report)
        raise SystemExit(0 if document["verdict"] == "NO OPEN ORDERS" else 1)
    emit(document, as_json, lambda d: click.echo(f"killed {d['scope']}; latched{'' if d['running'] else ' (no engine is running)'}"))


@main.command()
@config_option
@click.option("--until-stopped", is_flag=True, help="End when the engine has ended and the verdicts are there.")
@json_option
@instance_option
def guardian(config_file: Path, until_stopped: bool, as_json: bool, instance: Instance) -> None:
    """Guard an engine: after a kill, or when it cannot be trusted, end all orders at the venues and prove it."""
    from processes.guardian import run_guardian
    from processes.guardian_report import print_report

    emit(run_guardian(instance, config_file, until_stopped), as_json, print_report)


@main.command()
@click.option("--reason", required=True, callback=as_utf8, help="Why it is safe to trade again; kept in the log.")
@json_option
@instance_option
def arm(reason: str, as_json: bool, instance: Instance) -> None:
    """Clear the kill latch, and take what a venue that differs from the ledger says as it is."""
    from processes.operate import arm_engine, print_armed

    emit(arm_engine(instance, reason), as_json, print_armed)


@main.command()
@json_option
@instance_option
def status(as_json: bool, instance: Instance) -> None:
    """Show what an engine is doing."""
    from processes.status import print_status, read_status

    emit(read_status(instance), as_json, print_status)


@main.command()
@click.option("--interval", type=Numbers(min=0.1, max=60), default=1.0, help="Seconds between pictures.")
@click.option("--once", is_flag=True, help="One picture, then leave.")
@instance_option
def top(interval: float, once: bool, instance: Instance) -> None:
    """Watch stages, rings, orders and P&L."""
    from processes.top import watch

    watch(instance, interval, once)


@main.command()
@click.option("--hgrm", type=click.Path(path_type=Path, file_okay=False), help="Also write one .hgrm file a span into this folder.")
@json_option
@instance_option
def latency(hgrm: Path | None, as_json: bool, instance: Instance) -> None:
    """Latency percentiles of every hop, of the running engine or of its last report."""
    from processes.latency import print_latency, read_latency

    emit(read_latency(instance, hgrm), as_json, print_latency)


@main.command()
@click.argument("session", required=False)
@json_option
@instance_option
def replay(session: str | None, as_json: bool, instance: Instance) -> None:
    """Repeat a session's decisions from its journals and compare them byte by byte. SESSION is an epoch or a folder."""
    from processes.replay import print_replay, replay_session

    document = replay_session(instance, session)
    emit(document, as_json, print_replay)
    if not document["equal"]:
        raise SystemExit(1)


@main.command()
@click.argument("name")
@config_option
@instance_option
def stage(name: str, config_file: Path, instance: Instance) -> None:
    """Run one stage as a process of its own (what a systemd unit runs)."""
    from processes.run import run_single_stage

    run_single_stage(instance, config_file, name)


@main.command("verify-capture")
@click.option("--venue", required=True, type=click.Choice(["binance", "coinbase", "kraken"]), help="Whose protocol.")
@click.argument("path", type=click.Path(path_type=Path))
@json_option
def verify_capture(venue: str, path: Path, as_json: bool) -> None:
    """Run a recorded capture through the decoder and the book, against the venue's own oracle."""
    from processes.verify_capture import print_capture, verify

    document = verify(venue, path)
    emit(document, as_json, print_capture)
    if document["wrong"]:
        raise EngineError("; ".join(document["wrong"]))


@main.command()
@click.option("--venue", required=True, type=click.Choice(["binance", "coinbase", "kraken"]), help="Whose market data.")
@click.option("--symbols", required=True, help="Comma-separated, as the venue writes them.")
@click.option("--out", "folder", required=True, type=click.Path(path_type=Path, file_okay=False), help="Folder of the segments.")
@click.option("--url", help="WebSocket of the market data; the venue's public one by default.")
@click.option("--rest-url", help="REST, for whole books; the public one if --url is not given, else none is asked for.")
@click.option("--for", "seconds", type=Numbers(min=0.1), help="Stop by itself after S seconds.")
@click.option(
    "--codec", type=click.Choice(["json", "sbe"]), default="json", show_default=True, help="Binance: the encoding; sbe needs a key."
)
@click.option(
    "--channel", type=click.Choice(["level2_batch", "level2", "full"]), default="level2_batch", show_default=True, help="Coinbase."
)
@click.option(
    "--depth", type=click.Choice(["10", "25", "100", "500", "1000"]), default="100", show_default=True, help="Kraken: levels a side."
)
@click.option(
    "--snapshot-levels", type=click.IntRange(5, 5000), default=1000, show_default=True, help="Binance: levels a side of a snapshot."
)
@click.option("--credentials", type=click.Path(), help="Key file, for market data that needs one.")
@click.option("--ca-file", type=click.Path(), help="Authorities to trust instead of the system's.")
@click.option(
    "--segment-mb", type=Numbers(min=0.01, max=1e6), default=64.0, show_default=True, help="A new segment after so many MB, packed."
)
@click.option("--segment-minutes", type=Numbers(min=0.01, max=1e5), default=60.0, show_default=True, help="A new segment after so long.")
@json_option
def record(venue: str, seconds: float | None, as_json: bool, **options: Any) -> None:
    """Write a venue's market data, as it comes, into packed segments."""
    from processes.record import order_of, print_record
    from processes.record import record as run

    order = order_of(venue, options)
    if not order.section.rest_url and venue == "binance":
        click.echo("hftctl: no --rest-url: what is recorded has no snapshots, which books begin with", err=True)
    document = run(order, seconds, quiet=as_json)
    emit(document, as_json, print_record)
    if not document["messages"]:
        raise EngineError(f"nothing was heard from {order.section.stream_url}: {document['error'] or 'no message came'}")


@main.command("venue-sim")
@click.argument("venue", type=click.Choice(["binance", "coinbase", "kraken"]))
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="WebSocket port; REST and control take the next free ones. 0: any.")
@click.option("--recording", type=click.Path(path_type=Path), help="Play a recorded capture.")
@click.option("--synthetic", type=click.IntRange(0, 2**31 - 1), metavar="SEED", help="Play a seeded synthetic order flow.")
@click.option("--pace", default="recorded", show_default=True, help="Recording: recorded, max, or a factor such as 10.")
@click.option("--rate", type=Numbers(min=0.01, max=1000), default=1.0, help="Synthetic: multiplier of the event rate.")
@click.option("--symbols", help="Synthetic: which symbols, comma-separated; bitcoin and ether by default.")
@click.option("--as-recorded", is_flag=True, help="Leave the recording's exchange times as they are.")
@click.option("--loop", is_flag=True, help="Begin the recording again after its end.")
@click.option("--no-limits", is_flag=True, help="No rate limits.")
@click.option("--accounts", type=click.Path(path_type=Path), help="File of accounts and keys; the default ones are documented.")
@click.option("--tls", is_flag=True, help="Serve https and wss instead of http and ws; the ready line names the CA file to trust.")
@click.option("--authority", type=click.Path(path_type=Path), help="Folder of the certificate authority that --tls makes or uses.")
@click.option("--with-parent", is_flag=True, help="End with the process that started this one.")
def venue_sim(venue: str, with_parent: bool, **options: Any) -> None:
    """Run the bundled simulator of a venue, for any client."""
    from processes.orphans import die_with_parent
    from processes.venue_sim import serve_from_cli

    if with_parent:
        die_with_parent()
    serve_from_cli(venue, options)


@main.command("config-check")
@click.argument("config_file", type=click.Path(path_type=Path))
@json_option
def config_check(config_file: Path, as_json: bool) -> None:
    """Check a config file and print it resolved."""
    from processes.config_check import check, print_check

    emit(check(config_file), as_json, print_check)


@main.command()
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="Also grade the cores this config pins to.")
@json_option
def doctor(config_file: Path | None, as_json: bool) -> None:
    """Grade this host for low latency, with the fix for each finding."""
    from processes.doctor import examine, print_findings

    emit(examine(config_file), as_json, print_findings)


@main.command()
@click.option("--config", "config_files", multiple=True, type=click.Path(path_type=Path), help="Which placements to compile for.")
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Compile so many at a time, in up to 3 GB each.")
@json_option
def build(config_files: tuple[Path, ...], workers: int, as_json: bool) -> None:
    """Compile every kernel that the configs need, with a progress bar."""
    from processes.build import build_all, print_build

    emit(build_all(config_files, workers), as_json, print_build)


if __name__ == "__main__":
    main()
