"""Outcomes: what the kernels of a venue's codec answer instead of a length or a count."""

from __future__ import annotations

from enum import IntEnum


class Encoded(IntEnum):
    """Why `encode` wrote nothing; what it wrote ends at a positive offset."""

    NOT_EXPRESSIBLE = -1  #: the venue has no such order
    SPLIT = -2  #: a REPLACE that takes two requests: cancel first, and the new order when that is through


class Scanned(IntEnum):
    """Why a scan gives no events."""

    IGNORED = 0
    COLD = -1  #: for `AccountSession.take`
    MALFORMED = -2
