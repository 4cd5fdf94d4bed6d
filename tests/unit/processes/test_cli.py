"""Command line: exit codes, one JSON document where one was asked for, and usage errors that change nothing."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from hft import control
from processes import build, cli, doctor, operate, replay, run, start, top, venue_sim
from processes.cli import main
from support.engine import PAPER
from support.engine_fakes import SupervisedEngine


class Shell:
    """hftctl on one instance."""

    def __init__(self, engine: SupervisedEngine) -> None:
        self.engine = engine
        self.where = ["--instance", engine.instance.name, "--state-dir", str(engine.instance.state_dir)]

    def __call__(self, *arguments: str, at: bool = True) -> Result:
        return CliRunner().invoke(main, [*arguments, *(self.where if at else [])])

    def document(self, *arguments: str) -> dict[str, Any]:
        """What a command printed with --json, which must be all that it printed."""
        result = self(*arguments, "--json")
        assert result.exit_code == 0, result.output
        found: dict[str, Any] = json.loads(result.stdout)
        return found


@pytest.fixture
def idle_shell(instance_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """No engine runs."""
    return Shell(SupervisedEngine(instance_name, tmp_path, monkeypatch))


@pytest.fixture
def shell(idle_shell: Shell) -> Iterator[Shell]:
    with idle_shell.engine:
        yield idle_shell


@pytest.mark.parametrize("command", ["status", "stop", "top", "latency"])
def test_commands_about_a_running_engine_exit_3_without_one(idle_shell: Shell, command: str) -> None:
    result = idle_shell(command)
    assert result.exit_code == 3 and result.stdout == "" and result.stderr.startswith("hftctl: no engine runs")
    assert "Traceback" not in result.output


USAGE = [
    ["nonsense"],
    ["status", "--nonsense"],
    ["status", "extra"],
    ["start"],
    ["start", "--config", "x.toml", "--for", "0"],
    ["start", "--config", "x.toml", "--for", "soon"],
    ["kill", "--venue", "binance", "--all"],
    ["kill", "--venue", "binance", "--strategy", "mm"],
    ["kill", "--strategy", "mm", "--all"],
    ["arm"],
    ["top", "--interval", "0"],
    ["bench", "nonsense"],
    ["bench", "tick-to-trade", "--path", "nyse"],
    ["bench", "ring", "--path", "kraken"],
    ["bench", "orders", "--tls"],
    ["bench", "tick-to-trade", "--seconds", "2"],
    ["verify-capture", "x"],
    ["verify-capture", "--venue", "nyse", "x"],
    ["venue-sim", "nyse"],
    ["stage", "risk"],
]


@pytest.mark.parametrize("arguments", USAGE, ids=" ".join)
def test_wrong_usage_exits_2_and_changes_nothing(shell: Shell, arguments: list[str]) -> None:
    result = shell(*arguments, at=arguments[0] not in ("bench", "verify-capture", "venue-sim", "nonsense"))
    assert result.exit_code == 2 and "Usage:" in result.stderr and result.stdout == ""
    assert shell.engine.instance.read_kill() == {} and not shell.engine.words[control.KILL_FIRM : control.BEHIND_RING].any()


@pytest.mark.parametrize("name", ["", "A", "../x", "a/b"])
def test_instance_name_that_is_none_exits_1(idle_shell: Shell, name: str) -> None:
    result = CliRunner().invoke(main, ["status", "--instance", name])
    assert result.exit_code == 1 and "expected 1 to 32" in result.stderr


def test_status_and_latency_print_one_json_document_or_tables(shell: Shell) -> None:
    assert shell.document("status")["state"] == "RUNNING" and shell.document("latency")["running"] is True
    assert "P&L" in shell("status").stdout and "wire→sent" in shell("latency").stdout
    assert "intents.mm.risk" in shell("top", "--once").stdout


KILLS = [([], "firm"), (["--all"], "firm"), (["--venue", "binance"], "venue.binance"), (["--strategy", "mm"], "strategy.mm")]


@pytest.mark.parametrize(("options", "scope"), KILLS)
def test_kill_latches_its_scope_and_arm_clears_it(shell: Shell, options: list[str], scope: str) -> None:
    assert shell.document("kill", *options)["scope"] == scope
    assert f"killed {scope}; latched\n" == shell("kill", *options).stdout
    assert list(shell.engine.instance.read_kill()) == [scope]
    assert shell.document("status")["kill_latched"] is True
    assert shell.document("arm", "--reason", "a test")["cleared"] == [scope]
    assert shell("arm", "--reason", "again").stdout == "armed; cleared nothing\n"
    assert shell.document("status")["kill_latched"] is False


def test_kill_of_an_unknown_venue_and_arm_for_no_reason_exit_1(shell: Shell) -> None:
    result = shell("kill", "--venue", "nyse")
    assert result.exit_code == 1 and "there are binance" in result.stderr
    result = shell("arm", "--reason", " ")
    assert result.exit_code == 1 and "say why" in result.stderr


def test_kill_without_an_engine_is_latched(idle_shell: Shell) -> None:
    result = idle_shell("kill", "--reason", "because")
    assert result.exit_code == 0 and "(no engine is running)" in result.stdout
    assert idle_shell.engine.instance.read_kill()["firm"]["reason"] == "because"


def test_config_check_prints_the_resolved_config_or_the_error(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["config-check", str(PAPER), "--json"])
    assert result.exit_code == 0 and json.loads(result.stdout)["config"]["engine"]["mode"] == "paper"
    (tmp_path / "bad.toml").write_text("[engine]\nmode = 1\n")
    for path in (tmp_path / "bad.toml", tmp_path / "absent.toml", tmp_path):
        result = CliRunner().invoke(main, ["config-check", str(path)])
        assert result.exit_code == 1 and str(path) in result.stderr and "Traceback" not in result.output


def test_start_runs_in_front_or_behind(idle_shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(start, "start_foreground", lambda *a, **k: calls.append(("front", a[1:], k)) or {"state": "STOPPED"})
    monkeypatch.setattr(start, "start_detached", lambda *a: calls.append(("behind", a[1:])) or {"state": "RUNNING"})
    assert idle_shell.document("start", "--config", "x.toml", "--for", "5")["state"] == "STOPPED"
    assert idle_shell.document("start", "--config", "x.toml", "--detach", "--new-session")["state"] == "RUNNING"
    assert calls == [("front", (Path("x.toml"), 5.0), {"quiet": True, "new_session": False}), ("behind", (Path("x.toml"), None, True))]


@pytest.mark.parametrize(("equal", "code"), [(True, 0), (False, 1)])
def test_replay_exits_1_when_it_differs(idle_shell: Shell, monkeypatch: pytest.MonkeyPatch, equal: bool, code: int) -> None:
    difference = None if equal else {"stage": "risk", "work": 3}
    stage = {"stage": "risk", "inputs": 1, "decisions": 2, "equal": equal}
    document = {"session": "s", "equal": equal, "first_difference": difference, "stages": [stage]}
    monkeypatch.setattr(replay, "replay_session", lambda instance, session: document)
    result = idle_shell("replay", "7")
    assert result.exit_code == code and ("DIFFERENT" in result.stdout) != equal
    assert json.loads(idle_shell("replay", "--json").stdout) == document


def test_replay_without_journals_exits_1(idle_shell: Shell) -> None:
    result = idle_shell("replay")
    assert result.exit_code == 1 and "no journals" in result.stderr


def test_stage_build_top_and_venue_sim_hand_their_options_on(idle_shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(run, "run_single_stage", lambda instance, config, name: calls.append((str(config), name)))
    monkeypatch.setattr(build, "build_all", lambda files, workers: calls.append(files) or {"built": [], "seconds": 0.0})
    monkeypatch.setattr(top, "watch", lambda instance, interval, once: calls.append((interval, once)))
    monkeypatch.setattr(venue_sim, "serve_from_cli", lambda venue, options: calls.append((venue, options["synthetic"], options["loop"])))
    assert idle_shell("stage", "risk", "--config", "x.toml").exit_code == 0
    assert idle_shell("build", "--config", "x.toml", at=False).stdout == "all kernels ready in 0.0 s\n"
    assert idle_shell("top", "--interval", "2").exit_code == 0
    assert idle_shell("venue-sim", "binance", "--synthetic", "4", "--loop", at=False).exit_code == 0
    assert calls == [("x.toml", "risk"), (Path("x.toml"),), (2.0, False), ("binance", 4, True)]


def test_stop_says_that_it_stopped(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operate, "stop_engine", lambda instance: {"state": "stopped", "instance": instance.name})
    assert shell("stop").stdout == "stopped\n" and shell.document("stop")["instance"] == shell.engine.instance.name


def test_doctor_and_bench_print_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "examine", lambda config: {"findings": [], "config": str(config)})
    result = CliRunner().invoke(main, ["doctor", "--config", "x.toml", "--json"])
    assert result.exit_code == 0 and json.loads(result.stdout)["config"] == "x.toml"
    for floor, code in (({"ok": 1}, 0), (None, 1)):
        bench = SimpleNamespace(run_bench=lambda name, rounds, floor=floor: {"rounds": rounds, "floor": floor}, print_bench=print)
        monkeypatch.setitem(sys.modules, "processes.bench.run", bench)
        result = CliRunner().invoke(main, ["bench", "ring", "--rounds", "3", "--json"])
        assert result.exit_code == code and json.loads(result.stdout)["rounds"] == 3


def test_bench_hands_its_options_to_the_benchmark_that_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = SimpleNamespace(run_bench=lambda name, rounds, **options: {"name": name, "options": options}, print_bench=print)
    monkeypatch.setitem(sys.modules, "processes.bench.run", bench)
    for arguments, options in (
        (["tick-to-trade"], {}),
        (["tick-to-trade", "--path", "kraken"], {"path": "kraken"}),
        (["tick-to-trade", "--path", "coinbase", "--tls"], {"path": "coinbase", "tls": True}),
        (["orders", "--seconds", "2"], {"seconds": 2.0}),
    ):
        result = CliRunner().invoke(main, ["bench", *arguments, "--json"])
        assert json.loads(result.stdout) == {"name": arguments[0], "options": options}
    refused = CliRunner().invoke(main, ["bench", "tick-to-trade", "--path", "nyse"])
    assert refused.exit_code == 2 and "'binance', 'kraken', 'coinbase'" in refused.stderr
    assert "--tls is of the tick-to-trade bench, found ring" in CliRunner().invoke(main, ["bench", "ring", "--tls"]).stderr


def test_version_and_help_exit_0() -> None:
    for option in ("--version", "--help", "-h"):
        assert CliRunner().invoke(main, [option]).exit_code == 0
    for name in cli.main.commands:
        result = CliRunner().invoke(main, [name, "-h"])
        assert result.exit_code == 0 and "Usage:" in result.stdout, name
