"""Simulators: starts the bundled venue simulators that a config asks for, and wires their URLs into it."""

from __future__ import annotations

import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from hft.config import Config, Execution, Simulator, VenueExecution
from processes.errors import EngineError
from processes.instance import Instance
from processes.simulated_keys import write_key_file

_READY_TIMEOUT_S = 30.0


class Simulators:
    """The simulators of one engine, each a process of its own on loopback."""

    def __init__(self, instance: Instance, config: Config, config_file: Path) -> None:
        self.instance, self.config, self.config_file = instance, config, config_file
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.urls: dict[str, dict[str, Any]] = {}

    def start(self) -> Config:
        """Start them all; the config with the simulators' URLs and keys in place of its own."""
        venues, execution = dict(self.config.venues), dict(self.config.execution)
        try:
            for name, venue in venues.items():
                if venue.simulator is not None:
                    self.running[name] = self._spawn(name, venue.simulator)
            for name, process in self.running.items():
                self.urls[name] = self._await_ready(name, process)
                urls = self.urls[name]
                replaced = {"stream_url": urls["ws"], "rest_url": urls["http"], **({"ca_file": urls["ca"]} if "ca" in urls else {})}
                venues[name] = msgspec.structs.replace(venues[name], **replaced)
                execution[name] = self._at_simulator(name, execution[name], urls)
        except BaseException:
            self.stop()
            raise
        return msgspec.structs.replace(self.config, venues=venues, execution=execution)

    def _at_simulator(self, name: str, section: Execution, urls: dict[str, Any]) -> Execution:
        """The section of an execution at the venue, with the simulator's URLs and a key of its own customer."""
        if not isinstance(section, VenueExecution):
            return section
        order_url = urls["ws"].rstrip("/") + urlsplit(section.order_url).path
        key_file = write_key_file(self.instance.folder / "keys", name)
        return msgspec.structs.replace(section, order_url=order_url, rest_url=urls["http"], credentials=str(key_file))

    def _spawn(self, name: str, simulator: Simulator) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "processes.cli", "venue-sim", name, "--with-parent", "--pace", simulator.pace]
        if simulator.recording is not None:
            recording = self.config_file.parent / simulator.recording
            if not recording.exists():
                raise EngineError(f"venues.{name}.simulator.recording: there is no {recording}")
            command += ["--recording", str(recording)]
        else:
            symbols = [i.symbol for key, i in self.config.instruments.items() if key.rpartition(".")[2].lower() == name]
            command += ["--synthetic", str(simulator.synthetic_seed), "--rate", str(simulator.rate), "--symbols", ",".join(symbols)]
        command += ["--loop"] * simulator.loop + ["--as-recorded"] * simulator.as_recorded
        if simulator.tls:
            command += ["--tls", "--authority", str(self.instance.folder / "authority")]
        with open(self.instance.folder / "log" / f"venue-sim.{name}.jsonl", "ab") as log_file:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log_file)

    def _await_ready(self, name: str, process: subprocess.Popen[bytes]) -> dict[str, Any]:
        assert process.stdout is not None
        deadline = time.monotonic() + _READY_TIMEOUT_S
        readable, _, _ = select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))
        line = process.stdout.readline() if readable else b""
        if not line:
            raise EngineError(f"simulator of {name} did not get ready; see {self.instance.folder / 'log'}")
        found: dict[str, Any] = msgspec.json.decode(line)
        return found

    def dead(self) -> str | None:
        """The venue of a simulator that has ended, or None."""
        return next((name for name, process in self.running.items() if process.poll() is not None), None)

    def stop(self) -> None:
        """End them all."""
        for process in self.running.values():
            process.terminate()
        for process in self.running.values():
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()
        self.running.clear()
