"""Host: what /proc and /sys say about this machine, read through a root that tests can replace."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path


def parse_cores(text: str) -> frozenset[int]:
    """Read a kernel CPU list such as `0,2-5`. Raises ValueError on anything else; empty text is no core."""
    cores: set[int] = set()
    for part in text.strip().split(","):
        if not part:
            continue
        first, dash, last = part.partition("-")
        if not (first.isascii() and first.isdigit()) or (dash and not (last.isascii() and last.isdigit())):
            raise ValueError(f"CPU list {text.strip()!r}: expected numbers and ranges such as 0,2-5")
        low, high = int(first), int(last or first)
        if not low <= high <= 65_535:
            raise ValueError(f"CPU list {text.strip()!r}: {part} is not a range of cores")
        cores.update(range(low, high + 1))
    return frozenset(cores)


def parse_core_mask(text: str) -> frozenset[int]:
    """Read a kernel CPU mask such as `ff` or `1,ffffffff`. Raises ValueError on anything else."""
    mask = int(text.strip().replace(",", ""), 16)
    return frozenset(core for core in range(mask.bit_length()) if mask >> core & 1)


def cores_text(cores: Iterable[int]) -> str:
    """Write cores the way the kernel does: `0,2-5`; `none` when there are none."""
    parts: list[str] = []
    first = last = -2
    for core in [*sorted(set(cores)), -1]:
        if core == last + 1 and core > 0 and first >= 0:
            last = core
            continue
        if first >= 0:
            parts.append(str(first) if first == last else f"{first}-{last}")
        first = last = core
    return ",".join(parts) or "none"


def chosen(text: str) -> str:
    """Return the value in effect from a file that lists all of them, such as `always [madvise] never`."""
    _, bracket, rest = text.partition("[")
    return rest.partition("]")[0] if bracket else text.strip()


class Host:
    """One machine's files below `root`. Readers return None for what is absent or may not be read."""

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root

    def text(self, path: str, bytes_max: int = 1 << 20) -> str | None:
        """The stripped text of a file, at most `bytes_max` of it."""
        try:
            with open(self.root / path.lstrip("/"), "rb") as file:
                return file.read(bytes_max).decode("utf-8", "replace").strip()
        except OSError:
            return None

    def number(self, path: str) -> int | None:
        """A file that holds one integer."""
        try:
            return int(self.text(path) or "")
        except ValueError:
            return None

    def cores(self, path: str) -> frozenset[int] | None:
        """A file that holds a CPU list. The kernel writes `(null)` for none."""
        text = self.text(path)
        try:
            return None if text is None else parse_cores("" if text == "(null)" else text)
        except ValueError:
            return None

    def folders(self, path: str) -> list[str]:
        """Names inside a folder, sorted; none when it is absent."""
        try:
            return sorted(entry.name for entry in (self.root / path.lstrip("/")).iterdir())
        except OSError:
            return []

    @cached_property
    def online(self) -> frozenset[int]:
        """Cores that are online; empty when unknown."""
        return self.cores("/sys/devices/system/cpu/online") or frozenset()

    @cached_property
    def arguments(self) -> dict[str, str]:
        """Kernel command line, name -> value; the last of a name wins."""
        words = (self.text("/proc/cmdline") or "").split()
        return {name: value for name, _, value in (word.partition("=") for word in words)}

    def argument_cores(self, name: str) -> frozenset[int]:
        """Cores in a kernel argument such as `isolcpus=managed_irq,domain,2-7`, its flags left out."""
        parts = self.arguments.get(name, "").split(",")
        if parts == ["all"]:
            return self.online
        try:
            return parse_cores(",".join(part for part in parts if part[:1].isdigit()))
        except ValueError:
            return frozenset()

    def core_file(self, core: int, path: str) -> str | None:
        """A file of one core, below its folder in /sys."""
        return self.text(f"/sys/devices/system/cpu/cpu{core}/{path}")

    def limit(self, name: str) -> int | None:
        """A soft limit of this process by its name in /proc/self/limits; -1 is unlimited."""
        for line in (self.text("/proc/self/limits") or "").splitlines():
            if line.startswith(name):
                soft = line[len(name) :].split()[0]
                return -1 if soft == "unlimited" else int(soft)
        return None

    def running(self, name: str) -> bool:
        """Whether a process of this name runs."""
        return any(self.text(f"/proc/{entry}/comm") == name for entry in self.folders("/proc") if entry.isdigit())

    def mount_options(self, point: str) -> dict[str, str] | None:
        """Options of what is mounted last on `point`, name -> value."""
        found = None
        for line in (self.text("/proc/mounts") or "").splitlines():
            fields = line.split()
            if len(fields) >= 4 and fields[1] == point:
                found = fields[3]
        if found is None:
            return None
        return {name: value for name, _, value in (option.partition("=") for option in found.split(","))}
