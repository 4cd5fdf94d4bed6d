"""The exchange against its naive twin, on seeded traffic of three accounts and a moving background."""

import random
from decimal import Decimal

import pytest

from hft.sim.exchange.exchange import Exchange
from hft.sim.exchange.records import Account, FeeAsset, Instrument, Kind, Refusal, Stp, Tif
from hft.sim.exchange.view import Audit
from support.naive_exchange import NaiveExchange, Refused

#: A cost in these has nine decimals, so that holds and fills round.
TICK, LOT = Decimal("0.100000007"), Decimal("0.003")
NAMES = ("ann", "bob", "cid")


class Twins:
    def __init__(self, seed: int, fee_asset: str) -> None:
        self.dice = random.Random(seed)
        balances = {name: {"BASE": "0.6", "QUOTE": "60"} for name in NAMES}
        rates = {"ann": ("0.001", "0.001"), "bob": ("0.0007", "0.0023"), "cid": ("0", "0.006")}
        self.instrument = Instrument("PAIR", "BASE", "QUOTE", str(TICK), str(LOT), qty_min="0.006", notional_min="1.5", open_max=12)
        self.accounts = [Account(name, balances[name], *rates[name]) for name in NAMES]
        self.exchange = Exchange([self.instrument], self.accounts, fee_asset=FeeAsset[fee_asset], history_max=100_000)
        self.naive = NaiveExchange(balances, rates, fee_asset, "0.006", "1.5", 12)
        self.audit = Audit(self.exchange)
        self.pairs = []
        self.refusals = {}
        self.now_ns = 0

    def both(self, real, naive):
        """Do the same on both; the same refusal is an answer too."""
        try:
            order = real()
            said = None
        except Refusal as refusal:
            order, said = None, refusal.why.name
        try:
            twin = naive()
            twin_said = None
        except Refused as refusal:
            twin, twin_said = None, str(refusal)
        assert said == twin_said
        self.refusals[said] = self.refusals.get(said, 0) + 1
        return order, twin

    def step(self) -> None:
        dice = self.dice
        self.now_ns += 1
        what = dice.random()
        if what < 0.45:
            self.place()
        elif what < 0.6 and self.pairs:
            order, twin = dice.choice(self.pairs[-40:])
            self.both(lambda: self.exchange.cancel(order, self.now_ns), lambda: self.naive.cancel(twin))
        elif what < 0.72 and self.pairs:
            self.amend()
        elif what < 0.9:
            levels = [(side, dice.randint(990, 1010), dice.choice((0, 0, 1, 5, 20))) for side in (1, -1) for _ in range(3)]
            levels = [level for level in levels if level[0] * (1000 - level[1]) > 0 or dice.random() < 0.1]
            sides = [[(ticks, lots) for side, ticks, lots in levels if side == wanted] for wanted in (1, -1)]
            self.exchange.show_levels("PAIR", sides[0], sides[1], self.now_ns)
            levels = [(1, *level) for level in sides[0]] + [(-1, *level) for level in sides[1]]
            self.naive.show_levels([(side, ticks * TICK, lots * LOT) for side, ticks, lots in levels])
        else:
            aggressor, ticks, lots = dice.choice((1, -1)), dice.randint(994, 1006), dice.randint(1, 25)
            self.exchange.public_trade("PAIR", aggressor, ticks, lots, self.now_ns)
            self.naive.public_trade(aggressor, ticks * TICK, lots * LOT)

    def place(self) -> None:
        dice = self.dice
        account = dice.choice(self.accounts)
        side, market = dice.choice((1, -1)), dice.random() < 0.15
        ticks = 0 if market else dice.randint(992, 1008)
        lots = dice.randint(1, 30) * (20 if dice.random() < 0.05 else 1)
        tif = "GTC" if market else dice.choice(("GTC", "GTC", "GTC", "IOC", "FOK"))
        post_only = tif == "GTC" and not market and dice.random() < 0.3
        stp = dice.choice([mode.name for mode in Stp])
        client_id = dice.choice(("", f"c{dice.randint(1, 30)}"))
        order, twin = self.both(
            lambda: self.exchange.place(
                account,
                self.instrument,
                side,
                qty_lots=lots,
                price_ticks=ticks,
                kind=Kind.MARKET if market else Kind.LIMIT,
                tif=Tif[tif],
                post_only=post_only,
                stp=Stp[stp],
                client_id=client_id,
                now_ns=self.now_ns,
            ),
            lambda: self.naive.place(account.name, side, None if market else ticks * TICK, lots * LOT, tif, post_only, stp, client_id),
        )
        if order is not None:
            self.pairs.append((order, twin))

    def amend(self) -> None:
        dice = self.dice
        order, twin = dice.choice(self.pairs[-40:])
        lots, ticks = dice.choice((0, dice.randint(1, 40))), dice.choice((0, 0, dice.randint(992, 1008)))
        self.both(
            lambda: self.exchange.amend(order, self.now_ns, qty_lots=lots, price_ticks=ticks),
            lambda: self.naive.amend(twin, lots * LOT, ticks * TICK),
        )

    def compare(self) -> None:
        self.audit.check()
        for account in self.accounts:
            for asset in ("BASE", "QUOTE"):
                ours = (account.free.get(asset, 0), account.hold.get(asset, 0))
                theirs = (self.naive.free(account.name, asset), self.naive.held(account.name, asset))
                assert ours == tuple(int(amount * 10**8) for amount in theirs), (account.name, asset)
        for order, twin in self.pairs[-60:]:
            fills = [(f.price_ticks * TICK, f.qty_lots * LOT, Decimal(f.fee_e8) / 10**8, f.maker) for f in order.fills]
            assert fills == twin.fills, order.order_id
            ours = (order.status.name, order.reason.name, order.cum_lots * LOT, order.leaves_lots * LOT, order.qty_lots * LOT)
            assert ours == (twin.status, twin.reason, twin.cum, twin.leaves, twin.qty), order.order_id
            if order.is_open:
                assert order.queue_ahead_lots * LOT == twin.ahead, order.order_id


@pytest.mark.parametrize("fee_asset", ["RECEIVED", "QUOTE"])
@pytest.mark.parametrize("seed", range(6))
def test_the_exchange_does_what_its_naive_twin_does(seed, fee_asset):
    twins = Twins(seed, fee_asset)
    try:
        for _ in range(700):
            twins.step()
            twins.compare()
    except AssertionError as error:
        raise AssertionError(f"seed {seed}, step {twins.now_ns}: {error}") from error
    needed = {None, "INSUFFICIENT_FUNDS", "WOULD_TAKE", "UNKNOWN_ORDER", "DUPLICATE_CLIENT_ID", "QTY_TOO_SMALL", "NOTIONAL_TOO_SMALL"}
    assert needed <= twins.refusals.keys()
