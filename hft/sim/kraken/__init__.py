"""The simulated Kraken Spot: public and private WebSocket v2, REST, keys and rate counters, over an exchange that matches.

`hft.sim.kraken.venue` is the venue. It keeps 10^-8 of every asset, and says so in its precisions, so that what it reports
adds up exactly. Not simulated: margin, triggered orders, icebergs, order edits by cancel and new, and channel `level3`.
"""
