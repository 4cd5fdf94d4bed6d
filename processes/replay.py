"""Replay: repeats a session's decisions from its journals and compares them byte by byte.

Each deciding stage runs the same kernel on scratch rings. For every `work` that took something in, exactly the journaled
records are put on its rings, the control words are set to what it saw, and it is given the journaled time; what it then
journals is compared with what it journaled in the session.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec

from hft import control
from hft.config import Config, VenueExecution
from hft.journal_format import JournalError
from hft.journal_reader import JournalReader
from hft.records import InputKind, JournalKind
from hft.replay import MarketJournal, ReplayError, RingJournal, StageJournal, Work, first_difference
from hft.topology import RingSpec, StageSpec, Topology
from processes.burst import burst
from processes.common import CANCEL_ALL_CELL, FIRM_CELL, HALT_CELL, VENUE_CELL
from processes.errors import EngineError
from processes.instance import Instance
from processes.limit_log import append
from processes.logs import silence
from processes.resources import ScratchResources
from processes.run import ProcessLoop
from processes.stages import DecidingStage
from shm.ring import publish_many, slot_at

_DECIDING = ("strategy", "risk", "execution")
_KIND_ON_RING = {"intents": JournalKind.INTENT, "orders": JournalKind.ORDER}


def replay_session(instance: Instance, session: str | None) -> dict[str, Any]:
    """Replay every deciding stage of a session (an epoch, a folder, or the newest); `inputs, decisions, equal, first_difference`."""
    silence()
    folder = _folder_of(instance, session)
    try:
        stages = _replay_stages(folder, int(folder.name))
    except (JournalError, ReplayError) as error:
        raise EngineError(f"{folder}: {error}") from error
    difference = next(({"stage": s["stage"], **s["first_difference"]} for s in stages if s["first_difference"]), None)
    return {
        "session": str(folder),
        "inputs": sum(stage["inputs"] for stage in stages),
        "decisions": sum(stage["decisions"] for stage in stages),
        "equal": difference is None,
        "first_difference": difference,
        "stages": stages,
    }


def _replay_stages(folder: Path, epoch: int) -> list[dict[str, Any]]:
    stages = []
    config = _config_of(folder, epoch)
    for spec in config.topology().stages:
        if spec.role in _DECIDING and not _is_at_venue(config, spec):
            print(f"replaying {spec.name}", file=sys.stderr, flush=True)
            stages.append(_StageReplay(folder, epoch, config, spec).run())
    return stages


def _is_at_venue(config: Config, spec: StageSpec) -> bool:
    """Whether a stage's outcomes are the venue's word: recorded, and given to the others, but nothing to repeat."""
    return spec.role == "execution" and isinstance(config.execution[spec.subject], VenueExecution)


def _folder_of(instance: Instance, session: str | None) -> Path:
    if session is None:
        sessions = instance.sessions()
        if not sessions:
            raise EngineError(f"instance {instance.name!r} has no journals in {instance.folder / 'journal'}")
        return instance.journal_folder(sessions[-1])
    folder = instance.journal_folder(int(session)) if re.fullmatch("[0-9]{1,8}", session) else Path(session)
    if not re.fullmatch("[0-9]{1,8}", folder.name) or not folder.is_dir():
        raise EngineError(f"session {session!r}: expected an epoch or a folder journal/<epoch>, found neither at {folder}")
    return folder


def _config_of(folder: Path, epoch: int) -> Config:
    """The config that the session ran with, from risk's journal."""
    for entry in JournalReader(folder, "risk", epoch).entries():
        if entry.kind == JournalKind.SESSION:
            return msgspec.convert(entry.json()["config"], Config)
    raise EngineError(f"{folder}: risk's journal has no SESSION")


class _StageReplay:
    """One stage on scratch memory, driven by its journal."""

    def __init__(self, folder: Path, epoch: int, config: Config, spec: StageSpec) -> None:
        self.folder, self.epoch, self.config, self.spec = folder, epoch, config, spec
        self.topology: Topology = config.topology()
        self.sources = {ring.number: self._source(ring) for ring in spec.inputs}
        self.recorded = StageJournal(JournalReader(folder, spec.name, epoch))

    def _source(self, ring: RingSpec) -> RingJournal:
        bit = self.topology.stage(ring.producer).outputs.index(ring)
        reader = JournalReader(self.folder, ring.producer, self.epoch)
        if ring.kind in ("market", "tops"):
            return MarketJournal(reader, bit)
        kind = (
            JournalKind.VERDICT if ring.producer == "risk" and ring.kind == "reports" else _KIND_ON_RING.get(ring.kind, JournalKind.REPORT)
        )
        return RingJournal(reader, kind, bit)

    def run(self) -> dict[str, Any]:
        with tempfile.TemporaryDirectory(prefix="hft-replay-") as scratch:
            loop = ProcessLoop(self.config, [self.spec.name])
            file_bytes = self.config.engine.journal_file_mb << 20
            resources = ScratchResources(self.topology, len(loop.tables.instruments), Path(scratch), self.epoch, file_bytes)
            works = list(self._give_all(loop, resources))
            loop.close("replayed")
            again = StageJournal(JournalReader(Path(scratch), self.spec.name, self.epoch))
            difference = first_difference(works, again)
        return {
            "stage": self.spec.name,
            "inputs": self.recorded.inputs,
            "decisions": self.recorded.decisions,
            "equal": difference is None,
            "first_difference": difference,
        }

    def _give_all(self, loop: ProcessLoop, resources: ScratchResources) -> Iterator[Work]:
        """Drive the stage through every recorded work, and yield it."""
        works = iter(self.recorded)
        first = next(works, None)
        stage = loop.stages[0]
        assert isinstance(stage, DecidingStage)
        stage.restore(self.recorded.session)
        loop.attach(resources)
        resources.control[control.READY] = 1
        while first is not None:
            if first.number:
                self._give(loop, resources, first)
            yield first
            first = next(works, None)

    def _give(self, loop: ProcessLoop, resources: ScratchResources, work: Work) -> None:
        for row in work.inputs:
            if row["kind"] == InputKind.RECORDS:
                spec = self.topology.rings[int(row["ring"])]
                ring = resources.rings[spec.name]
                records = self.sources[spec.number].records(int(row["first"]), int(row["last"]))
                ring.slots[[slot_at(ring, k) for k in range(len(records))]] = records
                publish_many(ring, len(records))
            elif row["kind"] == InputKind.KILL:
                self._set_halt(resources, int(row["value"]) >> 1, int(row["value"]) & 1)
            elif row["kind"] == InputKind.REDUCE:
                resources.control[control.reduce_instrument(int(row["first"]))] = row["value"]
            elif row["kind"] == InputKind.BALANCE:
                instrument = int(row["first"])
                resources.control[control.balance(instrument) + int(row["last"])] = row["value"]
                resources.control[control.venue_balances(int(loop.tables.instrument_rows[instrument]["venue"]))] += 1
            elif row["kind"] == InputKind.CONFIG:
                append(resources.control, [int(row[name]) for name in ("first", "last", "value", "by", "approved_by")])
        for output in self.spec.outputs:
            resources.rings[output.name].words[:] = 0  # Nobody drains them here.
        burst(loop.cell(), 0, 1, 1, work.now_ns)
        loop.stages[0].cold(work.now_ns)

    def _set_halt(self, resources: ScratchResources, cell: int, value: int) -> None:
        venues = len(self.config.venues)
        if cell == HALT_CELL:
            word = control.HALT
        elif cell == CANCEL_ALL_CELL:
            word = control.CANCEL_ALL
        elif cell == FIRM_CELL:
            word = control.KILL_FIRM
        elif cell < VENUE_CELL + venues:
            word = control.kill_venue(cell - VENUE_CELL)
        else:
            word = control.kill_strategy(cell - VENUE_CELL - venues)
        resources.control[word] = value


def print_replay(document: dict[str, Any]) -> None:
    """One line a stage, and the first difference."""
    for stage in document["stages"]:
        verdict = "equal" if stage["equal"] else "DIFFERENT"
        click.echo(f"{stage['stage']:<22}{stage['inputs']:>10} inputs{stage['decisions']:>10} decisions  {verdict}")
    if document["first_difference"]:
        click.echo("first difference: " + ", ".join(f"{key} {value}" for key, value in document["first_difference"].items()))
    click.echo(f"{document['session']}: {'byte-identical' if document['equal'] else 'DIFFERENT'}")
