"""Guardian process: the guardian that an engine starts beside itself, unless one guards the instance already.

It is no stage and no child that dies with its parent: a supervisor that is killed is one of the reasons it is there for. It ends by itself
once the engine has stopped.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from processes.errors import EngineError
from processes.guardian_report import read_report
from processes.instance import Instance
from processes.logs import log

_READY_TIMEOUT_S = 15.0
#: A guardian that ends is started again, this long after it was.
_AGAIN_S = 1.0
#: How long a stop waits for its end; with something left to prove it goes on without the engine.
_END_TIMEOUT_S = 2.0


class GuardianProcess:
    """Starts a guardian, and starts it again when it ends."""

    def __init__(self, instance: Instance, config_file: Path, config_hash: str) -> None:
        self.instance, self.config_file, self.config_hash = instance, config_file, config_hash
        self.process: subprocess.Popen[bytes] | None = None
        self._started_s = 0.0

    def await_guarding(self, beat: Callable[[], None]) -> None:
        """Start one if none runs; return when a guardian guards by this config. Raises EngineError when none does, or one by another config."""
        deadline = time.monotonic() + _READY_TIMEOUT_S
        while not self._is_guarded():
            self.look()
            beat()
            if time.monotonic() > deadline:
                raise EngineError(f"the guardian does not guard; see {self.instance.folder / 'log' / 'guardian.jsonl'}")
            time.sleep(0.02)

    def look(self) -> None:
        """Start one if none runs."""
        if self.process is not None and self.process.poll() is not None:
            log("guardian ended", status=self.process.returncode)
            self.process = None
        report = read_report(self.instance)
        is_there = self.process is not None or (report is not None and report["alive"])
        if not is_there and time.monotonic() - self._started_s > _AGAIN_S:
            self._started_s = time.monotonic()
            command = [sys.executable, "-m", "processes.cli", "guardian", "--config", str(self.config_file), "--until-stopped", "--json"]
            command += ["--instance", self.instance.name, "--state-dir", str(self.instance.state_dir)]
            with open(
                os.open(self.instance.folder / "log" / "guardian.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab"
            ) as file:
                # A session of its own: what ends the engine's terminal or process group must not end it.
                self.process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=file, start_new_session=True
                )

    def _is_guarded(self) -> bool:
        report = read_report(self.instance)
        if report is None or not report["alive"]:
            return False
        if report["config_hash"] != self.config_hash:
            raise EngineError(f"another guardian (pid {report['pid']}) guards this instance by another config; end it first")
        return True

    def close(self) -> None:
        """Wait a moment for it to find the engine stopped."""
        if self.process is None:
            return
        try:
            self.process.wait(_END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            log("the guardian goes on", pid=self.process.pid)
        self.process = None
