"""Coinbase private tables: the words of the `user` channel's messages and of REST answers about orders."""

from __future__ import annotations

#: Names of members, the most frequent ones first; their numbers.
KEYS = (
    *("type", "product_id", "order_id", "side", "price", "size", "time", "client_oid", "trade_id", "maker_order_id"),
    *("taker_order_id", "remaining_size", "reason", "cancel_reason", "taker_fee_rate", "maker_fee_rate", "taker_profile_id"),
    *("maker_profile_id", "taker_user_id", "maker_user_id", "id", "status", "filled_size", "message", "created_at", "reject_reason"),
    "done_reason",
)
TYPE, PRODUCT, ORDER_ID, SIDE, PRICE, SIZE, TIME, CLIENT_OID, TRADE_ID, MAKER_ID = range(10)
TAKER_ID, REMAINING, REASON, CANCEL_REASON, TAKER_RATE, MAKER_RATE, TAKER_PROFILE = range(10, 17)
MAKER_PROFILE, TAKER_USER, MAKER_USER, ID, STATUS, FILLED, MESSAGE, CREATED, REJECT_REASON = range(17, 26)
DONE_REASON = 26

#: Values that are read: types of messages, reasons of `done`, states of orders; their numbers.
KINDS = (
    *("received", "open", "match", "done", "change", "activate", "heartbeat", "subscriptions", "error"),
    *("filled", "canceled", "pending", "active", "rejected", "balance"),
)
RECEIVED, OPEN, MATCH, DONE, CHANGE, ACTIVATE, HEARTBEAT, SUBSCRIPTIONS, ERROR = range(9)
FILLED_WORD, CANCELED_WORD, PENDING, ACTIVE, REJECTED, BALANCE = range(9, 15)

#: Sides as they are written; their numbers.
SIDES = ("buy", "sell")
