"""Numbers, times and fractions as venues write them."""

from decimal import Decimal

import msgspec
import pytest

from hft.sim.texts import decode_json, fixed, number, parse_rfc3339, rfc3339, rfc3339_seconds, to_units


@pytest.mark.parametrize(
    ("units", "decimals", "text"), [(5100, 8, "0.00005100"), (788715, 1, "78871.5"), (-7, 2, "-0.07"), (12, 0, "12"), (0, 3, "0.000")]
)
def test_numbers_keep_all_their_digits(units, decimals, text):
    assert fixed(units, decimals) == text
    assert msgspec.json.encode({"n": number(units, decimals)}) == b'{"n":' + text.encode() + b"}"


def test_fractions_of_requests_are_exact():
    assert decode_json(b'{"a":0.1,"b":3}') == {"a": Decimal("0.1"), "b": 3}


def test_units_are_whole_or_refused():
    assert to_units(Decimal("60000.3"), Decimal("0.1")) == 600003
    with pytest.raises(ValueError, match="no multiple"):
        to_units(Decimal("60000.35"), Decimal("0.1"))


def test_times_come_back_as_they_were_written():
    at_ns = 1_700_000_000_123_456_000
    assert rfc3339(at_ns) == "2023-11-14T22:13:20.123456Z" and parse_rfc3339(rfc3339(at_ns)) == at_ns
    assert rfc3339_seconds(at_ns) == "2023-11-14T22:13:20Z"
    assert parse_rfc3339("2022-12-25T09:30:59.123+01:00") == parse_rfc3339("2022-12-25T08:30:59.123Z")


@pytest.mark.parametrize("text", ["2022-12-25T09:30:59", "soon", ""])
def test_a_time_without_a_zone_is_none(text):
    with pytest.raises(ValueError, match="."):
        parse_rfc3339(text)
