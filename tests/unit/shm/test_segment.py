"""Segment: what is created can be attached, and everything else is refused, saying what was found and expected."""

from __future__ import annotations

import os
import random
import signal
import stat
from pathlib import Path

import numpy as np
import pytest

from shm import segment as subject
from shm.layout import Geometry, SegmentKind
from shm.segment import (
    HEADER,
    MAGIC,
    Owner,
    Segment,
    SegmentAbsent,
    SegmentError,
    SegmentExists,
    SegmentMismatch,
    SegmentNoSpace,
    is_alive,
    process_start,
    reclaim,
    this_process,
)

LAYOUT = 0x1234_5678
SHAPE = Geometry(SegmentKind.TABLE, 64, 8)
SIZE = 512
EPOCH = 7


def create(name, payload_bytes=SIZE, geometry=SHAPE):
    return Segment.create(name, LAYOUT, geometry, payload_bytes, EPOCH)


def attach(name, **changed):
    return Segment.attach(name, changed.pop("layout_id", LAYOUT), changed.pop("geometry", SHAPE), **changed)


def path_of(name):
    return Path("/dev/shm") / name


def poke(name, field, value):
    with path_of(name).open("r+b") as file:
        header = np.frombuffer(file.read(HEADER.itemsize), HEADER).copy()
        header[0][field] = value
        file.seek(0)
        file.write(header.tobytes())


def dead_child():
    """A process that ran and was reaped."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    owner = Owner(pid, process_start(pid) or 1)
    os.waitpid(pid, 0)
    return owner


def test_two_attachments_see_the_same_bytes(name):
    first, second = create(name), attach(name)
    first.array(8, np.int64, 2)[:] = (5, -6)
    assert second.array(8, np.int64, 2).tolist() == [5, -6]


def test_a_new_segment_is_zero_private_and_allocated_in_full(name):
    segment = create(name, 1 << 20)
    status = path_of(name).stat()
    assert not segment.buffer.any()
    assert stat.S_IMODE(status.st_mode) == 0o600
    assert status.st_size == HEADER.itemsize + (1 << 20)
    assert status.st_blocks * 512 >= status.st_size


@pytest.mark.parametrize("mask", [0o000, 0o077, 0o777])
def test_the_mode_does_not_depend_on_the_umask(name, mask):
    before = os.umask(mask)
    try:
        create(name)
    finally:
        os.umask(before)
    attach(name)


def test_the_header_says_who_created_it_and_what_it_holds(name):
    segment = create(name)
    assert (segment.owner, segment.epoch, segment.geometry) == (this_process(), EPOCH, SHAPE)
    assert bytes(segment.header[0]["name"]).decode() == name


def test_a_view_stays_valid_after_close(name):
    segment = create(name)
    words = segment.array(0, np.int64, 4)
    segment.close()
    segment.close()
    words[3] = 9
    assert attach(name).array(0, np.int64, 4)[3] == 9


def test_a_segment_of_the_same_name_is_not_created_twice(name):
    create(name)
    with pytest.raises(SegmentExists, match="exists already"):
        create(name)


@pytest.mark.parametrize("bad", ["", "a/b", "x" * 128])
def test_a_bad_name_is_refused(bad):
    with pytest.raises(SegmentError, match="segment name"):
        create(bad)


@pytest.mark.parametrize("geometry", [Geometry(5, 0, 8), Geometry(5, 64, 0), Geometry(5, -8, 8), Geometry(5, 64, 9)])
def test_a_geometry_that_does_not_fit_is_refused(name, geometry):
    with pytest.raises(SegmentError):
        create(name, geometry=geometry)
    assert not path_of(name).exists()


def test_a_full_tmpfs_is_an_error_and_leaves_nothing(name, monkeypatch):
    def full(fd, offset, length):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(subject.os, "posix_fallocate", full)
    with pytest.raises(SegmentNoSpace, match="no room for 768 bytes"):
        create(name)
    assert not path_of(name).exists()


def test_more_than_the_tmpfs_has_is_an_error_and_no_signal(name):
    free = os.statvfs("/dev/shm")
    size = free.f_blocks * free.f_frsize * 2
    with pytest.raises(SegmentError, match="no room|cannot allocate"):
        create(name, size)
    assert not path_of(name).exists()


@pytest.mark.parametrize(("offset", "count"), [(-8, 1), (0, -1), (0, 65), (SIZE, 1), (SIZE - 7, 1)])
def test_an_array_outside_the_payload_is_refused(name, offset, count):
    with pytest.raises(SegmentError, match="lie outside"):
        create(name).array(offset, np.int64, count)


def test_attaching_an_absent_segment_says_so(name):
    with pytest.raises(SegmentAbsent, match=f"{name}: does not exist"):
        attach(name)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("magic", 0, f"magic is {0:016x}, expected {MAGIC:016x}"),
        ("magic", -1, "magic is ffffffffffffffff"),
        ("magic", int.from_bytes(b"HFTSEG..", "little"), "is not finished being created"),
        ("magic", int.from_bytes(b"\n\r"[:2] + b"GESTFH", "little"), "is of the other byte order"),
        ("version", 2, "header version is 2, expected 1"),
        ("layout_id", 99, f"layout id is 99, expected {LAYOUT}"),
        ("kind", 1, "geometry is ring of 8 x 64 bytes, expected table of 8 x 64 bytes"),
        ("kind", 77, "geometry is kind 77 of 8 x 64 bytes"),
        ("record_bytes", 32, "geometry is table of 8 x 32 bytes"),
        ("slots", 16, "geometry is table of 16 x 64 bytes"),
        ("slots", -8, "geometry is table of -8 x 64 bytes"),
        ("payload_bytes", SIZE + 1, f"size is {SIZE + 256}, expected {SIZE + 257}"),
        ("payload_bytes", -1, "size is"),
        ("epoch", 6, "epoch is 6, expected 7"),
        ("name", b"hft.another", "name in the header is hft.another"),
    ],
)
def test_a_header_that_does_not_fit_is_refused(name, field, value, message):
    create(name)
    poke(name, field, value)
    with pytest.raises(SegmentMismatch) as caught:
        attach(name, epoch=EPOCH)
    assert name in str(caught.value)
    assert message in str(caught.value)


def test_a_geometry_larger_than_the_payload_is_refused_even_when_any_would_do(name):
    create(name)
    poke(name, "slots", 1 << 40)
    with pytest.raises(SegmentMismatch, match="does not fit into 512 bytes"):
        attach(name, geometry=None)


@pytest.mark.parametrize("size", [0, 1, 255, 256, 600, 4096])
def test_a_file_of_the_wrong_size_is_refused(name, size):
    create(name)
    os.truncate(path_of(name), size)
    with pytest.raises(SegmentMismatch, match="expected"):
        attach(name)


@pytest.mark.parametrize("mode", [0o400, 0o640, 0o660, 0o666, 0o700])
def test_another_mode_is_refused(name, mode):
    create(name)
    path_of(name).chmod(mode)
    with pytest.raises(SegmentMismatch, match=f"mode is {mode:04o}, expected 0600|no permission"):
        attach(name)


def test_another_owner_is_refused(name, monkeypatch):
    create(name)
    uid = os.geteuid()
    monkeypatch.setattr(subject.os, "geteuid", lambda: uid + 1)
    with pytest.raises(SegmentMismatch, match=f"owner is uid {uid}, expected {uid + 1}"):
        attach(name)


def test_a_symbolic_link_is_refused(name):
    create(name)
    link = f"{name}.link"
    path_of(link).symlink_to(path_of(name))
    with pytest.raises(SegmentMismatch, match="symbolic link"):
        attach(link)


def test_a_hard_link_is_refused(name):
    create(name)
    path_of(f"{name}.link").hardlink_to(path_of(name))
    with pytest.raises(SegmentMismatch, match="has 2 names, expected 1"):
        attach(name)


def test_a_folder_is_refused(name):
    path_of(name).mkdir()
    try:
        with pytest.raises(SegmentMismatch):
            attach(name)
    finally:
        path_of(name).rmdir()


def test_random_headers_are_refused_with_a_segment_error(name):
    create(name, 4096 - HEADER.itemsize, Geometry(SegmentKind.TABLE, 64, 8))
    whole = path_of(name).read_bytes()
    for seed in range(400):
        draw = random.Random(seed)
        forged = bytearray(draw.randbytes(4096)) if seed % 2 else bytearray(whole)
        if seed % 2 == 0:
            # Every 8-byte field in turn gets random bytes; the reserved words and the payload are nobody's business.
            start = draw.choice([0, 8, 16, 24, 32, 40, 48, 128])
            forged[start : start + 8] = draw.randbytes(8)
        path_of(name).write_bytes(forged)
        with pytest.raises(SegmentMismatch):
            attach(name, epoch=EPOCH)
            pytest.fail(f"seed {seed} was attached")
    path_of(name).write_bytes(whole)
    attach(name, epoch=EPOCH)


def test_a_read_only_attachment_cannot_write(name):
    create(name)
    with pytest.raises(ValueError, match="read-only"):
        attach(name, readonly=True).buffer[0] = 1


def test_refused_attachments_leak_no_descriptor(name):
    create(name)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        with pytest.raises(SegmentMismatch):
            attach(name, layout_id=1)
    assert len(os.listdir("/proc/self/fd")) == before


def test_unlinking_twice_is_no_error(name):
    segment = create(name)
    segment.unlink()
    segment.unlink()
    assert not path_of(name).exists()


def test_this_process_is_alive_and_a_reused_pid_is_not():
    me = this_process()
    assert is_alive(me)
    assert not is_alive(Owner(me.pid, me.start + 1))
    assert not is_alive(Owner(0, 0))
    assert not is_alive(Owner(-1, 5))


def test_a_zombie_is_dead():
    pid = os.fork()
    if pid == 0:
        signal.pause()
        os._exit(0)
    owner = Owner(pid, process_start(pid))
    assert is_alive(owner)
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert not is_alive(owner)
    os.waitpid(pid, 0)


def test_reclaim_removes_what_a_dead_owner_left_and_names_it(name):
    owner = dead_child()
    create(f"{name}.left")
    poke(f"{name}.left", "owner_pid", owner.pid)
    poke(f"{name}.left", "owner_start", owner.start)
    create(f"{name}.live")
    (found,) = reclaim(name)
    assert (found.name, found.owner) == (f"{name}.left", owner)
    assert found.reason == f"pid {owner.pid} is gone"
    assert not path_of(f"{name}.left").exists()
    attach(f"{name}.live")


def test_reclaim_tells_a_reused_pid_from_its_owner(name):
    create(name)
    poke(name, "owner_start", 1)
    (found,) = reclaim(name)
    assert f"pid {os.getpid()} is another process" in found.reason


def test_reclaim_leaves_the_segments_of_a_creator_that_was_killed_only_until_it_is_dead(name):
    ready_read, ready_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        create(name)
        os.write(ready_write, b"x")
        signal.pause()
        os._exit(0)
    os.read(ready_read, 1)
    assert reclaim(name) == []
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert [found.name for found in reclaim(name)] == [name]
    os.close(ready_read)
    os.close(ready_write)


def test_reclaim_removes_a_segment_whose_creation_was_cut_short(name):
    owner = dead_child()
    create(name)
    for field, value in (("magic", int.from_bytes(b"HFTSEG..", "little")), ("owner_pid", owner.pid)):
        poke(name, field, value)
    assert [found.name for found in reclaim(name)] == [name]


def test_reclaim_removes_an_old_file_without_a_header_and_leaves_a_new_one(name):
    for suffix in ("new", "old"):
        path_of(f"{name}.{suffix}").touch(0o600)
    os.utime(path_of(f"{name}.old"), (1_000, 1_000))
    assert [found.name for found in reclaim(name)] == [f"{name}.old"]
    assert path_of(f"{name}.new").exists()


def test_reclaim_leaves_foreign_files_links_and_other_prefixes(name, monkeypatch):
    path_of(f"{name}.foreign").write_bytes(b"x" * 4096)
    path_of(f"{name}.link").symlink_to(path_of(f"{name}.foreign"))
    assert reclaim(name) == []
    assert reclaim(name.replace("t", "?", 1)) == []
    create(f"{name}.theirs")
    poke(f"{name}.theirs", "owner_start", 1)
    uid = os.geteuid()
    monkeypatch.setattr(subject.os, "geteuid", lambda: uid + 1)
    assert reclaim(name) == []
