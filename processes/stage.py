"""Stage: what a process runs: a kernel context, and the cold work around it.

A process calls the burst for all its stages at once, then `cold` of each. `cold` is bounded: it rotates a journal, touches a
few pages of the next file, follows up a connection. It never waits.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import msgspec
import numpy as np

from hft.config import Config
from hft.journal import JournalWriter, commit
from hft.records import JournalKind
from hft.tables import Tables
from hft.topology import StageSpec
from processes.common import JOURNAL_FAILED, ROTATE, Common, new_common
from processes.errors import EngineError
from processes.logs import log
from processes.resources import Resources
from processes.transport.stream import Network
from shm.clock import realtime_ns

#: Pages of the next journal file touched in one cold turn: a fraction of a millisecond.
_PAGES_A_TURN = 64


class Stage(ABC):
    """One stage; subclasses add their kernel context."""

    def __init__(self, spec: StageSpec, config: Config, tables: Tables) -> None:
        self.spec, self.config, self.tables = spec, config, tables
        self.name = spec.name
        self.context: Any = None
        self.changed = False  #: True when `context` was replaced and must be pinned again
        self._journal: JournalWriter | None = None

    def attach(self, resources: Resources) -> None:
        """Take the rings of the resources' epoch and make the context. Called again on every switch of epoch."""
        self._journal = resources.journal(self.name)
        venue_of = self.tables.instrument_rows["venue"].astype(np.int64)
        observed = venue_of if self.spec.role in ("strategy", "risk") else venue_of[:0]
        common = new_common(resources.control, resources.counters(self.spec), self._journal.context, resources.topology, observed)
        session = {"stage": self.name, "epoch": resources.epoch, "config": msgspec.to_builtins(self.config), **self.session()}
        self._journal.append_json(JournalKind.SESSION, session)
        self.context = self.make_context(common, resources)
        self.changed = True

    @property
    def turn(self) -> str:
        """Which kernel of `burst.TURNS` takes its turn."""
        return self.spec.role

    def session(self) -> dict[str, Any]:
        """What a replay must know besides the config: the state that this stage begins with."""
        return {}

    @abstractmethod
    def make_context(self, common: Common, resources: Resources) -> Any:
        """The kernel's context on these resources."""

    def warm(self) -> None:  # noqa: B027
        """Run, on scratch memory, the kernels that cold code calls by themselves; a stage without any has nothing to do."""

    def pinned_parts(self) -> tuple[Any, ...]:
        """What the stage's turn is given, pinned."""
        return (self.context,)

    def cold(self, now_ns: int) -> int:
        """Bounded work between bursts; returns how much was done."""
        words = self.context.common.words
        if words[JOURNAL_FAILED]:
            raise EngineError(f"stage {self.name}: its journal could not be written; it stops rather than act unrecorded")
        journal = self._journal
        assert journal is not None
        if words[ROTATE]:
            if not journal.prepared:
                journal.prepare_next()
            rotated = journal.rotate(realtime_ns(), now_ns)
            self.context = self.context._replace(common=self.context.common._replace(journal=rotated))
            words[ROTATE] = 0
            self.changed = True
            return 1
        if not journal.prepared:
            journal.prepare_next(_PAGES_A_TURN)
        commit(journal.context)
        return 0

    def abandon(self) -> None:
        """Let go of the journal as it is: the process that this stage was in has died."""
        if self._journal is not None:
            self._journal.abandon()

    def on_close(self, reason: str) -> None:
        """Close the journal; nothing is appended after."""
        if self._journal is not None:
            self._journal.close(reason)
            log("stage closed", stage=self.name, reason=reason, last_sequence=self._journal.last_sequence)


@runtime_checkable
class ConnectedStage(Protocol):
    """What a stage has besides, that holds connections."""

    @property
    def uses_event_loop(self) -> bool:
        """Whether it needs an asyncio loop under it."""

    def use(self, network: Network) -> None:
        """Make connections of this instead of the host's sockets; before `connect`."""

    def connect(self, loop: asyncio.AbstractEventLoop | None, on_messages: Callable[[], object]) -> None:
        """Begin connecting; `cold` gets on with it."""

    def disconnect(self, now_ns: int) -> None:
        """Let go of every connection at the end of the process."""
