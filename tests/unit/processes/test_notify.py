"""notify: what systemd's end of the socket receives."""

import os
import socket
from pathlib import Path

import pytest

from processes import notify


@pytest.fixture(params=["file", "abstract"])
def manager(request, tmp_path, monkeypatch):
    """systemd's end: a datagram socket, named by a path or in the abstract namespace."""
    name = str(tmp_path / "notify") if request.param == "file" else f"@hft-test-{os.getpid()}-{tmp_path.name}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(name.replace("@", "\0", 1))
        listener.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        yield listener


def test_ready_carries_the_status_when_given_one(manager):
    assert notify.ready("paper, 5 stages")
    assert manager.recv(4096) == b"READY=1\nSTATUS=paper, 5 stages"


def test_ready_is_bare_when_there_is_no_status(manager):
    assert notify.ready()
    assert manager.recv(4096) == b"READY=1"


def test_status_cannot_smuggle_in_another_assignment(manager):
    assert notify.status("halted\nREADY=1")
    assert manager.recv(4096) == b"STATUS=halted READY=1"


def test_watchdog_and_stopping_are_one_datagram_each(manager):
    assert notify.watchdog()
    assert notify.stopping()
    assert [manager.recv(4096), manager.recv(4096)] == [b"WATCHDOG=1", b"STOPPING=1"]


def test_nothing_is_sent_when_there_is_no_socket(monkeypatch):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not notify.ready("up")
    assert not notify.watchdog()


@pytest.mark.parametrize("address", ["", "relative", "@"])
def test_an_address_systemd_never_gives_is_not_delivered_to(monkeypatch, address):
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    assert not notify.watchdog()


def test_a_manager_that_is_gone_is_reported_and_not_raised(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    assert not notify.watchdog()


def test_a_manager_that_stopped_reading_never_blocks_the_sender(manager):
    delivered = [notify.watchdog() for _ in range(5000)]
    assert delivered[0]
    assert not delivered[-1]


@pytest.mark.parametrize(
    ("limit_us", "pid", "expected"),
    [
        ("2000000", "", 1_000_000_000),
        ("2000000", str(os.getpid()), 1_000_000_000),
        ("2000000", "1", None),
        ("0", "", None),
        ("", "", None),
        ("-5", "", None),
        ("soon", "", None),
    ],
)
def test_watchdog_ns_is_half_of_what_systemd_tolerates_of_this_process(monkeypatch, limit_us, pid, expected):
    monkeypatch.setenv("WATCHDOG_USEC", limit_us)
    monkeypatch.setenv("WATCHDOG_PID", pid)
    assert notify.watchdog_ns() == expected
