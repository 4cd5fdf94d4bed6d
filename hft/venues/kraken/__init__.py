"""Kraken spot, WebSocket v2: market data, orders and their private stream, as bytes and records."""
