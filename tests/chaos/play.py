"""Plays schedules: for each a server, the proxy before it, hooks, a workload, and the accounts when all is over."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cycles_otel import CyclesRunHooks
from cycles_otel.local import Budget, LocalCycles
from tests.chaos.accounts import Accounts
from tests.chaos.clock import SteppedClock
from tests.chaos.oracle import Oracle
from tests.chaos.proxy import ChaosProxy, Passage
from tests.chaos.schedule import ESTIMATE, Schedule
from tests.chaos.workload import mixed
from tests.telemetry.otlp import Receiver
from tests.telemetry.readings import of_otlp
from tests.telemetry.witness import Witness

GRACE_MS = 5_000
LONGEST_LEASES = 20
"""So many TTLs after a lease was last extended it is over, whatever a heartbeat asked for."""
CLIENT_TIMEOUT = 2.0
DRAINED_WITHIN = 20.0


@dataclass(frozen=True)
class Report:
    """What came of a schedule."""

    schedule: Schedule
    violations: list[str]
    wire: list[Passage]

    def __str__(self) -> str:
        found = "\n".join(f"  - {each}" for each in self.violations) or "  holds"
        return f"{self.schedule}\n{found}\n  repeat it with: make chaos SEED={self.schedule.seed}"


async def play(schedules: Iterable[Schedule], folder: Path) -> list[Report]:
    """Play schedules side by side, each with a database and a journal of its own.

    The accounts are made when all hooks are closed: only then the thread that they share has ended.
    """
    with contextlib.ExitStack() as stages:
        plays = [stages.enter_context(_Play(schedule, folder / str(schedule.seed))) for schedule in schedules]
        await asyncio.gather(*(each.run() for each in plays))
        return [each.report() for each in plays]


class _Play:
    """One schedule: while it is entered, the server and the proxy before it are there."""

    def __init__(self, schedule: Schedule, folder: Path) -> None:
        folder.mkdir()
        self._schedule = schedule
        self._journal = folder / "journal"
        self._clock = SteppedClock()
        self._server = LocalCycles(_budgets(schedule), db=folder / "ledger.db", clock=self._clock)
        self._proxy = ChaosProxy(
            lambda: self._server.url, schedule.script(), restart=self._restart, expire=self._expire_leases
        )
        self._otlp = Receiver()
        self._witness = Witness(otlp=self._otlp.url, max_values=10**6, max_series=10**6)
        self._oracle = Oracle()
        self._risks: dict[str, int] = {}

    def __enter__(self) -> _Play:
        self._server.start()
        self._proxy.__enter__()
        self._otlp.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._proxy.close()
        self._server.stop()
        self._witness.close()
        self._otlp.__exit__()

    async def run(self) -> None:
        """The workload, from the first request to the last settlement; the trouble ends with the last run."""
        runs = mixed(random.Random(f"workload {self._schedule.seed}"), self._oracle, self._risks)
        async with self._hooks() as hooks:
            await asyncio.gather(*(run.play(hooks) for run in runs))
            self._proxy.calm_down()

    def report(self) -> Report:
        """The accounts, when every lease and its grace are over."""
        self._proxy.close()
        self._expire_leases()
        cut_off_at = ESTIMATE if self._schedule.settings["unknown_spend"] == "commit_estimate" else None
        self._witness.meters.force_flush()
        accounts = Accounts.of_witness(
            self._oracle,
            self._server.ledger(),
            self._proxy.log,
            self._witness,
            self._risks,
            ample=self._schedule.ample,
            estimate=cut_off_at,
            metrics={"OTLP": of_otlp(self._otlp.metric_requests[-1])},
        )
        violations = accounts.violations()
        left = [path.name for path in self._journal.rglob("*.json")]
        violations += [f"the journal still holds {left}"] if left else []
        return Report(self._schedule, violations, self._proxy.log)

    def _hooks(self) -> CyclesRunHooks:
        connection = self._server.config(
            base_url=self._proxy.url,
            journal_enabled=self._schedule.journaled,
            journal_dir=str(self._journal),
            read_timeout=CLIENT_TIMEOUT,
            connect_timeout=CLIENT_TIMEOUT,
            retry_flush_timeout=DRAINED_WITHIN,
        )
        settings: dict[str, Any] = {"tool_risk": self._risks, "recorder": self._witness.recorder}
        return CyclesRunHooks(config=connection, **self._schedule.settings, **settings)

    def _restart(self) -> None:
        self._server.stop()
        self._server.start()

    def _expire_leases(self) -> None:
        self._clock.step(LONGEST_LEASES * int(self._schedule.settings["ttl_ms"]) + GRACE_MS + 1)
        self._server.sweep()


def _budgets(schedule: Schedule) -> list[Budget]:
    return [
        Budget("tenant:acme", unit, allocated, overdraft_limit=overdraft)
        for unit, (allocated, overdraft) in schedule.budgets.items()
    ]
