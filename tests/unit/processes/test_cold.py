"""The small cold parts: idling, logs, config checks, builds, simulators."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from hft.config import ConfigError
from processes import build, idle, logs, simulators, start
from processes.config_check import check, print_check
from processes.errors import EngineError
from processes.instance import Instance
from processes.segments import bytes_needed
from processes.simulators import Simulators
from support.engine import PAPER, paper_config


@pytest.fixture
def rests(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What an idle strategy asked of the host, in order."""
    asked: list[Any] = []
    monkeypatch.setattr(idle, "time", SimpleNamespace(sleep=lambda seconds: asked.append(round(seconds * 1e9))))
    monkeypatch.setattr(idle, "os", SimpleNamespace(sched_yield=lambda: asked.append("yield")))
    return asked


def test_busy_spin_never_rests(rests: list[Any]) -> None:
    rest = idle.busy_spin()
    for _ in range(1000):
        rest(0)
    assert rests == []


def test_backoff_spins_then_yields_then_parks_longer_and_longer(rests: list[Any]) -> None:
    rest = idle.backoff(spins=3, yields=2, park_ns_min=100, park_ns_max=350)
    for _ in range(9):
        rest(0)
    assert rests == ["yield", "yield", 100, 200, 350, 350]
    rest(1)
    rests.clear()
    for _ in range(6):
        rest(0)
    assert rests == ["yield", "yield", 100], "any work starts over"


def test_sleeping_rests_only_without_work(rests: list[Any]) -> None:
    rest = idle.sleeping(5)
    rest(1)
    rest(0)
    assert rests == [5] and set(idle.BY_NAME) == {"busy_spin", "backoff", "sleeping"}


def test_log_is_one_json_object_a_line(capfd: pytest.CaptureFixture[str]) -> None:
    logs.log("some event", core=3, why="ä\nb")
    line = capfd.readouterr().err
    assert line.count("\n") == 1
    said = json.loads(line)
    assert (said["event"], said["core"], said["why"], said["pid"]) == ("some event", 3, "ä\nb", os.getpid()) and said["at_ns"] > 0


def test_log_to_a_reader_that_is_gone_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    monkeypatch.setattr(logs, "sys", SimpleNamespace(stderr=SimpleNamespace(fileno=lambda: writer)))
    logs.log("nobody listens")
    os.close(writer)
    logs.log("closed as well")


def test_log_goes_to_a_file_once_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(logs, "_file", None)
    path = tmp_path / "log.jsonl"
    path.write_text("before\n")
    logs.to_file(path)
    logs.log("in the file")
    assert logs._file is not None
    os.close(logs._file)
    assert path.read_text().startswith("before\n{") and "in the file" in path.read_text() and capfd.readouterr().err == ""


def test_config_check_says_what_a_config_makes(capsys: pytest.CaptureFixture[str]) -> None:
    document = check(PAPER)
    assert document["stages"] == ["feed.binance", "strategy.mm", "risk", "execution.binance", "portfolio"]
    assert document["hash"] == paper_config().hash() and len(document["rings"]) == 10
    assert document["shm_bytes"] == bytes_needed(paper_config().topology(), 2) > 5_000_000
    print_check(document)
    out = capsys.readouterr().out
    assert "good; hash" in out and "instruments.BTC-USDT.BINANCE.tick = '0.01'" in out


CHANGES = [
    ('mode = "paper"', 'mode = "live"', "mode"),
    ('code = "market_maker"', 'code = "no_such"', "no_such"),
    ("half_spread_min_bp = 0.05", "half_spread_min_bp = -1", "half_spread_min_bp"),
    ("half_spread_min_bp = 0.05", "unheard_of = 1", "unheard_of"),
    ('tick = "0.01"', 'tick = "0"', "tick"),
    ('order_qty_max = "0.1"', 'order_qty_max = "0.6"', "order_qty_max"),
    ('order_notional_max = "10000"', 'order_notional_max = "999999999999999"', "limits.BTC-USDT.BINANCE"),
]


@pytest.mark.parametrize(("old", "new", "named"), CHANGES)
def test_config_that_start_would_refuse_is_refused_with_file_and_key(tmp_path: Path, old: str, new: str, named: str) -> None:
    text = PAPER.read_text()
    assert old in text
    path = tmp_path / "changed.toml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ConfigError, match=f"(?s){named}"):
        check(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "No such file or directory"), (b"", "NO_CERTIFICATE_OR_CRL_FOUND"), (b"no PEM", "NO_CERTIFICATE_OR_CRL_FOUND")],
)
def test_ca_file_that_cannot_be_used_is_refused_with_its_key_and_path(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "changed.toml"
    simulated = "simulator = { synthetic_seed = 7 }"
    path.write_text(PAPER.read_text().replace(simulated, 'ca_file = "own.pem"'))
    if content is not None:
        (tmp_path / "own.pem").write_bytes(content)
    instance = Instance("some", tmp_path / "state")
    starts = [lambda: start.start_foreground(instance, path, None, True), lambda: start.start_detached(instance, path, None)]
    for use in (lambda: check(path), *starts):
        with pytest.raises(ConfigError, match=rf"changed\.toml: venues\.binance\.ca_file: CA file {tmp_path / 'own.pem'}: .*{said}"):
            use()
    assert not instance.folder.exists()
    path.write_text(PAPER.read_text().replace(simulated, f'ca_file = "own.pem"\n{simulated}'))
    assert check(path)["config"]["venues"]["binance"]["ca_file"] == "own.pem", "a simulator's takes its place"


def test_build_warms_every_process_of_every_config_given(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    warmed: list[str] = []
    monkeypatch.setattr(build, "warm_process", lambda config, name: warmed.append(name))
    document = build.build_all((PAPER, PAPER))
    assert warmed == ["market", "trade"] * 2 and [row["process"] for row in document["built"]] == warmed
    build.print_build(document)
    printed = capsys.readouterr()
    assert "all kernels ready" in printed.out and "4/4" in printed.err
    warmed.clear()
    assert len(build.build_all(())["built"]) == len(warmed) >= 4, "all configs of the repository"


class FakeSimulator:
    """Stands in for a simulator's Popen."""

    made: ClassVar[list[FakeSimulator]] = []
    says = b'{"ws": "ws://127.0.0.1:7001", "http": "http://127.0.0.1:7002"}\n'
    stays = False

    def __init__(self, command: list[str], stdout: int, **options: Any) -> None:
        self.command = command
        reader, self.writer = os.pipe()
        self.stdout = os.fdopen(reader, "rb")
        os.write(self.writer, self.says)
        os.close(self.writer)
        self.status: int | None = None
        self.ended: list[str] = []
        FakeSimulator.made.append(self)

    def poll(self) -> int | None:
        return self.status

    def terminate(self) -> None:
        self.ended.append("terminate")

    def kill(self) -> None:
        self.ended.append("kill")

    def wait(self, timeout: float | None = None) -> int:
        if self.stays and timeout is not None:
            raise subprocess.TimeoutExpired("simulator", timeout)
        return 0


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[FakeSimulator]:
    fields = {name: getattr(subprocess, name) for name in ("DEVNULL", "PIPE", "TimeoutExpired")}
    monkeypatch.setattr(simulators, "subprocess", SimpleNamespace(Popen=FakeSimulator, **fields))
    monkeypatch.setattr(FakeSimulator, "made", [])
    return FakeSimulator


def simulated(folder: Path, **simulator: Any) -> Simulators:
    def change(sections: dict[str, Any]) -> None:
        if simulator:
            sections["venues"]["binance"]["simulator"] = simulator

    instance = Instance("some", folder)
    instance.make_folders()
    return Simulators(instance, paper_config(change), folder / "engine.toml")


def test_simulator_is_started_on_the_configs_symbols_and_its_urls_take_the_configs_place(fake: type[FakeSimulator], tmp_path: Path) -> None:
    started = simulated(tmp_path, synthetic_seed=7, rate=2.5)
    config = started.start()
    venue = config.venues["binance"]
    assert (venue.stream_url, venue.rest_url) == ("ws://127.0.0.1:7001", "http://127.0.0.1:7002")
    command = fake.made[0].command
    assert command[:5] == [sys.executable, "-m", "processes.cli", "venue-sim", "binance"]
    said = " ".join(command)
    assert "--synthetic 7 --rate 2.5 --symbols BTCUSDT,ETHUSDT" in said and "--loop" in command and "--with-parent" in command
    assert started.dead() is None
    fake.made[0].status = 1
    assert started.dead() == "binance"
    started.stop()
    assert fake.made[0].ended == ["terminate"] and fake.made[0].stdout.closed and started.running == {}


def test_recording_is_found_beside_the_config_or_named_as_missing(fake: type[FakeSimulator], tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="recording: there is no .*absent.gz"):
        simulated(tmp_path, recording="absent.gz").start()
    (tmp_path / "there.gz").write_bytes(b"")
    started = simulated(tmp_path, recording="there.gz", loop=False, as_recorded=True, pace="max")
    started.start()
    command = " ".join(fake.made[-1].command)
    assert (
        f"--recording {tmp_path}/there.gz" in command and "--pace max" in command and "--as-recorded" in command and "--loop" not in command
    )
    started.stop()


def test_simulator_that_speaks_tls_has_the_instances_authority_which_the_venue_then_trusts(
    fake: type[FakeSimulator], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    urls = {"ws": "wss://127.0.0.1:7001", "http": "https://127.0.0.1:7002", "ca": "/there/ca.pem"}
    monkeypatch.setattr(fake, "says", json.dumps({"ready": True, "control": "http://127.0.0.1:7003", **urls}).encode() + b"\n")
    started = simulated(tmp_path, synthetic_seed=7, tls=True)
    venue = started.start().venues["binance"]
    assert (venue.stream_url, venue.rest_url, venue.ca_file) == tuple(urls.values())
    assert fake.made[0].command[-3:] == ["--tls", "--authority", str(started.instance.folder / "authority")]
    started.stop()
    plain = simulated(tmp_path, synthetic_seed=7)
    plain.start()
    assert "--tls" not in fake.made[1].command
    plain.stop()


def test_simulator_that_says_nothing_is_an_error_and_is_ended(
    fake: type[FakeSimulator], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fake, "says", b"")
    monkeypatch.setattr(fake, "stays", True)
    with pytest.raises(EngineError, match="simulator of binance did not get ready"):
        simulated(tmp_path).start()
    assert fake.made[0].ended == ["terminate", "kill"]


def test_venue_without_a_simulator_keeps_its_urls(fake: type[FakeSimulator], tmp_path: Path) -> None:
    def change(sections: dict[str, Any]) -> None:
        sections["venues"]["binance"].pop("simulator")

    config = paper_config(change)
    assert Simulators(Instance("some", tmp_path), config, tmp_path).start() == config and fake.made == []
