"""Build and config check: every process of every config is compiled once, and a config is proved as `start` would."""

from __future__ import annotations

import io
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hft.config import Config, ConfigError, load
from processes import build
from processes.build import Job, build_all, one_after_another, print_build
from processes.config_check import check, print_check
from support.engine import PAPER, ROOT

BTC = "BTC-USDT.BINANCE"


@pytest.fixture
def warmed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], str]]:
    """What is compiled, as (venues, process), instead of compiling it."""
    warmed: list[tuple[list[str], str]] = []

    def warm(config: Config, name: str) -> None:
        assert name in config.placement.processes
        warmed.append((list(config.venues), name))

    monkeypatch.setattr(build, "warm_process", warm)
    return warmed


def test_build_compiles_every_process_of_the_given_configs(warmed: list[tuple[list[str], str]], capsys: pytest.CaptureFixture[str]) -> None:
    document = build_all((PAPER,))
    assert warmed == [(["binance"], "market"), (["binance"], "trade")]
    assert [(row["config"], row["process"]) for row in document["built"]] == [("paper.toml", "market"), ("paper.toml", "trade")]
    out, err = capsys.readouterr()
    assert out == "" and "\x1b" not in err
    assert [line.split()[-2:] for line in err.splitlines()[:-1]] == [["paper.toml", "market"], ["paper.toml", "trade"]]
    assert err.splitlines()[-1].split() == ["compiling", f"[{'#' * 24}]", "2/2"]
    print_build(document)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and lines[0].startswith("paper.toml") and lines[-1].startswith("all kernels ready in")


def test_build_without_configs_takes_all_that_come_with_the_project(warmed: list[tuple[list[str], str]]) -> None:
    document = build_all(())
    assert [row["config"] for row in document["built"]] == sorted(row["config"] for row in document["built"])
    assert {row["config"] for row in document["built"]} == {path.name for path in (ROOT / "configs").glob("*.toml")}
    assert len(warmed) == len(document["built"])


def test_build_with_workers_compiles_the_same_and_tells_what_is_done(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def warm(config: Config, name: str) -> None:
        (tmp_path / f"{config.hash()[:8]}.{name}").touch()

    monkeypatch.setattr(build, "warm_process", warm)
    document = build_all((), workers=2)
    configs = sorted((ROOT / "configs").glob("*.toml"))
    expected = [(path.name, name) for path in configs for name in load(path).placement.processes]
    assert [(row["config"], row["process"]) for row in document["built"]] == expected
    assert len(list(tmp_path.iterdir())) == len(expected)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].split()[-2:] == [str(len(expected)), "processes"] and lines[-1].split()[-1] == f"{len(expected)}/{len(expected)}"
    assert all(line.endswith(" is done") for line in lines[1:-1])


def test_build_with_workers_tells_what_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    def warm(config: Config, name: str) -> None:
        raise ConfigError(f"{name} cannot be")

    monkeypatch.setattr(build, "warm_process", warm)
    with pytest.raises(ConfigError, match="(market|trade) cannot be"):
        build_all((PAPER,), workers=2)


def test_processes_that_share_costly_kernels_are_compiled_one_after_another() -> None:
    def job(*stages: str, sbe: bool = False, config: str = "paper-orders.toml") -> Job:
        raw = tomllib.loads((ROOT / "configs" / config).read_text())
        raw["placement"]["processes"] = {"some": {"stages": list(stages), "idle": "backoff"}}
        raw["venues"]["binance"]["codec"] = "sbe" if sbe else "json"
        return Job(PAPER, msgspec.convert(raw, Config), "some")

    jobs = [
        job("feed.binance"),
        job("risk"),
        job("execution.binance", "strategy.mm"),
        job("execution.kraken"),
        job("feed.binance", sbe=True),
        job("feed.kraken"),
        job("execution.binance", "execution.kraken"),
        job("execution.binance", config="paper.toml"),
        job("feed.binance", "feed.kraken", "portfolio"),
    ]
    assert sorted(one_after_another(jobs)) == [[0, 5, 8], [1], [2, 3, 6], [4], [7]]


def test_build_on_a_terminal_is_one_line(warmed: list[tuple[list[str], str]], monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    build_all((PAPER,))
    text = terminal.getvalue()
    assert text.count("\r\033[K") == 3 and text.count("\n") == 1 and text.endswith("\n")


def test_build_compiles_nothing_when_one_config_is_broken(warmed: list[tuple[list[str], str]], tmp_path: Path) -> None:
    broken = tmp_path / "broken.toml"
    broken.write_text("[engine]\nmode = 'paper'\n")
    with pytest.raises(ConfigError, match="broken.toml"):
        build_all((PAPER, broken))
    assert warmed == []


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.toml")), ids=lambda path: path.name)
def test_config_check_finds_every_config_of_the_project_good(path: Path) -> None:
    document = check(path)
    config = document["config"]
    assert document["file"] == str(path) and len(document["hash"]) == 64
    assert {stage for process in config["placement"]["processes"].values() for stage in process["stages"]} == set(document["stages"])
    assert len(document["rings"]) == len(set(document["rings"])) > 0
    assert document["shm_bytes"] > 1 << 16


def test_config_check_prints_the_resolved_config_with_its_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    written = tomllib.loads(PAPER.read_text())
    assert "journal_file_mb" not in written["engine"]
    print_check(check(PAPER))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{PAPER}: good; hash ") and lines[0].endswith(" MB of shared memory")
    assert "  engine.journal_file_mb = 32" in lines and "  engine.mode = 'paper'" in lines
    assert f"  instruments.{BTC}.tick = '0.01'" in lines and "  venues.binance.simulator.synthetic_seed = 7" in lines
    assert len(lines) == len(set(lines))


def test_config_check_prints_an_empty_section_as_such(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "\n".join(line for line in PAPER.read_text().splitlines() if not line.startswith("params"))
    (tmp_path / "bare.toml").write_text(text)
    print_check(check(tmp_path / "bare.toml"))
    assert "  strategies.mm.params = {}" in capsys.readouterr().out.splitlines()


def changed(folder: Path, before: str, after: str) -> Path:
    """paper.toml with one thing changed wherever it stands."""
    text = PAPER.read_text()
    assert before in text
    (folder / "changed.toml").write_text(text.replace(before, after))
    return folder / "changed.toml"


@pytest.mark.parametrize(
    ("before", "after", "complaint"),
    [
        ('code = "market_maker"', 'code = "nobody"', "no strategy 'nobody'"),
        ('code = "market_maker"', 'code = "no.such.module"', "no.such.module"),
        ('code = "market_maker"', 'code = "..relative"', "no strategy '..relative'"),
        ("half_spread_min_bp", "half_spread_minimum", "half_spread_minimum"),
        ("size_quote = 500", "size_quote = 1e30", "size_quote"),
        ("size_quote = 500", "size_quote = nan", "size_quote"),
        ('gross_max = "100000"', 'gross_max = "0"', "gross_max"),
        ('qty_max = "9000"', f'qty_max = "{"9" * 18}"', BTC),
        ('position_max = "0.5"', "", "position_max"),
        ('tick = "0.01"', "tick = 0.01", "tick"),
        ('stages = ["feed.binance", "portfolio"]', 'stages = ["feed.binance"]', "portfolio"),
        ("[engine]", "[engine", "not TOML"),
    ],
)
def test_config_check_refuses_what_start_would_and_names_it(tmp_path: Path, before: str, after: str, complaint: str) -> None:
    path = changed(tmp_path, before, after)
    with pytest.raises(ConfigError) as refused:
        check(path)
    assert complaint in str(refused.value) and str(path) in str(refused.value)


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe", b"\x00", b"a = " + b"[" * 100_000, b"#" * (1 << 20) + b"\n"])
def test_config_check_refuses_what_is_no_config(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "some.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match="some.toml"):
        check(path)


def test_config_check_refuses_a_folder_and_a_device() -> None:
    for path in (Path("/"), Path("/dev/zero")):
        with pytest.raises(ConfigError, match="expected a regular file"):
            check(path)


def test_documents_are_plain_data() -> None:
    def plain(value: Any) -> bool:
        if isinstance(value, dict):
            return all(isinstance(key, str) and plain(inner) for key, inner in value.items())
        if isinstance(value, list):
            return all(plain(inner) for inner in value)
        return value is None or type(value) in (str, int, float, bool)

    assert plain(check(PAPER))
