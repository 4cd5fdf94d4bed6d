"""The simulated Binance: market streams, the WebSocket API, REST and the control port."""
