"""Accounts: an account trades in one engine of this host at a time, whichever user, instance or state folder the other one has.

An account is held by a socket in the abstract namespace that nobody connects to: the kernel gives its name to one process at a time,
and takes it back when that process is gone, however it went.
"""

from __future__ import annotations

import hashlib
import socket
from pathlib import Path

from hft.config import Config, VenueExecution
from processes.credentials import read_credentials
from processes.errors import EngineError


class Accounts:
    """The accounts that one engine holds."""

    def __init__(self) -> None:
        self._held: list[socket.socket] = []

    def take(self, config: Config) -> None:
        """Hold every account that the config trades by a key file. Raises EngineError, holding none, if one is held already."""
        try:
            for venue, section in config.execution.items():
                if isinstance(section, VenueExecution) and section.credentials is not None:
                    self._take(venue, Path(section.credentials))
        except BaseException:
            self.release()
            raise

    def _take(self, venue: str, key_file: Path) -> None:
        digest = hashlib.sha256(read_credentials(key_file).key.encode()).hexdigest()[:32]
        held = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._held.append(held)
        try:
            held.bind(f"\0hft.account.{venue}.{digest}")
        except OSError as error:
            raise EngineError(
                f"execution.{venue}.credentials: an engine on this host trades with the key of {key_file} already ({error.strerror})"
            ) from error

    def release(self) -> None:
        """Let go of all of them."""
        for held in self._held:
            held.close()
        self._held.clear()
