"""Notify: tells systemd that the engine is ready, alive or stopping.

Without `$NOTIFY_SOCKET` nothing listens and every call answers False. Sends never block: a full socket costs one missed
watchdog beat, not a stalled loop.
"""

from __future__ import annotations

import os
import socket


def ready(status: str = "") -> bool:
    """Start-up is complete. `status` is one line for people. Returns whether the message was delivered."""
    return _send(f"READY=1\nSTATUS={_one_line(status)}" if status else "READY=1")


def status(text: str) -> bool:
    """Show `text` in `systemctl status`. Returns whether the message was delivered."""
    return _send(f"STATUS={_one_line(text)}")


def watchdog() -> bool:
    """Alive; due at least every `watchdog_ns()`. Returns whether the message was delivered."""
    return _send("WATCHDOG=1")


def stopping() -> bool:
    """Orderly shutdown has begun. Returns whether the message was delivered."""
    return _send("STOPPING=1")


def watchdog_ns() -> int | None:
    """How often systemd wants a beat, ns: half of what it tolerates. None when it expects none from this process."""
    limit_us, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not limit_us.isdecimal() or int(limit_us) == 0 or (pid and pid != str(os.getpid())):
        return None
    return int(limit_us) * 1000 // 2


def _one_line(text: str) -> str:
    # A newline would begin another assignment.
    return " ".join(text.split())


def _send(message: str) -> bool:
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return False
    if address[0] == "@":
        address = "\0" + address[1:]  # the abstract namespace
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as connection:
        try:
            connection.sendto(message.encode(), address)
        except OSError:
            return False
    return True
