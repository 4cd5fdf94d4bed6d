"""Schedule: which faults a campaign injects, and when: a venue, a seed and a length give the same one every time.

A strike is one or more faults of `hft.sim.faults` and what heals them, or what befalls processes of the engine or their host. Every strike
of a list comes once before any comes twice; of the lists of processes, each kill three times before anything comes again.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

_Fault = dict[str, Any]

#: Processes of an engine under strikes on processes: one a stage, named after its role. ALL are all of them at once.
ROLES = ("feed", "strategy", "risk", "execution", "portfolio")
ALL = "all"


class Strike(NamedTuple):
    """One misbehaviour of a venue."""

    name: str
    faults: tuple[_Fault, ...]  #: injected one after another, at once
    lasts_ms: int = 0  #: it heals so long after that by itself, or by `undo`; what waits for a frame or a request heals when it has struck
    undo: tuple[_Fault, ...] = ()
    withdraws: bool = False  #: the strategy is killed when it begins, because it strikes cancels, and armed again
    cuts_orders: bool = False  #: until it heals, no cancel can reach the venue or be answered
    kills: str = ""  #: the process that gets SIGKILL
    freezes: str = ""  #: the process that gets SIGSTOP; and SIGCONT after `lasts_ms`, or the supervisor's SIGKILL if that is 0
    befalls: str = ""  #: which fault of `processes.chaos.host` it is
    seed: int = 0  #: of what is drawn only when it strikes


class Planned(NamedTuple):
    """A strike and when it is due, in seconds after the campaign began."""

    at_s: float
    strike: Strike


def schedule(venue: str, symbols: list[str], seed: int, seconds: float, every_s: float, faults: str = "venue") -> list[Planned]:
    """Return the strikes of a campaign of so many seconds, about `every_s` apart, in order; on the "venue", a "process" or the "host"."""
    rng = random.Random(f"{venue} {seed}")
    lists = {"venue": lambda: strikes_of(venue, symbols, rng), "process": lambda: process_strikes(rng), "host": lambda: host_strikes(rng)}
    drawn = _draw(lists[faults], rng)
    slots = range(count_of(seconds, every_s))
    return [Planned(round((slot + rng.uniform(0, 0.3)) * every_s, 3), next(drawn)) for slot in slots]


def count_of(seconds: float, every_s: float) -> int:
    """Return how many strikes a campaign has."""
    return max(1, int(seconds / every_s))


def _draw(make: Callable[[], list[Strike]], rng: random.Random) -> Iterator[Strike]:
    while True:
        strikes = make()
        rng.shuffle(strikes)
        yield from strikes


def strikes_of(venue: str, symbols: list[str], rng: random.Random) -> list[Strike]:
    """Return every kind of strike at a venue once, with sizes, symbols and durations drawn from `rng`."""
    return [
        *_on_frames(venue, symbols, rng),
        *_on_books(venue, symbols, rng),
        *_on_orders(rng),
        *_on_sockets(rng),
        *_on_rest(venue, symbols, rng),
    ]


def process_strikes(rng: random.Random) -> list[Strike]:
    """Return strikes on processes: every kill, and one process that hangs and one that sleeps for less than the supervisor minds."""
    kills = [Strike(f"SIGKILL {name}", (), kills=name) for name in ROLES for _ in range(3)]
    hangs, sleeps = rng.choice(ROLES), rng.choice(ROLES)
    return [
        *kills,
        Strike("SIGKILL all", (), kills=ALL),
        Strike(f"SIGSTOP {hangs}", (), freezes=hangs),
        Strike(f"SIGSTOP {sleeps}, SIGCONT", (), rng.randint(100, 500), freezes=sleeps),
    ]


def host_strikes(rng: random.Random) -> list[Strike]:
    """Return strikes on the host: a ring full at each kind of consumer, the disk full, journals torn, segments left, and clocks that step.

    A clock that steps here and one that steps at the venue are the same: what counts is the difference. So it is the venue's.
    """
    hour_ms, step_ms = 3_600_000, 500
    sleeps = ("execution", "strategy", rng.choice(("risk", "portfolio")))
    return [
        *(Strike(f"full ring, {name} stands still", (), freezes=name, befalls="ring") for name in sleeps),
        Strike("full disk", (), rng.randint(500, 1500), befalls="disk"),
        Strike("torn journals", (), befalls="journals", seed=rng.getrandbits(31)),
        Strike("stale segments", (), befalls="segments"),
        *(_clock_step(f"clock {skew_ms:+} ms", skew_ms, rng) for skew_ms in (-hour_ms, -step_ms, step_ms, hour_ms)),
    ]


def _clock_step(name: str, skew_ms: int, rng: random.Random) -> Strike:
    back = {"kind": "clock_skew", "skew_ms": 0}
    return Strike(name, ({"kind": "clock_skew", "skew_ms": skew_ms},), rng.randint(1500, 3000), (back,))


def _on_frames(venue: str, symbols: list[str], rng: random.Random) -> Iterator[Strike]:
    for channel in ("book", "private"):
        yield Strike(f"drop {channel}", ({"kind": "drop", "channel": channel, "count": rng.randint(1, 2)},))
        yield Strike(f"duplicate {channel}", ({"kind": "duplicate", "channel": channel, "count": rng.randint(2, 5)},))
        delay = {"kind": "delay", "channel": channel, "count": rng.randint(1, 3), "delay_ms": rng.randint(100, 400)}
        yield Strike(f"delay {channel}", (delay,))
        yield Strike(f"reorder {channel}", ({"kind": "reorder", "channel": channel, "count": rng.randint(1, 3)},))
    for how in ("truncate", "not_json", "not_utf8", "empty", "bad_number"):
        corrupt = {"kind": "corrupt", "symbol": rng.choice(symbols), "count": rng.randint(1, 3), "how": how}
        yield Strike(f"corrupt book: {how}", (corrupt | {"channel": "book"},))
    yield Strike("corrupt private: truncate", ({"kind": "corrupt", "channel": "private", "count": 1},))
    if venue != "coinbase":  # Whose answers to orders are no frames: they are HTTP.
        yield Strike("corrupt reply: not_json", ({"kind": "corrupt", "channel": "reply", "count": 1, "how": "not_json"},))


def _on_books(venue: str, symbols: list[str], rng: random.Random) -> Iterator[Strike]:
    symbol = rng.choice(symbols)
    gap = {"kind": "drop_depth", "symbol": symbol, "count": rng.randint(2, 5)}
    yield Strike("gap", (gap,))
    yield Strike("crossed book", ({"kind": "crossed", "symbol": rng.choice(symbols)},))
    if venue == "kraken":
        yield Strike("wrong checksum", ({"kind": "wrong_checksum", "symbol": rng.choice(symbols), "count": rng.randint(1, 2)},))
    if venue == "binance":
        yield Strike("stale snapshot", ({"kind": "stale_snapshot", "symbol": symbol, "count": rng.randint(1, 2)}, gap))


def _on_orders(rng: random.Random) -> Iterator[Strike]:
    yield Strike("lost acknowledgement", ({"kind": "lose_ack", "count": rng.randint(1, 3)},))
    yield Strike("lost acknowledgement, hung up", ({"kind": "lose_ack", "hang_up": True},))
    yield Strike("lost acknowledgement of a cancel", ({"kind": "lose_ack", "action": "cancel"},), withdraws=True)
    for status in (500, 503):
        yield Strike(f"order answered {status}", ({"kind": "order_error", "status": status, "count": rng.randint(1, 2)},))
    yield Strike("order answered HTML", ({"kind": "order_error", "status": 502, "html": True},))
    yield Strike("cancel answered 503", ({"kind": "order_error", "status": 503, "action": "cancel"},), withdraws=True)
    for status in (429, 418, 503):
        yield Strike(f"order refused {status}", ({"kind": "refuse_order", "status": status, "action": "place"},))


def _on_sockets(rng: random.Random) -> Iterator[Strike]:
    for sockets in ("public", "private", "any"):
        cuts = sockets != "public"
        yield Strike(f"disconnect {sockets}", ({"kind": "disconnect", "sockets": sockets},), cuts_orders=cuts)
        ms = rng.randint(1500, 3000)
        yield Strike(f"half-open {sockets}", ({"kind": "half_open", "sockets": sockets, "for_ms": ms},), ms, cuts_orders=cuts)
    for channel in ("public", "private"):
        ms = rng.randint(1500, 3000)
        yield Strike(f"silence {channel}", ({"kind": "silence", "channel": channel, "for_ms": ms},), ms)
    ms = rng.randint(1000, 2000)
    yield Strike("slow", ({"kind": "slow", "delay_ms": rng.randint(50, 300), "for_ms": ms},), ms)
    yield Strike("24-hour cut", ({"kind": "disconnect", "code": 1001},), cuts_orders=True)
    after_ms = rng.randint(300, 1000)
    yield Strike("24-hour cut, announced", ({"kind": "server_shutdown", "after_ms": after_ms},), after_ms, cuts_orders=True)
    for skew_ms in (-rng.randint(1200, 3000), rng.randint(1200, 3000)):
        name = f"clock {'behind' if skew_ms < 0 else 'ahead'}"
        yield Strike(name, ({"kind": "clock_skew", "skew_ms": skew_ms},), 2000, ({"kind": "clock_skew", "skew_ms": 0},))


def _on_rest(venue: str, symbols: list[str], rng: random.Random) -> Iterator[Strike]:
    """What asks by REST differs: whole books, signed requests after a log-on, or orders."""
    gap = {"kind": "drop_depth", "symbol": rng.choice(symbols), "count": 2}
    reconnect = {"kind": "disconnect", "sockets": "private"}
    asks: dict[str, tuple[_Fault, ...]] = {"binance": (gap,), "kraken": (reconnect,), "coinbase": ()}
    for status, html in ((429, False), (418, False), (503, False), (502, True)):
        error = {"kind": "rest_error", "status": status, "html": html, "retry_after_s": 1}
        yield Strike(f"REST answers {'HTML' if html else status}", (error, *asks[venue]), cuts_orders=venue == "kraken")
