"""Trades on a simulated Binance with binance-sdk-spot, unchanged; prints what it saw as one line of JSON.

Arguments: the simulator's ready line, an API key, and a secret (HMAC) or a private key in PEM (Ed25519, which logs on).
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from typing import Any

from binance_sdk_spot.spot import ConfigurationRestAPI, ConfigurationWebSocketAPI, ConfigurationWebSocketStreams, Spot

SYMBOL = "BTCUSDT"


def plain(message: Any) -> Any:
    """The message inside of a union's wrapper."""
    return getattr(message, "actual_instance", None) or message


class Book:
    """Follows diffs from a snapshot by the venue's rule."""

    def __init__(self, snapshot: Any) -> None:
        self.last_id, self.gaps, self.applied, self.crossed = snapshot.last_update_id, 0, 0, 0
        self.bids = {float(level[0]): float(level[1]) for level in snapshot.bids}
        self.asks = {float(level[0]): float(level[1]) for level in snapshot.asks}

    def apply(self, diff: Any) -> None:
        """Apply a diff unless the book has it."""
        if diff.u <= self.last_id:
            return
        self.gaps += diff.U > self.last_id + 1
        for side, levels in ((self.bids, diff.b), (self.asks, diff.a)):
            for price, qty in levels:
                side[float(price)] = float(qty)
                if not float(qty):
                    del side[float(price)]
        self.last_id, self.applied = diff.u, self.applied + 1
        self.crossed += max(self.bids) >= min(self.asks)


async def follow(spot: Spot, diffs: list[Any]) -> dict[str, Any]:
    """Build a book of diffs, a snapshot and more diffs."""
    while len(diffs) < 3:
        await asyncio.sleep(0.05)
    book = Book((await asyncio.to_thread(spot.rest_api.depth, symbol=SYMBOL, limit=5000)).data())
    while book.applied < 20:
        await asyncio.sleep(0.05)
        while diffs:
            book.apply(diffs.pop(0))
    return {"gaps": book.gaps, "crossed": book.crossed, "best": [max(book.bids), min(book.asks)]}


async def trade(api: Any, spot: Spot, best: list[float]) -> dict[str, Any]:
    """Place, amend, replace, cancel and fill orders; say how each reply ended."""
    low = round(best[0] * 0.9)
    order = {"symbol": SYMBOL, "side": "BUY", "type": "LIMIT", "time_in_force": "GTC", "price": low, "quantity": 0.01}
    placed = (await api.order_place(**order, new_client_order_id="p-1")).data()
    amended = (await api.order_amend_keep_priority(SYMBOL, 0.005, orig_client_order_id="p-1", new_client_order_id="p-2")).data()
    replaced = (
        await api.order_cancel_replace(
            **{**order, "price": low + 1},
            cancel_replace_mode="STOP_ON_FAILURE",
            cancel_orig_client_order_id="p-2",
            new_client_order_id="p-3",
        )
    ).data()
    listed = (await api.open_orders_status(symbol=SYMBOL)).data().result
    canceled = (await api.order_cancel(symbol=SYMBOL, orig_client_order_id="p-3")).data()
    filled = (await api.order_place(symbol=SYMBOL, side="BUY", type="MARKET", quantity=0.01)).data()
    trades = (await api.my_trades(symbol=SYMBOL)).data().result
    by_rest = (
        await asyncio.to_thread(
            spot.rest_api.new_order, SYMBOL, "SELL", "LIMIT", time_in_force="IOC", price=round(best[1] * 1.1), quantity=0.01
        )
    ).data()
    account = (await asyncio.to_thread(spot.rest_api.get_account)).data()
    return {
        "placed": placed.result.status,
        "limits": [limit.rate_limit_type for limit in placed.rate_limits],
        "amended": amended.result.amended_order.qty,
        "replaced": replaced.result.new_order_result,
        "listed": [order.client_order_id for order in listed],
        "canceled": canceled.result.status,
        "filled": filled.result.status,
        "fills": sum(float(fill.qty) for fill in filled.result.fills),
        "trades": sum(float(fill.qty) for fill in trades if fill.order_id == filled.result.order_id),
        "by_rest": by_rest.status,
        "assets": sorted(balance.asset for balance in account.balances),
    }


async def main() -> None:
    """Do all of it."""
    urls, key, secret = json.loads(sys.argv[1]), sys.argv[2], sys.argv[3]
    logs_on = "PRIVATE KEY" in secret
    keys = {"api_key": key, "private_key" if logs_on else "api_secret": secret}
    agent = ssl.create_default_context(cafile=urls["ca"]) if "ca" in urls else None
    spot = Spot(
        config_rest_api=ConfigurationRestAPI(**keys, base_path=urls["http"], timeout=10_000),
        config_ws_api=ConfigurationWebSocketAPI(**keys, stream_url=urls["ws"] + "/ws-api/v3", https_agent=agent),
        config_ws_streams=ConfigurationWebSocketStreams(stream_url=urls["ws"] + "/stream", https_agent=agent),
    )
    info = (await asyncio.to_thread(spot.rest_api.exchange_info, symbol=SYMBOL)).data().symbols[0]
    streams = await spot.websocket_streams.create_connection()
    diffs: list[Any] = []
    (await streams.diff_book_depth(symbol=SYMBOL.lower(), update_speed="100ms")).on("message", diffs.append)
    api = await spot.websocket_api.create_connection()
    logged_on = (await api.session_logon()).data().result.api_key == key if logs_on else None
    user = await (api.user_data_stream_subscribe() if logs_on else api.user_data_stream_subscribe_signature())
    events: list[Any] = []
    user.stream.on("message", lambda message: events.append(plain(message)))
    book = await follow(spot, diffs)
    traded = await trade(api, spot, book["best"])
    while not [event for event in events if getattr(event, "X", "") == "FILLED"] or getattr(events[-1], "x", "") == "TRADE":
        await asyncio.sleep(0.05)
    reports = [f"{event.x}/{event.X}" for event in events if type(event).__name__ == "ExecutionReport"]
    positions = sum(type(event).__name__ == "OutboundAccountPosition" for event in events)
    await streams.close_connection(close_session=True)
    await api.close_connection(close_session=True)
    print(json.dumps({"symbol": info.symbol, "logged_on": logged_on, "book": book, **traded, "reports": reports, "positions": positions}))


asyncio.run(main())
