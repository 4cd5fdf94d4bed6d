"""How Kraken writes identifiers."""

import pytest

from hft.sim.kraken.wire import identified, identifier


def test_identifiers_are_unique_look_like_the_venues_and_lead_back():
    names = [identifier("O", count) for count in range(1, 2000)]
    assert len(set(names)) == len(names)
    assert all([len(part) for part in name.split("-")] == [6, 5, 6] for name in names)
    assert [identified("O", name) for name in names] == list(range(1, 2000))


@pytest.mark.parametrize("text", ["", "O", "TUOZ4N-3ZXF7-UU7AVU", "OUOZ4N-3ZXF7-UU7AVA", "OUOZ4N-3ZXF7-UU7AV", "OUOZ4N-3ZXF7-UU7AV!"])
def test_what_is_no_identifier_leads_nowhere(text):
    assert identified("O", text) == 0
