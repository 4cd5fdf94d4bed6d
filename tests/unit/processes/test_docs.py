"""Docs: the generated pages are in step with the sources, and say everything."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import msgspec
import pytest

from hft.config import Config, load
from hft.control_rules import ELSEWHERE, RULES
from hft.controls import CONTROLS
from hft.records import RECORDS, RiskCode
from processes import docs


@pytest.mark.parametrize("name", docs.PAGES)
def test_a_committed_page_equals_what_the_sources_generate(name: str) -> None:
    assert (docs.ROOT / name).read_text() == docs.PAGES[name](), "run `make docs`"


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


def test_the_controls_page_says_of_each_control_which_rule_asks_for_it_and_of_each_other_where_it_is() -> None:
    own, others = {control.number for control in CONTROLS}, {number for number, _, _ in ELSEWHERE}
    assert own | others == set(RULES) and not own & others
    page = docs.controls_page()
    assert "| R040 | `MAX_POSITION` | 15(2) | (c)(1)(i) | intraday position |" in page
    assert all(words in page for _, _, words in ELSEWHERE)


def keys_of(values: object, path: str = "") -> set[str]:
    """Every (section, key) that a resolved config has, with names of the user's own left out."""
    found = set()
    if isinstance(values, msgspec.Struct):
        for key in values.__struct_fields__:
            found |= {f"{path}.{key}"} | keys_of(getattr(values, key), f"{path}.{key}")
    elif isinstance(values, dict) and all(isinstance(value, msgspec.Struct) for value in values.values()):
        for value in values.values():
            found |= keys_of(value, f"{path}.*")
    return found


def test_the_config_page_has_every_key_once_with_type_default_and_meaning() -> None:
    page, section, rows = docs.PAGES["docs/config.md"](), "", set()
    for line in page.splitlines():
        if line.startswith("#"):
            section = line
        elif line.startswith("| `"):
            cells = [cell.strip() for cell in line.strip("|").replace("\\|", "").split(" | ")]
            assert len(cells) == 4 and all(cells) and cells[3] != ".", line
            row = f"{re.sub(r'[#` ]', '', section)} {cells[0]}"
            assert row not in rows, line
            rows.add(row)
    tops = set(Config.__struct_fields__)
    for path in keys_of(load(docs.ROOT / "configs" / "paper.toml")):
        section, _, key = path.removeprefix(".").rpartition(".")
        if section and key not in tops:
            pattern = rf"{re.escape(f'[{section}]')}(\(\w+\))? {re.escape(f'`{key}`')}".replace(r"\.\*", r"(\.<name>|\.\"<instrument>\")")
            assert any(re.fullmatch(pattern, row) for row in rows), path
    assert "market_maker `half_spread_min_bp`" in rows


@pytest.mark.parametrize(
    "row",
    [
        '| `mode` | `"live"` or `"paper"` | required |',
        "| `silence_ms` | integer, 1 to 86,400,000 | `5000` |",
        "| `synthetic_seed` | integer, 0 to 2,147,483,647 | none |",
        "| `rate` | number, 0.01 to 1000 | `1.0` |",
        '| `tick` | decimal text, as `"0.01"` | required |',
        "| `instruments` | list: each instrument, as `BTC-USDT.BINANCE`; at least 1 | required |",
        "| `params` | table: each number | `{}` |",
        "| `half_spread_min_bp` | 0 to 10000 bp | `0.5` |",
    ],
)
def test_the_config_page_says_what_a_value_may_be(row: str) -> None:
    assert row in docs.PAGES["docs/config.md"]()


def test_main_writes_pages_and_check_names_those_that_differ(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "docs").mkdir()
    shutil.copy(docs.ROOT / "docs" / "architecture.md", tmp_path / "docs")
    monkeypatch.setattr(docs, "ROOT", tmp_path)
    assert docs.main(["--check"]) == 1
    assert docs.main([]) == 0
    assert docs.main(["--check"]) == 0
    (tmp_path / "docs" / "records.md").write_text("old")
    assert docs.main(["--check"]) == 1
    assert "docs/records.md is not what the sources say" in capsys.readouterr().err
    assert docs.main(["--wrong"]) == 2
