"""What a stranger's client makes of the simulated Kraken; runs where python-kraken-sdk is installed, and prints one JSON document.

Arguments: the simulator's ready line; key and secret of an account.
"""

import asyncio
import itertools
import json
import sys
import urllib.request
from typing import Any

from kraken.spot import Market, SpotOrderBookClient, SpotWSClient, Trade, User

PAIR = "BTC/USD"
WAIT_S = 30


class Messages:
    """What a client was told, and waiting for more."""

    def __init__(self) -> None:
        self.all: list[dict[str, Any]] = []
        self._news = asyncio.Event()

    async def take(self, message: dict[str, Any]) -> None:
        self.all.append(message)
        self._news.set()

    async def until(self, wanted, begin: int = 0) -> dict[str, Any]:
        """The first message from `begin` on that is wanted; ends the run when none comes."""

        async def search() -> dict[str, Any]:
            while True:
                self._news.clear()
                for message in self.all[begin:]:
                    if wanted(message):
                        return message
                await self._news.wait()

        return await asyncio.wait_for(search(), WAIT_S)

    def executions(self, order_id: str) -> list[dict[str, Any]]:
        rows = [row for message in self.all if message.get("channel") == "executions" for row in message["data"]]
        return [row for row in rows if row["order_id"] == order_id]


class Books(SpotOrderBookClient):
    """The client's own order book, which checks each update's checksum and resubscribes when one is wrong."""

    def __init__(self, depth: int) -> None:
        super().__init__(depth=depth)
        self.updates = self.valid = self.mismatches = self.crossed = 0

    async def on_book_update(self, pair: str, message: dict[str, Any]) -> None:
        if "error" in message:
            self.mismatches += 1
            return
        book = self.get(pair=pair)
        self.updates += 1
        self.valid += book["valid"]
        self.crossed += float(next(iter(book["bid"]))) >= float(next(iter(book["ask"])))


async def follow_books(ready: dict[str, str], depth: int) -> dict[str, Any]:
    """Keep a book through a wrong checksum and the resubscription that follows."""
    client = Books(depth)
    await client.start()
    await client.add_book(pairs=[PAIR])
    for goal in (100, 200):
        while client.updates < goal:
            await asyncio.sleep(0.05)
        if not client.mismatches:
            fault = json.dumps({"kind": "wrong_checksum", "symbol": PAIR}).encode()
            await asyncio.to_thread(urllib.request.urlopen, urllib.request.Request(f"{ready['control']}/fault", fault, method="POST"))
    report = {"updates": client.updates, "valid": client.valid, "mismatches": client.mismatches, "crossed": client.crossed}
    await client.close()
    return report


class Trader:
    """Orders on the private socket."""

    def __init__(self, client: SpotWSClient, messages: Messages) -> None:
        self.client, self.messages, self._number = client, messages, 100

    async def ask(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        number = self._number
        await self.client.send_message({"method": method, "params": params, "req_id": number})
        return await self.messages.until(lambda message: message.get("req_id") == number)

    async def ended(self, order_id: str, exec_type: str) -> list[str]:
        """What happened to an order, once that was the last of it."""
        await self.messages.until(lambda _: any(row["exec_type"] == exec_type for row in self.messages.executions(order_id)))
        return [row["exec_type"] for row in self.messages.executions(order_id)]


async def trade(ready: dict[str, str], key: str, secret: str, bid: float, ask: float) -> dict[str, Any]:
    """Place, amend, cancel and fill orders on the socket, and read what the account hears of it."""
    messages = Messages()
    urls = {"rest_url": ready["http"], "ws_url": ready["ws"], "auth_ws_url": ready["ws"]}
    client = SpotWSClient(key=key, secret=secret, callback=messages.take, **urls)
    await client.start()
    await client.subscribe({"channel": "executions", "snap_trades": True}, req_id=1)
    await client.subscribe({"channel": "balances"}, req_id=2)
    await client.subscribe({"channel": "trade", "symbol": [PAIR]}, req_id=3)
    await client.subscribe({"channel": "book", "symbol": [PAIR], "depth": 27}, req_id=4)
    for channel in ("executions", "balances", "trade"):
        await messages.until(lambda message, name=channel: message.get("channel") == name and message["type"] == "snapshot")
    refused_depth = await messages.until(lambda message: message.get("req_id") == 4)
    trader = Trader(client, messages)
    order = {"order_type": "limit", "side": "buy", "symbol": PAIR, "order_qty": 0.01}
    report: dict[str, Any] = {"refused_depth": refused_depth["error"], "private": client.active_private_subscriptions}

    placed = await trader.ask("add_order", **order, limit_price=round(bid * 0.9, 1), cl_ord_id="resting-1")
    order_id = placed["result"]["order_id"]
    amended = await trader.ask("amend_order", order_id=order_id, order_qty=0.005, limit_price=round(bid * 0.91, 1))
    cancelled = await trader.ask("cancel_order", order_id=[order_id])
    report["resting"] = {
        "acks": [reply["success"] for reply in (placed, amended, cancelled)],
        "steps": await trader.ended(order_id, "canceled"),
    }

    taken = await trader.ask("add_order", **order, limit_price=round(ask * 1.05, 1))
    order_id = taken["result"]["order_id"]
    report["filled"] = {"steps": await trader.ended(order_id, "filled"), "last": messages.executions(order_id)[-1]}

    wrong = await trader.ask("add_order", **order, limit_price=100.123)
    twice = await trader.ask("cancel_order", order_id=[order_id])
    report["errors"] = [wrong["error"], twice["error"]]

    batch = await trader.ask("batch_add", symbol=PAIR, orders=[{**_without(order, "symbol"), "limit_price": round(bid * 0.8, 1)}] * 2)
    ids = [row["order_id"] for row in batch["result"]]
    report["dead_man"] = (await trader.ask("cancel_all_orders_after", timeout=60))["result"]
    report["batch_cancelled"] = (await trader.ask("batch_cancel", orders=ids))["orders_cancelled"]
    report["cancel_all"] = (await trader.ask("cancel_all"))["result"]
    sequences = [message["sequence"] for message in messages.all if message.get("channel") == "executions"]
    report["sequence_gaps"] = sum(b - a != 1 for a, b in itertools.pairwise(sequences))
    report["balance_updates"] = sum(message.get("channel") == "balances" and message["type"] == "update" for message in messages.all)
    await client.close()
    return report


def _without(fields: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if key != name}


def rest(ready: dict[str, str], key: str, secret: str, bid: float, ask: float) -> dict[str, Any]:
    """Do the same with REST."""
    user, trader = User(key=key, secret=secret, url=ready["http"]), Trade(key=key, secret=secret, url=ready["http"])
    order = {"ordertype": "limit", "side": "buy", "pair": "XBTUSD", "volume": "0.01"}
    placed = trader.create_order(**order, price=f"{bid * 0.9:.1f}", oflags=["post"])["txid"][0]
    opened = user.get_open_orders()["open"]
    amended = trader.amend_order(extra_params={"txid": placed, "order_qty": "0.02"})
    cancelled = trader.cancel_order(txid=placed)
    taken = trader.create_order(**order, price=f"{ask * 1.05:.1f}")["txid"][0]
    return {
        "opened": list(opened) == [placed],
        "described": opened[placed]["descr"]["order"],
        "amended": amended["amend_id"][:1],
        "cancelled": cancelled,
        "closed": {name: row["status"] for name, row in user.get_closed_orders()["closed"].items() if name in (placed, taken)},
        "expected": {placed: "canceled", taken: "closed"},
        "queried": list(user.get_orders_info(txid=[placed, taken])) == [placed, taken],
        "traded": any(row["ordertxid"] == taken for row in user.get_trades_history()["trades"].values()),
        "dead_man": sorted(trader.cancel_all_orders_after_x(60)),
        "cancel_all": trader.cancel_all_orders(),
        "balances": sorted(user.get_balances()),
        "account_balance": sorted(user.get_account_balance()),
    }


def main() -> None:
    ready, key, secret = json.loads(sys.argv[1]), sys.argv[2], sys.argv[3]
    SpotWSClient.WS_URL = SpotWSClient.AUTH_WS_URL = ready["ws"]
    Market.URL = ready["http"]
    market = Market()
    book = market.get_order_book(pair="XBTUSD", count=1)["XXBTZUSD"]
    bid, ask = float(book["bids"][0][0]), float(book["asks"][0][0])
    report = {
        "status": market.get_system_status()["status"],
        "pair": market.get_asset_pairs(pair=PAIR)[PAIR]["wsname"],
        "ticker": sorted(market.get_ticker(pair="XBTUSD")["XXBTZUSD"]),
        "books": [asyncio.run(follow_books(ready, depth)) for depth in (10, 100)],
        "socket": asyncio.run(trade(ready, key, secret, bid, ask)),
        "rest": rest(ready, key, secret, bid, ask),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
