"""Naive breakers: what happened as plain lists, the readable twin of `hft.breakers`."""

from __future__ import annotations

from typing import Any

from hft.breakers import SLICES
from hft.records import RiskCode


class Steps:
    """A value that holds until the next one is told."""

    def __init__(self) -> None:
        self.told: list[tuple[int, int]] = []  #: (slice, value)
        self.newest_ns = 0

    def tell(self, at_ns: int, value: int, window_ns: int) -> list[int]:
        """Every value that held at any time in the window that ends now."""
        self.newest_ns = max(self.newest_ns, at_ns)
        now = self.newest_ns * SLICES // window_ns
        self.told.append((now, value))
        until = [after for after, _ in self.told[1:]] + [now]
        return [value for (_, value), end in zip(self.told, until, strict=True) if end >= now - SLICES]


class NaiveBreakers:
    """Limits are read from the same rows as the kernel's."""

    def __init__(self, limits: Any, firm: Any, strategies: int) -> None:
        self.limits, self.firm = limits, firm
        self.fills: list[list[int]] = [[] for _ in range(strategies)]
        self.rejects: list[list[int]] = [[] for _ in range(strategies)]
        self.lates: list[list[int]] = [[] for _ in range(strategies)]
        self.late_until = [0 for _ in range(strategies)]
        self.pnl, self.peak = Steps(), 0
        self.last: Any = None
        self.mids = [Steps() for _ in limits]
        self.wild = [False for _ in limits]
        self.tripped: dict[int, RiskCode] = {}  #: by strategy, -1 for the firm

    def on_late(self, strategy: int, at_ns: int) -> bool:
        """Whether that begins a pause."""
        times, most, window = self.lates[strategy], int(self.firm["late_max"]), int(self.firm["late_window_ns"])
        times.append(at_ns)
        if len(times) <= most or at_ns - times[-most - 1] > window:
            return False
        begins = at_ns >= self.late_until[strategy]
        self.late_until[strategy] = at_ns + window
        return begins

    def on_fee(self, strategy: int) -> None:
        self.tripped.setdefault(strategy, RiskCode.FEE_SANITY)

    def on_fill_rate(self, strategy: int) -> None:
        self.tripped.setdefault(strategy, RiskCode.FILL_RATE_ANOMALY)

    def on_fill(self, strategy: int, at_ns: int) -> None:
        self._count(self.fills[strategy], strategy, at_ns, "fills", RiskCode.REPEATED_EXECUTION)

    def on_reject(self, strategy: int, at_ns: int) -> None:
        self._count(self.rejects[strategy], strategy, at_ns, "rejects", RiskCode.REJECT_STORM)

    def _count(self, times: list[int], strategy: int, at_ns: int, name: str, code: RiskCode) -> None:
        times.append(at_ns)
        first = times[-int(self.firm[f"{name}_max"]) - 1 :]
        if len(first) > self.firm[f"{name}_max"] and at_ns - first[0] <= self.firm[f"{name}_window_ns"]:
            self.tripped.setdefault(strategy, code)

    def on_pnl(self, pnl_e8: int, at_ns: int) -> None:
        if self.last is None:
            self._begin(pnl_e8)
        if self.last == pnl_e8:
            return
        self.last, self.peak = pnl_e8, max(self.peak, pnl_e8)
        held = self.pnl.tell(at_ns, pnl_e8, int(self.firm["loss_rate_window_ns"]))
        if self.peak - pnl_e8 > self.firm["drawdown_max_e8"]:
            self.tripped.setdefault(-1, RiskCode.DRAWDOWN)
        if max(held) - pnl_e8 > self.firm["loss_rate_max_e8"]:
            self.tripped.setdefault(-1, RiskCode.LOSS_RATE)

    def _begin(self, pnl_e8: int) -> None:
        """Losses count from here; it holds until the next."""
        self.last = self.peak = pnl_e8
        self.pnl.told = [(0, pnl_e8)]

    def on_mid(self, row: int, mid_x2: int, at_ns: int) -> bool:
        """Whether that is the beginning of a move that is too much."""
        held = self.mids[row].tell(at_ns, mid_x2, int(self.limits[row]["move_window_ns"]))
        was = self.wild[row]
        self.wild[row] = (max(held) - min(held)) * 10_000 > min(held) * int(self.limits[row]["move_max_bp"])
        return self.wild[row] and not was

    def standing(self, strategy: int) -> RiskCode:
        return self.tripped.get(strategy, self.tripped.get(-1, RiskCode.OK))

    def rearm(self, scope: int) -> None:
        """-1: the firm."""
        self.tripped.pop(scope, None)
        if scope >= 0:
            self.fills[scope].clear()
            self.rejects[scope].clear()
            self.lates[scope].clear()
        else:
            self._begin(self.last)
