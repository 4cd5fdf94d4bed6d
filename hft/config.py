"""Config: loads one TOML file into typed, frozen structs, and proves it.

Unknown keys, missing limits, duplicate keys and inverted hierarchies are errors that name the file, the key and what was
expected. Decimal quantities are strings ("0.01"), never floats; durations are integers with their unit in the name.
Kernels receive records made from it (`hft/tables.py`), never the config itself.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from hft.config_guardian import prove_guardian
from hft.config_limits import Firm, Limits
from hft.config_placement import prove_placement
from hft.config_types import Decimal, InstrumentName, Microseconds, Milliseconds, Name, Seconds, SignedDecimal
from hft.control import INSTRUMENTS_MAX
from hft.topology import Topology, build

#: What a venue's symbol looks like on the wire; a pattern.
SYMBOL = r"^[A-Za-z0-9/_-]{1,24}$"

#: Venues that have a codec.
VENUES = ("binance", "coinbase", "kraken")

#: Least seconds of Kraken's timer that ends all orders; the engine sets it again every 15.
DEAD_MAN_LEAST_S = 30

_LOOPBACK = re.compile(r"^[a-z]+://(127\.[0-9.]+|localhost|\[::1\])(:[0-9]+)?(/|$)")


class ConfigError(Exception):
    """The config cannot be used; the message names the file, the key, what was found and what was expected."""


class Struct(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of every section: frozen, and unknown keys are errors."""


class Engine(Struct, frozen=True, kw_only=True):
    """The engine as a whole."""

    mode: Literal["paper", "live"]  #: "paper": fills from the matching kernel or a local simulator; "live": real orders
    journal_file_mb: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 32  #: size of one journal file, allocated in full
    heartbeat_timeout_ms: Milliseconds = 2000  #: a process that has not beaten for this long is killed, and a new epoch begins
    restarts_max: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 5  #: so many restarts within a minute are a crash loop: the engine stops


class Simulator(Struct, frozen=True, kw_only=True):
    """Run the bundled venue simulator and connect to it instead of the configured URLs; exactly one of its two sources."""

    synthetic_seed: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)] | None = None  #: seed of a synthetic order flow
    recording: str | None = None  #: capture to play, a file or a folder of segments, relative to the config file
    pace: str = "recorded"  #: recording: "recorded", "max" (as fast as the engine reads), or a factor such as "10"
    rate: Annotated[float, msgspec.Meta(ge=0.01, le=1000)] = 1.0  #: synthetic flow: multiplier of events
    as_recorded: bool = False  #: recording: leave exchange times as they were recorded
    loop: bool = True  #: recording: begin again after its end
    tls: bool = False  #: over wss and https, under an authority of the instance's own, which takes the place of `ca_file`


class Venue(Struct, frozen=True, kw_only=True):
    """One venue's endpoints and feed behaviour."""

    stream_url: str  #: market data: ws://host or wss://host, without credentials
    rest_url: str  #: snapshots: http://host or https://host, without credentials
    transport: Literal["direct", "picows"] = "direct"  #: "direct" reads the connection inside kernels
    codec: Literal["json", "sbe"] = "json"  #: binance: how market data is encoded; "sbe" needs an API key
    channel: Literal["level2_batch", "level2", "full"] = "level2_batch"  #: coinbase: where the book comes from; the last two need a key
    depth: Literal[10, 25, 100, 500, 1000] = 100  #: kraken: levels a side that the book has
    ca_file: str | None = None  #: authorities for wss:// and https://, instead of the system's; relative to the config file
    credentials: str | None = None  #: key file for market data that needs one; relative to the config file
    snapshot_levels: Annotated[int, msgspec.Meta(ge=5, le=5000)] = 1000  #: binance: levels a side asked of a snapshot
    silence_ms: Milliseconds = 5000  #: no book event of a symbol for this long makes its book invalid
    simulator: Simulator | None = None  #: with it, both URLs are replaced by the simulator's


class Instrument(Struct, frozen=True, kw_only=True):
    """One tradable pair at one venue."""

    symbol: Annotated[str, msgspec.Meta(pattern=SYMBOL)]  #: as on the wire
    tick: Decimal  #: price step, in quote; positive
    lot: Decimal  #: size step, in base; positive
    min_notional: Decimal  #: least price x size of an order, in quote
    price_max: Decimal  #: highest price, in quote
    qty_max: Decimal  #: largest size of an order, in base
    maker_fee: SignedDecimal  #: rate, e.g. "0.001" for 0.1%; negative is a rebate
    taker_fee: SignedDecimal  #: rate
    fee_asset: Literal["quote", "base"] = "quote"  #: asset that paper fills pay their fees in


class Strategy(Struct, frozen=True, kw_only=True):
    """One strategy: which code, on what, with which parameters."""

    code: str  #: a name in strategies/registry.py, or an import path
    instruments: Annotated[list[InstrumentName], msgspec.Meta(min_length=1)]  #: what it sees and may trade
    params: dict[str, float] = {}  #: the strategy's own parameters, by name; what is not given has its default
    timer_ms: Annotated[int, msgspec.Meta(ge=1, le=60_000)] = 100  #: interval of its on_timer


class PaperExecution(Struct, frozen=True, kw_only=True, tag_field="kind", tag="paper"):
    """`kind = "paper"`: orders are filled by the matching kernel on the live book, and reach no venue."""

    order_latency_us: Microseconds  #: from sending until the order is at the venue
    ack_latency_us: Microseconds  #: from the venue until its report is here
    orders_max: Annotated[int, msgspec.Meta(ge=16, le=4096)] = 1024  #: resting orders, and apart those on their way


class VenueExecution(Struct, frozen=True, kw_only=True, tag_field="kind", tag="venue"):
    """`kind = "venue"`: orders go to the venue's own order entry, or to its simulator."""

    order_url: str  #: order entry and private stream: ws://host or wss://host, without credentials
    rest_url: str  #: signed requests: http://host or https://host, without credentials
    credentials: str | None = None  #: key file of mode 0600, relative to the config file; a simulator has its own keys
    transport: Literal["direct", "picows"] = "direct"  #: "direct" writes the socket inside kernels
    request_window_ms: Annotated[int, msgspec.Meta(ge=500, le=60_000)] = 1000  #: the venue refuses what reaches it later
    ack_timeout_ms: Milliseconds = 2000  #: an order without an answer for this long is UNKNOWN, and asked for
    query_pause_ms: Milliseconds = 500  #: between two questions about the same order
    open_orders_at_start: Literal["cancel", "adopt"] = "cancel"  #: what becomes of orders that earlier epochs of the session left
    connections: Annotated[int, msgspec.Meta(ge=2, le=32)] = 6  #: coinbase: HTTP connections kept open; a third of them for cancels
    tier: Literal["starter", "intermediate", "pro"] = "starter"  #: kraken: the account's tier, which its rate limits go by
    dead_man_s: Seconds | None = None  #: kraken, required: all orders of the account end this long after the engine; 0: never, or 30 up


Execution = PaperExecution | VenueExecution


class Guardian(Struct, frozen=True, kw_only=True):
    """The process that ends all orders after a kill, and kills by itself when the engine cannot be trusted to."""

    credentials: dict[Name, str] = {}  #: venue -> its own key file, relative to the config file; a simulator has its own keys
    heartbeat_max_ms: Milliseconds = 5000  #: supervisor, risk or execution silent for longer is a kill; over heartbeat_timeout_ms
    stream_lost_max_ms: Milliseconds = 30_000  #: order entry or private stream gone, or not reconciled, for longer is a kill there
    confirm_ms: Milliseconds = 30_000  #: NOT CONFIRMED is said this long after the last order of before the kill could arrive


class Process(Struct, frozen=True, kw_only=True):
    """One operating-system process; every stage is in exactly one."""

    stages: Annotated[list[str], msgspec.Meta(min_length=1)]  #: e.g. "feed.binance", "strategy.mm", "risk"
    core: Annotated[int, msgspec.Meta(ge=0, le=4095)] | None = None  #: core it is pinned to, its alone; none: not pinned
    idle: Literal["busy_spin", "backoff", "sleeping"]  #: without work: "backoff" parks longer and longer, "sleeping" parks 1 ms
    fifo_priority: Annotated[int, msgspec.Meta(ge=1, le=98)] | None = None  #: SCHED_FIFO, where permitted
    lock_memory: bool = False  #: keep its memory out of swap (mlockall), where permitted


class Placement(Struct, frozen=True, kw_only=True):
    """Which stages run where, and who starts the processes."""

    spawner: Literal["zygote", "units"] = "zygote"  #: "units": systemd starts each `hftctl stage`
    freeze_gc: bool = True  #: take what exists at start out of the garbage collector's sight
    processes: dict[Name, Process]  #: by name


class Config(Struct, frozen=True, kw_only=True):
    """A whole config file."""

    engine: Engine
    venues: dict[Name, Venue]
    instruments: dict[InstrumentName, Instrument]
    limits: dict[InstrumentName, Limits]
    firm: Firm
    strategies: dict[Name, Strategy]
    execution: dict[Name, Execution]
    placement: Placement
    guardian: Guardian | None = None

    def topology(self) -> Topology:
        """The stages and rings this config makes."""
        at_venue = [name for name, section in self.execution.items() if isinstance(section, VenueExecution)]
        return build(list(self.venues), list(self.strategies), at_venue)

    def hash(self) -> str:
        """SHA-256 of the resolved config; journals carry it."""
        return hashlib.sha256(msgspec.json.encode(self, order="deterministic")).hexdigest()


def with_absolute_paths(config: Config, folder: Path) -> Config:
    """The config with paths that are relative to its file, which lies in `folder`, made absolute."""

    def absolute(section: Any, *keys: str) -> Any:
        found = {key: getattr(section, key) for key in keys}
        return msgspec.structs.replace(section, **{key: None if path is None else str(folder / path) for key, path in found.items()})

    venues = {name: absolute(venue, "ca_file", "credentials") for name, venue in config.venues.items()}
    execution = {
        name: absolute(section, "credentials") if isinstance(section, VenueExecution) else section
        for name, section in config.execution.items()
    }
    guardian = config.guardian
    if guardian is not None:
        guardian = msgspec.structs.replace(guardian, credentials={name: str(folder / key) for name, key in guardian.credentials.items()})
    return msgspec.structs.replace(config, venues=venues, execution=execution, guardian=guardian)


def load(path: Path) -> Config:
    """Read, decode and prove a config file; raise ConfigError."""
    return parse(_read(path), str(path))


def parse(text: str, where: str = "<config>") -> Config:
    """Decode and prove config text; `where` is named in errors."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{where}: not TOML: {error}") from error
    except RecursionError:
        raise ConfigError(f"{where}: nested too deeply") from None
    try:
        config = msgspec.convert(raw, Config)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{where}: {error}") from error
    _prove(config, where)
    return config


def _read(path: Path) -> str:
    try:
        status = os.stat(path)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    if not stat.S_ISREG(status.st_mode):
        raise ConfigError(f"{path}: expected a regular file")
    if status.st_size > 1 << 20:
        raise ConfigError(f"{path}: {status.st_size} bytes; a config is at most 1 MiB")
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 at byte {error.start}") from error


def _prove(config: Config, where: str) -> None:
    """Check the relations between sections."""

    def fail(key: str, message: str) -> None:
        raise ConfigError(f"{where}: {key}: {message}")

    if not config.venues or not config.instruments or not config.strategies:
        fail("venues, instruments, strategies", "expected at least one of each")
    for name, venue in config.venues.items():
        if name not in VENUES:
            fail(f"venues.{name}", f"unknown venue; known: {', '.join(VENUES)}")
        if name not in config.execution:
            fail(f"execution.{name}", "missing: every venue needs an execution section")
        _prove_urls(name, venue, fail)
    for name, execution in config.execution.items():
        if name not in config.venues:
            fail(f"execution.{name}", "no such venue")
        _prove_execution(config, name, execution, fail)
    _prove_instruments(config, fail)
    _prove_strategies(config, fail)
    prove_placement(config, fail)
    trading = {name: section for name, section in config.execution.items() if isinstance(section, VenueExecution)}
    prove_guardian(config, trading, fail)
    if config.firm.send_age_max_ms < config.firm.intent_age_max_ms:
        fail("firm.send_age_max_ms", f"must be at least intent_age_max_ms ({config.firm.intent_age_max_ms})")


def _prove_urls(name: str, venue: Venue, fail) -> None:  # type: ignore[no-untyped-def]
    _match_url(f"venues.{name}.stream_url", venue.stream_url, "ws", fail)
    _match_url(f"venues.{name}.rest_url", venue.rest_url, "http", fail)
    simulator = venue.simulator
    if simulator is not None:
        if (simulator.synthetic_seed is None) == (simulator.recording is None):
            fail(f"venues.{name}.simulator", "expected exactly one of synthetic_seed and recording")
        if not re.match(r"^(recorded|max|[0-9]+(\.[0-9]+)?)$", simulator.pace) or simulator.pace.strip("0.") == "":
            fail(f"venues.{name}.simulator.pace", f"expected 'recorded', 'max' or a positive factor, found {simulator.pace!r}")


def _prove_execution(config: Config, name: str, execution: Execution, fail) -> None:  # type: ignore[no-untyped-def]
    simulated = config.venues[name].simulator is not None
    live = config.engine.mode == "live"
    if live and simulated:
        fail(f"venues.{name}.simulator", 'mode = "live" trades real venues; a simulator has no place in it')
    if isinstance(execution, PaperExecution):
        if live:
            fail(f"execution.{name}.kind", 'mode = "live" needs kind = "venue"')
        return
    _match_url(f"execution.{name}.order_url", execution.order_url, "ws", fail)
    _match_url(f"execution.{name}.rest_url", execution.rest_url, "http", fail)
    if name == "kraken":
        _prove_dead_man(execution.dead_man_s, fail)
    if simulated:
        return
    for key, url in (("order_url", execution.order_url), ("rest_url", execution.rest_url)):
        if not live and not _LOOPBACK.match(url):
            fail(f"execution.{name}.{key}", f'mode = "paper" sends orders to this machine only, found {url!r}; mode = "live" is for venues')
    if execution.credentials is None:
        fail(f"execution.{name}.credentials", "missing: only a simulator has keys of its own")


def _prove_dead_man(dead_man_s: int | None, fail) -> None:  # type: ignore[no-untyped-def]
    """The timer strikes whoever's orders are at the account, so nobody gets it without having said so."""
    if dead_man_s is None or 0 < dead_man_s < DEAD_MAN_LEAST_S:
        found = "missing" if dead_man_s is None else f"found {dead_man_s}"
        fail("execution.kraken.dead_man_s", f"{found}: expected 0, or at least {DEAD_MAN_LEAST_S}; it ends every order of the account")


def _match_url(key: str, url: str, scheme: str, fail) -> None:  # type: ignore[no-untyped-def]
    if not re.match(rf"^{scheme}s?://[^/@\s]+(/|$)", url):
        fail(key, f"expected {scheme}://host or {scheme}s://host without credentials, found {url!r}")


def _prove_instruments(config: Config, fail) -> None:  # type: ignore[no-untyped-def]
    if len(config.instruments) > INSTRUMENTS_MAX:
        fail("instruments", f"there is room for {INSTRUMENTS_MAX}, found {len(config.instruments)}")
    seen: set[tuple[str, str]] = set()
    for name, instrument in config.instruments.items():
        venue = name.rpartition(".")[2].lower()
        if venue not in config.venues:
            fail(f"instruments.{name}", f"venue {venue!r} is not configured")
        if (venue, instrument.symbol) in seen:
            fail(f"instruments.{name}.symbol", f"{instrument.symbol!r} is already another instrument of {venue}")
        seen.add((venue, instrument.symbol))
        if name not in config.limits:
            fail(f"limits.{name}", "missing: every instrument needs limits")
        quote = name.partition("-")[2].rpartition(".")[0]
        if quote not in config.firm.rates:
            fail("firm.rates", f"no rate from {quote} to {config.firm.base_currency}, needed by {name}")
        for key in ("tick", "lot"):
            if not getattr(instrument, key).strip("0."):
                fail(f"instruments.{name}.{key}", "must be positive")
    for name in config.limits:
        if name not in config.instruments:
            fail(f"limits.{name}", "no such instrument")


def _prove_strategies(config: Config, fail) -> None:  # type: ignore[no-untyped-def]
    if len(config.strategies) > 255:
        fail("strategies", "an order id has room for 255 strategies")
    for name, strategy in config.strategies.items():
        for instrument in strategy.instruments:
            if instrument not in config.instruments:
                fail(f"strategies.{name}.instruments", f"{instrument} is not configured")
        if len(set(strategy.instruments)) != len(strategy.instruments):
            fail(f"strategies.{name}.instruments", "names an instrument twice")
