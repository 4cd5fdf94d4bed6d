"""Fields: times are read to the nanosecond, and what is no time is refused."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from hft.venues.fields import read_rfc3339

SEED = 20_260_102
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def read(text: str) -> tuple[int, int]:
    """What a time is read as, at the very end of its array."""
    data = np.frombuffer(bytearray(b'"7' + text.encode()), np.uint8)
    value, past = read_rfc3339(data, 2, len(data))
    return int(value), int(past) - 2 if past >= 0 else -1


def test_times_are_read_to_the_nanosecond() -> None:
    rng = random.Random(SEED)
    for _ in range(300):
        seconds, nanoseconds = rng.randrange(4_102_444_800), rng.randrange(10**9)
        moment = EPOCH + timedelta(seconds=seconds)
        digits = rng.randrange(10)
        fraction = f".{nanoseconds:09}"[: digits + 1] if digits else ""
        text = f'"{moment:%Y-%m-%dT%H:%M:%S}{fraction}{rng.choice(("Z", "+00:00"))}"'
        kept = int(f"{nanoseconds:09}"[:digits].ljust(9, "0"))
        assert read(text) == (seconds * 10**9 + kept, len(text)), f"seed {SEED}: {text}"


@pytest.mark.parametrize("text", ['"2024-02-29T00:00:00Z"', '"2000-02-29T23:59:59.999999999Z"', '"2099-12-31T23:59:59Z"'])
def test_days_that_exist_are_read(text: str) -> None:
    moment = datetime.fromisoformat(text[1:20] + "+00:00")
    assert read(text)[0] // 10**9 == (moment - EPOCH) // timedelta(seconds=1)


@pytest.mark.parametrize(
    "text",
    [
        "",
        '"',
        '"2026-08-24T22:21:57"',
        '"2026-08-24T22:21:57.Z"',
        '"2026-08-24T22:21:57.1234567890Z"',
        '"2026-08-24T22:21:57Z',
        '"2026-08-24T22:21:57+01:00"',
        '"2026-08-24T22:21:57-00:00"',
        '"2026-08-24T22:21:57+00:0"',
        '"2026-08-24 22:21:57Z"',
        '"2026-08-24t22:21:57Z"',
        '"2026-8-24T22:21:57Z"',
        '"2026-02-29T22:21:57Z"',
        '"2026-00-24T22:21:57Z"',
        '"2026-13-24T22:21:57Z"',
        '"2026-08-32T22:21:57Z"',
        '"2026-08-00T22:21:57Z"',
        '"2026-08-24T24:21:57Z"',
        '"2026-08-24T22:60:57Z"',
        '"2026-08-24T22:21:60Z"',
        '"1969-12-31T23:59:59Z"',
        '"2100-01-01T00:00:00Z"',
        '"x026-08-24T22:21:57Z"',
        "2026-08-24T22:21:57Z",
    ],
)
def test_what_is_no_utc_time_is_refused(text: str) -> None:
    assert read(text) == (-1, -1)
    for cut in range(len(text)):
        assert read(text[:cut]) == (-1, -1)


def test_any_byte_out_of_place_in_a_time_of_six_decimals_is_noticed() -> None:
    good = '"2024-02-29T22:21:57.110183Z"'
    for at in range(len(good)):
        for byte in range(1, 128):
            text = good[:at] + chr(byte) + good[at + 1 :]
            try:
                moment = datetime.strptime(text, '"%Y-%m-%dT%H:%M:%S.%fZ"').replace(tzinfo=UTC)
            except ValueError:
                moment = EPOCH.replace(year=1)
            wanted = (moment - EPOCH) // timedelta(microseconds=1) * 1000, len(text)
            # Python also takes "2-" for a year, and such.
            strict = all(text[i].isdigit() or (at != i and not good[i].isdigit()) or text[i] == good[i] for i in range(len(good)))
            assert read(text) == (wanted if strict and 1970 <= moment.year <= 2099 else (-1, -1)), text
