"""Venue simulator: makes a simulated venue from options and serves it on loopback sockets, for any client.

`serve` prints one line, `{"ready":true,"http":…,"ws":…,"control":…}`, and runs until SIGTERM or SIGINT. With TLS the first two are
`https` and `wss`, and `ca` is the file of the authority to trust.
"""

from __future__ import annotations

import asyncio
import gc
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from hft.sim.binance.venue import BinanceVenue
from hft.sim.coinbase import products as coinbase_products
from hft.sim.coinbase.recording import products_of as coinbase_products_of
from hft.sim.coinbase.recording import scan as coinbase_scan
from hft.sim.coinbase.venue import CoinbaseVenue
from hft.sim.exchange.customers import Customer, CustomersError, decode_customers
from hft.sim.kraken import pairs as kraken_pairs
from hft.sim.kraken.recording import scan as kraken_scan
from hft.sim.kraken.venue import KrakenVenue
from hft.sim.market import Market, SimError
from hft.sim.player import Settings
from hft.sim.recorded_frames import RecordedFrames
from hft.sim.recording import RecordedMarket
from hft.sim.recording_index import RecordingFile, scan
from hft.sim.synthetic import SPECS, FlowSpec, SyntheticMarket
from hft.sim.timeline import pace_per_mille
from hft.sim.venue import Venue
from processes.authority import Authority
from processes.capture import CaptureError, capture_files, place_of, raw_lines
from processes.errors import EngineError
from processes.instance import default_state_dir
from processes.venue_server import Simulator

EVENTS_PER_S = 100.0
#: Objects made before the collector looks: orders live for long, and nearly all are freed without it.
GC_THRESHOLD = 200_000
SYMBOLS_DEFAULT = ("BTCUSDT", "ETHUSDT")


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to simulate: `recording` or `synthetic`, not both; neither is synthetic with seed 1."""

    port: int = 0  #: WebSocket port, REST and control take the next free ones; 0 is any
    recording: tuple[str, ...] = ()  #: files of `<receive ns> <json>` lines, plain or gzip, played together
    synthetic: int | None = None  #: seed
    pace: str = "recorded"  #: `recorded`, `max` (as fast as clients read) or a factor
    as_recorded: bool = False  #: leave exchange times as they were recorded
    no_limits: bool = False  #: lift the limits on messages, request weight and connections
    symbols: tuple[str, ...] = ()  #: synthetic: which pairs; none is the venue's default
    loop: bool = False  #: at the end of a recording close the connections, and begin again with the next
    rate: float = 1.0  #: synthetic: multiplier of the event rate
    tls: bool = False  #: serve https and wss only, under the authority in `authority`
    authority: str = ""  #: folder of that authority; empty is the one of this user
    accounts: str = ""  #: file of customers (`hft.sim.exchange.customers`) instead of the venue's own


def open_recording(path: Path) -> RecordingFile:
    """Return a recording, a file or a folder of segments, that is read from disk whenever it is played. Raises EngineError for none."""
    try:
        capture_files(path)
    except CaptureError as error:
        raise EngineError(f"recording {error}") from error

    def lines() -> Iterator[bytes]:
        try:
            yield from raw_lines(path)
        except CaptureError as error:
            raise OSError(str(error)) from error

    return RecordingFile(path.name, lines, partial(place_of, path))


def market_maker(options: Options) -> Callable[[], Market]:
    """Return what makes a fresh market for each round. Raises EngineError or SimError on unusable options."""
    _refuse_two_markets(options)
    if options.recording:
        index = scan(open_recording(Path(name)) for name in options.recording)
        return lambda: RecordedMarket(index, options.as_recorded)
    return synthetic_maker(options, SPECS, SYMBOLS_DEFAULT)


def _refuse_two_markets(options: Options) -> None:
    if options.recording and options.synthetic is not None:
        raise EngineError("expected one of a recording and a synthetic seed, found both")


def synthetic_maker(options: Options, specs: Mapping[str, FlowSpec], default: tuple[str, ...]) -> Callable[[], Market]:
    """Return what makes a fresh synthetic market of the chosen symbols. Raises EngineError or SimError on unusable options."""
    symbols = options.symbols or default
    if any(symbol not in specs for symbol in symbols) or len(set(symbols)) != len(symbols):
        raise EngineError(f"symbols must be some of {', '.join(specs)}, each once, were {', '.join(symbols)}")
    seed = 1 if options.synthetic is None else options.synthetic

    def synthetic() -> SyntheticMarket:
        uniforms = [random.Random(f"{seed}:{symbol}").random for symbol in symbols]
        return SyntheticMarket([specs[symbol] for symbol in symbols], uniforms, EVENTS_PER_S * options.rate, seed)

    synthetic()
    return synthetic


def customers(options: Options) -> tuple[Customer, ...]:
    """Return the customers of the file in the options; none means the venue's own. Raises EngineError."""
    if not options.accounts:
        return ()
    try:
        return decode_customers(Path(options.accounts).read_bytes())
    except OSError as error:
        raise EngineError(f"accounts {options.accounts}: {error.strerror}") from error
    except CustomersError as error:
        raise EngineError(f"accounts {options.accounts}: {error}") from error


def _binance(options: Options) -> Venue:
    settings = Settings(pace_per_mille(options.pace), options.loop, options.no_limits, options.as_recorded)
    try:
        return BinanceVenue(market_maker(options), settings, time.time_ns() - time.monotonic_ns(), customers(options))
    except CustomersError as error:
        raise EngineError(f"accounts {options.accounts}: {error}") from error


def _only_recording(venue: str, options: Options) -> RecordingFile:
    """Return the one recording of a venue that plays one. Raises EngineError."""
    _refuse_two_markets(options)
    if len(options.recording) > 1:
        raise EngineError(f"{venue} plays one recording, found {len(options.recording)}")
    return open_recording(Path(options.recording[0]))


def _kraken(options: Options) -> Venue:
    settings = Settings(pace_per_mille(options.pace), options.loop, options.no_limits)
    symbols = options.symbols or kraken_pairs.SYMBOLS_DEFAULT
    make_market: Callable[[], Market]
    if options.recording:
        recording = kraken_scan(_only_recording("kraken", options))
        symbols, make_market = tuple(recording.first), partial(RecordedFrames, recording)
    else:
        specs = {name: kraken_pairs.flow(pair) for name, pair in kraken_pairs.PAIRS.items()}
        make_market = synthetic_maker(options, specs, symbols)
    try:
        return KrakenVenue(make_market, settings, time.time_ns() - time.monotonic_ns(), symbols, customers(options))
    except CustomersError as error:
        raise EngineError(f"accounts {options.accounts}: {error}") from error


def _coinbase(options: Options) -> Venue:
    settings = Settings(pace_per_mille(options.pace), options.loop, options.no_limits)
    make_market: Callable[[], Market]
    if options.recording:
        recording = coinbase_scan(_only_recording("coinbase", options))
        products, make_market = coinbase_products_of(recording), partial(RecordedFrames, recording)
    else:
        symbols = options.symbols or coinbase_products.SYMBOLS_DEFAULT
        specs = {name: coinbase_products.flow(product) for name, product in coinbase_products.PRODUCTS.items()}
        make_market = synthetic_maker(options, specs, symbols)
        products = [coinbase_products.PRODUCTS[symbol] for symbol in symbols]
    wall_offset_ns = time.time_ns() - time.monotonic_ns()
    try:
        return CoinbaseVenue(make_market, settings, wall_offset_ns, products, customers(options), trades_take=not options.recording)
    except CustomersError as error:
        raise EngineError(f"accounts {options.accounts}: {error}") from error


#: name -> what makes the venue; raises EngineError or SimError on unusable options
VENUES: Mapping[str, Callable[[Options], Venue]] = {"binance": _binance, "coinbase": _coinbase, "kraken": _kraken}


def make_venue(venue: str, options: Options) -> Venue:
    """Return the venue to serve. Raises EngineError, naming what is wrong with the options or the recording."""
    if venue not in VENUES:
        raise EngineError(f"venue must be {', '.join(VENUES)}, was {venue!r}")
    try:
        return VENUES[venue](options)
    except SimError as error:
        raise EngineError(str(error)) from error


async def _serve(venue: Venue, options: Options) -> None:
    authority = Authority(Path(options.authority) if options.authority else default_state_dir() / "authority") if options.tls else None
    simulator = Simulator(venue, options.pace == "max", authority.server_context() if authority is not None else None)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    ready = await simulator.start(options.port)
    if authority is not None:
        ready["ca"] = str(authority.ca_file)
    sys.stdout.write(msgspec.json.encode(ready).decode() + "\n")
    sys.stdout.flush()
    # What exists now stays: collecting it again and again would only make pauses.
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)
    await stopping.wait()
    await simulator.stop()


def serve(venue: str, options: Options) -> None:
    """Serve a venue until SIGTERM or SIGINT. Raises EngineError before the ready line when it cannot."""
    asyncio.run(_serve(make_venue(venue, options), options))


def serve_from_cli(venue: str, options: Mapping[str, Any]) -> None:
    """Serve what the options of `hftctl venue-sim` ask for; `symbols` is comma-separated or None. Raises EngineError."""
    recording = () if options["recording"] is None else (str(options["recording"]),)
    paths = {name: "" if options[name] is None else str(options[name]) for name in ("authority", "accounts")}
    symbols = () if options["symbols"] is None else tuple(str(options["symbols"]).split(","))
    serve(venue, Options(**{**options, **paths, "recording": recording, "symbols": symbols}))
