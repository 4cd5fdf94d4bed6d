"""A synthetic market invents an order flow that looks alive, from seeded uniforms and nothing else.

What happens to a pair, in virtual time (`FlowSpec` holds the numbers, `rate` scales the number of events):

* *When.* Events follow a Hawkes process with a fast and a slow kernel (three quarters of all events are answers to earlier
  ones), so they come in bursts. News, about once in 45 s, multiplies the intensity and moves the fair value.
* *Fair value.* A random walk in ticks whose log-volatility reverts to its mean over 30 s: calm and wild minutes cluster.
  It is drawn back to the start over an hour, and market orders push it a little. Traders notice where it is at one event
  in ten, so the price rests, then jumps.
* *What.* While the fair value lies outside the best bid and ask, makers pull and takers sweep towards it. A wide spread
  draws new orders inside it. Otherwise orders are placed at a power-law distance from the best price, in power-law sizes
  that are often round, or cancelled in part or whole, so that the number of levels stays near `levels`.

One real book stands behind all of it, and one counter of update ids: every changed level takes the next id. A diff covers
all ids since the previous one; a `bookTicker` is sent whenever the best price or size changed, with the id of that moment;
trades are the very sizes taken from the book; a snapshot is the book at its id.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import ceil, cos, exp, floor, log, pi, sqrt
from typing import NamedTuple

from hft.sim.ladder import Ladder
from hft.sim.market import BookText, DiffMerger, Event, EventKind, Hold, SimError, Stamp, SymbolInfo, decode_depth, depth_body

#: Gives independent uniforms in [0, 1), such as the `random` method of a seeded generator.
Uniform = Callable[[], float]

SECOND_NS = 1_000_000_000
DIFF_PERIOD_NS = 100_000_000
PLACES = 8

FAST_DECAY, FAST_BRANCHING = 30.0, 0.5  # of the Hawkes kernels, per second and in offspring per event
SLOW_DECAY, SLOW_BRANCHING = 0.4, 0.25
NEWS_PER_SECOND = 1 / 45
NEWS_BURST = 15.0  # added intensity in multiples of the rate
VOLATILITY_REVERSION_S, VOLATILITY_SPREAD = 30.0, 0.8
FAIR_REVERSION_S = 3600.0
NOTICE = 0.1
LEVELS_MIN = 50


class FlowSpec(NamedTuple):
    """The character of one pair's flow."""

    info: SymbolInfo
    price_decimals: int  #: the tick is 10**-price_decimals
    qty_decimals: int  #: the lot is 10**-qty_decimals
    start_ticks: int
    volatility_ticks: float  #: standard deviation of the fair value after one second
    depth_ticks: float  #: scale of the distance at which orders rest
    lots: float  #: scale of sizes
    levels: int  #: a side


def _spec(base: str, price: int, qty_decimals: int, volatility_ticks: float, depth_ticks: float, lots: float) -> FlowSpec:
    lot = f"{1 / 10**qty_decimals:.8f}"
    info = SymbolInfo(f"{base}USDT", base, "USDT", "0.01000000", lot, "1000000.00000000", "9000.00000000", "5.00000000")
    return FlowSpec(info, 2, qty_decimals, price * 100, volatility_ticks, depth_ticks, lots, 700)


#: symbol -> flow
SPECS: Mapping[str, FlowSpec] = {
    spec.info.symbol: spec
    for spec in (
        _spec("BTC", 60_000, qty_decimals=5, volatility_ticks=60.0, depth_ticks=60.0, lots=900.0),
        _spec("ETH", 2_600, qty_decimals=4, volatility_ticks=6.0, depth_ticks=12.0, lots=1500.0),
        _spec("SOL", 150, qty_decimals=3, volatility_ticks=1.5, depth_ticks=6.0, lots=4000.0),
    )
}


class Clock:
    """Draws event times of a Hawkes process with two exponential kernels, by thinning."""

    def __init__(self, uniform: Uniform, rate_per_s: float) -> None:
        """Average `rate_per_s` events a second over a long time, news aside."""
        self._uniform = uniform
        self._rate = rate_per_s
        self._base = rate_per_s * (1 - FAST_BRANCHING - SLOW_BRANCHING)
        self._fast = rate_per_s * FAST_BRANCHING
        self._slow = rate_per_s * SLOW_BRANCHING

    def excite(self, multiple: float) -> None:
        """Raise the intensity at once by a multiple of the rate; it decays in tens of milliseconds."""
        self._fast += multiple * self._rate

    def next_after_ns(self) -> int:
        """Return the time to the next event, at least 1 ns."""
        elapsed_s = 0.0
        while True:
            bound = self._base + self._fast + self._slow
            wait_s = -log(1.0 - self._uniform()) / bound
            elapsed_s += wait_s
            self._fast *= exp(-FAST_DECAY * wait_s)
            self._slow *= exp(-SLOW_DECAY * wait_s)
            if self._uniform() * bound <= self._base + self._fast + self._slow:
                self._fast += FAST_BRANCHING * FAST_DECAY
                self._slow += SLOW_BRANCHING * SLOW_DECAY
                return max(1, int(elapsed_s * SECOND_NS))


class FairValue:
    """A random walk in ticks with clustered volatility."""

    def __init__(self, uniform: Uniform, spec: FlowSpec) -> None:
        self._uniform = uniform
        self._start = float(spec.start_ticks)
        self._volatility = spec.volatility_ticks
        self._log_volatility = 0.0
        self._true_ticks = self._start
        #: What traders believe it is.
        self.ticks = self._start

    def step(self, after_s: float) -> None:
        """Move by what happens in `after_s` seconds."""
        pull = min(1.0, after_s / VOLATILITY_REVERSION_S)
        self._log_volatility += -pull * self._log_volatility + VOLATILITY_SPREAD * sqrt(2 * pull) * self._normal()
        scale = self._volatility * exp(self._log_volatility - VOLATILITY_SPREAD**2)
        reversion = (self._start - self._true_ticks) * min(1.0, after_s / FAIR_REVERSION_S)
        moved = self._true_ticks + scale * sqrt(after_s) * self._normal() + reversion
        self._true_ticks = min(max(moved, self._start * 0.5), self._start * 2.0)
        if self._uniform() < NOTICE:
            self.ticks = self._true_ticks

    def shock(self) -> None:
        """Jump by a few seconds' worth of volatility, and be wilder for a while."""
        self._true_ticks += self._volatility * self._normal() * 2.0
        self.ticks = self._true_ticks
        self._log_volatility = min(self._log_volatility + 0.8, 2.5)

    def push(self, ticks: float) -> None:
        """Move by the impact of a trade."""
        self._true_ticks += ticks

    def _normal(self) -> float:
        return sqrt(-2.0 * log(1.0 - self._uniform())) * cos(2 * pi * self._uniform())


class SymbolFlow:
    """The flow of one pair: events in virtual time, and the book behind them."""

    def __init__(self, spec: FlowSpec, uniform: Uniform, rate_per_s: float, phase_ns: int) -> None:
        """Fill the book; diffs are sent at multiples of 100 ms plus `phase_ns`."""
        self.spec = spec
        self.symbol = spec.info.symbol
        self.last_update_id = 1_000_000_000 + int(uniform() * 1_000_000_000)
        self.bids, self.asks = Ladder(), Ladder()
        self._uniform = uniform
        self._clock = Clock(uniform, rate_per_s)
        self._fair = FairValue(uniform, spec)
        self._at_ns = 0
        self._event_ns = self._clock.next_after_ns()
        self._diff_ns = DIFF_PERIOD_NS + phase_ns
        self._diff_first_id = self.last_update_id + 1
        self._trade_id = 1_000_000 + int(uniform() * 1_000_000)
        self._best: tuple[int, int, int, int] = (0, 0, 0, 0)
        self._merger = DiffMerger(self.symbol)
        lower = self.symbol.lower()
        self._streams = (f"{lower}@depth@100ms", f"{lower}@bookTicker", f"{lower}@trade", f"{lower}@aggTrade")
        self._fill()

    @property
    def due_ns(self) -> int:
        """Position of the next event."""
        return min(self._event_ns, self._diff_ns)

    def step(self, stamp: Stamp, events: list[Event]) -> None:
        """Let the next thing happen and append what the venue publishes about it."""
        if self._diff_ns <= self._event_ns:
            self._at_ns = self._diff_ns
            self._diff_ns += DIFF_PERIOD_NS
            self._publish_diff(stamp(self._at_ns) // 1_000_000, events)
            return
        after_s = (self._event_ns - self._at_ns) / SECOND_NS
        self._at_ns = self._event_ns
        self._fair.step(after_s)
        if self._uniform() < NEWS_PER_SECOND * after_s:
            self._fair.shock()
            self._clock.excite(NEWS_BURST)
        self._act(stamp(self._at_ns) // 1_000_000, events)
        self._publish_best(events)
        self._event_ns = self._at_ns + self._clock.next_after_ns()

    def book(self) -> BookText:
        """Return the whole book now."""
        bids = [(self.price_text(key), self.qty_text(lots)) for key, lots in self.bids.levels()]
        asks = [(self.price_text(-key), self.qty_text(lots)) for key, lots in self.asks.levels()]
        return BookText(self.last_update_id, bids, asks)

    def price_text(self, ticks: int) -> str:
        """Return a price as the venue writes it, with 8 digits."""
        return self._decimal(ticks, self.spec.price_decimals)

    def qty_text(self, lots: int) -> str:
        """Return a size as the venue writes it, with 8 digits."""
        return self._decimal(lots, self.spec.qty_decimals)

    @staticmethod
    def _decimal(units: int, decimals: int) -> str:
        whole, part = divmod(units, 10**decimals)
        return f"{whole}.{part:0{decimals}d}{'0' * (PLACES - decimals)}"

    def _fill(self) -> None:
        """Place the first orders: dense at the touch, sparse far away."""
        for ladder, best in ((self.bids, self.spec.start_ticks), (self.asks, -(self.spec.start_ticks + 1))):
            key = best
            for place in range(self.spec.levels):
                ladder.change(key, self._size())
                key -= 1 + int(-log(1.0 - self._uniform()) * (place + 1) * self.spec.depth_ticks / self.spec.levels)
            ladder.changes()

    def _act(self, event_ms: int, events: list[Event]) -> None:
        """Choose what the next trader does; see the module's description."""
        uniform = self._uniform
        bid, ask = self.bids.keys[-1], -self.asks.keys[-1]
        fair = self._fair.ticks
        if fair > ask or fair < bid:
            maker, limit = (self.asks, -floor(fair)) if fair > ask else (self.bids, ceil(fair))
            if uniform() < 0.5 and len(maker) > LEVELS_MIN:
                self._change(maker, maker.keys[-1], -maker.lots[maker.keys[-1]])
            else:
                self._take(maker, limit, self._size() * 8, event_ms, events)
        elif ask - bid > 1 and uniform() < 0.7:
            self._improve(bid, ask, fair)
        elif uniform() < 0.06:
            maker = self.asks if uniform() < 0.5 + 0.4 * (fair - (bid + ask) / 2) / max(ask - bid, 1) else self.bids
            self._take(maker, maker.keys[-1] - 3, self._size(), event_ms, events)
        else:
            self._place_or_cancel(self.bids if uniform() < 0.5 else self.asks)

    def _place_or_cancel(self, ladder: Ladder) -> None:
        uniform = self._uniform
        surplus = (len(ladder) - self.spec.levels) / self.spec.levels
        if len(ladder) <= LEVELS_MIN or uniform() < min(max(0.5 - 2 * surplus, 0.05), 0.95):
            distance = int(self.spec.depth_ticks * ((1.0 - uniform()) ** -0.7 - 1.0))
            key = ladder.keys[-1] - min(distance, int(200 * self.spec.depth_ticks))
            if uniform() < 0.25:
                key -= key % 10 if ladder is self.bids else 0
            if ladder is self.asks or key > 0:
                self._change(ladder, key, self._size())
            return
        depth = uniform() if uniform() < 0.5 else uniform() ** 4
        key = ladder.keys[-1 - int(depth * len(ladder))]
        whole = ladder.lots[key]
        self._change(ladder, key, -whole if uniform() < 0.6 else -max(1, int(whole * uniform())))

    def _improve(self, bid: int, ask: int, fair: float) -> None:
        """Place an order inside the spread, on its own side of the fair value, mostly right beside it."""
        buying = self._uniform() < 0.5
        if buying:
            limit = min(ask - 1, floor(fair))
            room = limit - bid
        else:
            limit = max(bid + 1, ceil(fair))
            room = ask - limit
        if room <= 0:
            return
        back = int(room * self._uniform() ** 4)
        self._change(self.bids if buying else self.asks, limit - back if buying else -(limit + back), self._size())

    def _take(self, maker: Ladder, limit_key: int, lots: int, event_ms: int, events: list[Event]) -> None:
        """Trade against the best levels down to `limit_key`; the rest of the order lapses."""
        buyer_is_maker = maker is self.bids
        while lots > 0 and len(maker) > LEVELS_MIN and maker.keys[-1] >= limit_key:
            key = maker.keys[-1]
            fill = min(lots, maker.lots[key])
            self._change(maker, key, -fill)
            lots -= fill
            self._publish_trade(abs(key), fill, buyer_is_maker, event_ms, events)
        self._fair.push(-0.3 if buyer_is_maker else 0.3)

    def _change(self, ladder: Ladder, key: int, lots: int) -> None:
        ladder.change(key, lots)
        self.last_update_id += 1

    def _size(self) -> int:
        """Return a power-law size, often a round one."""
        uniform = self._uniform
        lots = int(self.spec.lots * 0.3 * min((1.0 - uniform()) ** -0.75, 3000.0)) + 1
        if uniform() < 0.35:
            unit = 10 ** max(len(str(lots)) - 1, 0)
            lots = lots // unit * unit
        return lots

    def _publish_best(self, events: list[Event]) -> None:
        bid, ask = self.bids.keys[-1], self.asks.keys[-1]
        best = (bid, self.bids.lots[bid], -ask, self.asks.lots[ask])
        if best == self._best:
            return
        self._best = best
        body = (
            f'{{"u":{self.last_update_id},"s":"{self.symbol}","b":"{self.price_text(best[0])}","B":"{self.qty_text(best[1])}",'
            f'"a":"{self.price_text(best[2])}","A":"{self.qty_text(best[3])}"}}'
        )
        events.append(Event(self._at_ns, EventKind.TICKER, self.symbol, self._streams[1], body.encode()))

    def _publish_trade(self, ticks: int, lots: int, buyer_is_maker: bool, event_ms: int, events: list[Event]) -> None:
        self._trade_id += 1
        trade, price, qty = self._trade_id, self.price_text(ticks), self.qty_text(lots)
        tail = f'"p":"{price}","q":"{qty}",'
        end = f'"T":{event_ms},"m":{"true" if buyer_is_maker else "false"},"M":true}}'
        body = f'{{"e":"trade","E":{event_ms},"s":"{self.symbol}","t":{trade},{tail}{end}'
        events.append(Event(self._at_ns, EventKind.TRADE, self.symbol, self._streams[2], body.encode()))
        body = f'{{"e":"aggTrade","E":{event_ms},"s":"{self.symbol}","a":{trade},{tail}"f":{trade},"l":{trade},{end}'
        events.append(Event(self._at_ns, EventKind.OTHER, self.symbol, self._streams[3], body.encode()))

    def _publish_diff(self, event_ms: int, events: list[Event]) -> None:
        if self._diff_first_id > self.last_update_id:
            return
        bids = [(self.price_text(key), self.qty_text(lots)) for key, lots in self.bids.changes()]
        asks = [(self.price_text(-key), self.qty_text(lots)) for key, lots in self.asks.changes()]
        body = depth_body(event_ms, self.symbol, self._diff_first_id, self.last_update_id, bids, asks)
        self._diff_first_id = self.last_update_id + 1
        events.append(Event(self._at_ns, EventKind.DEPTH, self.symbol, self._streams[0], body))
        merged = self._merger.merge(self._at_ns, decode_depth(body))
        if merged is not None:
            events.append(merged)


class SyntheticMarket:
    """Several flows in one virtual time; it never ends."""

    def __init__(self, specs: Sequence[FlowSpec], uniforms: Sequence[Uniform], rate_per_s: float = 100.0, seed: int | None = None) -> None:
        """Take one independent source of uniforms a pair; `seed` is only told to people.

        Raises SimError when the rate is not within 0.1 .. 100000 events a second.
        """
        if not 0.1 <= rate_per_s <= 100_000:
            raise SimError(f"the rate must be within 0.1 .. 100000 events/s a pair, was {rate_per_s}")
        self._seed = seed
        self._rate_per_s = rate_per_s
        #: symbol -> flow
        self.flows = {
            spec.info.symbol: SymbolFlow(spec, uniform, rate_per_s, phase_ns=place * 17_000_000 % DIFF_PERIOD_NS)
            for place, (spec, uniform) in enumerate(zip(specs, uniforms, strict=True))
        }
        self._order = list(self.flows.values())
        self._stamp: Stamp = _virtual

    def symbols(self) -> Mapping[str, SymbolInfo]:
        """Return the pairs."""
        return {name: flow.spec.info for name, flow in self.flows.items()}

    def begin(self, stamp: Stamp, hold: Hold) -> None:
        """Stamp messages with `stamp`; there is nothing to hold at."""
        self._stamp = stamp

    def due_ns(self) -> int | None:
        """Return the position of the next event."""
        return min(flow.due_ns for flow in self._order)

    def held(self) -> bool:
        """Return False."""
        return False

    def advance(self, until_ns: int, limit: int) -> list[Event]:
        """Return the next events; see Market."""
        events: list[Event] = []
        while len(events) < limit:
            flow = min(self._order, key=_due_ns)
            if flow.due_ns > until_ns:
                break
            flow.step(self._stamp, events)
        return events

    def depth(self, symbol: str, limit: int) -> bytes:
        """Return the book at this position."""
        return self.flows[symbol].book().body(limit)

    def book(self, symbol: str) -> BookText:
        """Return the book at this position."""
        return self.flows[symbol].book()

    def last_update_id(self, symbol: str) -> int:
        """Return the id of that book."""
        return self.flows[symbol].last_update_id

    def describe(self) -> dict[str, object]:
        """Return the seed and the rate."""
        return {"market": "synthetic", "seed": self._seed, "rate_per_s": self._rate_per_s}


def _due_ns(flow: SymbolFlow) -> int:
    return flow.due_ns


def _virtual(position_ns: int) -> int:
    return position_ns
