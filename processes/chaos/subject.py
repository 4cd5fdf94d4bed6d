"""Subject: the engine that a campaign works on, in processes of its own, and the control port of its simulated venue."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
import tomllib
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from hft.config import Config, load
from hft.tables import build_tables
from processes.chaos.ledger import Ledger
from processes.chaos.memory import Held, measure
from processes.chaos.schedule import ALL, ROLES
from processes.chaos.sections import Sections, at_venue, only, write_config
from processes.errors import EngineError
from processes.instance import Instance
from processes.operate import arm_engine, kill_scope
from processes.simulated_keys import CUSTOMERS, write_key_file
from processes.status import read_status
from shm.segment import SegmentError

#: The bounds that a campaign's engine is configured with.
SILENCE_MS, ACK_TIMEOUT_MS, QUERY_PAUSE_MS = 1000, 500, 100
#: Under strikes on processes, a process that has not beaten for so long is killed; under those on the host, one sleeps until rings are full.
HEARTBEAT_MS, HEARTBEAT_ON_HOST_MS = 1000, 60_000
#: Under strikes on the host the market is so much busier: rings and journals fill.
_RATE_ON_HOST = 15.0

#: Kernels may have to be compiled first.
_START_S = 600.0
_STOP_S = 60.0
_PAUSE_S = 0.02
_ANSWER_S = 30.0
_TORN_READS = 100
_EPOCHS_KEPT = 8
#: An engine whose campaign is gone stops by itself this long after the campaign should have ended.
_SPARE_S = 600.0


def await_until(holds: Callable[[], bool], seconds: float, pause_s: float = _PAUSE_S) -> bool:
    """Ask again and again until it holds, at most so long; whether it does."""
    until = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > until:
            return False
        time.sleep(pause_s)
    return True


def impatient(sections: Sections, venue: str) -> Sections:
    """Return the sections with only this venue, which notice silence and ask for unanswered orders early."""
    found = only(sections, venue)
    found["venues"][venue] |= {"silence_ms": SILENCE_MS}
    found["execution"][venue] |= {"ack_timeout_ms": ACK_TIMEOUT_MS, "query_pause_ms": QUERY_PAUSE_MS}
    return found


def a_process_a_stage(sections: Sections, venue: str) -> Sections:
    """Return the sections of one venue with each stage in a process of its own, which may die often, and a busier market."""
    found = dict(sections)
    stages = {role: f"{role}.{venue}" if role in ("feed", "execution") else role for role in ROLES}
    (stages["strategy"],) = (f"strategy.{name}" for name in found["strategies"])
    processes = {role: {"stages": [stage], "idle": "backoff"} for role, stage in stages.items()}
    found["placement"] = found["placement"] | {"processes": processes}
    found["engine"] = found["engine"] | {"restarts_max": 1000, "heartbeat_timeout_ms": HEARTBEAT_MS, "journal_file_mb": 1}
    found["venues"][venue]["simulator"] |= {"rate": 5.0}
    for strategy in found["strategies"].values():
        strategy["params"]["warmup_ms"] = 0  # What is measured is the restart, not how long a strategy looks on before it quotes.
    return found


def on_a_host(sections: Sections, venue: str) -> Sections:
    """Return the same for strikes on the host: nobody helps a process that sleeps, and a strategy fills the ring of orders."""
    found = a_process_a_stage(sections, venue)
    found["engine"] |= {"heartbeat_timeout_ms": HEARTBEAT_ON_HOST_MS}
    # The flood's cancels are no conversation with the venue: what is to refuse its orders is the ring.
    found["firm"] = found["firm"] | {"messages_per_fill_max": 1_000_000}
    found["venues"][venue]["simulator"] |= {"rate": _RATE_ON_HOST}
    found["strategies"] |= {"flood": {"code": "processes.chaos.flood", "instruments": list(found["instruments"])[:1], "timer_ms": 10}}
    found["placement"]["processes"]["strategy"]["stages"].append("strategy.flood")
    return found


#: kind of strikes -> what it makes of a config's sections
_SECTIONS: dict[str, Callable[[Sections, str], Sections]] = {
    "venue": lambda sections, venue: sections,
    "process": a_process_a_stage,
    "host": on_a_host,
}


def commit() -> str:
    """Return the commit of the source that runs; empty outside a clone."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip()


class Subject:
    """One engine at one simulated venue; `start`, then everything else, `stop` in any case."""

    def __init__(self, venue: str, config_file: Path, folder: Path, seconds: float, faults: str = "venue") -> None:
        """The engine has what `config_file` says of the venue, and keeps its files in `folder`. Raises EngineError.

        For `faults` of kind "process", each stage is a process of its own; of kind "host" too, and the venue outlives engines.
        """
        folder.mkdir(parents=True, exist_ok=True)
        sections = tomllib.loads(config_file.read_text())
        for key in ("venues", "execution"):
            if venue not in sections.get(key, {}):
                raise EngineError(f"{config_file}: there is no [{key}.{venue}]")
        if sections["execution"][venue]["kind"] != "venue" or "simulator" not in sections["venues"][venue]:
            raise EngineError(f"{config_file}: {venue} needs execution of kind 'venue' and a simulator, to have faults and an account")
        self.venue, self.customer = venue, CUSTOMERS[venue]
        self.folder = folder
        self._sections = _SECTIONS[faults](impatient(sections, venue), venue)
        self.config_file = write_config(folder / "engine.toml", self._sections)
        self.config: Config = load(self.config_file)
        self.tables = build_tables(self.config)
        self.instance = Instance(f"chaos-{venue}-{secrets.token_hex(4)}", folder / "state")
        self._for_s = seconds + _SPARE_S
        self._process: subprocess.Popen[bytes] | None = None
        self._outlives = faults == "host"
        self._simulator: subprocess.Popen[bytes] | None = None
        self.commit = commit()
        self._control, self._epoch = "", 0

    def start(self, say: Callable[[str], None]) -> Ledger:
        """Start the engine and wait until it trades; what it believes from here on. Raises EngineError."""
        urls = self._open_venue() if self._outlives else None
        self.launch(say)
        engine = self._engine()
        self._control, self._epoch = (urls or engine["simulators"][self.venue])["control"], engine["epoch"]
        return Ledger(self.instance.journal_folder(self._epoch), self._epoch, self.venue, self.tables, SILENCE_MS)

    def _open_venue(self) -> dict[str, str]:
        """Run the simulator that the sections ask for beside the engine, which is told where it is; where that is."""
        simulator = self._sections["venues"][self.venue]["simulator"]
        command = [
            sys.executable,
            "-m",
            "processes.cli",
            "venue-sim",
            self.venue,
            "--with-parent",
            "--symbols",
            ",".join(self.tables.symbols),
        ]
        command += ["--synthetic", str(simulator["synthetic_seed"]), "--rate", str(simulator["rate"])]
        with open(self.folder / "venue-sim.log", "ab") as errors:
            self._simulator = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors)
        assert self._simulator.stdout is not None
        line = self._simulator.stdout.readline()
        if not line:
            raise EngineError(f"the simulator of {self.venue} did not get ready; see {self.folder / 'venue-sim.log'}")
        urls: dict[str, str] = msgspec.json.decode(line)
        key_file = write_key_file(self.folder / "keys", self.venue)
        write_config(self.config_file, at_venue(self._sections, self.venue, urls, key_file))
        return urls

    def launch(self, say: Callable[[str], None]) -> None:
        """Start the engine, again after its end, and wait until it runs. Raises EngineError."""
        command = [sys.executable, "-m", "processes.cli", "start", "--config", str(self.config_file), "--json"]
        command += ["--instance", self.instance.name, "--state-dir", str(self.instance.state_dir), "--for", str(self._for_s)]
        with open(self.folder / "report.json", "wb") as out, open(self.folder / "start.log", "ab") as errors:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=errors)
        say(f"starting {self.instance.name}, files in {self.folder}")
        if not await_until(self._has_started, _START_S):
            raise EngineError(f"the engine did not start within {_START_S:g} s; see {self.folder / 'start.log'}")

    def _has_started(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise EngineError(f"the engine ended with status {self._process.returncode} while starting; see {self.folder / 'start.log'}")
        engine = self.instance.read_engine()
        return engine is not None and engine["pid"] == self._process.pid and engine["state"] == "RUNNING"

    @property
    def running(self) -> bool:
        """Whether the supervisor lives, and every process since the start, or since `follow`."""
        return self.lives and self._engine()["epoch"] == self._epoch

    @property
    def lives(self) -> bool:
        """Whether the supervisor lives."""
        return self._process is not None and self._process.poll() is None

    def _engine(self) -> dict[str, Any]:
        engine = self.instance.read_engine()
        assert engine is not None, "it has started"
        return engine

    def has_restarted(self) -> bool:
        """Whether the engine runs in a later epoch than the one that was followed last."""
        engine = self._engine()
        return bool(engine["epoch"] > self._epoch and engine["state"] == "RUNNING")

    def follow(self, ledger: Ledger) -> None:
        """Have the ledger go on with what the engine has begun since, and forget journals that no recovery reads again."""
        self._epoch = self._engine()["epoch"]
        for epoch in self.instance.sessions():
            if ledger.epoch < epoch <= self._epoch:
                ledger.follow(self.instance.journal_folder(epoch), epoch)
            elif epoch < self._epoch - _EPOCHS_KEPT:
                shutil.rmtree(self.instance.journal_folder(epoch))

    def held(self) -> dict[str, Held]:
        """What each process holds, by its name in the placement, and the supervisor."""
        pids = {stage["process"]: stage["pid"] for stage in self.status()["stages"]} | {"supervisor": self._engine()["pid"]}
        measured = {name: measure(pid) for name, pid in pids.items()}
        return {name: held for name, held in measured.items() if held is not None}

    @property
    def epoch(self) -> int:
        """The epoch that was followed last."""
        return self._epoch

    @property
    def state(self) -> str:
        """What the supervisor says of itself."""
        return str(self._engine()["state"])

    @property
    def supervisor(self) -> int:
        """Its pid."""
        return int(self._engine()["pid"])

    def pids(self) -> list[int]:
        """The processes of the stages."""
        return sorted({int(stage["pid"]) for stage in self.status()["stages"]})

    def signal(self, process: str, number: int) -> None:
        """Send a signal to a process of the engine by its name in the placement, or to ALL; one that has just ended gets none."""
        for stage in self.status()["stages"]:
            if stage["process"] == process or process == ALL:
                with suppress(ProcessLookupError):
                    os.kill(stage["pid"], number)

    def status(self) -> dict[str, Any]:
        """What `hftctl status` shows. Raises EngineError."""
        for _ in range(_TORN_READS):
            try:
                return read_status(self.instance)
            except SegmentError:
                time.sleep(_PAUSE_S)  # The writer of a cell lost its core half-way.
        raise EngineError(f"{self.instance.name}: a shared table stays torn")

    def kill(self, reason: str) -> None:
        """Cancel every order and send no new one until `arm`."""
        kill_scope(self.instance, "firm", reason)

    def arm(self, reason: str) -> None:
        """Trade again."""
        arm_engine(self.instance, reason)

    def ask(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask the simulator's control port: GET, or POST with a body. Raises EngineError."""
        data = None if body is None else msgspec.json.encode(body)
        try:
            with urllib.request.urlopen(self._control + path, data=data, timeout=_ANSWER_S) as answer:
                found: dict[str, Any] = msgspec.json.decode(answer.read())
        except OSError as error:
            raise EngineError(f"simulator of {self.venue}: {path}: {error}") from error
        return found

    def account(self) -> dict[str, Any]:
        """What the venue holds of the engine's account now, and which faults wait."""
        return self.ask(f"/account?name={self.customer}")

    def history(self) -> dict[str, Any]:
        """The same with every fill, and client ids that came twice."""
        found: dict[str, Any] = self.ask("/state")["exchange"]["accounts"][self.customer]
        return found

    def stop(self) -> int:
        """Stop the engine; its exit code. An engine that does not stop is killed, and -9 returned."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()
        finally:
            self._close_venue()

    def _close_venue(self) -> None:
        if self._simulator is not None:
            self._simulator.terminate()
            self._simulator.wait()
            assert self._simulator.stdout is not None
            self._simulator.stdout.close()
            self._simulator = None

    def end(self) -> None:
        """SIGKILL the supervisor; what it leaves stays."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def report(self) -> dict[str, Any]:
        """What `start --json` printed at its end; empty if it printed none."""
        text = (self.folder / "report.json").read_bytes()
        found: dict[str, Any] = msgspec.json.decode(text) if text else {}
        return found

    def replay(self) -> dict[str, Any]:
        """What `hftctl replay --json` says of the session; `equal` is false if it says nothing."""
        command = [sys.executable, "-m", "processes.cli", "replay", "--json", "--instance", self.instance.name]
        done = subprocess.run([*command, "--state-dir", str(self.instance.state_dir)], capture_output=True, check=False, env=os.environ)
        if not done.stdout:
            return {"equal": False, "first_difference": done.stderr.decode(errors="replace")[-500:]}
        found: dict[str, Any] = msgspec.json.decode(done.stdout)
        return found
