"""The exchange once more, naively: flat lists, decimals, and everything looked for anew each time."""

from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

CENT = Decimal("0.00000001")
ENDED = ("FILLED", "CANCELED", "EXPIRED")


def down(amount):
    return amount.quantize(CENT, ROUND_FLOOR)


def up(amount):
    return amount.quantize(CENT, ROUND_CEILING)


class Refused(Exception):
    pass


@dataclass
class NaiveOrder:
    number: int
    account: str
    side: int
    price: Decimal | None
    qty: Decimal
    tif: str
    post_only: bool
    stp: str
    client_id: str
    cum: Decimal = Decimal(0)
    prevented: Decimal = Decimal(0)
    status: str = "OPEN"
    reason: str = "NONE"
    ahead: Decimal = Decimal(0)
    place: int = 0  # of arrival in the queue
    fills: list = field(default_factory=list)

    @property
    def leaves(self):
        return Decimal(0) if self.status in ENDED else self.qty - self.cum - self.prevented


class NaiveExchange:
    """One instrument BASE/QUOTE; sizes and prices are Decimals."""

    def __init__(self, balances, rates, fee_asset, qty_min, notional_min, open_max):
        self.balances = {name: {asset: Decimal(text) for asset, text in assets.items()} for name, assets in balances.items()}
        self.rates = {name: (Decimal(maker), Decimal(taker)) for name, (maker, taker) in rates.items()}
        self.fee_asset = fee_asset
        self.qty_min, self.notional_min, self.open_max = Decimal(qty_min), Decimal(notional_min), open_max
        self.orders = []
        self.shown = {}  # (side, price) -> size
        self.taken = {}
        self.places = 0

    # what is free is what is owned minus what the open orders hold
    def hold(self, order):
        return self.need(order, order.leaves, order.price)

    def need(self, order, qty, price):
        if order.side < 0:
            return "BASE", qty
        return "QUOTE", self.with_fee(order.account, up(price * qty))

    def with_fee(self, name, cost):
        return cost if self.fee_asset == "RECEIVED" else up(cost * (1 + max(self.rates[name])))

    def held(self, name, asset):
        return sum((self.hold(o)[1] for o in self.resting() if o.account == name and self.hold(o)[0] == asset), Decimal(0))

    def free(self, name, asset):
        return self.balances[name].get(asset, Decimal(0)) - self.held(name, asset)

    def resting(self):
        return [order for order in self.orders if order.status == "OPEN"]

    def queue(self, side):
        """Resting orders of a side, best price first, then by arrival."""
        return sorted((o for o in self.resting() if o.side == side), key=lambda o: (-side * o.price, o.place))

    def left(self, side, price):
        return self.shown.get((side, price), Decimal(0)) - self.taken.get((side, price), Decimal(0))

    def prices(self, side):
        """Prices of a side at which somebody can be traded with, best first."""
        found = {p for (s, p) in self.shown if s == side and self.left(s, p) > 0} | {o.price for o in self.queue(side)}
        return sorted(found, key=lambda p: -side * p)

    def within(self, order, price):
        return order.price is None or order.side * (order.price - price) >= 0

    def reach(self, order, wanted):
        found = cost = Decimal(0)
        for price in self.prices(-order.side):
            if not self.within(order, price) or found == wanted:
                break
            here = self.left(-order.side, price)
            for maker in self.queue(-order.side):
                if maker.price == price:
                    if maker.account != order.account or order.stp == "NONE":
                        here += maker.leaves
                    elif order.stp != "EXPIRE_MAKER":
                        return found, cost
            here = min(here, wanted - found)
            found += here
            cost += up(here * price)
        return found, cost

    def place(self, name, side, price, qty, tif="GTC", post_only=False, stp="NONE", client_id=""):
        order = NaiveOrder(len(self.orders) + 1, name, side, price, qty, tif, post_only, stp, client_id)
        mine = [o for o in self.resting() if o.account == name]
        if client_id and any(o.client_id == client_id for o in mine):
            raise Refused("DUPLICATE_CLIENT_ID")
        if len(mine) >= self.open_max:
            raise Refused("TOO_MANY_OPEN")
        self.check(order, qty, price, qty, None)
        self.orders.append(order)
        self.run(order)
        return order

    def check(self, order, qty, price, leaves, released):
        if qty < self.qty_min:
            raise Refused("QTY_TOO_SMALL")
        if price is not None and down(price * qty) < self.notional_min:
            raise Refused("NOTIONAL_TOO_SMALL")
        if price is not None or order.side < 0:
            asset, need = self.need(order, leaves, price)
        else:
            asset, need = "QUOTE", self.with_fee(order.account, self.reach(order, leaves)[1])
        if self.free(order.account, asset) + (released or 0) < need:
            raise Refused("INSUFFICIENT_FUNDS")
        if order.post_only and self.prices(-order.side) and order.side * (price - self.prices(-order.side)[0]) >= 0:
            raise Refused("WOULD_TAKE")

    def run(self, order):
        order.status = "MATCHING"
        if order.tif == "FOK" and self.reach(order, order.leaves)[0] < order.leaves:
            self.end(order, "EXPIRED", "FOK")
            return
        while order.leaves and self.prices(-order.side) and self.within(order, self.prices(-order.side)[0]):
            self.step(order, self.prices(-order.side)[0])
        if order.status != "MATCHING":
            return
        if order.price is None:
            self.end(order, "EXPIRED", "NO_LIQUIDITY")
        elif order.tif == "IOC":
            self.end(order, "EXPIRED", "IOC")
        else:
            self.rest(order)

    def rest(self, order):
        self.places += 1
        order.place, order.status, order.ahead = self.places, "OPEN", self.left(order.side, order.price)

    def step(self, order, price):
        """Trade once at the best price, with whoever is first there."""
        side = -order.side
        makers = [o for o in self.queue(side) if o.price == price]
        left = self.left(side, price)
        first = makers[0] if makers else None
        ahead = min(first.ahead, left) if first else left
        if ahead > 0:
            qty = min(ahead, order.leaves)
            self.take(side, price, qty)
            self.trade(order, price, qty, maker=False)
        elif first.account == order.account and order.stp != "NONE":
            self.prevent(order, first)
        else:
            qty = min(first.leaves, order.leaves)
            self.trade(order, price, qty, maker=False)
            self.trade(first, price, qty, maker=True)

    def take(self, side, price, qty):
        self.taken[side, price] = self.taken.get((side, price), Decimal(0)) + qty
        for order in self.queue(side):
            if order.price == price:
                order.ahead = max(Decimal(0), order.ahead - qty)

    def prevent(self, order, maker):
        if order.stp == "DECREMENT":
            qty = min(order.leaves, maker.leaves)
            for one in (maker, order):
                one.prevented += qty
            for one in (maker, order):
                if one.leaves == 0:
                    self.end(one, "EXPIRED", "STP")
            return
        if order.stp in ("EXPIRE_MAKER", "EXPIRE_BOTH"):
            self.end(maker, "EXPIRED", "STP")
        if order.stp in ("EXPIRE_TAKER", "EXPIRE_BOTH"):
            self.end(order, "EXPIRED", "STP")

    def trade(self, order, price, qty, maker):
        balances = self.balances[order.account]
        rate = self.rates[order.account][0 if maker else 1]
        cost = down(price * qty)
        for asset in ("BASE", "QUOTE"):
            balances.setdefault(asset, Decimal(0))
        balances["BASE"] += order.side * qty
        balances["QUOTE"] -= order.side * cost
        in_base = order.side > 0 and self.fee_asset == "RECEIVED"
        fee = down((qty if in_base else cost) * rate)
        balances["BASE" if in_base else "QUOTE"] -= fee
        order.cum += qty
        order.fills.append((price, qty, fee, maker))
        if order.qty - order.cum - order.prevented == 0:
            self.end(order, "FILLED", "NONE")

    def end(self, order, status, reason):
        order.status, order.reason = status, reason

    def cancel(self, order):
        if order.status != "OPEN":
            raise Refused("UNKNOWN_ORDER")
        self.end(order, "CANCELED", "REQUESTED")

    def amend(self, order, qty, price):
        if order.status != "OPEN":
            raise Refused("UNKNOWN_ORDER")
        qty, price = qty or order.qty, price or order.price
        leaves = qty - order.cum - order.prevented
        if leaves <= 0:
            self.end(order, "CANCELED", "AMENDED")
        elif price == order.price and leaves <= order.leaves:
            order.qty = qty
        else:
            self.check(order, qty, price, leaves, self.hold(order)[1])
            order.qty, order.price = qty, price
            self.run(order)

    def show(self, side, price, qty):
        if self.shown.get((side, price), Decimal(0)) == qty:
            return
        self.shown[side, price] = qty
        self.taken.pop((side, price), None)
        for order in self.queue(side):
            if order.price == price:
                order.ahead = min(order.ahead, qty)

    def cross(self):
        for side in (1, -1):
            for order in self.queue(side):
                crossing = Decimal(0)
                while crossing < order.leaves:
                    prices = [p for (s, p) in self.shown if s == -side and self.left(s, p) > 0 and side * (order.price - p) >= 0]
                    if not prices:
                        break
                    best = min(prices, key=lambda p: side * p)
                    qty = min(self.left(-side, best), order.leaves - crossing)
                    self.take(-side, best, qty)
                    crossing += qty
                if not crossing:
                    break
                self.trade(order, order.price, crossing, maker=True)

    def show_levels(self, levels):
        for side, price, qty in levels:
            self.show(side, price, qty)
        self.cross()

    def public_trade(self, aggressor, price, qty):
        eaten = Decimal(0)
        for order in self.queue(-aggressor):
            if aggressor * (price - order.price) < 0:
                break
            if order.price == price:
                ate = min(qty, max(Decimal(0), order.ahead - eaten))
                eaten += ate
                qty -= ate
            filled = min(qty, order.leaves)
            if filled:
                qty -= filled
                self.trade(order, order.price, filled, maker=True)
        for order in self.queue(-aggressor):
            if order.price == price:
                order.ahead = max(Decimal(0), order.ahead - eaten)
            elif aggressor * (price - order.price) > 0:
                order.ahead = Decimal(0)
