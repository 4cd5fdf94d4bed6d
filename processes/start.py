"""Start: runs a supervisor in the foreground or behind, with progress, and ends with the report."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from processes import logs
from processes.attach import is_alive
from processes.config_check import load_with_authorities
from processes.errors import EngineError
from processes.instance import Instance, write_durably
from processes.latency import print_latency, read_latency
from processes.status import print_status, read_status
from processes.supervisor import TURN_S, Supervisor

_DETACH_TIMEOUT_S = 300.0
_PICTURE_S = 0.5


def start_foreground(
    instance: Instance, config_file: Path, seconds: float | None, quiet: bool, new_session: bool = False
) -> dict[str, Any]:
    """Run until `seconds` have passed, or SIGINT or SIGTERM; return the last status with the latency report in it."""
    config = load_with_authorities(config_file)
    screen = _Screen(quiet)
    instance.make_folders()
    logs.to_file(instance.folder / "log" / "supervisor.jsonl")
    supervisor = Supervisor(instance, config, config_file.resolve(), screen.progress, new_session)
    stopping: list[int] = []

    def on_signal(number: int, frame: object) -> None:
        stopping.append(number)
        if supervisor.state == "STARTING" and len(stopping) == 1:
            raise EngineError(f"{signal.Signals(number).name} while starting")  # Nothing trades yet; units may never come.

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    supervisor.start()
    try:
        screen.say(f"running: instance {instance.name}, epoch {supervisor.epoch}, mode {config.engine.mode}; Ctrl-C stops")
        until = time.monotonic() + seconds if seconds is not None else float("inf")
        while supervisor.state != "STOPPING" and not stopping and time.monotonic() < until:
            supervisor.turn()
            screen.picture(instance, until)
            time.sleep(TURN_S)
        screen.end()
        supervisor.stop()
        document = _report(instance, supervisor)
        supervisor.halt_processes()
        document["state"] = "STOPPED"
    finally:
        supervisor.close()
    if supervisor.failure is not None:
        raise EngineError(f"{supervisor.failure}; see {instance.folder / 'log'}")
    return document


def _report(instance: Instance, supervisor: Supervisor) -> dict[str, Any]:
    """The last status and the latencies, also kept in reports/."""
    document = read_status(instance)
    hgrm = instance.folder / "reports" / f"{supervisor.session}.hgrm"
    document["latency"] = read_latency(instance, hgrm)
    write_durably(instance.folder / "reports" / f"{supervisor.session}.json", msgspec.json.encode(document))
    return document


def print_end(document: dict[str, Any]) -> None:
    """The report of a run, for people."""
    print_status(document)
    if "latency" in document:
        print_latency(document["latency"])


def start_detached(instance: Instance, config_file: Path, seconds: float | None, new_session: bool = False) -> dict[str, Any]:
    """Start a supervisor in a session of its own; return its status once it trades."""
    load_with_authorities(config_file)
    instance.make_folders()
    engine = instance.read_engine()
    if engine is not None and is_alive(engine):
        raise EngineError(f"instance {instance.name!r} is already running (pid {engine['pid']})")
    command = [sys.executable, "-m", "processes.cli", "start", "--config", str(config_file), "--json"]
    command += ["--instance", instance.name, "--state-dir", str(instance.state_dir)]
    if seconds is not None:
        command += ["--for", str(seconds)]
    command += ["--new-session"] * new_session
    with open(instance.folder / "log" / "supervisor.jsonl", "ab") as log_file:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log_file, stderr=log_file, start_new_session=True)
    deadline = time.monotonic() + _DETACH_TIMEOUT_S
    while True:
        engine = instance.read_engine()
        if engine is not None and engine["pid"] == child.pid and engine["state"] == "RUNNING" and is_alive(engine):
            return read_status(instance)
        if child.poll() is not None:
            raise EngineError(f"the engine ended with status {child.returncode} while starting; see {instance.folder / 'log'}")
        if time.monotonic() > deadline:
            os.kill(child.pid, signal.SIGTERM)
            raise EngineError(f"the engine did not start within {_DETACH_TIMEOUT_S:g} s; see {instance.folder / 'log'}")
        time.sleep(0.02)


class _Screen:
    """Progress on a terminal: a bar while kernels load, one line that lives while it trades. Silent when asked to be."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.live = sys.stderr.isatty() and not quiet
        self._next_picture = 0.0

    def say(self, line: str) -> None:
        if not self.quiet:
            print(line, file=sys.stderr, flush=True)

    def progress(self, what: str, done: int, of: int) -> None:
        bar = "#" * (24 * done // max(of, 1))
        line = f"loading kernels [{bar:<24}] {done}/{of} {what}"
        if self.live:
            print(f"\r\033[K{line}", end="" if done < of else "\n", file=sys.stderr, flush=True)
        else:
            self.say(line)

    def picture(self, instance: Instance, until: float) -> None:
        now = time.monotonic()
        if not self.live or now < self._next_picture:
            return
        self._next_picture = now + _PICTURE_S
        status = read_status(instance)
        orders, pnl = status["orders"], status["pnl"]
        left = "" if until == float("inf") else f"  {max(0, round(until - now))} s left"
        line = f"sent {orders['sent']}  filled {orders['filled']}  working {orders['working']}  P&L {pnl['net']} {pnl['currency']}{left}"
        print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        if self.live:
            print(file=sys.stderr)
