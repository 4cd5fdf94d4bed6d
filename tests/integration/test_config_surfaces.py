"""Configs and command lines that cannot be used end in one line that says why, and nothing is left."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.live_engine import PAPER, ROOT, hftctl, live_engine, paper, write_config


def refused(tmp_path: Path, config: Path) -> str:
    """The one line with which `start` refuses a config."""
    done = hftctl("start", "--config", config, "--instance", "refused", "--state-dir", tmp_path / "state")
    assert done.returncode == 1, done.stderr
    assert done.stdout == "" and len(done.stderr.splitlines()) == 1, done.stderr
    return done.stderr


def _unknown_key(sections):
    sections["engine"]["turbo"] = True


def _missing_limit(sections):
    del sections["limits"]["ETH-USDT.BINANCE"]["position_max"]


def _float_tick(sections):
    sections["instruments"]["BTC-USDT.BINANCE"]["tick"] = 0.01


def _negative_rate(sections):
    sections["firm"]["strategy_orders_per_s"] = -1


def _no_process_for_risk(sections):
    sections["placement"]["processes"]["trade"]["stages"].remove("risk")


def _core_that_is_not_here(sections):
    sections["placement"]["processes"]["trade"]["core"] = 4095


def _unknown_strategy(sections):
    sections["strategies"]["mm"]["code"] = "no_such_strategy"


def _unknown_param(sections):
    sections["strategies"]["mm"]["params"]["half_spread"] = 1.0


def _products_that_do_not_fit(sections):
    sections["instruments"]["BTC-USDT.BINANCE"]["qty_max"] = "9" * 18


def _no_such_recording(sections):
    sections["venues"]["binance"]["simulator"] = {"recording": "nowhere.gz"}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (_unknown_key, "turbo"),
        (_missing_limit, "position_max"),
        (_float_tick, "tick"),
        (_negative_rate, "strategy_orders_per_s"),
        (_no_process_for_risk, "risk"),
        (_core_that_is_not_here, "placement.processes.trade.core"),
        (_products_that_do_not_fit, "BTC-USDT.BINANCE"),
        (_no_such_recording, "venues.binance.simulator.recording"),
    ],
)
def test_start_refuses_a_config_in_one_line_that_names_the_key(tmp_path, change, named):
    config = write_config(tmp_path / "broken.toml", paper(change))
    line = refused(tmp_path, config)
    assert named in line
    assert list(Path("/dev/shm").glob("hft.refused.*")) == []


@pytest.mark.parametrize(("change", "named"), [(_unknown_strategy, "no_such_strategy"), (_unknown_param, "'half_spread'")])
def test_start_refuses_a_strategy_that_cannot_be_loaded_and_names_its_section(tmp_path, change, named):
    config = write_config(tmp_path / "broken.toml", paper(change))
    done = hftctl("start", "--config", config, "--json", "--instance", "refused", "--state-dir", tmp_path / "state")
    assert done.returncode == 1 and done.stdout == ""
    last = done.stderr.splitlines()[-1]
    assert "strategies.mm" in last and named in last and "Error(" not in last
    assert list(Path("/dev/shm").glob("hft.refused.*")) == []


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"[engine\n", "not TOML"), (b"\xff\xfe", "not UTF-8"), (b"x = 1\n" * 200_000, "1 MiB"), (b"", "engine")],
)
def test_start_refuses_a_file_that_is_no_config_and_names_it(tmp_path, content, said):
    config = tmp_path / "broken.toml"
    config.write_bytes(content)
    line = refused(tmp_path, config)
    assert "broken.toml" in line and said in line


@pytest.mark.parametrize("where", ["missing.toml", "."])
def test_start_refuses_a_path_that_is_no_file(tmp_path, where):
    assert str(tmp_path / where) in refused(tmp_path, tmp_path / where)


@pytest.mark.parametrize(
    "arguments",
    [
        ("start",),
        ("start", "--config", PAPER, "--turbo"),
        ("start", "--config", PAPER, "--for", "0"),
        ("start", "--config", PAPER, "--for", "soon"),
        ("frobnicate",),
        ("venue-sim", "nasdaq"),
        ("bench", "everything"),
        ("stage",),
    ],
)
def test_a_command_line_that_makes_no_sense_is_a_usage_error(arguments):
    done = hftctl(*arguments)
    assert done.returncode == 2
    assert done.stdout == "" and "Usage" in done.stderr


@pytest.mark.parametrize("name", ["", "..", "UPPER", "a/b", "x" * 33, "-x"])
def test_an_instance_name_that_could_escape_its_folder_is_refused(tmp_path, name):
    done = hftctl("status", f"--instance={name}", "--state-dir", tmp_path)
    assert done.returncode in (1, 2) and "instance" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_state_dir_that_cannot_be_written_is_refused(tmp_path):
    blocker = tmp_path / "state"
    blocker.write_text("a file, not a folder")
    done = hftctl("start", "--config", PAPER, "--instance", "blocked", "--state-dir", blocker)
    assert done.returncode in (1, 2) and "Traceback" not in done.stderr


def test_a_start_that_fails_leaves_the_instance_free(tmp_path):
    with live_engine(tmp_path, paper(_no_such_recording)) as engine:
        engine.start()
        assert engine.process is not None and engine.process.wait(60) == 1
        write_config(engine.config, paper())
        engine.start("--for", 1)
        assert engine.process.wait(240) == 0, engine.log_text()


def test_the_example_with_real_money_does_not_start_as_it_is(tmp_path):
    done = hftctl("start", "--config", ROOT / "configs" / "live.example.toml", "--instance", "live_example", "--state-dir", tmp_path)
    assert done.returncode == 1 and "keys/binance.toml: No such file" in done.stderr
    assert not list(tmp_path.glob("*/journal/*"))
