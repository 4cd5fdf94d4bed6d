"""Instance files are private, durable and fail closed; epochs are never used twice."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from processes.errors import EngineError
from processes.instance import Instance, default_state_dir, next_epoch, write_durably


@pytest.mark.parametrize("name", ["", "A", "a/b", "../x", "a" * 33, "-a", "a.b", "ä"])
def test_instance_refuses_names_that_are_no_names(name: str, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="expected 1 to 32"):
        Instance(name, tmp_path)


def test_make_folders_are_private(tmp_path: Path) -> None:
    instance = Instance("x", tmp_path)
    instance.make_folders()
    assert stat.S_IMODE(instance.folder.stat().st_mode) == 0o700
    assert {path.name for path in instance.folder.iterdir()} == {"journal", "log", "reports"}


def test_sessions_are_the_epochs_that_have_journals_in_order(tmp_path: Path) -> None:
    instance = Instance("x", tmp_path)
    assert instance.sessions() == []
    for epoch in (10, 9, 2):
        instance.journal_folder(epoch).mkdir(parents=True)
    (instance.folder / "journal" / "notes").mkdir()
    assert instance.sessions() == [2, 9, 10]


def test_next_epoch_counts_up_for_ever_and_survives(tmp_path: Path) -> None:
    assert [next_epoch(tmp_path, "paper") for _ in range(3)] == [1, 2, 3]
    assert next_epoch(tmp_path, "other") == 1
    assert (tmp_path / "epochs" / "paper").read_text() == "3"


@pytest.mark.parametrize("text", ["", "x", "-1", "1.5", "999999999"])
def test_next_epoch_refuses_a_damaged_counter(text: str, tmp_path: Path) -> None:
    next_epoch(tmp_path, "paper")
    (tmp_path / "epochs" / "paper").write_text(text)
    with pytest.raises(EngineError, match="expected a number"):
        next_epoch(tmp_path, "paper")


def test_next_epoch_refuses_to_wrap(tmp_path: Path) -> None:
    next_epoch(tmp_path, "paper")
    (tmp_path / "epochs" / "paper").write_text(str((1 << 23) - 1))
    with pytest.raises(EngineError, match="does not fit"):
        next_epoch(tmp_path, "paper")


def test_kill_latch_is_empty_kept_and_when_damaged_kills_the_firm(tmp_path: Path) -> None:
    instance = Instance("x", tmp_path)
    assert instance.read_kill() == {}
    instance.write_kill({"venue.binance": {"reason": "why"}})
    assert instance.read_kill() == {"venue.binance": {"reason": "why"}}
    for damaged in (b"", b"{", b"[]", b"\xff"):
        instance.kill_file.write_bytes(damaged)
        assert list(instance.read_kill()) == ["firm"]


def test_read_engine_is_none_then_what_was_written_then_an_error(tmp_path: Path) -> None:
    instance = Instance("x", tmp_path)
    assert instance.read_engine() is None
    instance.make_folders()
    write_durably(instance.engine_file, b'{"pid": 1}')
    assert instance.read_engine() == {"pid": 1}
    instance.engine_file.write_bytes(b"{")
    with pytest.raises(EngineError, match="not JSON"):
        instance.read_engine()


def test_write_durably_leaves_the_old_file_when_writing_fails(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_durably(path, b"old")
    beside = tmp_path / f".file.{os.getpid()}"
    beside.mkdir()
    with pytest.raises(OSError, match="directory"):
        write_durably(path, b"new")
    assert path.read_bytes() == b"old" and stat.S_IMODE(path.stat().st_mode) == 0o600


def test_default_state_dir_prefers_systemd_then_xdg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/x")
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    assert default_state_dir() == Path("/x/hft")
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/hft:/other")
    assert default_state_dir() == Path("/var/lib/hft")
