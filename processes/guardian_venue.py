"""Guardian venue: one venue of a guardian: its key, its own connections, and the sweep while it is killed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, NamedTuple

from hft.config import Config, PaperExecution, VenueExecution
from hft.control import ProcessWord, process_word
from hft.records import LAYOUT_ID
from hft.sweep import Sweep, Verdict
from hft.venues.guards import Guard, GuardOrder, open_guard
from processes.calls import Calls
from processes.credentials import read_credentials
from processes.errors import EngineError
from processes.guardian_addresses import Addresses
from processes.guardian_alarms import View
from processes.guardian_paper import PaperSweep, Reading
from processes.instance import Instance
from processes.simulated_keys import guardian_credentials
from processes.transport.stream import tls_context
from shm import observe
from shm.layout import SegmentKind
from shm.segment import Owner, SegmentError
from shm.segment import is_alive as owner_is_alive

_MS = 1_000_000
#: A request without an answer for this long has none; another is made.
_TIMEOUT_NS = 3_000_000_000

_UNREADABLE = Reading(0, 0, 0)


class _Endpoint(NamedTuple):
    url: str
    ca_file: str | None


class GuardedVenue:
    """A venue where orders rest."""

    def __init__(self, name: str, config: Config, addresses: Addresses) -> None:
        section = config.execution[name]
        assert isinstance(section, VenueExecution) and config.guardian is not None
        self.name = name
        self.sweep: Sweep | None = None
        self.killed_ns = 0
        self.problem = ""  #: why the venue cannot be asked
        self._config, self._section = config, section
        self._confirm_ns = config.guardian.confirm_ms * _MS
        self._addresses = addresses
        self._endpoint: _Endpoint | None = None
        self._guard: Guard | None = None
        self._calls: Calls | None = None

    def open(self, view: View) -> None:
        """Take the key and get ready to connect: what is slow is done before it is needed. A simulator's place is the engine's to say."""
        endpoint = self._find(view)
        if endpoint is None or endpoint == self._endpoint:
            return
        self.close()
        tls = None if endpoint.ca_file is None else tls_context(Path(endpoint.ca_file))
        if tls is None and endpoint.url.startswith("https:"):
            tls = tls_context()
        symbols = [i.symbol for key, i in self._config.instruments.items() if key.rpartition(".")[2].lower() == self.name]
        order = GuardOrder(self._credentials(), symbols, self._section.request_window_ms, self._section.tier)
        try:
            self._guard = open_guard(self.name, order)
        except ValueError as error:
            raise EngineError(f"guardian.credentials.{self.name}: {error}") from None
        self._addresses.follow(endpoint.url)
        self._calls = Calls(endpoint.url, tls, timeout_ns=_TIMEOUT_NS, addresses=lambda: self._addresses.of(endpoint.url))
        self._endpoint = endpoint

    def _find(self, view: View) -> _Endpoint | None:
        if self._config.venues[self.name].simulator is None:
            return _Endpoint(self._section.rest_url, self._config.venues[self.name].ca_file)
        urls = (view.engine or {}).get("simulators", {}).get(self.name)
        return None if urls is None else _Endpoint(urls["http"], urls.get("ca"))

    def _credentials(self) -> Any:
        assert self._config.guardian is not None
        path = self._config.guardian.credentials.get(self.name)
        return guardian_credentials(self.name) if path is None else read_credentials(Path(path))

    @property
    def busy(self) -> bool:
        """Whether an answer is awaited."""
        return self._calls is not None and not self._calls.idle

    @property
    def verdict(self) -> Verdict:
        """What is known of its open orders."""
        return Verdict.UNCONFIRMED if self.sweep is None else self.sweep.verdict

    def turn(self, killed: bool, view: View, now_ns: int) -> None:
        """Get on with ending its orders, or leave them alone."""
        if not killed:
            if self.killed_ns:
                self._give_up()
            return
        self.killed_ns = self.killed_ns or now_ns
        if self._guard is None or self._calls is None:
            self.problem = self.problem or "where its simulator is, no engine has said"
            return
        if self.sweep is None:
            self.sweep = Sweep(self._guard, self.killed_ns, self._confirm_ns)
        self._calls.add(self.sweep.due(now_ns, time.time_ns()))
        for answer in self._calls.poll(now_ns):
            self.sweep.take(answer.tag, answer.status, answer.body, answer.retry_after_ns, now_ns)
            self.problem = answer.why

    def _give_up(self) -> None:
        """It is armed again."""
        self.killed_ns, self.sweep, self.problem = 0, None, ""
        if self._calls is not None:
            self._calls.close()

    def close(self) -> None:
        """Let go of its connections."""
        if self._calls is not None:
            self._calls.close()
        self._guard, self._calls, self._endpoint, self.sweep = None, None, None, None


class PaperVenue:
    """A venue whose orders the paper matching fills."""

    def __init__(self, name: str, config: Config, instance: Instance) -> None:
        section = config.execution[name]
        assert isinstance(section, PaperExecution) and config.guardian is not None
        self.name = name
        self.sweep: PaperSweep | None = None
        self.killed_ns = 0
        self.problem = ""
        self.busy = False
        self._latency_us = section.order_latency_us + section.ack_latency_us
        self._confirm_ns = config.guardian.confirm_ms * _MS
        self._segment = f"{instance.prefix}counters.execution.{name}"

    @property
    def verdict(self) -> Verdict:
        """What is known of its open orders."""
        return Verdict.UNCONFIRMED if self.sweep is None else self.sweep.verdict

    def open(self, view: View) -> None:
        """There is nothing to get ready."""

    def turn(self, killed: bool, view: View, now_ns: int) -> None:
        """Look whether its execution has obeyed."""
        if not killed:
            self.killed_ns, self.sweep = 0, None
            return
        if self.sweep is None:
            self.killed_ns = now_ns
            self.sweep = PaperSweep(self._latency_us, now_ns, self._confirm_ns)
        self.sweep.look(lambda: self._read(view), now_ns)

    def _read(self, view: View) -> Reading | None:
        """What its execution shows; None if its process, and the paper venue in it, is gone. What cannot be read has not beaten."""
        if view.words is None or view.engine is None:
            return _UNREADABLE if view.alive else None
        row = next(n for n, process in enumerate(view.engine["processes"]) if f"execution.{self.name}" in process["stages"])
        pid, started, beat_ns = (
            int(view.words[process_word(row, word)]) for word in (ProcessWord.PID, ProcessWord.STARTED, ProcessWord.BEAT)
        )
        if not owner_is_alive(Owner(pid, started)):
            return None
        try:
            segment = observe.attach(self._segment, LAYOUT_ID, SegmentKind.COUNTERS)
        except SegmentError:
            return _UNREADABLE
        counters = observe.counters(segment)
        segment.close()
        return Reading(beat_ns, counters["working"], counters["trades"])

    def close(self) -> None:
        """It holds nothing."""
