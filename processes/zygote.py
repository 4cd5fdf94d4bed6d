"""Zygote: imports and warms everything once, then forks stage processes in milliseconds.

Single-threaded, without sockets or segments of its own. It talks JSON packets with the supervisor over one socket:

    supervisor -> zygote   {"start": {...}}  then  {"spawn": process, "epoch": n}
    zygote -> supervisor   {"progress": k, "of": n, "what": name}  {"warm": true}
                           {"spawned": process, "pid": p}  {"exited": process, "pid": p, "status": s}
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import Any

import msgspec

from hft.config import Config, ConfigError
from processes import affinity
from processes.instance import Instance
from processes.logs import log
from processes.orphans import die_with_parent

_PACKET_BYTES = 1 << 20
_POLL_MS = 20


class Zygote:
    """Serves one supervisor until it hangs up."""

    def __init__(self, link: socket.socket) -> None:
        self.link = link
        self.children: dict[int, str] = {}
        import processes.run  # noqa: F401  Numba and every kernel module, before the config comes.

        start = msgspec.json.decode(link.recv(_PACKET_BYTES))["start"]
        self.config = msgspec.convert(start["config"], Config)
        self.instance = Instance(start["instance"], Path(start["state_dir"]))

    def tell(self, **packet: Any) -> None:
        self.link.send(msgspec.json.encode(packet))

    def warm(self) -> None:
        """Load every burst of the placement by running it on scratch memory."""
        from processes.run import warm_process

        names = list(self.config.placement.processes)
        for done, name in enumerate(names):
            self.tell(progress=done, of=len(names), what=name)
            warm_process(self.config, name)
        affinity.freeze_gc()  # Once here, so that a fork need not walk the heap.
        self.tell(progress=len(names), of=len(names), what="")
        self.tell(warm=True)

    def serve(self) -> None:
        poller = select.poll()
        poller.register(self.link, select.POLLIN)
        ended, wakes = socket.socketpair()
        wakes.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        with ended, wakes:
            signal.set_wakeup_fd(wakes.fileno())
            poller.register(ended, select.POLLIN)
            try:
                self._serve(poller, ended)
            finally:
                _forget_signals()

    def _serve(self, poller: select.poll, ended: socket.socket) -> None:
        while True:
            self.reap()
            for descriptor, _ in poller.poll(_POLL_MS):
                if descriptor == ended.fileno():
                    ended.recv(_PACKET_BYTES)  # A byte a child that ended; `reap` finds which.
                    continue
                packet = self.link.recv(_PACKET_BYTES)
                if not packet:
                    return
                request = msgspec.json.decode(packet)
                self.spawn(request["spawn"], request["epoch"])

    def spawn(self, process: str, epoch: int) -> None:
        pid = os.fork()
        if pid == 0:
            self._child(process, epoch)
        self.children[pid] = process
        self.tell(spawned=process, pid=pid)

    def _child(self, process: str, epoch: int) -> None:
        """Never returns: a forked stage must not fall back into the zygote's loop."""
        status = 1
        try:
            die_with_parent()
            _forget_signals()
            self.link.close()
            from processes.run import run_process

            run_process(self.instance, self.config, process, epoch)
            status = 0
        except SystemExit as leaving:
            status = leaving.code if isinstance(leaving.code, int) else 1
        finally:
            if status:
                log("process failed", process=process, status=status, trace=traceback.format_exc())
            os._exit(status)

    def reap(self) -> None:
        while self.children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            self.tell(exited=self.children.pop(pid), pid=pid, status=os.waitstatus_to_exitcode(status))

    def end_children(self) -> None:
        for pid in self.children:
            os.kill(pid, signal.SIGKILL)
        while self.children:
            pid, _ = os.wait()
            self.children.pop(pid, None)


def _forget_signals() -> None:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def main() -> None:
    """Entry: the inherited descriptor of the supervisor's socket is the only argument."""
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with socket.socket(fileno=int(sys.argv[1])) as link:
        zygote = Zygote(link)
        try:
            zygote.warm()
            zygote.serve()
        except (BrokenPipeError, ConnectionError):
            log("supervisor hung up")
        except Exception as error:
            log("zygote failed", error=repr(error), trace=traceback.format_exc())
            zygote.tell(failed=str(error) if isinstance(error, ConfigError) else repr(error))
            raise
        finally:
            zygote.end_children()


if __name__ == "__main__":
    main()
