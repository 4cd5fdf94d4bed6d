"""Latency: the spans that are measured, by name; the numbers are places in the histogram segment."""

from __future__ import annotations

from enum import IntEnum


class Span(IntEnum):
    """A hop of an order that was decided on a market event; all on CLOCK_MONOTONIC."""

    WIRE_TO_DECODED = 0
    DECODED_TO_DECIDED = 1
    DECIDED_TO_APPROVED = 2
    APPROVED_TO_SENT = 3
    WIRE_TO_SENT = 4
    SENT_TO_ACKED = 5


#: Names as people read them, in order of place.
SPANS = tuple(span.name.lower().replace("_to_", "→") for span in Span)
