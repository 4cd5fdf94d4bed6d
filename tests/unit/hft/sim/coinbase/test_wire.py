"""How Coinbase writes ids, amounts and times."""

import uuid

import pytest

from hft.sim.coinbase.wire import count_of, is_uuid, milliseconds, money, named_uuid, rate_text, user_id, uuid_of


def test_ids_are_unique_uuids_of_version_4_and_lead_back():
    counts = [*range(1, 2000), 1 << 59, 1 << 60, (1 << 61) + 7]
    names = [uuid_of(count) for count in counts]
    assert len(set(names)) == len(names) and [count_of(name) for name in names] == counts
    assert all(uuid.UUID(name).version == 4 and str(uuid.UUID(name)) == name for name in names)
    assert count_of(names[5].upper()) == counts[5]


@pytest.mark.parametrize("text", ["", "1", "d50ec984-77a8-160a-b958-66f114b0de9b", "d50ec984-77a8-460a-3958-66f114b0de9b", "x" * 36])
def test_what_is_no_id_of_ours_leads_nowhere(text):
    assert count_of(text) == 0


@pytest.mark.parametrize(
    ("text", "fine"),
    [
        ("d50ec984-77a8-460a-b958-66f114b0de9b", True),
        ("D50EC984-77A8-460A-B958-66F114B0DE9B", True),
        ("d50ec98477a8460ab95866f114b0de9b", False),
        ("d50ec984-77a8-460a-b958-66f114b0de9g", False),
        ("d50ec984-77a8-460a-b958-66f114b0de9", False),
        ("d50ec984-77a8-460a-b958-66f114b0de٣b", False),
    ],
)
def test_only_text_of_its_form_is_a_uuid(text, fine):
    assert is_uuid(text) is fine


def test_names_have_ids_of_their_own():
    assert named_uuid("a") != named_uuid("b") and is_uuid(named_uuid("a"))
    assert user_id("alice") != user_id("bob") and len(user_id("bob")) == 24


def test_amounts_rates_and_times_are_written_as_the_venue_does():
    assert money(150_000_001) == "1.5000000100000000" and money(-1) == "-0.0000000100000000"
    assert [rate_text(rate) for rate in (400_000, 600_000, 0, 100_000_000)] == ["0.004", "0.006", "0.0", "1.0"]
    assert milliseconds(1_700_000_000_123_456_000) == "2023-11-14T22:13:20.123Z"
