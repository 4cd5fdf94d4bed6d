"""Coinbase state: the columns of the feed's state and its words beyond those of all venues."""

from __future__ import annotations

from hft.venues.book_feed import FEED_WORDS, OWN_COLUMNS

HEARD_NS = OWN_COLUMNS  #: received_ns of the newest message about the product, heartbeats included
ASKED_NS = OWN_COLUMNS + 1  #: since when a whole book has been waited for; 0 while none is asked for
TRADE_ID = OWN_COLUMNS + 2  #: newest trade seen; 0 until there was one
MISSED_TRADES = OWN_COLUMNS + 3  #: trades that heartbeats told of and that never came
BEAT_TRADE = OWN_COLUMNS + 4  #: newest trade by the newest heartbeat
BEAT_SEQUENCE = OWN_COLUMNS + 5  #: full: newest sequence by the newest heartbeat
TRADED_NS = OWN_COLUMNS + 6  #: level 2: received_ns of the oldest trade since the book last moved; 0 if there was none
BUFFERED = OWN_COLUMNS + 7  #: full: messages queued
ORDERS = OWN_COLUMNS + 8  #: full: orders on the book
STRANGE_MAKERS = OWN_COLUMNS + 9  #: full: matches of makers that were not on the book
STATE_COLUMNS = OWN_COLUMNS + 10

# Cells of the feed's words.
HEARD = FEED_WORDS  #: received_ns of the newest message of any kind; 0 while there is no connection
FULL = FEED_WORDS + 1  #: 1: the book comes from the `full` channel
ERRORS = FEED_WORDS + 2  #: subscriptions refused
ERROR_BYTES = FEED_WORDS + 3  #: bytes of the newest refusal in `refusal`
WORDS = FEED_WORDS + 4
