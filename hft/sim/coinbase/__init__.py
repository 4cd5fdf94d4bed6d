"""A simulated Coinbase Exchange: its WebSocket feed with the `user` channel, and its REST API.

What it says of orders goes to `user` and REST; the books that it publishes, order by order on `full`, are those of the market that is
played, without the accounts' orders.
"""
