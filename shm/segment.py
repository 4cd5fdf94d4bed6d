"""Segment: creates, attaches, checks and reclaims named shared memory.

Only a supervisor creates and unlinks; stages attach. A segment is allocated in full when it is created, so a full tmpfs is an
error there and never a SIGBUS later. Attaching refuses anything that does not fit, and says what it found and expected.

    SegmentError
    +-- SegmentExists      a segment of that name is there already
    +-- SegmentAbsent      no segment of that name
    +-- SegmentNoSpace     the tmpfs behind shared memory is full
    +-- SegmentMismatch    it is there, and is not what was expected
    +-- RoleTaken          the ring's producer or consumer role was acquired before

Header, 256 bytes, little-endian:

    0 magic   8 header version   16 layout id   24 kind   32 record bytes   40 slots   48 payload bytes
    56 owner pid   64 owner start   72 epoch   80 reserved   128 name, 128 bytes, zero-padded
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import stat
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import posix_ipc
from numpy.typing import NDArray

from shm.layout import Geometry, is_power_of_two

HEADER = np.dtype(
    [
        ("magic", "<i8"),
        ("version", "<i8"),
        ("layout_id", "<i8"),
        ("kind", "<i8"),
        ("record_bytes", "<i8"),
        ("slots", "<i8"),
        ("payload_bytes", "<i8"),
        ("owner_pid", "<i8"),
        ("owner_start", "<i8"),
        ("epoch", "<i8"),
        ("reserved", "<i8", (6,)),
        ("name", "S128"),
    ]
)
assert HEADER.itemsize == 256

HEADER_VERSION = 1
MAGIC = int.from_bytes(b"HFTSEG\r\n", "little")
#: Stands in the header from the segment's first moment until its payload is allocated.
_MAGIC_UNFINISHED = int.from_bytes(b"HFTSEG..", "little")
_NAME_BYTES_MAX = 127
_FOLDER = Path("/dev/shm")
#: A header-less segment this old was left by a creator killed in its first microseconds.
_HEADERLESS_AGE_S = 60.0


class SegmentError(Exception):
    """A shared-memory segment could not be created or attached."""


class SegmentExists(SegmentError):
    """A segment of that name is there already."""


class SegmentAbsent(SegmentError):
    """No segment of that name."""


class SegmentNoSpace(SegmentError):
    """The tmpfs behind shared memory is full."""


class SegmentMismatch(SegmentError):
    """The segment is not what was expected."""


class RoleTaken(SegmentError):
    """The role was acquired before; a ring's role is acquired once in its life."""


class Owner(NamedTuple):
    """A process, told from a later one of the same pid by its start time (clock ticks since boot)."""

    pid: int
    start: int


#: Stands where no process does.
NOBODY = Owner(0, 0)


class Reclaimed(NamedTuple):
    """A segment that `reclaim` unlinked: its name, its dead owner and why."""

    name: str
    owner: Owner
    reason: str


def process_start(pid: int) -> int:
    """Start time of a live process in clock ticks since boot; 0 if there is none, or only a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return 0
    # The second field is the command in parentheses, which may itself hold spaces and parentheses.
    fields = text[text.rindex(b")") + 2 :].split()
    return 0 if fields[0] in (b"Z", b"X") else int(fields[19])


def this_process() -> Owner:
    """The calling process."""
    return Owner(os.getpid(), process_start(os.getpid()))


def is_alive(owner: Owner) -> bool:
    """True while that very process runs; a pid used again by another is dead."""
    return owner.pid > 0 and owner.start > 0 and process_start(owner.pid) == owner.start


class Segment:
    """A mapped segment. `buffer` is its payload; `header` its first 256 bytes. The mapping lives as long as any view of it."""

    def __init__(self, name: str, fd: int, mapped: mmap.mmap) -> None:
        self.name = name
        self._fd = fd
        whole = np.frombuffer(mapped, np.uint8)
        self.header: NDArray[Any] = whole[: HEADER.itemsize].view(HEADER)
        self.buffer: NDArray[np.uint8] = whole[HEADER.itemsize :]

    @classmethod
    def create(cls, name: str, layout_id: int, geometry: Geometry, payload_bytes: int, epoch: int) -> Segment:
        """Create a zeroed segment of mode 0600, allocated in full and owned by this process."""
        _check_creation(name, geometry, payload_bytes)
        total_bytes = HEADER.itemsize + payload_bytes
        try:
            fd = posix_ipc.SharedMemory("/" + name, posix_ipc.O_CREX, mode=0o600).fd
        except posix_ipc.ExistentialError as error:
            raise SegmentExists(f"segment {name}: exists already") from error
        except OSError as error:
            raise SegmentError(f"segment {name}: cannot create: {error}") from error
        try:
            os.fchmod(fd, 0o600)
            header = np.zeros(1, HEADER)
            header[0] = _header_values(name, layout_id, geometry, payload_bytes, epoch)
            os.pwrite(fd, header.tobytes(), 0)
            os.posix_fallocate(fd, 0, total_bytes)
            segment = cls(name, fd, mmap.mmap(fd, total_bytes, mmap.MAP_SHARED | mmap.MAP_POPULATE))
        except OSError as error:
            os.close(fd)
            posix_ipc.unlink_shared_memory("/" + name)
            if error.errno == errno.ENOSPC:
                raise SegmentNoSpace(f"segment {name}: no room for {total_bytes} bytes in {_FOLDER}") from error
            raise SegmentError(f"segment {name}: cannot allocate {total_bytes} bytes: {error}") from error
        segment.header[0]["magic"] = MAGIC
        return segment

    @classmethod
    def attach(
        cls, name: str, layout_id: int, geometry: Geometry | None = None, *, epoch: int | None = None, readonly: bool = False
    ) -> Segment:
        """Map an existing segment after checking it; `geometry` or `epoch` None accepts any.

        Raises SegmentAbsent or SegmentMismatch.
        """
        fd = _open(name, readonly)
        try:
            total_bytes = _check_file(name, fd)
            protection = mmap.PROT_READ if readonly else mmap.PROT_READ | mmap.PROT_WRITE
            segment = cls(name, fd, mmap.mmap(fd, total_bytes, mmap.MAP_SHARED | mmap.MAP_POPULATE, protection))
            _check_header(segment.header[0], name, total_bytes, layout_id, geometry, epoch)
        except BaseException:
            os.close(fd)
            raise
        return segment

    @property
    def geometry(self) -> Geometry:
        """What the header says it holds."""
        return _geometry_of(self.header[0])

    @property
    def epoch(self) -> int:
        """The epoch it was created in."""
        return int(self.header[0]["epoch"])

    @property
    def owner(self) -> Owner:
        """The process that created it."""
        return Owner(int(self.header[0]["owner_pid"]), int(self.header[0]["owner_start"]))

    @property
    def fd(self) -> int:
        """The open descriptor; -1 after `close`."""
        return self._fd

    def array(self, offset: int, dtype: Any, count: int) -> NDArray[Any]:
        """A view of `count` items of `dtype` from payload byte `offset`."""
        size = np.dtype(dtype).itemsize * count
        if offset < 0 or count < 0 or offset + size > self.buffer.size:
            raise SegmentError(f"segment {self.name}: bytes {offset}..{offset + size} lie outside its {self.buffer.size}")
        return self.buffer[offset : offset + size].view(dtype)

    def close(self) -> None:
        """Close the descriptor; views stay valid, the mapping goes with the last of them."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def unlink(self) -> None:
        """Remove the name; those who have it mapped keep it. Removing a name twice is no error."""
        with contextlib.suppress(posix_ipc.ExistentialError):
            posix_ipc.unlink_shared_memory("/" + self.name)


def reclaim(prefix: str) -> list[Reclaimed]:
    """Unlink every segment of this user whose name starts with `prefix` and whose owner is dead; leave all others."""
    reclaimed = []
    for path in sorted(_FOLDER.glob(f"{_literal(prefix)}*")):
        found = _dead_owner(path)
        if found is not None:
            with contextlib.suppress(posix_ipc.ExistentialError):
                posix_ipc.unlink_shared_memory("/" + path.name)
                reclaimed.append(Reclaimed(path.name, *found))
    return reclaimed


def _literal(prefix: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in prefix)


def _dead_owner(path: Path) -> tuple[Owner, str] | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
            return None
        text = os.pread(fd, HEADER.itemsize, 0)
    finally:
        os.close(fd)
    if len(text) < HEADER.itemsize:
        is_old = time.time() - status.st_mtime > _HEADERLESS_AGE_S
        return (NOBODY, "its creator died before writing a header") if is_old else None
    header = np.frombuffer(text, HEADER)[0]
    owner = Owner(int(header["owner_pid"]), int(header["owner_start"]))
    if int(header["magic"]) not in (MAGIC, _MAGIC_UNFINISHED) or is_alive(owner):
        return None
    now = process_start(owner.pid)
    return owner, f"pid {owner.pid} is gone" if now == 0 else f"pid {owner.pid} is another process, started {now} not {owner.start}"


def _check_creation(name: str, geometry: Geometry, payload_bytes: int) -> None:
    if not name or "/" in name or len(name.encode()) > _NAME_BYTES_MAX:
        raise SegmentError(f"segment name {name!r}: expected 1 to {_NAME_BYTES_MAX} bytes without '/'")
    if min(geometry.record_bytes, geometry.slots, payload_bytes) <= 0:
        raise SegmentError(f"segment {name}: sizes must be positive, were {geometry}, {payload_bytes} bytes")
    if payload_bytes < geometry.record_bytes * geometry.slots:
        raise SegmentError(f"segment {name}: {payload_bytes} bytes cannot hold a {geometry}")


def _header_values(name: str, layout_id: int, geometry: Geometry, payload_bytes: int, epoch: int) -> tuple[Any, ...]:
    owner = this_process()
    reserved = (0,) * 6
    sizes = (*geometry, payload_bytes)
    return (_MAGIC_UNFINISHED, HEADER_VERSION, layout_id, *sizes, owner.pid, owner.start, epoch, reserved, name.encode())


def _open(name: str, readonly: bool) -> int:
    try:
        return int(posix_ipc.SharedMemory("/" + name, 0, read_only=readonly).fd)
    except posix_ipc.ExistentialError as error:
        raise SegmentAbsent(f"segment {name}: does not exist") from error
    except posix_ipc.PermissionsError as error:
        raise SegmentMismatch(f"segment {name}: no permission to open it") from error
    except (OSError, ValueError, posix_ipc.Error) as error:
        is_link = getattr(error, "errno", 0) == errno.ELOOP
        raise SegmentMismatch(f"segment {name}: {'is a symbolic link' if is_link else error}") from error


def _check_file(name: str, fd: int) -> int:
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        raise SegmentMismatch(f"segment {name}: is not a regular file")
    if status.st_uid != os.geteuid():
        raise SegmentMismatch(f"segment {name}: owner is uid {status.st_uid}, expected {os.geteuid()}")
    if stat.S_IMODE(status.st_mode) != 0o600:
        raise SegmentMismatch(f"segment {name}: mode is {stat.S_IMODE(status.st_mode):04o}, expected 0600")
    if status.st_nlink > 1:
        raise SegmentMismatch(f"segment {name}: has {status.st_nlink} names, expected 1")
    if status.st_size <= HEADER.itemsize:
        raise SegmentMismatch(f"segment {name}: is {status.st_size} bytes, expected more than {HEADER.itemsize}")
    return status.st_size


def _geometry_of(header: Any) -> Geometry:
    return Geometry(int(header["kind"]), int(header["record_bytes"]), int(header["slots"]))


def _check_header(header: Any, name: str, total_bytes: int, layout_id: int, geometry: Geometry | None, epoch: int | None) -> None:
    magic = int(header["magic"])
    if magic == _MAGIC_UNFINISHED:
        raise SegmentMismatch(f"segment {name}: is not finished being created")
    if magic == int.from_bytes(MAGIC.to_bytes(8, "little"), "big"):
        raise SegmentMismatch(f"segment {name}: is of the other byte order")
    found = _geometry_of(header)
    facts: list[tuple[str, Any, Any]] = [
        ("magic", f"{magic & (1 << 64) - 1:016x}", f"{MAGIC:016x}"),
        ("header version", int(header["version"]), HEADER_VERSION),
        ("layout id", int(header["layout_id"]), layout_id),
        ("name in the header", bytes(header["name"]).decode(errors="replace"), name),
        ("geometry", str(found), str(found if geometry is None else geometry)),
        ("size", total_bytes, HEADER.itemsize + int(header["payload_bytes"])),
        ("epoch", int(header["epoch"]), int(header["epoch"]) if epoch is None else epoch),
    ]
    for what, is_found, is_expected in facts:
        if is_found != is_expected:
            raise SegmentMismatch(f"segment {name}: {what} is {is_found}, expected {is_expected}")
    _check_geometry(name, found, int(header["payload_bytes"]))


def _check_geometry(name: str, found: Geometry, payload_bytes: int) -> None:
    if found.record_bytes <= 0 or found.slots <= 0 or found.record_bytes * found.slots > payload_bytes:
        raise SegmentMismatch(f"segment {name}: a {found} does not fit into {payload_bytes} bytes")


def check_power_of_two(name: str, slots: int) -> None:
    """Raise SegmentMismatch unless `slots` is a power of two."""
    if not is_power_of_two(slots):
        raise SegmentMismatch(f"segment {name}: slots must be a power of two, was {slots}")
