"""Campaign: strikes a simulated venue, the engine's processes or their host by a schedule while it trades there, and compares the two each time.

A strike is over when it has healed, every book is valid, engine and venue agree on balances, positions and open orders at one moment
of trading, and orders leave again. A strike on a process has healed when the engine runs again, in a new epoch; one on the host when what
befell it has ended. Then everything about it goes into the campaign's file, and the next one comes when it is due.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

from processes.chaos.agreement import balances_of, differences
from processes.chaos.host import befall
from processes.chaos.ledger import Ledger
from processes.chaos.rows import Marks, Plan, Record, Row, Session, measure_books
from processes.chaos.schedule import Planned, Strike, schedule
from processes.chaos.subject import ACK_TIMEOUT_MS, SILENCE_MS, Subject, await_until
from processes.errors import EngineError

#: A book must be valid again this soon after a strike has healed.
VALID_MS = 2000
#: A quote may stand this long after the newest event of its book: until the silence is noticed, and the cancel answered.
PULLED_MS = SILENCE_MS + ACK_TIMEOUT_MS

#: How long a campaign waits for what must come, before it says that it did not. A message to strike comes when there is trading: at
#: Kraken that may take until the REST counter has fallen.
_STRIKE_S, _AGREE_S, _TRADE_S, _REST_S = 30.0, 45.0, 30.0, 30.0
_LOOK_S, _EPOCH_LOOK_S = 0.03, 0.003

Say = Callable[[str], None]


class Campaign:
    """One engine under one schedule."""

    def __init__(self, subject: Subject, record: Record, plan: Plan, say: Say, stopping: Callable[[], bool]) -> None:
        """`stopping` is asked before each strike, and whether to end before it."""
        self._subject, self._record, self._plan, self._say, self._stopping = subject, record, plan, say, stopping
        symbols = list(subject.tables.symbols)
        self._planned = schedule(plan.venue, symbols, plan.seed, plan.seconds, plan.every_s, plan.faults)
        self._began = balances_of({"balances": {}})
        self._ledger: Ledger | None = None

    @property
    def left(self) -> list[Planned]:
        """What has still to come."""
        return self._planned[len(self._record.rows) :]

    def run(self, replays: bool) -> None:
        """Run what is left of the schedule on a new engine."""
        ledger = self._ledger = self._subject.start(self._say)
        try:
            self._begin(ledger)
            self._strike_all(ledger)
            self._end(ledger, replays)
        finally:
            self._subject.stop()

    def _begin(self, ledger: Ledger) -> None:
        """Wait until it trades; what the account had before is what it has now, and what fills have moved since."""
        if not await_until(lambda: self._has_sent(ledger, 5), _TRADE_S):
            raise EngineError(f"the engine sends no orders; see {self._subject.folder}")
        other = next(name for name in ("alice", "bob") if name != self._subject.customer)
        self._began = balances_of(self._subject.ask(f"/account?name={other}")["account"])
        if not await_until(lambda: not self._differences(ledger), _AGREE_S, _LOOK_S):
            raise EngineError(f"engine and venue differ before the first strike: {'; '.join(self._differences(ledger))}")

    def _has_sent(self, ledger: Ledger, count: int) -> bool:
        ledger.poll()
        return len(ledger.sent_ids) >= count

    def _strike_all(self, ledger: Ledger) -> None:
        left, total = self.left, len(self._planned)
        origin_s, late_s = time.monotonic() - (left[0].at_s if left else 0.0), 0.0
        for number, planned in enumerate(left, len(self._record.rows) + 1):
            due_s = planned.at_s + late_s
            self._await_turn(origin_s + due_s)
            if not self._runs():
                raise EngineError(f"the engine, or a process of it, ended before strike {number}; see {self._subject.folder}")
            # What was late stays late: strikes in a row would be another campaign than the one that was asked for.
            late_s += max(0.0, time.monotonic() - origin_s - due_s)
            if self._stopping():
                return
            strike = planned.strike
            row = Row(number, strike.name, list(strike.faults), round(time.monotonic() - origin_s, 2))
            self._strike(ledger, strike, row)
            self._record.add(row)
            self._say(f"[{number}/{total}] {row.at_s:6.1f} s  {row.name:<34} {_times(row)}  {'; '.join(row.wrong + row.late) or 'equal'}")

    def _await_turn(self, turn_s: float) -> None:
        """Wait until the clock says `turn_s`, or there is no reason to."""
        await_until(lambda: time.monotonic() >= turn_s or self._stopping() or not self._runs(), self._plan.seconds)

    def _runs(self) -> bool:
        """Whether the engine does, without having restarted where nothing was to make it."""
        return self._subject.running if self._plan.faults == "venue" else self._subject.lives

    def _strike(self, ledger: Ledger, strike: Strike, row: Row) -> None:
        ledger.poll()
        ledger.forget_ended()
        marks, sent = Marks(len(ledger.outages), len(ledger.quiet)), ledger.sent
        began_ns = time.monotonic_ns()
        for fault in strike.faults:
            self._subject.ask("/fault", fault)
        if strike.withdraws:
            self._subject.kill(strike.name)
        if strike.befalls:
            healed_ns = self._befall(ledger, strike, row)
        elif strike.kills or strike.freezes:
            healed_ns = self._restart(ledger, strike, row)
        else:
            healed_ns = self._heal(strike, began_ns, row)
        if strike.withdraws:
            self._subject.arm(f"{strike.name} has struck")
        row.healed_ms = round((healed_ns - began_ns) / 1e6)
        agreed = await_until(lambda: self._agree(ledger), _AGREE_S, _LOOK_S)
        now_ns = time.monotonic_ns()
        if agreed:
            row.agreed_ms = max(0, round((now_ns - healed_ns) / 1e6))
        else:
            row.wrong += self._differences(ledger) or ["a book is not valid"]
        row.sent = ledger.sent - sent
        count = len(ledger.sent_ids)
        if not await_until(lambda: self._has_sent(ledger, count + 1), _TRADE_S):
            row.wrong.append(f"no order left in {_TRADE_S:g} s")
        orders = self._subject.account()["account"]["orders"]
        ledger.poll()
        row.doubled = max(0, orders - len(ledger.sent_ids))
        if self._plan.faults == "process":
            row.trading_ms = round((ledger.first_sent_ns - began_ns) / 1e6) if ledger.first_sent_ns > began_ns else None
        elif self._plan.faults == "host":
            later_ns = [life.sent_ns for life in ledger.lives.values() if life.sent_ns > healed_ns]
            row.trading_ms = round((min(later_ns) - healed_ns) / 1e6) if later_ns else None
        else:
            self._measure(ledger, strike, row, marks, healed_ns)
            row.held = {name: (held.anonymous_kb, held.files) for name, held in self._subject.held().items()}

    def _measure(self, ledger: Ledger, strike: Strike, row: Row, marks: Marks, healed_ns: int) -> None:
        measure_books(row, ledger, marks, healed_ns, healed_ns if strike.cuts_orders else 0, time.monotonic_ns())
        if (row.valid_ms or 0) > VALID_MS:
            row.late.append(f"a book was valid {row.valid_ms} ms after healing")
        if (row.pulled_ms or 0) > PULLED_MS:
            row.late.append(f"a quote stood {row.pulled_ms} ms")

    def _restart(self, ledger: Ledger, strike: Strike, row: Row) -> int:
        """Have a process die, hang or sleep, and wait until the engine runs; when it did. What has begun since is followed."""
        if strike.kills:
            self._subject.signal(strike.kills, signal.SIGKILL)
        else:
            self._subject.signal(strike.freezes, signal.SIGSTOP)
        if strike.lasts_ms:
            await_until(self._subject.has_restarted, strike.lasts_ms / 1000)
            self._subject.signal(strike.freezes, signal.SIGCONT)
        elif not await_until(self._subject.has_restarted, _STRIKE_S, _EPOCH_LOOK_S):
            row.wrong.append(f"did not restart in {_STRIKE_S:g} s")
        healed_ns = time.monotonic_ns()
        self._subject.follow(ledger)
        return healed_ns

    def _befall(self, ledger: Ledger, strike: Strike, row: Row) -> int:
        """Have a fault befall the host; when it healed. What has begun since is followed."""
        healed = befall(self._subject, ledger, strike)
        row.wrong += healed.wrong
        if strike.befalls != "ring" and not await_until(self._subject.has_restarted, _STRIKE_S, _EPOCH_LOOK_S):
            row.wrong.append(f"did not restart in {_STRIKE_S:g} s")
        self._subject.follow(ledger)
        return healed.at_ns

    def _heal(self, strike: Strike, began_ns: int, row: Row) -> int:
        """Wait until the strike is over; when it was."""
        if strike.lasts_ms:
            over_ns = began_ns + strike.lasts_ms * 1_000_000
            await_until(lambda: time.monotonic_ns() >= over_ns, _STRIKE_S)
            for fault in strike.undo:
                self._subject.ask("/fault", fault)
            return time.monotonic_ns() if strike.undo else over_ns
        if not await_until(lambda: not self._subject.account()["faults"]["waiting"], _STRIKE_S, _LOOK_S):
            row.wrong.append(f"did not strike in {_STRIKE_S:g} s")
        return time.monotonic_ns()

    def _agree(self, ledger: Ledger) -> bool:
        """Whether every book is valid and nothing differs: trading goes on, so that the venue is asked between two looks at the journals."""
        if self._plan.faults != "venue" and self._subject.has_restarted():
            self._subject.follow(ledger)  # One death may lead to another.
        ledger.poll()
        return ledger.all_valid and not self._differences(ledger)

    def _differences(self, ledger: Ledger) -> list[str]:
        positions = [row for row in self._subject.status()["positions"] if row["owner"] == "firm"]
        account = self._subject.account()["account"]
        before = differences(ledger, self._subject.tables, account, self._began, positions)
        if not before:
            return []
        ledger.poll()
        return differences(ledger, self._subject.tables, account, self._began, positions)

    def _end(self, ledger: Ledger, replays: bool) -> None:
        """Compare at rest, stop the engine, and judge the session as a whole."""
        wrong = []
        self._subject.kill("the campaign is over")
        if not await_until(lambda: self._rests(ledger), _REST_S, _LOOK_S):
            wrong.append("orders still work although the firm is killed")
        if not await_until(lambda: not self._differences(ledger), _AGREE_S, _LOOK_S):
            wrong += self._differences(ledger)
        history, orders = self._subject.history(), self._subject.account()["account"]["orders"]
        code = self._subject.stop()
        ledger.poll()
        wrong += [f"the engine ended with status {code}"] * (code != 0)
        restarts = self._subject.report().get("restarts", -1)
        # After a strike on the host it may be another supervisor.
        expected = {"venue": restarts == 0, "process": restarts > 0, "host": restarts >= 0}[self._plan.faults]
        wrong += [f"the supervisor began {restarts} epochs anew"] * (not expected)
        # Each venue has names of its own for trades: what they moved is compared already.
        fills, here, different = len(history["fills"]), len(ledger.trade_ids), len(set(ledger.trade_ids))
        wrong += [f"{fills} fills at the venue, {here} here, {different} of them different ones"] * (not fills == here == different)
        duplicates = len(history["repeated_client_ids"]) + len(ledger.sent_ids) - len(set(ledger.sent_ids))
        duplicates += max(0, orders - len(ledger.sent_ids))
        wrong += [f"{duplicates} duplicate orders"] * (duplicates > 0)
        equal = None
        if replays:
            self._say("replaying the session")
            equal = bool(self._subject.replay()["equal"])
            wrong += ["replay differs"] * (not equal)
        self._record.add(Session(len(ledger.sent_ids), len(ledger.trade_ids), duplicates, equal, self._subject.commit, wrong))

    def _rests(self, ledger: Ledger) -> bool:
        ledger.poll()
        return not ledger.open and not self._subject.account()["account"]["open_orders"]


def _times(row: Row) -> str:
    """What was measured of a strike, for the line about it."""
    measured = {"healed": row.healed_ms, "valid": row.valid_ms, "pulled": row.pulled_ms, "trading": row.trading_ms, "agreed": row.agreed_ms}
    return ", ".join(f"{name} {value}" for name, value in measured.items() if value is not None) + " ms"


def run_campaign(plan: Plan, config_file: Path, folder: Path, replays: bool, say: Say, stopping: Callable[[], bool]) -> Record:
    """Run a campaign, or what is left of it, with its files in `folder`; until `stopping` says so. Raises EngineError."""
    folder.mkdir(parents=True, exist_ok=True)
    record = Record(folder / "campaign.jsonl", plan)
    campaign = Campaign(Subject(plan.venue, config_file, folder, plan.seconds, plan.faults), record, plan, say, stopping)
    if campaign.left or not record.sessions:
        if record.rows:
            say(f"going on after strike {len(record.rows)}")
        campaign.run(replays)
    return record
