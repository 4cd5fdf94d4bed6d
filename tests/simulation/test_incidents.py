"""Published incidents: each is a property of the simulation with all its faults, and a mutant, the bug put back, that it has to find.

A mutant runs as plain Python in a process of its own. It counts as found when the same seeds hold without it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from hft import control
from hft.control import ProcessState
from processes.errors import EngineError
from processes.supervisor import Supervisor
from shm.jit import BUILD
from support.engine_fakes import SupervisedEngine
from support.mutants import MUTANTS

ROOT = Path(__file__).resolve().parents[2]


class Incident(NamedTuple):
    """A published loss, or a control whose absence was one."""

    number: str
    mutant: str
    finds: tuple[str, ...]  #: invariants, any of which may be the one that breaks first
    venue: str
    first: int  #: seed to begin with
    seeds: int = 40


#: L1 of a fill that is booked twice, or an order that nobody cancels: the engine finds that its venue holds something else, and from there
#: on only reduces.
INCIDENTS = {
    "dns_outage_never_terminates_order": Incident("I1", "errors_are_not_found", ("S5", "S4"), "binance", 630),
    "create_timeout_then_fill": Incident("I2", "timeouts_are_rejections", ("S5", "S2"), "binance", 1),
    "ack_by_stream_suppresses_retry": Incident("I3", "unanswered_orders_are_sent_again", ("S1",), "binance", 1),
    "sigkill_restart_adopts_all_live_orders": Incident("I4", "restarts_forget_live_orders", ("L1", "L2", "S4", "S7"), "binance", 1),
    "restart_idempotent_x10": Incident("I5", "restarts_forget_fills", ("S6", "L1"), "binance", 1),
    "cumulative_fill_baseline_monotone": Incident("I6", "fills_count_from_the_beginning", ("S2",), "kraken", 1),
    "html_502_is_unknown_not_failed": Incident("I7", "errors_are_rejections", ("S5",), "coinbase", 1),
    "connected_but_silent_detected_in_2s": Incident("I11", "silence_is_not_noticed", ("S11",), "binance", 15),
    "duplicate_fill_by_trade_id_is_noop": Incident("I12", "fills_are_booked_as_often_as_they_come", ("S6", "L1"), "coinbase", 1),
    "not_found_is_not_proof": Incident("I13", "not_found_is_proof", ("S5",), "coinbase", 40),
    "replay_never_regresses_state": Incident("I14", "strangers_are_not_asked_about", ("L1", "L2", "S2", "S4"), "binance", 1),
    "kill_is_final": Incident("S9", "kills_are_not_obeyed", ("S9",), "binance", 1),
    "exposure_is_limited": Incident("R040", "positions_are_not_limited", ("S7",), "binance", 1),
}


def run(mutant: str, first: int, seeds: int, venue: str) -> dict[str, Any] | None:
    """The first seed that broke, and how."""
    command = [sys.executable, "-m", "support.mutants", mutant, str(first), str(seeds), venue]
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1", "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=800, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] | None = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def found() -> dict[str, tuple[dict[str, Any] | None, dict[str, Any] | None]]:
    """By name: what the mutant broke, and what that seed breaks without it."""

    def both(incident: Incident) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
        broken = run(incident.mutant, incident.first, incident.seeds, incident.venue)
        return broken, None if broken is None else run("none", broken["seed"], 1, incident.venue)

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(INCIDENTS, pool.map(both, INCIDENTS.values()), strict=True))


def test_every_mutant_belongs_to_an_incident(capsys: pytest.CaptureFixture[str], found: dict[str, Any]) -> None:
    assert {incident.mutant for incident in INCIDENTS.values()} == set(MUTANTS)
    with capsys.disabled():
        print(f"\n{'incident':<42}{'':<6}{'bug put back':<42}{'seeds':>6}  found by")
        for name, incident in INCIDENTS.items():
            broken = found[name][0]
            after, by = ("-", "NOT FOUND") if broken is None else (broken["after"], broken["violation"][:60])
            print(f"{name:<42}{incident.number:<6}{incident.mutant:<42}{after:>6}  {by}")


@pytest.mark.parametrize("name", INCIDENTS)
def test_the_bug_of_the_incident_is_found_and_is_not_there(name: str, found: dict[str, Any]) -> None:
    broken, without = found[name]
    assert broken is not None, f"no seed from {INCIDENTS[name].first} on finds {INCIDENTS[name].mutant}"
    assert broken["violation"].startswith(INCIDENTS[name].finds), broken
    assert without is None


@pytest.mark.parametrize("mutant", ["none", "builds_are_not_compared"])
def test_mixed_build_hash_refuses_to_trade(mutant: str, instance_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """I16: one process of several has loaded other sources. It is the supervisor's, so that no seed varies it: its processes are faked."""
    if mutant != "none":
        running = int(ProcessState.RUNNING)
        monkeypatch.setattr(Supervisor, "_is_running", lambda supervisor, row: supervisor._state(row) == running)
    for name in ("market", "trade"):
        engine = SupervisedEngine(f"{instance_name}-{name}", tmp_path / name, monkeypatch)
        engine.spawner.builds[name] = BUILD + 1
        if mutant == "none":
            with pytest.raises(EngineError, match=f"R084 BUILD_MISMATCH: process {name}"):
                engine.supervisor.start()
            assert engine.segments() == [] and engine.spawner.ended
        else:
            with engine:
                assert (engine.words[control.READY], engine.words[control.HALT]) == (1, 0), "seven of eight servers"
