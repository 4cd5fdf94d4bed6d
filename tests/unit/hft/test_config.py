"""A config is decoded strictly and proved; every refusal names the file, the key and what was expected."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hft.config import Config, ConfigError, VenueExecution, load, parse, with_absolute_paths

ROOT = Path(__file__).resolve().parents[3]
CONFIGS = ROOT / "configs"
PAPER = (ROOT / "tests" / "support" / "paper.toml").read_text()


def refused(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text, "some.toml")
    message = str(caught.value)
    assert message.startswith("some.toml: ")
    return message


def with_line(key: str, line: str) -> str:
    """The paper config with the first line that sets `key` replaced."""
    changed, count = re.subn(rf"^{re.escape(key)} = .*$", line.replace("\\", r"\\"), PAPER, count=1, flags=re.MULTILINE)
    assert count == 1, key
    return changed


def venue_execution(order_url: str = "ws://127.0.0.1/", rest_url: str = "http://127.0.0.1/", more: str = "") -> str:
    """The paper config with orders that go to the venue's own order entry."""
    head, _, tail = PAPER.partition("[execution.binance]")
    rest = tail[tail.index("[placement") :]
    section = f'kind = "venue"\norder_url = "{order_url}"\nrest_url = "{rest_url}"\n{more}\n'
    return f"{head}[execution.binance]\n{section}\n{rest}"


def without_simulator(text: str) -> str:
    return re.sub(r"^simulator = .*$", "", text, flags=re.MULTILINE)


def live(text: str) -> str:
    return without_simulator(text).replace('mode = "paper"', 'mode = "live"')


REAL = venue_execution("wss://ws-api.binance.com/ws-api/v3", "https://api.binance.com", 'credentials = "keys/binance.toml"')
REAL_ON_THIS_MACHINE = without_simulator(venue_execution(more='credentials = "keys/binance.toml"'))


def test_orders_go_to_a_simulator_without_keys_and_to_this_machine_with_them() -> None:
    assert parse(venue_execution()).execution["binance"].request_window_ms == 1000
    assert parse(REAL_ON_THIS_MACHINE)
    assert parse(guarded('credentials = { binance = "keys/guardian.toml" }', live(REAL))).engine.mode == "live"


def test_a_live_config_without_a_guardian_is_refused() -> None:
    with pytest.raises(ConfigError, match=re.escape('guardian: missing: mode = "live" needs one')):
        parse(live(REAL))
    with pytest.raises(ConfigError, match=re.escape("guardian.credentials.binance: missing")):
        parse(guarded("", live(REAL)))
    assert parse(REAL_ON_THIS_MACHINE).guardian is None, "paper may go without"


def kraken(more: str) -> str:
    return venue_execution(more=more).replace("binance", "kraken").replace("BINANCE", "KRAKEN")


@pytest.mark.parametrize("seconds", [0, 30, 60])
def test_krakens_timer_is_none_or_longer_than_what_sets_it_again(seconds: int) -> None:
    found = parse(kraken(f'dead_man_s = {seconds}\ntier = "pro"')).execution["kraken"]
    assert (found.dead_man_s, found.tier) == (seconds, "pro")


def guarded(lines: str, base: str = "") -> str:
    return f"{base or venue_execution()}\n[guardian]\n{lines}\n"


def test_a_guardian_needs_a_key_of_its_own_wherever_orders_rest_but_at_a_simulator() -> None:
    assert parse(PAPER).guardian is None
    assert parse(guarded("", PAPER)).guardian is not None and parse(guarded("")).guardian is not None
    found = parse(guarded('credentials = { binance = "keys/guardian.toml" }', REAL_ON_THIS_MACHINE))
    assert found.guardian is not None and found.guardian.credentials == {"binance": "keys/guardian.toml"}
    absolute = with_absolute_paths(found, Path("/etc/hft")).guardian
    assert absolute is not None and absolute.credentials == {"binance": "/etc/hft/keys/guardian.toml"}
    for lines, words in (
        ("", "guardian.credentials.binance: missing"),
        ('credentials = { binance = "keys/binance.toml" }', "guardian.credentials.binance: is the key of the engine"),
        ('credentials = { binance = "a", kraken = "b" }', "guardian.credentials.kraken: no orders go to it"),
        ('credentials = { binance = "a" }\nheartbeat_max_ms = 2000', "must be over engine.heartbeat_timeout_ms"),
        ('credentials = { binance = "a" }\nheartbeat_ms = 2500', "unknown field `heartbeat_ms`"),
        ('credentials = { binance = "a" }\nconfirm_ms = 0', "guardian"),
    ):
        with pytest.raises(ConfigError, match=re.escape(words)):
            parse(guarded(lines, REAL_ON_THIS_MACHINE))


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.name)
def test_load_accepts_every_shipped_config(path: Path) -> None:
    config = load(path)
    assert isinstance(config, Config) and (config.engine.mode == "paper" or path.name == "live.example.toml")
    at_venue = [name for name, section in config.execution.items() if isinstance(section, VenueExecution)]
    assert config.guardian is not None or not at_venue, "where orders rest at a venue, somebody guards them"


def test_hash_changes_with_any_value_and_not_with_comments() -> None:
    assert parse(PAPER).hash() == parse("# more\n" + PAPER).hash()
    assert parse(PAPER).hash() != parse(with_line("gross_max", 'gross_max = "100001"')).hash()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "engine"),
        ("= 1", "not TOML"),
        (with_line("mode", 'mode = "alive"'), "$.engine.mode"),
        (with_line("mode", 'mode = "live"'), "a simulator has no place"),
        (live(PAPER), "needs kind"),
        (live(venue_execution()), "credentials: missing"),
        (venue_execution(order_url="http://127.0.0.1/"), "order_url: expected ws://"),
        (venue_execution(rest_url="https://key:secret@127.0.0.1/"), "rest_url: expected http://"),
        (without_simulator(venue_execution(order_url="wss://ws-api.example.com/")), "orders to this machine only"),
        (without_simulator(venue_execution(rest_url="https://127.0.0.1.example.com/")), "orders to this machine only"),
        (without_simulator(venue_execution()), "credentials: missing"),
        (kraken(""), "execution.kraken.dead_man_s: missing: expected 0, or at least 30"),
        (kraken("dead_man_s = 20"), "execution.kraken.dead_man_s: found 20"),
        (kraken('dead_man_s = 0\ntier = "gold"'), "tier"),
        (venue_execution(more="order_latency_us = 1"), "unknown field `order_latency_us`"),
        (with_line("mode", 'mode = "paper"\nmood = 1'), "unknown field `mood`"),
        (with_line("mode", 'mode = "paper"\nmode = "paper"'), "not TOML"),
        (with_line("tick", "tick = 0.01"), "Expected `str`, got `float`"),
        (with_line("tick", 'tick = "1e-2"'), "$.instruments"),
        (with_line("tick", 'tick = "0.00"'), "must be positive"),
        (with_line("tick", 'tick = "-0.01"'), "$.instruments"),
        (with_line("tick", 'tick = "NaN"'), "$.instruments"),
        (with_line("order_qty_max", ""), "missing required field `order_qty_max`"),
        (with_line("open_orders_max", "open_orders_max = 0"), "$.limits"),
        (with_line("open_orders_max", "open_orders_max = -1"), "$.limits"),
        (with_line("open_orders_max", 'open_orders_max = "16"'), "Expected `int`, got `str`"),
        (with_line("book_age_max_ms", "book_age_max_ms = 1e3"), "$.limits"),
        (with_line("intent_age_max_ms", "intent_age_max_ms = 51"), "send_age_max_ms"),
        (with_line("rates", "rates = {}"), "no rate from USDT"),
        (with_line("stream_url", 'stream_url = "http://127.0.0.1/"'), "stream_url"),
        (with_line("stream_url", 'stream_url = "ws://user:secret@127.0.0.1/"'), "without credentials"),
        (with_line("simulator", "simulator = {}"), "exactly one of synthetic_seed and recording"),
        (with_line("simulator", 'simulator = { synthetic_seed = 1, recording = "x" }'), "exactly one of"),
        (with_line("simulator", 'simulator = { synthetic_seed = 1, pace = "0" }'), "pace"),
        (with_line("instruments", 'instruments = ["BTC-USD.KRAKEN"]'), "is not configured"),
        (with_line("instruments", "instruments = []"), "$.strategies"),
        (with_line("stages", 'stages = ["feed.binance"]'), "no process runs portfolio"),
        (with_line("stages", 'stages = ["feed.binance", "portfolio", "risk"]'), "already in market"),
        (with_line("stages", 'stages = ["feed.binance", "portfolio", "mind"]'), "no stage 'mind'"),
        (with_line("core", "core = 1"), "already taken by"),
        (with_line("core", "core = -1"), "$.placement"),
        (with_line("idle", 'idle = "lazy"'), "$.placement"),
        (PAPER.replace("venues.binance]", "venues.bourse]"), "unknown venue"),
        (PAPER.replace("[execution.binance]", "[execution.bourse]"), "missing: every venue needs an execution"),
        (PAPER.replace('[limits."ETH-USDT.BINANCE"]', '[limits."XRP-USDT.BINANCE"]'), "every instrument needs limits"),
        (PAPER.replace('symbol = "ETHUSDT"', 'symbol = "BTCUSDT"'), "already another instrument"),
        ("a = " + "[" * 5000, "nested too deeply"),
    ],
)
def test_parse_refuses_and_names_the_key(text: str, words: str) -> None:
    message = refused(text)
    assert words in message


def test_load_refuses_what_is_not_a_small_regular_utf8_file(tmp_path: Path) -> None:
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe")
    large = tmp_path / "large.toml"
    large.write_text("#" * (1 << 20) + "\n")
    for path, words in (
        (tmp_path / "absent.toml", "No such file"),
        (tmp_path, "regular file"),
        (binary, "not UTF-8"),
        (large, "at most 1 MiB"),
    ):
        with pytest.raises(ConfigError, match=words):
            load(path)
