"""Credentials: a key file is read only if nobody else can read it, and what is in it reaches no message."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from processes.credentials import read_credentials
from processes.errors import EngineError

SECRET = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"


def written(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "key.toml"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_key_file_gives_key_secret_and_passphrase(tmp_path: Path) -> None:
    found = read_credentials(written(tmp_path, f'key = "abc"\nsecret = "{SECRET}"\npassphrase = "open"\n'))
    assert (found.key, found.secret, found.passphrase) == ("abc", SECRET.encode(), "open")
    assert SECRET not in repr(found) and "abc" not in repr(found)


def test_a_private_key_lies_in_a_file_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "ed25519.pem").write_bytes(b"-----BEGIN PRIVATE KEY-----")
    (tmp_path / "ed25519.pem").chmod(0o600)
    found = read_credentials(written(tmp_path, 'key = "abc"\nprivate_key_file = "ed25519.pem"\n'))
    assert found.secret == b"-----BEGIN PRIVATE KEY-----"
    (tmp_path / "ed25519.pem").chmod(0o640)
    with pytest.raises(EngineError, match="mode is 0640"):
        read_credentials(tmp_path / "key.toml")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("not toml", "is not TOML"),
        ('key = "abc"', "exactly one of"),
        (f'key = "abc"\nsecret = "{SECRET}"\nprivate_key_file = "x"', "exactly one of"),
        (f'key = ""\nsecret = "{SECRET}"', "key is empty"),
        (f'key = "abc"\nsecret = "{SECRET}"\nsecrets = "x"', "expected texts named"),
        (f'key = 1\nsecret = "{SECRET}"', "expected texts named"),
        (f'secret = "{SECRET}"', "expected texts named"),
        ("#" * 20_000, "a key file at most"),
    ],
)
def test_a_file_that_is_no_key_file_is_refused_without_saying_what_is_in_it(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(EngineError) as caught:
        read_credentials(written(tmp_path, text))
    assert words in str(caught.value) and SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_file_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(EngineError, match=f"mode is {mode:04o}, expected 0600"):
        read_credentials(written(tmp_path, f'key = "abc"\nsecret = "{SECRET}"', mode))


def test_what_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, f'key = "abc"\nsecret = "{SECRET}"')
    (tmp_path / "link.toml").symlink_to(path)
    os.mkfifo(tmp_path / "pipe.toml", 0o600)
    for name, words in (("absent.toml", "No such file"), ("link.toml", "Too many levels"), ("pipe.toml", "regular file"), (".", "regular")):
        with pytest.raises(EngineError, match=words):
            read_credentials(tmp_path / name)
