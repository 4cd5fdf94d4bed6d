"""Coinbase Exchange: market data, REST order entry, the `user` channel. Not Advanced Trade, which has other messages."""
