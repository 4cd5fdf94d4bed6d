"""Docs: the generated pages are in step with the sources, and say everything."""

from __future__ import annotations

from pathlib import Path

import pytest

from hft.controls import CONTROLS
from hft.records import RECORDS, RiskCode
from processes import docs


@pytest.mark.parametrize("name", docs.pages())
def test_a_committed_page_equals_what_the_sources_generate(name: str) -> None:
    assert (docs.ROOT / name).read_text() == docs.pages()[name], "run `make docs`"


def test_the_records_page_has_every_field_with_its_offset() -> None:
    page = docs.records_page()
    for record in RECORDS.values():
        for field, form, meaning in record.fields:
            assert f"| {record.dtype.fields[field][1]} | `{field}` | {form} | {meaning.replace('|', chr(92) + '|')} |" in page


def test_the_controls_are_every_risk_code_once_in_the_order_of_the_checks() -> None:
    assert sorted(control.code for control in CONTROLS) == sorted(code for code in RiskCode if code)
    page = docs.controls_page()
    assert page.index("`SYSTEM_HALTED`") < page.index("| `MAX_POSITION`")
    assert "| R040 | 2040 | `MAX_POSITION` |" in page and "`REFUSED_R040`" in page


def test_main_writes_pages_and_check_names_those_that_differ(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(docs, "ROOT", tmp_path)
    (tmp_path / "docs").mkdir()
    assert docs.main(["--check"]) == 1
    assert docs.main([]) == 0
    assert docs.main(["--check"]) == 0
    (tmp_path / "docs" / "records.md").write_text("old")
    assert docs.main(["--check"]) == 1
    assert "docs/records.md is not what the sources say" in capsys.readouterr().err
    assert docs.main(["--wrong"]) == 2
