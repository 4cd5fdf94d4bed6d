"""Instance: where one engine keeps its files and what its segments are called.

`state_dir/<instance>/` (mode 0700) holds `engine.json` (what is running), `kill.json` (the kill latch), `armed.json` (when it was
cleared last), `limits.json` (limits that were changed), `people.json` (who may approve), `guardian.json` (what the guardian says),
`journal/<epoch>/`, `log/<process>.jsonl` and `reports/`; `state_dir/epochs/<account>` is one fsynced counter for the whole host.
Imports no numba: `hftctl status`, `stop` and `kill` stand on this.
"""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from processes.errors import EngineError

#: How often, a millisecond apart, whoever changes the latch tries to be alone at it: a frozen one keeps no kill from being latched.
LATCH_TRIES = 100


class Instance:
    """Paths and names of one engine on this host."""

    def __init__(self, name: str, state_dir: Path | None = None) -> None:
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,31}", name):
            raise EngineError(f"instance {name!r}: expected 1 to 32 of a-z, 0-9, _ and -, beginning with a letter or digit")
        self.name = name
        self.state_dir = state_dir or default_state_dir()
        self.folder = self.state_dir / name
        self.engine_file = self.folder / "engine.json"
        self.kill_file = self.folder / "kill.json"
        self.limits_file = self.folder / "limits.json"
        self.armed_file = self.folder / "armed.json"
        self.people_file = self.folder / "people.json"
        self.guardian_file = self.folder / "guardian.json"
        self.guardian_lock = self.folder / "guardian.lock"
        self.prefix = f"hft.{name}."
        self.control_segment = f"hft.{name}.control"

    def make_folders(self) -> None:
        """Create the folders, private to this user."""
        for folder in (self.folder, self.folder / "journal", self.folder / "log", self.folder / "reports"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.chmod(self.folder, 0o700)

    def segment(self, epoch: int, name: str) -> str:
        """Name of an epoch's segment."""
        return f"{self.prefix}e{epoch}.{name}"

    def journal_folder(self, epoch: int) -> Path:
        """Folder of an epoch's journals."""
        return self.folder / "journal" / str(epoch)

    def sessions(self) -> list[int]:
        """Epochs that have journals, oldest first."""
        folder = self.folder / "journal"
        return sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit()) if folder.is_dir() else []

    def read_engine(self) -> dict[str, Any] | None:
        """What the last engine wrote of itself, or None."""
        try:
            found: dict[str, Any] = msgspec.json.decode(self.engine_file.read_bytes())
        except FileNotFoundError:
            return None
        except msgspec.DecodeError as error:
            raise EngineError(f"{self.engine_file}: not JSON: {error}") from error
        return found

    def read_kill(self) -> dict[str, Any]:
        """The kill latch: {} when nothing is latched. A damaged latch counts as a kill of the firm."""
        try:
            found = msgspec.json.decode(self.kill_file.read_bytes())
        except FileNotFoundError:
            return {}
        except msgspec.DecodeError:
            return {"firm": {"reason": f"{self.kill_file} is damaged"}}
        return found if isinstance(found, dict) else {"firm": {"reason": f"{self.kill_file} is damaged"}}

    @contextmanager
    def changing_kill(self) -> Iterator[dict[str, Any]]:
        """The latch, to change: what became of it is durable when the block ends, and nothing if that raises.

        Only one at a time does so, people, supervisor and guardian alike, so that nobody writes back what another has changed meanwhile.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            _lock_patiently(folder)
            latch = self.read_kill()
            before = dict(latch)
            yield latch
            if latch and latch != before:
                self.write_kill(latch)
            elif not latch and before:
                self.kill_file.unlink(missing_ok=True)
        finally:
            os.close(folder)

    def armed_ns(self) -> int:
        """UTC of when somebody armed the engine last; 0 if nobody has, or it cannot be read."""
        try:
            found = msgspec.json.decode(self.armed_file.read_bytes())
        except (FileNotFoundError, msgspec.DecodeError):
            return 0
        return int(found.get("at_ns", 0)) if isinstance(found, dict) else 0

    def write_kill(self, latch: dict[str, Any]) -> None:
        """Store the latch durably before it takes effect anywhere else."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_durably(self.kill_file, msgspec.json.encode(latch))


def default_state_dir() -> Path:
    """systemd's StateDirectory, else the user's state folder."""
    if os.environ.get("STATE_DIRECTORY"):
        return Path(os.environ["STATE_DIRECTORY"].split(":")[0])
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "hft"


def _lock_patiently(folder: int) -> None:
    """Lock a folder until it is closed; not if somebody keeps the lock for all LATCH_TRIES."""
    for _ in range(LATCH_TRIES):
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            time.sleep(0.001)
        else:
            return


def write_durably(path: Path, data: bytes) -> None:
    """Replace a file so that a crash leaves the old one or the new one, never a part."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def next_epoch(state_dir: Path, account: str) -> int:
    """Take the account's next epoch: one counter a host, under a lock, on disk before it is used. Paper accounts start at 1."""
    folder = state_dir / "epochs"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(os.open(folder / f"{account}.lock", os.O_RDWR | os.O_CREAT, 0o600), "r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        counter = folder / account
        text = counter.read_text() if counter.exists() else "0"
        if not re.fullmatch(r"[0-9]{1,8}", text):
            raise EngineError(f"{counter}: expected a number, found {text[:40]!r}")
        epoch = int(text) + 1
        if epoch >= 1 << 23:
            raise EngineError(f"{counter}: epoch {epoch} does not fit the 23 bits it has in a positive order id")
        write_durably(counter, str(epoch).encode())
    return epoch
