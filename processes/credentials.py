"""Credentials: reads a key file, which only its owner may read; its contents go into no message, log or environment.

key = "vmPUZE6mv9..."
secret = "NhqPtmdSJY..."          # or: private_key_file = "binance.pem", relative to this file
passphrase = "..."                # where the venue has one
"""

from __future__ import annotations

import os
import stat
import tomllib
from pathlib import Path

import msgspec

from hft.venues.interface import Credentials
from processes.errors import EngineError

_BYTES_MAX = 16384


class _KeyFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    key: str
    secret: str | None = None
    private_key_file: str | None = None
    passphrase: str = ""


def read_credentials(path: Path) -> Credentials:
    """The credentials in a key file. Raises EngineError, which says what is wrong with the file and nothing that is in it."""
    try:
        found = msgspec.convert(tomllib.loads(_read_private(path).decode("utf-8")), _KeyFile)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError):
        raise EngineError(f"key file {path}: is not TOML") from None
    except msgspec.ValidationError:
        known = ", ".join(_KeyFile.__struct_fields__)
        raise EngineError(f"key file {path}: expected texts named key and secret or private_key_file; known: {known}") from None
    if (found.secret is None) == (found.private_key_file is None):
        raise EngineError(f"key file {path}: expected exactly one of secret and private_key_file")
    if not found.key:
        raise EngineError(f"key file {path}: key is empty")
    if found.private_key_file is not None:
        return Credentials(found.key, _read_private(path.parent / found.private_key_file), found.passphrase)
    assert found.secret is not None
    return Credentials(found.key, found.secret.encode(), found.passphrase)


def _read_private(path: Path) -> bytes:
    """The bytes of a regular file that is ours and that nobody else may read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise EngineError(f"key file {path}: {error.strerror}") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise EngineError(f"key file {path}: expected a regular file")
        if status.st_uid != os.geteuid():
            raise EngineError(f"key file {path}: its owner is uid {status.st_uid}, expected {os.geteuid()}")
        if stat.S_IMODE(status.st_mode) & 0o077:
            raise EngineError(f"key file {path}: its mode is {stat.S_IMODE(status.st_mode):04o}, expected 0600")
        if status.st_size > _BYTES_MAX:
            raise EngineError(f"key file {path}: has {status.st_size} bytes, a key file at most {_BYTES_MAX}")
        return os.read(descriptor, _BYTES_MAX)
    finally:
        os.close(descriptor)
