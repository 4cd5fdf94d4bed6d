"""Doctor's subject: what is judged, and the form of a verdict."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from processes.host import Host, cores_text

#: From best to worst. `warn`: works, with a worse tail. `bad`: defeats what the config asks for. `unknown`: the kernel does
#: not say, as in many virtual machines.
GRADES = ("ok", "unknown", "warn", "bad")


class Finding(NamedTuple):
    """What one check found."""

    name: str
    grade: str  #: one of GRADES
    found: str
    expected: str
    why: str
    fix: str


class Subject(NamedTuple):
    """What is judged: a host and the cores the config pins stages to."""

    host: Host
    cores: frozenset[int]
    statvfs: Callable[[Path], Any]

    @property
    def trading(self) -> frozenset[int]:
        """Pinned cores, or the isolated ones when nothing is pinned, or else all that are online."""
        return self.cores or self.isolated or self.host.online

    @property
    def isolated(self) -> frozenset[int]:
        """Cores the scheduler leaves alone: set aside at boot, or by an isolated cpuset partition."""
        booted = self.host.cores("/sys/devices/system/cpu/isolated")
        return (booted or frozenset()) | (self.host.cores("/sys/fs/cgroup/cpuset.cpus.isolated") or frozenset())

    def apply(self) -> str:
        """The tuning command for these cores."""
        return f"tuning/apply.sh --cores {cores_text(self.cores) if self.cores else '<trading cores>'}"
