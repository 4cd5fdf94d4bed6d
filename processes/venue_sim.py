"""Venue simulator: makes a simulated venue from options and serves it on loopback sockets, for any client.

`serve` prints one line, `{"ready":true,"http":…,"ws":…,"control":…}`, and runs until SIGTERM or SIGINT.
"""

from __future__ import annotations

import asyncio
import gzip
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from hft.sim.binance.venue import BinanceVenue
from hft.sim.market import Market, SimError
from hft.sim.player import Settings
from hft.sim.recording import RecordedMarket
from hft.sim.recording_index import RecordingFile, scan
from hft.sim.synthetic import SPECS, SyntheticMarket
from hft.sim.timeline import pace_per_mille
from hft.sim.venue import Venue
from processes.errors import EngineError
from processes.venue_server import Simulator

EVENTS_PER_S = 100.0


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to simulate: `recording` or `synthetic`, not both; neither is synthetic with seed 1."""

    port: int = 0  #: WebSocket port, REST and control take the next free ones; 0 is any
    recording: tuple[str, ...] = ()  #: files of `<receive ns> <json>` lines, plain or gzip, played together
    synthetic: int | None = None  #: seed
    pace: str = "recorded"  #: `recorded`, `max` (as fast as clients read) or a factor
    as_recorded: bool = False  #: leave exchange times as they were recorded
    no_limits: bool = False  #: lift the limits on messages, request weight and connections
    symbols: tuple[str, ...] = ("BTCUSDT", "ETHUSDT")  #: synthetic: which pairs
    loop: bool = False  #: at the end of a recording close the connections, and begin again with the next
    rate: float = 1.0  #: synthetic: multiplier of the event rate


def open_recording(path: Path) -> RecordingFile:
    """Return a recording that is read from disk whenever it is played. Raises EngineError when there is none."""
    try:
        with path.open("rb") as file:
            zipped = file.read(2) == b"\x1f\x8b"
    except OSError as error:
        raise EngineError(f"recording {path}: {error.strerror}") from error

    def lines() -> Iterator[bytes]:
        with gzip.open(path, "rb") if zipped else path.open("rb") as file:
            yield from file

    return RecordingFile(path.name, lines)


def market_maker(options: Options) -> Callable[[], Market]:
    """Return what makes a fresh market for each round. Raises EngineError or SimError on unusable options."""
    if options.recording and options.synthetic is not None:
        raise EngineError("expected one of a recording and a synthetic seed, found both")
    if options.recording:
        index = scan(open_recording(Path(name)) for name in options.recording)
        return lambda: RecordedMarket(index, options.as_recorded)
    unknown = [symbol for symbol in options.symbols if symbol not in SPECS]
    if unknown or not options.symbols or len(set(options.symbols)) != len(options.symbols):
        raise EngineError(f"symbols must be some of {', '.join(SPECS)}, each once, were {', '.join(options.symbols) or 'none'}")
    seed = 1 if options.synthetic is None else options.synthetic

    def synthetic() -> SyntheticMarket:
        uniforms = [random.Random(f"{seed}:{symbol}").random for symbol in options.symbols]
        return SyntheticMarket([SPECS[symbol] for symbol in options.symbols], uniforms, EVENTS_PER_S * options.rate, seed)

    synthetic()
    return synthetic


def _binance(options: Options) -> Venue:
    settings = Settings(pace_per_mille(options.pace), options.loop, options.no_limits, options.as_recorded)
    return BinanceVenue(market_maker(options), settings, time.time_ns() - time.monotonic_ns())


#: name -> what makes the venue; raises EngineError or SimError on unusable options
VENUES: Mapping[str, Callable[[Options], Venue]] = {"binance": _binance}


def make_venue(venue: str, options: Options) -> Venue:
    """Return the venue to serve. Raises EngineError, naming what is wrong with the options or the recording."""
    if venue not in VENUES:
        raise EngineError(f"venue must be {' or '.join(VENUES)}, was {venue!r}")
    try:
        return VENUES[venue](options)
    except SimError as error:
        raise EngineError(str(error)) from error


async def _serve(venue: Venue, options: Options) -> None:
    simulator = Simulator(venue, waits_for_clients=options.pace == "max")
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    ready = await simulator.start(options.port)
    sys.stdout.write(msgspec.json.encode(ready).decode() + "\n")
    sys.stdout.flush()
    await stopping.wait()
    await simulator.stop()


def serve(venue: str, options: Options) -> None:
    """Serve a venue until SIGTERM or SIGINT. Raises EngineError before the ready line when it cannot."""
    asyncio.run(_serve(make_venue(venue, options), options))


def serve_from_cli(venue: str, options: Mapping[str, Any]) -> None:
    """Serve what the options of `hftctl venue-sim` ask for; `symbols` is comma-separated. Raises EngineError."""
    recording = () if options["recording"] is None else (str(options["recording"]),)
    symbols = tuple(str(options["symbols"]).split(","))
    serve(venue, Options(**{**options, "recording": recording, "symbols": symbols}))
