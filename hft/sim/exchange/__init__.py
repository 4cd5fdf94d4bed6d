"""The exchange that stands behind every simulated venue: accounts, price-time matching, holds and fees, in exact integers.

Prices are ticks and sizes lots of the instrument; money is in units of 10^-8 of its asset. Times are UTC in ns and come
with each call. Nothing here knows a venue's messages: `hft/sim/<venue>` translates.
"""
