"""Binance spot: market data, orders and their private stream, as bytes and records."""
