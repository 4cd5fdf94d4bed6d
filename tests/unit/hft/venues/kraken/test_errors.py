"""Kraken errors: documented refusals are proof, everything else is not."""

from __future__ import annotations

import numpy as np
import pytest

from hft.records import VenueEventKind, VenueReason
from hft.venues.kraken.errors import TEXTS, classify, new_errors

K, R = VenueEventKind, VenueReason


def meaning(text: str) -> tuple[int, int]:
    data = np.frombuffer(f"<{text}>".encode(), np.uint8)
    kind, reason = classify(new_errors(), data, 1, len(data) - 1)
    return int(kind), int(reason)


@pytest.mark.parametrize("text", TEXTS)
def test_every_text_means_what_its_row_says_with_details_or_without(text: str) -> None:
    assert meaning(text) == meaning(f"{text}:details") == TEXTS[text]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("EService:Unavailable", (K.UNKNOWN, R.VENUE_DOWN)),
        ("EService:Deadline elapsed", (K.REJECTED, R.EXPIRED_REQUEST)),
        ("EOrder:Duplicate cl_ord_id", (K.UNKNOWN, R.DUPLICATE_ID)),
        ("EGeneral:Internal error", (K.UNKNOWN, R.OTHER)),
        ("EOrder:Something new", (K.UNKNOWN, R.OTHER)),
        ("EOrder:Insufficient fund", (K.UNKNOWN, R.OTHER)),
        ("", (K.UNKNOWN, R.OTHER)),
    ],
)
def test_only_documented_refusals_are_proof(text: str, expected: tuple[int, int]) -> None:
    assert meaning(text) == expected
