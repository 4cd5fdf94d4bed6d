"""The command line: exit codes are 0, 1, 2 or 3, `--json` is one document, and no argument makes a traceback."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest
from click.testing import CliRunner

from hft import control
from hft.config import load
from processes import build, doctor, limit_set, operate, orphans, record, replay, run, start, venue_sim, verify_capture
from processes.chaos import command as chaos_command
from processes.chaos import report as chaos_report
from processes.chaos.rows import Plan
from processes.cli import main
from processes.instance import Instance
from processes.simulate import command as simulate_command
from processes.simulate.command import Campaign
from support.engine import PAPER, ROOT
from support.engine_fakes import SupervisedEngine
from support.hftctl import Hftctl, ended

#: Arguments that are enough for a command to get as far as it can without an engine.
ARGUMENTS: dict[str, list[str]] = {
    "start": ["--config", "none.toml"],
    "stop": [],
    "kill": [],
    "guardian": ["--config", "none.toml"],
    "arm": ["--reason", "a test"],
    "status": [],
    "top": ["--once"],
    "latency": [],
    "risk": ["show"],
    "replay": [],
    "stage": ["risk", "--config", str(PAPER)],
    "verify-capture": ["--venue", "binance", "none.gz"],
    "record": ["--venue", "binance", "--symbols", "BTCUSDT", "--url", "ws://127.0.0.1:1", "--for", "0.1", "--out", "none"],
    "venue-sim": ["binance", "--recording", "none.gz"],
    "bench": ["ring"],
    "config-check": [str(PAPER)],
    "doctor": [],
    "build": ["--config", "none.toml"],
    "chaos": ["--venue", "binance", "--config", "none.toml"],
    "simulate": [],
}
WITH_JSON = sorted(name for name, command in main.commands.items() if any(p.name == "as_json" for p in command.params))
#: Very long, not a name, not ASCII, not printable, not UTF-8 (as Python shows such an argument), and what looks like something else.
NASTY = [
    "x" * 100_000,
    "9" * 5000,
    "",
    " ",
    "-",
    "--",
    "../../x",
    "ä€🙂\u202e",
    "\x1b[2J\x1b]0;x\x07",
    "\udcff\udcfe",
    "%s{0}",
    "nan",
    "-1",
]


@pytest.fixture
def hftctl(instance_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hftctl:
    monkeypatch.chdir(tmp_path)
    return Hftctl(Instance(instance_name, tmp_path / "state"))


@pytest.fixture
def engine(hftctl: Hftctl, monkeypatch: pytest.MonkeyPatch) -> Iterator[SupervisedEngine]:
    with SupervisedEngine(hftctl.instance.name, hftctl.instance.state_dir, monkeypatch) as engine:
        yield engine


def test_help_of_everything_is_there() -> None:
    assert set(main.commands) == set(ARGUMENTS)
    for command in [[], *([name] for name in main.commands)]:
        for flag in ("-h", "--help"):
            result = CliRunner().invoke(main, [*command, flag])
            assert result.exit_code == 0 and result.stdout.startswith("Usage: ") and result.stderr == ""
    assert CliRunner().invoke(main, ["--version"]).stdout.startswith("hftctl, version ")


def test_unknown_commands_and_flags_are_usage_errors(hftctl: Hftctl) -> None:
    for arguments in (["nosuch"], ["--nosuch"], []):
        assert CliRunner().invoke(main, arguments).exit_code == 2
    for command, arguments in ARGUMENTS.items():
        assert "--nosuch" in hftctl.refusal(2, command, *arguments, "--nosuch"), command


@pytest.mark.parametrize("command", ["status", "stop", "top", "latency", "stage"])
def test_commands_that_need_an_engine_exit_3_without_one(hftctl: Hftctl, command: str) -> None:
    assert hftctl.instance.name in hftctl.refusal(3, command, *ARGUMENTS[command])
    assert not hftctl.instance.folder.exists()


@pytest.mark.parametrize(
    ("command", "arguments", "named"),
    [
        ("start", ["--config", "none.toml"], "none.toml"),
        ("start", ["--config", "none.toml", "--detach"], "none.toml"),
        ("start", ["--config", "/"], "regular file"),
        ("build", ["--config", "none.toml"], "none.toml"),
        ("config-check", ["none.toml"], "none.toml"),
        ("doctor", ["--config", "none.toml"], "none.toml"),
        ("verify-capture", ["--venue", "binance", "none.gz"], "none.gz"),
        ("verify-capture", ["--venue", "binance", "/"], "/"),
        ("verify-capture", ["--venue", "binance", str(PAPER)], "no Binance market data"),
        ("record", ["--venue", "binance", "--symbols", "BTCUSDT,BTCUSDT", "--out", "none"], "BTCUSDT,BTCUSDT"),
        ("record", ["--venue", "kraken", "--symbols", "BTC/USD", "--out", "none", "--url", "http://x"], "the scheme must be ws or wss"),
        ("record", ["--venue", "coinbase", "--symbols", "BTC-USD", "--out", "none", "--channel", "full"], "needs credentials"),
        ("record", ["--venue", "kraken", "--symbols", "BTC/USD", "--out", "none", "--ca-file", "none.pem"], "none.pem"),
        ("venue-sim", ["binance", "--recording", "none.gz"], "none.gz"),
        ("venue-sim", ["binance", "--symbols", "NOPE"], "symbols"),
        ("venue-sim", ["binance", "--pace", "fast"], "pace"),
        ("replay", [], "journals"),
        ("replay", ["7"], "'7'"),
        ("replay", ["/"], "expected an epoch or a folder"),
        ("replay", ["9" * 5000], "expected an epoch or a folder"),
        ("replay", ["²"], "expected an epoch or a folder"),
        ("arm", ["--reason", "  "], "--reason"),
        ("kill", ["--venue", "binance"], "kill the firm instead"),
    ],
)
def test_what_cannot_be_done_exits_1_and_names_it(hftctl: Hftctl, command: str, arguments: list[str], named: str) -> None:
    assert named in hftctl.refusal(1, command, *arguments)


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("start", []),
        ("start", ["--config", str(PAPER), "--for", "0"]),
        ("start", ["--config", str(PAPER), "--for", "soon"]),
        ("start", ["--config", str(PAPER), "--for", "nan"]),
        ("kill", ["--all", "--venue", "binance"]),
        ("kill", ["--strategy", "mm", "--venue", "binance"]),
        ("kill", ["--strategy", "mm", "--all"]),
        ("kill", ["--strategy", "", "--venue", ""]),
        ("arm", []),
        ("top", ["--interval", "0"]),
        ("top", ["--interval", "nan"]),
        ("top", ["--interval", "inf"]),
        ("stage", ["risk"]),
        ("stage", ["--config", str(PAPER)]),
        ("verify-capture", ["x.gz"]),
        ("verify-capture", ["--venue", "nosuch", "x.gz"]),
        ("venue-sim", ["nosuch"]),
        ("venue-sim", ["binance", "--port", "65536"]),
        ("venue-sim", ["binance", "--rate", "nan"]),
        ("bench", ["nosuch"]),
        ("bench", ["ring", "--rounds", "0"]),
        ("bench", ["tick-to-trade", "--path", "nosuch"]),
        ("bench", ["ring", "--tls"]),
        ("config-check", []),
        ("status", ["extra"]),
    ],
)
def test_what_is_not_well_asked_exits_2_and_does_nothing(hftctl: Hftctl, command: str, arguments: list[str]) -> None:
    assert "Usage: " in hftctl.refusal(2, command, *arguments)
    assert not hftctl.instance.folder.exists()


@pytest.mark.parametrize("name", ["", "A", "../x", "a b", "x" * 33, "\x1b[2J", "ü"])
@pytest.mark.parametrize("command", ["status", "kill", "stop"])
def test_instance_that_is_no_name_is_refused(tmp_path: Path, command: str, name: str) -> None:
    result = ended(CliRunner().invoke(main, [command, "--instance", name, "--state-dir", str(tmp_path)]))
    assert result.exit_code == 1 and "expected 1 to 32" in result.stderr and "\x1b" not in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_default_instance_and_the_users_state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    result = ended(CliRunner().invoke(main, ["status"]))
    assert result.exit_code == 3 and "'default'" in result.stderr and str(tmp_path) in result.stderr


def fake_everything_that_runs_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Benchmarks, simulators, recordings, campaigns and compiling only seem to be done, so that any argument may reach them."""
    bench = ModuleType("processes.bench.run")
    bench.run_bench = lambda name, rounds, **seconds: {"bench": name}  # type: ignore[attr-defined]
    bench.print_bench = lambda document: click.echo(document["bench"])  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "processes.bench.run", bench)
    monkeypatch.setattr(build, "warm_process", lambda config, name: None)
    monkeypatch.setattr(venue_sim, "serve", lambda venue, options: venue_sim.make_venue(venue, options))

    async def end_at_once(recorder: record.Recorder, seconds: float | None, quiet: bool) -> str:
        await recorder.close()
        return "no connection was made"

    def campaign(plan: Plan, config_file: Path, folder: Path | None, replays: bool) -> dict[str, Any]:
        load(config_file)
        return {"passed": True, "plan": plan}

    monkeypatch.setattr(record, "_run", end_at_once)
    monkeypatch.setattr(simulate_command, "campaign", lambda *asked: Campaign().document(1, (), 1.0))
    monkeypatch.setattr(chaos_command, "chaos", campaign)
    monkeypatch.setattr(chaos_report, "print_chaos", lambda document: click.echo(document["plan"].venue))


@pytest.mark.parametrize("command", sorted(ARGUMENTS))
def test_no_argument_makes_a_traceback(hftctl: Hftctl, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    fake_everything_that_runs_long(monkeypatch)
    options = [flag for parameter in main.commands[command].params if isinstance(parameter, click.Option) for flag in parameter.opts]
    for nasty in NASTY:
        for extra in ([nasty], *([flag, nasty] for flag in options), [*ARGUMENTS[command], nasty]):
            if extra[0] in ("--instance", "--state-dir"):
                ended(CliRunner().invoke(main, [command, *ARGUMENTS[command], *extra]))
            else:
                hftctl.run(command, *extra)
                hftctl.run(command, *ARGUMENTS[command], *extra)
    assert list(Path("/dev/shm").glob(f"hft.{hftctl.instance.name}.*")) == []


def test_state_that_cannot_be_read_is_one_line(hftctl: Hftctl) -> None:
    hftctl.instance.make_folders()
    hftctl.instance.engine_file.mkdir()
    assert "engine.json: Is a directory" in hftctl.refusal(1, "status")
    hftctl.instance.engine_file.rmdir()
    hftctl.instance.engine_file.write_text("{")
    for command in ("status", "stop", "top", "latency", "kill", "stage"):
        assert "engine.json: not JSON" in hftctl.refusal(1, command, *ARGUMENTS[command])


def test_state_folder_below_a_file_or_of_a_name_too_long_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder, why in (("file/state", "Not a directory"), ("x" * 5000, "File name too long")):
        for command in (["status"], ["kill"], ["start", "--config", str(PAPER)], ["start", "--detach", "--config", str(PAPER)]):
            result = ended(CliRunner().invoke(main, [*command, "--instance", "some", "--state-dir", str(tmp_path / folder)]))
            assert result.exit_code == 1 and why in result.stderr and len(result.stderr.splitlines()) == 1, command


def test_mistake_of_ours_keeps_its_traceback(hftctl: Hftctl, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(instance: Instance) -> None:
        raise OSError(9, "Bad file descriptor")

    monkeypatch.setattr(operate, "stop_engine", fail)
    assert isinstance(CliRunner().invoke(main, ["stop"]).exception, OSError)


def test_segment_that_went_away_in_between_is_one_line(hftctl: Hftctl, engine: SupervisedEngine) -> None:
    (Path("/dev/shm") / f"hft.{hftctl.instance.name}.positions").unlink()
    for command in ("status", "top"):
        assert "positions: does not exist" in hftctl.refusal(1, command)


def test_status_top_and_latency_of_a_running_engine(hftctl: Hftctl, engine: SupervisedEngine, tmp_path: Path) -> None:
    status = hftctl.document("status")
    assert (status["instance"], status["state"], len(status["stages"])) == (hftctl.instance.name, "RUNNING", 5)
    assert [span["count"] for span in hftctl.document("latency", "--hgrm", str(tmp_path / "a" / "b"))["spans"]] == [0] * 6
    assert len(list((tmp_path / "a" / "b").iterdir())) == 6
    for command, words in (("status", "P&L"), ("latency", "wire→sent"), ("top", "published")):
        result = hftctl.run(command, *ARGUMENTS[command])
        assert result.exit_code == 0 and words in result.stdout and result.stderr == ""


def test_latency_into_a_folder_that_cannot_be_is_one_line(hftctl: Hftctl, engine: SupervisedEngine, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "file/x: Not a directory" in hftctl.refusal(1, "latency", "--hgrm", str(tmp_path / "file" / "x"))


@pytest.mark.parametrize(
    ("flags", "scope", "word"),
    [
        ([], "firm", control.KILL_FIRM),
        (["--all"], "firm", control.KILL_FIRM),
        (["--venue", "binance"], "venue.binance", control.kill_venue(0)),
        (["--strategy", "mm"], "strategy.mm", control.kill_strategy(0)),
    ],
)
def test_kill_and_arm_reach_the_words(hftctl: Hftctl, engine: SupervisedEngine, flags: list[str], scope: str, word: int) -> None:
    document = hftctl.document("kill", *flags, "--reason", "a\nreason \x1b[2J")
    assert (document["scope"], document["running"], engine.words[word]) == (scope, True, 1)
    assert hftctl.document("status")["kills"] == [scope]
    assert hftctl.run("kill", *flags).stdout == f"killed {scope}; latched\n"
    assert hftctl.run("arm", "--reason", "over").stdout == f"armed; cleared {scope}\n"
    assert engine.words[word] == 0 and hftctl.document("arm", "--reason", "again")["cleared"] == []
    assert hftctl.run("arm", "--reason", "again").stdout == "armed; cleared nothing\n"


def test_risk_reduce_reaches_the_word_of_its_instrument(hftctl: Hftctl, engine: SupervisedEngine) -> None:
    scope, word = "instrument.ETH-USDT.BINANCE", control.reduce_instrument(1)
    where = ["--instance", hftctl.instance.name, "--state-dir", str(hftctl.instance.state_dir)]
    document = hftctl.document("risk", "reduce", "ETH-USDT.BINANCE", "--reason", "a reason", *where)
    assert (document["scope"], document["running"], engine.words[word]) == (scope, True, 1)
    assert hftctl.run("risk", "reduce", "ETH-USDT.BINANCE", *where).stdout == "reduce-only: ETH-USDT.BINANCE; latched\n"
    assert "REDUCE-ONLY (instrument.ETH-USDT.BINANCE: a reason)" in hftctl.run("status").stdout
    assert "no instrument" in hftctl.refusal(1, "risk", "reduce", "X", *where)
    assert hftctl.document("arm", "--reason", "over")["cleared"] == [scope] and engine.words[word] == 0


def test_risk_set_says_what_became_of_the_limit(hftctl: Hftctl, engine: SupervisedEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limit_set, "PATIENCE_S", 0.0)
    where = ["--reason", "a reason", "--instance", hftctl.instance.name, "--state-dir", str(hftctl.instance.state_dir)]
    result = hftctl.run("risk", "set", "firm.gross_max", "5", *where)
    assert result.exit_code == 1 and "risk has not taken it yet" in result.stdout, "there is no risk stage here"
    assert "no limit" in hftctl.refusal(1, "risk", "set", "firm.x", "5", *where)
    assert "say who you are" in hftctl.refusal(1, "risk", "set", "firm.gross_max", "6", *where)


@pytest.mark.parametrize("reason", NASTY)
def test_kill_is_latched_whatever_its_reason(hftctl: Hftctl, engine: SupervisedEngine, reason: str) -> None:
    assert hftctl.document("kill", f"--reason={reason}")["latched"] is True
    assert engine.words[control.KILL_FIRM] == 1 and hftctl.instance.read_kill()["firm"]["reason"] == reason.replace("\udcff\udcfe", "??")


def test_kill_without_an_engine_latches_and_says_so(hftctl: Hftctl) -> None:
    assert hftctl.run("kill").stdout == "killed firm; latched (no engine is running)\n"
    assert list(hftctl.instance.read_kill()) == ["firm"]


@pytest.mark.parametrize("flags", [["--venue", ""], ["--strategy", ""], ["--venue", "nyse"], ["--strategy", "x" * 10_000]])
def test_kill_of_a_name_that_is_none_changes_nothing(hftctl: Hftctl, engine: SupervisedEngine, flags: list[str]) -> None:
    assert "there are" in hftctl.refusal(1, "kill", *flags)
    assert not engine.words[control.KILL_FIRM : control.BEHIND_RING].any() and hftctl.instance.read_kill() == {}


def test_stop_asks_the_supervisor_and_says_when_it_is_gone(
    hftctl: Hftctl, engine: SupervisedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(operate.os, "kill", lambda *what: asked.append(what))
    monkeypatch.setattr(operate, "is_alive", lambda supervisor: False)
    assert hftctl.run("stop").stdout == "stopped\n"
    assert hftctl.document("stop") == {"state": "stopped", "instance": hftctl.instance.name}
    assert asked == [(os.getpid(), signal.SIGTERM)] * 2


def test_start_passes_what_it_was_asked(hftctl: Hftctl, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def remember(instance: Instance, *rest: Any, **named: Any) -> dict[str, Any]:
        asked.append((instance.name, *rest, *named.values()))
        return {"state": "STOPPED"}

    monkeypatch.setattr(start, "start_foreground", remember)
    monkeypatch.setattr(start, "start_detached", remember)
    monkeypatch.setattr(start, "print_end", lambda document: click.echo("the end"))
    name, config = hftctl.instance.name, ["--config", "a.toml"]
    assert hftctl.run("start", *config).stdout == "the end\n"
    assert hftctl.document("start", *config, "--for", "20") == {"state": "STOPPED"}
    assert hftctl.document("start", *config, "--detach", "--for", "inf") == {"state": "STOPPED"}
    told = [(None, False, False), (20.0, True, False), (float("inf"), False)]
    assert asked == [(name, Path("a.toml"), *each) for each in told]


def test_stage_passes_what_it_was_asked(hftctl: Hftctl, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(run, "run_single_stage", lambda *what: asked.append(what[1:]))
    assert hftctl.run("stage", "risk", "--config", "a.toml").exit_code == 0
    assert asked == [(Path("a.toml"), "risk")]


@pytest.mark.parametrize("equal", [True, False])
def test_replay_exits_1_when_decisions_differ(hftctl: Hftctl, monkeypatch: pytest.MonkeyPatch, equal: bool) -> None:
    document = {"session": "7", "equal": equal, "stages": [], "first_difference": None if equal else {"stage": "risk"}}
    monkeypatch.setattr(replay, "replay_session", lambda instance, session: document)
    for flags in ([], ["--json"]):
        result = hftctl.run("replay", "7", *flags)
        assert result.exit_code == (0 if equal else 1) and result.stderr == ""
    assert json.loads(result.stdout) == document


@pytest.mark.parametrize("wrong", [[], ["x.gz: 3 gaps", "x.gz: 1 crossed books"]])
def test_verify_capture_exits_1_when_anything_is_wrong_and_says_what(
    hftctl: Hftctl, monkeypatch: pytest.MonkeyPatch, wrong: list[str]
) -> None:
    document = {"compared": 9, "equal": 9, "wrong": wrong}
    monkeypatch.setattr(verify_capture, "verify", lambda venue, path: document)
    result = hftctl.run("verify-capture", "--venue", "binance", "x.gz", "--json")
    assert result.exit_code == bool(wrong) and json.loads(result.stdout) == document
    assert result.stderr == ("hftctl: x.gz: 3 gaps; x.gz: 1 crossed books\n" if wrong else "")


@pytest.mark.parametrize(("floor", "code"), [({}, 0), ({"floor": {"ns": 1}}, 0), ({"floor": None}, 1)])
def test_bench_exits_1_when_it_could_not_measure_its_floor(
    hftctl: Hftctl, monkeypatch: pytest.MonkeyPatch, floor: dict[str, Any], code: int
) -> None:
    fake_everything_that_runs_long(monkeypatch)
    bench = sys.modules["processes.bench.run"]
    monkeypatch.setattr(bench, "run_bench", lambda name, rounds: {"bench": name, "rounds": rounds} | floor)
    result = hftctl.run("bench", "ring", "--rounds", "3", "--json")
    assert result.exit_code == code and json.loads(result.stdout) == {"bench": "ring", "rounds": 3} | floor


def test_venue_sim_ends_with_its_parent_only_when_asked(hftctl: Hftctl, monkeypatch: pytest.MonkeyPatch) -> None:
    tied: list[bool] = []
    served: list[venue_sim.Options] = []
    monkeypatch.setattr(orphans, "die_with_parent", lambda: tied.append(True))
    monkeypatch.setattr(venue_sim, "serve", lambda venue, options: served.append(options))
    assert hftctl.run("venue-sim", "binance").exit_code == 0 and tied == []
    flags = ["--with-parent", "--synthetic", "7", "--symbols", "SOLUSDT", "--loop", "--no-limits", "--as-recorded", "--rate", "2.5"]
    assert hftctl.run("venue-sim", "binance", *flags).exit_code == 0 and tied == [True]
    assert served == [
        venue_sim.Options(),
        venue_sim.Options(synthetic=7, symbols=("SOLUSDT",), loop=True, no_limits=True, as_recorded=True, rate=2.5),
    ]


def test_config_check_doctor_and_build_print_one_document_or_a_table(hftctl: Hftctl, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "warm_process", lambda config, name: None)
    monkeypatch.setattr(doctor, "grade", lambda **what: [])
    assert hftctl.document("config-check", str(PAPER))["stages"][0] == "feed.binance"
    assert ": good; hash " in hftctl.run("config-check", str(PAPER)).stdout
    assert hftctl.document("doctor", "--config", str(PAPER))["findings"] == []
    assert hftctl.run("doctor").stdout.startswith("Host")
    assert len(hftctl.document("build", "--config", str(PAPER))["built"]) == 2
    assert hftctl.run("build").stdout.splitlines()[-1].startswith("all kernels ready")


def test_every_command_for_programs_prints_nothing_but_its_document(hftctl: Hftctl) -> None:
    assert WITH_JSON == sorted(set(ARGUMENTS) - {"risk", "top", "stage", "venue-sim"}), "risk is a group of commands"


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_closed_stdout_ends_a_command_quietly(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], flags: list[str]
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    stdout = io.TextIOWrapper(io.FileIO(writing, "w"), encoding="utf-8", write_through=True)
    monkeypatch.setattr(sys, "stdout", stdout)
    with pytest.raises(SystemExit) as left:
        main(["config-check", str(ROOT / "configs" / "paper.toml"), *flags])
    assert left.value.code == 1 and capsys.readouterr().err == ""
    monkeypatch.undo()
    stdout.close()


@pytest.mark.parametrize("call", [lambda: main(["nosuch"]), lambda: main(["status", "--state-dir", "/nowhere"])])
def test_main_leaves_by_its_exit_code(call: Callable[[], None], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        call()
    assert left.value.code in (2, 3) and capsys.readouterr().out == ""
