"""Signals: say what a book and its trades suggest, as kernels that a strategy calls.

Prices are in ticks. What is exact in integers stays one (`mid_x2`); the rest is float64, fit to steer a quote and never to be
booked. State lives in a SIGNAL array, float64[len(Signal)], one row for each instrument; elapsed time comes from the caller.
"""

from __future__ import annotations

import math
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hft.book import Book, best_key_lots, best_ticks, next_lots
from hft.records import Side
from shm.jit import njit

BUY, SELL = int(Side.BUY), int(Side.SELL)
