"""What a stranger's client makes of the simulated Coinbase; runs where ccxt is installed, and prints one JSON document.

Arguments: the simulator's ready line; key, secret and passphrase of an account.
"""

import asyncio
import json
import sys
import urllib.request
from typing import Any

import ccxt.pro
from ccxt.base.errors import BaseError

SYMBOL = "BTC/USD"
WAIT_S = 30
UPDATES = 200
OID = "496ffbba-7dae-4864-97e8-a5bf52c6d0e2"


def connected(ready: dict[str, str], key: str, secret: str, passphrase: str) -> Any:
    """The client, with the simulator's addresses instead of the venue's."""
    trust = {"cafile": ready["ca"]} if "ca" in ready else {}
    client = ccxt.pro.coinbaseexchange({"apiKey": key, "secret": secret, "password": passphrase, **trust})
    client.urls["api"] = {"public": ready["http"], "private": ready["http"], "ws": ready["ws"]}
    return client


def control(ready: dict[str, str], path: str) -> Any:
    """What the simulator's control port says."""
    with urllib.request.urlopen(ready["control"] + path) as answer:
        return json.loads(answer.read())


def true_book(ready: dict[str, str]) -> tuple[list[list[float]], list[list[float]]]:
    book = control(ready, "/book?symbol=BTC-USD")
    return tuple([[float(price), float(size)] for price, size in book[name][:50]] for name in ("bids", "asks"))


async def follow_book(ready: dict[str, str], client: Any) -> dict[str, Any]:
    """Keep a book, and compare it with the true one at a moment when both stand still."""
    updates = crossed = 0
    equal = False
    while updates < UPDATES or not equal:
        book = await asyncio.wait_for(client.watch_order_book(SYMBOL), WAIT_S)
        updates += 1
        crossed += book["bids"][0][0] >= book["asks"][0][0]
        if updates >= UPDATES:
            bids, asks = await asyncio.to_thread(true_book, ready)
            equal = [list(level[:2]) for level in book["bids"][:50]] == bids and [list(level[:2]) for level in book["asks"][:50]] == asks
            assert updates < 20 * UPDATES, "the book was never the true one"
    return {"updates": updates, "crossed": crossed, "equal": equal}


async def follow_trades(client: Any) -> dict[str, Any]:
    """Read public trades and a ticker."""
    ticker = await asyncio.wait_for(client.watch_ticker(SYMBOL), WAIT_S)
    trades = await asyncio.wait_for(client.watch_trades(SYMBOL), WAIT_S)
    return {
        "ticker": ticker["bid"] < ticker["ask"] and ticker["last"] > 0,
        "trade": {name: type(trades[-1][name]).__name__ for name in ("id", "price", "amount", "side", "timestamp")},
    }


class Private:
    """What the account hears."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.orders: list[dict[str, Any]] = []
        self.trades: list[dict[str, Any]] = []
        self._news = asyncio.Event()
        self.tasks = [asyncio.create_task(self._read(self.client.watch_orders, self.orders))]
        self.tasks.append(asyncio.create_task(self._read(self.client.watch_my_trades, self.trades)))

    async def _read(self, watch: Any, into: list[dict[str, Any]]) -> None:
        while True:
            into += [dict(row) for row in await watch(SYMBOL)]
            self._news.set()

    async def until(self, rows: list[dict[str, Any]], **wanted: Any) -> dict[str, Any]:
        """The first row that has these values."""

        async def search() -> dict[str, Any]:
            while True:
                self._news.clear()
                for row in rows:
                    if all(row.get(name) == value for name, value in wanted.items()):
                        return row
                await self._news.wait()

        return await asyncio.wait_for(search(), WAIT_S)

    def statuses(self, order_id: str) -> list[str]:
        return [row["status"] for row in self.orders if row["id"] == order_id]


async def refused(call: Any) -> str:
    """The name of the client's error for a call."""
    try:
        await call
    except BaseError as error:
        return type(error).__name__
    return "none"


async def trade(ready: dict[str, str], client: Any, bid: float, ask: float) -> dict[str, Any]:
    """Place, find, cancel and fill orders, and read what the account hears of them."""
    private = Private(client)
    while not any("user:BTC-USD" in each["topics"] for each in (await asyncio.to_thread(control, ready, "/state"))["clients"]):
        await asyncio.sleep(0.05)
    resting = await client.create_order(SYMBOL, "limit", "buy", 0.01, bid * 0.9, {"clientOrderId": OID, "postOnly": True})
    await private.until(private.orders, id=resting["id"], status="open")
    found = await client.fetch_order("", SYMBOL, {"clientOrderId": OID})
    opened = await client.fetch_open_orders(SYMBOL)
    await client.cancel_order(resting["id"], SYMBOL)
    gone = await private.until(private.orders, id=resting["id"], status="canceled")
    report: dict[str, Any] = {
        "resting": [resting["status"], found["status"], found["clientOrderId"] == OID, [row["id"] for row in opened] == [resting["id"]]],
        "cancelled": [gone["status"], gone["remaining"], len(await client.fetch_open_orders(SYMBOL))],
    }
    taken = await client.create_order(SYMBOL, "limit", "buy", 0.01, ask * 1.05)
    heard = await private.until(private.trades, order=taken["id"])
    await private.until(private.orders, id=taken["id"], status="closed")
    fills = await client.fetch_order_trades(taken["id"], SYMBOL)
    done = await client.fetch_order(taken["id"], SYMBOL)
    streamed = [row for row in private.trades if row["order"] == taken["id"]]
    report["filled"] = {
        "status": done["status"],
        "filled": done["filled"],
        "trade": [heard["side"], heard["takerOrMaker"], heard["fee"]["rate"]],
        "same_trades": sorted({row["id"] for row in fills}) == sorted({row["id"] for row in streamed}),
        "size": round(sum(row["amount"] for row in fills), 8),
        "fee": abs(sum(row["fee"]["cost"] for row in fills) - done["fee"]["cost"]) < 1e-6,
    }
    spent = await client.create_order(SYMBOL, "market", "buy", 0, None, {"cost": 100})
    closed = {row["id"]: row["status"] for row in await client.fetch_closed_orders(SYMBOL)}
    report["closed"] = [closed[taken["id"]], closed[spent["id"]], resting["id"] in closed]
    report["my_trades"] = len(await client.fetch_my_trades(SYMBOL)) >= 2
    report["errors"] = [
        await refused(client.create_order(SYMBOL, "limit", "buy", 1e6, bid)),
        await refused(client.create_order(SYMBOL, "limit", "buy", 1e-8, bid)),
        await refused(client.cancel_order(taken["id"])),
        await refused(client.fetch_order(OID)),
        await refused(client.fetch_order("mine")),
    ]
    await client.create_order(SYMBOL, "limit", "buy", 0.01, bid * 0.9)
    await client.create_order(SYMBOL, "limit", "buy", 0.01, bid * 0.8)
    await client.cancel_all_orders()
    report["after_cancel_all"] = len(await client.fetch_open_orders())
    for task in private.tasks:
        task.cancel()
    return report


async def main() -> None:
    ready, key, secret, passphrase = json.loads(sys.argv[1]), *sys.argv[2:5]
    client, stranger = connected(ready, key, secret, passphrase), connected(ready, key, secret, "wrong")
    try:
        markets = await client.load_markets()
        book = await client.fetch_order_book(SYMBOL)
        balance = await client.fetch_balance()
        report = {
            "markets": sorted(markets),
            "precision": [markets[SYMBOL]["precision"]["price"], markets[SYMBOL]["precision"]["amount"]],
            "book": [book["bids"][0][0] < book["asks"][0][0], book["nonce"] > 0],
            "clock": abs(await client.fetch_time() - client.milliseconds()) < 5000,
            "balance": [balance["BTC"]["free"], balance["USD"]["total"]],
            "fees": (await client.fetch_trading_fees())[SYMBOL]["taker"],
            "books": await follow_book(ready, client),
            "trades": await follow_trades(client),
            "rest_trades": len(await client.fetch_trades(SYMBOL)) > 0,
            "rest_ticker": (await client.fetch_ticker(SYMBOL))["last"] > 0,
            "orders": await trade(ready, client, book["bids"][0][0], book["asks"][0][0]),
            "wrong_passphrase": [await refused(stranger.fetch_balance()), await refused(stranger.watch_order_book(SYMBOL))],
        }
    finally:
        await client.close()
        await stranger.close()
    print(json.dumps(report))


if __name__ == "__main__":
    asyncio.run(main())
