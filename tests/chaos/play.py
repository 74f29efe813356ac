"""Plays one schedule: a server, the proxy before it, hooks, a workload, and the accounts when all is over."""

from __future__ import annotations

import asyncio
import random
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
from tests.telemetry.witness import Witness

GRACE_MS = 5_000
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


async def play(schedule: Schedule, folder: Path) -> Report:
    """Play a schedule, with its database and journal in a folder of its own."""
    chance, oracle, risks = random.Random(f"workload {schedule.seed}"), Oracle(), dict[str, int]()
    runs = mixed(chance, oracle, risks)
    clock, witness = SteppedClock(), Witness(metrics="prometheus")
    server = LocalCycles(_budgets(schedule), db=folder / "ledger.db", clock=clock)
    longest_lease_ms = 20 * int(schedule.settings["ttl_ms"])

    def restart() -> None:
        server.stop()
        server.start()

    def expire() -> None:
        clock.step(longest_lease_ms + GRACE_MS + 1)
        server.sweep()

    with server, ChaosProxy(lambda: server.url, schedule.script(), restart=restart, expire=expire) as proxy:
        connection = server.config(
            base_url=proxy.url,
            journal_enabled=schedule.journaled,
            journal_dir=str(folder / "journal"),
            read_timeout=CLIENT_TIMEOUT,
            connect_timeout=CLIENT_TIMEOUT,
            retry_flush_timeout=DRAINED_WITHIN,
        )
        settings: dict[str, Any] = {**schedule.settings, "tool_risk": risks, "recorder": witness.recorder}
        async with CyclesRunHooks(config=connection, **settings) as hooks:
            await asyncio.gather(*(run.play(hooks) for run in runs))
            proxy.calm_down()
        expire()
        accounts = Accounts(
            oracle,
            server.ledger(),
            proxy.log,
            witness,
            risks,
            ample=schedule.ample,
            estimate=ESTIMATE if schedule.settings["unknown_spend"] == "commit_estimate" else None,
        )
        violations = accounts.violations()
    left = [path.name for path in (folder / "journal").rglob("*.json")]
    violations += [f"the journal still holds {left}"] if left else []
    witness.close()
    return Report(schedule, violations, proxy.log)


def _budgets(schedule: Schedule) -> list[Budget]:
    return [
        Budget("tenant:acme", unit, allocated, overdraft_limit=overdraft)
        for unit, (allocated, overdraft) in schedule.budgets.items()
    ]
