"""Binance keys: numbers for the JSON keys and words that the scanner knows, and sets of keys as bits.

A letter's number is its code - 64 (A is 1, z is 58); longer keys use the gap between Z and a, and the end. A set of keys is
an int64 with bit `number`.
"""

from __future__ import annotations

LETTERS_FROM = 64
UNKNOWN = -1

A, B, E, T, U = 1, 2, 5, 20, 21
a, b, e, m, p, q, s, t, u = 33, 34, 37, 45, 48, 49, 51, 52, 53
LAST_UPDATE_ID, BIDS, ASKS, ERROR, RESULT, CODE = 27, 28, 29, 30, 31, 32
STREAM, DATA = 59, 60
#: No keys: these bits say that a depth event's bids or asks were read on the way.
BIDS_READ, ASKS_READ = 61, 62

#: Keys longer than a letter, and their numbers.
WORDS = ("stream", "data", "result", "code", "error", "lastUpdateId", "bids", "asks")
WORD_NUMBERS = (STREAM, DATA, RESULT, CODE, ERROR, LAST_UPDATE_ID, BIDS, ASKS)

#: What a depth event says before its levels.
DEPTH_HEAD = (1 << e) | (1 << E) | (1 << s) | (1 << U) | (1 << u)
DEPTH = DEPTH_HEAD | (1 << b) | (1 << a)
DEPTH_READ = (1 << BIDS_READ) | (1 << ASKS_READ)
QUOTE = (1 << u) | (1 << s) | (1 << b) | (1 << B) | (1 << a) | (1 << A)
TRADE = (1 << E) | (1 << s) | (1 << t) | (1 << p) | (1 << q) | (1 << T) | (1 << m)
SNAPSHOT = (1 << LAST_UPDATE_ID) | (1 << BIDS) | (1 << ASKS)
