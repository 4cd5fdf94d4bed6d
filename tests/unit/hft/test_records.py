"""Records: layouts that two compilers agree on, and enums that fit their fields."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import pytest

from hft import records
from hft.records import RECORDS, MarketFlag, MarketKind, OrderFlag, ReportKind, RiskCode, record


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_has_no_hidden_padding_and_whole_cache_lines(name: str) -> None:
    dtype = RECORDS[name].dtype
    end = 0
    for field, _, _ in RECORDS[name].fields:
        form, offset = dtype.fields[field][:2]
        assert offset == end, f"{field} starts at {offset}, the field before it ends at {end}"
        end = offset + form.itemsize
    assert end == dtype.itemsize and dtype.itemsize % 64 == 0 and dtype.isalignedstruct


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_documents_every_field_and_itself(name: str) -> None:
    assert RECORDS[name].doc.endswith(".")
    for field, _, meaning in RECORDS[name].fields:
        assert meaning, field


@pytest.mark.parametrize("name", RECORDS)
def test_prices_sizes_times_and_money_are_64_bits_wide(name: str) -> None:
    for field, form, _ in RECORDS[name].fields:
        if field.endswith(("_ticks", "_lots", "_e8", "_id")):
            assert form == "<i8", field


def test_an_order_begins_like_the_intent_that_it_approves() -> None:
    for field, form, _ in records.INTENT_FIELDS:
        assert records.ORDER.fields[field] == records.INTENT.fields[field], (field, form)


def test_a_record_of_the_wrong_size_or_with_padding_is_refused_at_import() -> None:
    with pytest.raises(AssertionError, match="declared 16 bytes, fields use 12, aligned size is 16"):
        record("BAD", 16, "Bad.", ("a", "<i8", "A."), ("b", "<i4", "B."))
    with pytest.raises(AssertionError, match="declared 8 bytes, fields use 16"):
        record("BAD", 8, "Bad.", ("a", "<i8", "A."), ("b", "<i8", "B."))
    assert "BAD" not in RECORDS


def test_the_layout_id_is_a_positive_word_that_changes_with_any_layout() -> None:
    assert 0 < records.LAYOUT_ID < 2**63
    before = records._layout_id()
    record("EXTRA", 8, "Extra.", ("a", "<i8", "A."))
    try:
        assert records._layout_id() != before == records.LAYOUT_ID
    finally:
        del RECORDS["EXTRA"]


@pytest.mark.parametrize("enum", [MarketKind, MarketFlag])
def test_an_enum_of_a_one_byte_field_fits_it(enum: type[IntEnum]) -> None:
    assert max(enum) <= np.iinfo(np.int8).max


def test_flags_are_single_bits_and_codes_are_in_their_stages_range() -> None:
    for flag in (*MarketFlag, *OrderFlag):
        assert int(flag).bit_count() == 1
    assert all(2000 < code < 3000 for code in RiskCode if code)
    assert sorted(ReportKind) == list(range(1, len(ReportKind) + 1))
