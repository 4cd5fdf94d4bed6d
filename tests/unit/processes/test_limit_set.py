"""Limit set: a tighter limit is in force at once, a looser one waits for somebody else, and the next engine begins with both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hft import control
from hft.limit_changes import name_word
from processes import limit_set
from processes.errors import EngineError
from processes.limit_log import append, in_force, limit_of
from processes.limit_set import approve_limit, read_limits, set_limit
from processes.people import add_person, prove
from processes.risk_show import read_risk
from support.engine import paper_config
from support.engine_fakes import SupervisedEngine

KEY = "limits.BTC-USDT.BINANCE.position_max"
GROSS = "firm.gross_max"
ANN, BOB = ("ann", "correct horse"), ("bob", "battery staple")


@pytest.fixture
def engine(instance_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SupervisedEngine]:
    """An engine whose risk takes whatever comes, and which knows ann and bob."""
    with SupervisedEngine(instance_name, tmp_path, monkeypatch) as engine:
        for person in (ANN, BOB):
            add_person(engine.instance, *person)
        monkeypatch.setattr(limit_set, "append", taking(engine))
        yield engine


def taking(engine: SupervisedEngine) -> Callable[[Any, Any], int]:
    def take(words: Any, change: Any) -> int:
        number = append(words, change)
        engine.words[control.LIMIT_TAKEN] = number + 1
        return number

    return take


def logged(engine: SupervisedEngine, number: int) -> list[int]:
    at = control.LIMIT_LOG + control.LIMIT_WORDS * number
    return [int(word) for word in engine.words[at : at + 5]]


def test_a_tighter_limit_is_in_the_log_and_in_the_file(engine: SupervisedEngine) -> None:
    document = set_limit(engine.instance, KEY, "0.25", "nervous", None)
    assert document["in_force"] and not document["pending"] and document["taken_after_ms"] >= 0
    limit = limit_of(paper_config(), KEY, "0.25")
    assert (limit.row, limit.value, limit.given) == (0, 25_000, 50_000)
    assert logged(engine, 0)[:3] == [0, limit.field, 25_000] and logged(engine, 0)[4] == 0
    assert in_force(paper_config(), engine.words, limit) == 25_000
    assert read_limits(engine.instance)["changed"][KEY]["reason"] == "nervous"


def test_a_looser_limit_waits_until_somebody_else_approves_it(engine: SupervisedEngine) -> None:
    set_limit(engine.instance, KEY, "0.25", "nervous", None)
    document = set_limit(engine.instance, KEY, "0.4", "calm again", ANN)
    assert document == {"key": KEY, "value": "0.4", "in_force": False, "pending": True, "taken_after_ms": None}
    assert engine.words[control.LIMIT_CHANGES] == 1
    with pytest.raises(EngineError, match="somebody else must approve"):
        approve_limit(engine.instance, KEY, ANN)
    with pytest.raises(EngineError, match="this is not bob"):
        approve_limit(engine.instance, KEY, ("bob", "correct horse"))
    with pytest.raises(EngineError, match=f"nobody has asked for {GROSS}.*{KEY}"):
        approve_limit(engine.instance, GROSS, BOB)
    assert engine.words[control.LIMIT_CHANGES] == 1
    assert approve_limit(engine.instance, KEY, BOB)["in_force"]
    assert logged(engine, 1)[2:] == [40_000, name_word("ann"), name_word("bob")]
    limits = read_limits(engine.instance)
    assert limits["pending"] == {} and limits["changed"][KEY]["approved_by"] == "bob"


@pytest.mark.parametrize("person", [None, ("ann", "wrong secret"), ("eve", "correct horse")])
def test_a_looser_limit_is_not_even_asked_for_by_somebody_unknown(engine: SupervisedEngine, person: Any) -> None:
    set_limit(engine.instance, KEY, "0.25", "nervous", None)
    with pytest.raises(EngineError, match="say who you are|this is not"):
        set_limit(engine.instance, KEY, "0.3", "why not", person)
    assert read_limits(engine.instance)["pending"] == {}


def test_a_tighter_limit_takes_back_what_was_asked_for(engine: SupervisedEngine) -> None:
    set_limit(engine.instance, KEY, "0.25", "nervous", None)
    set_limit(engine.instance, KEY, "0.4", "calm again", ANN)
    set_limit(engine.instance, KEY, "0.2", "nervous", None)
    with pytest.raises(EngineError, match="nobody has asked"):
        approve_limit(engine.instance, KEY, BOB)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (KEY, "0.6", "looser than the config"),
        (KEY, "-1", "position_max"),
        (KEY, "much", "position_max"),
        ("limits.BTC-USDT.BINANCE.open_orders_max", "2.5", "open_orders_max"),
        ("limits.BTC-USDT.BINANCE.move_window_ms", "5", "cannot be changed"),
        ("limits.BTC-USDT.BINANCE.stop_loss_action", "hold", "cannot be changed|stop_loss_action"),
        ("limits.X.position_max", "1", "no limit"),
        ("firm.base_currency", "USD", "cannot be changed"),
        ("firm.send_age_max_ms", "60", "cannot be changed"),
        ("firm.rates", "1", "no limit"),
        ("position_max", "1", "no limit"),
        ("engine.mode", "live", "no limit"),
    ],
)
def test_what_is_no_limit_or_no_value_changes_nothing(engine: SupervisedEngine, key: str, value: str, message: str) -> None:
    with pytest.raises(EngineError, match=message):
        set_limit(engine.instance, key, value, "", ANN)
    assert engine.words[control.LIMIT_CHANGES] == 0


def test_every_changeable_limit_has_a_key_that_changes_it_alone() -> None:
    config, found = paper_config(), set()
    for section, table in (("limits.BTC-USDT.BINANCE", config.limits["BTC-USDT.BINANCE"]), ("firm", config.firm)):
        for name in table.__struct_fields__:
            value = getattr(table, name)
            try:
                found.add((section[:4], limit_of(config, f"{section}.{name}", str(value)).field))
            except EngineError:
                continue
    assert len(found) == len(limit_set_fields())


def limit_set_fields() -> list[str]:
    from hft.limit_changes import CHANGEABLE_FIRM, CHANGEABLE_LIMITS

    return [*CHANGEABLE_LIMITS, *CHANGEABLE_FIRM]


def test_risk_that_takes_nothing_is_said_and_the_change_is_kept(engine: SupervisedEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limit_set, "append", append)
    monkeypatch.setattr(limit_set, "PATIENCE_S", 0.0)
    document = set_limit(engine.instance, KEY, "0.25", "nervous", None)
    assert not document["in_force"] and document["taken_after_ms"] is None
    assert engine.words[control.LIMIT_CHANGES] == 1 and KEY in read_limits(engine.instance)["changed"]


def test_the_next_engine_begins_with_what_was_changed_and_forgets_what_is_not_tighter(
    instance_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = SupervisedEngine(instance_name, tmp_path, monkeypatch)
    entry = {"by": "ann", "reason": "nervous", "approved_by": "bob"}
    engine.instance.make_folders()
    changed = {KEY: entry | {"value": "0.25"}, GROSS: entry | {"value": "100000"}, "firm.gone": entry | {"value": "1"}}
    limit_set.write_durably(engine.instance.limits_file, limit_set.msgspec.json.encode({"changed": changed, "pending": {}}))
    with engine:
        assert engine.words[control.LIMIT_CHANGES] == 1
        assert logged(engine, 0)[2:] == [25_000, name_word("ann"), name_word("bob")]
        assert list(read_limits(engine.instance)["changed"]) == [KEY]


def test_a_damaged_file_stops_the_start(instance_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = SupervisedEngine(instance_name, tmp_path, monkeypatch)
    engine.instance.make_folders()
    engine.instance.limits_file.write_bytes(b"{")
    with pytest.raises(EngineError, match="nobody knows which limits were tightened"):
        engine.supervisor.start()
    engine.supervisor.close()


def test_a_full_log_is_said_and_nothing_is_overwritten(engine: SupervisedEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    engine.words[control.LIMIT_CHANGES] = control.LIMIT_CHANGES_MAX
    before = np.copy(engine.words)
    with pytest.raises(EngineError, match="512 times"):
        set_limit(engine.instance, KEY, "0.25", "nervous", None)
    assert (engine.words == before).all() and read_limits(engine.instance)["changed"] == {}


def test_people_are_kept_with_a_hash_and_proven_by_their_secret(engine: SupervisedEngine) -> None:
    prove(engine.instance, *ANN)
    assert engine.instance.people_file.stat().st_mode & 0o777 == 0o600
    assert b"correct" not in engine.instance.people_file.read_bytes()
    for name, secret, message in (
        ("ann", "another secret", "known already"),
        ("zoe", "short", "at least 12"),
        ("Zoe", "long enough it is", "expected 1 to 7"),
    ):
        with pytest.raises(EngineError, match=message):
            add_person(engine.instance, name, secret)
    engine.instance.people_file.write_bytes(b"[]")
    with pytest.raises(EngineError, match="damaged"):
        prove(engine.instance, *ANN)


def test_risk_show_has_the_limits_in_force_and_what_waits(engine: SupervisedEngine) -> None:
    set_limit(engine.instance, KEY, "0.25", "nervous", None)
    set_limit(engine.instance, KEY, "0.3", "calm", ANN)
    set_limit(engine.instance, "firm.unknown_orders_max", "1", "nervous", None)
    document = read_risk(engine.instance)
    assert document["instruments"][0]["limits"]["position_max"] == "0.25" and document["instruments"][1]["limits"]["position_max"] == "10"
    assert document["firm"]["limits"]["unknown_orders_max"] == 1
    assert document["limits_pending"][KEY]["by"] == "ann" and list(document["limits_changed"]) == [KEY, "firm.unknown_orders_max"]
