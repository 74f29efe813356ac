"""Where a schedule is played: a server, and before it the proxy that makes the trouble."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from runcycles import CyclesConfig

from cycles_otel import CyclesRunHooks
from cycles_otel.local import Budget, LedgerSnapshot, LocalCycles
from cycles_otel.telemetry import Recorder
from tests.chaos.clock import SteppedClock
from tests.chaos.proxy import ChaosProxy, Passage
from tests.chaos.schedule import Schedule

GRACE_MS = 5_000
LONGEST_LEASES = 20
"""So many TTLs after a lease was last extended it is over, whatever a heartbeat asked for."""
CLIENT_TIMEOUT = 2.0
DRAINED_WITHIN = 20.0


class Stage:
    """One schedule's own server, proxy, database and journal; they are there while it is entered."""

    def __init__(self, schedule: Schedule, folder: Path) -> None:
        folder.mkdir()
        self._schedule = schedule
        self._journal = folder / "journal"
        self._clock = SteppedClock()
        self._server = LocalCycles(_budgets(schedule), db=folder / "ledger.db", clock=self._clock)
        self._proxy = ChaosProxy(
            lambda: self._server.url, schedule.script(), restart=self._restart, expire=self._expire_leases
        )

    def __enter__(self) -> Stage:
        self._server.start()
        self._proxy.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._proxy.close()
        self._server.stop()

    @property
    def connection(self) -> dict[str, Any]:
        """How a client gets here, as parameters of its configuration."""
        return {
            "base_url": self._proxy.url,
            "api_key": self._server.api_key,
            "tenant": self._server.tenant,
            "journal_enabled": self._schedule.journaled,
            "journal_dir": str(self._journal),
            "read_timeout": CLIENT_TIMEOUT,
            "connect_timeout": CLIENT_TIMEOUT,
            "retry_flush_timeout": DRAINED_WITHIN,
        }

    @property
    def wire(self) -> list[Passage]:
        """Every request so far."""
        return self._proxy.log

    def calm_down(self) -> None:
        """From now on nothing goes wrong any more."""
        self._proxy.calm_down()

    def end(self) -> LedgerSnapshot:
        """Let every lease and its grace be over, and say what the ledger holds then."""
        self._proxy.close()
        self._expire_leases()
        return self._server.ledger()

    def left_in_journal(self) -> list[str]:
        """The names of the records that nobody settled."""
        return [path.name for path in self._journal.rglob("*.json")]

    def _restart(self) -> None:
        self._server.stop()
        self._server.start()

    def _expire_leases(self) -> None:
        self._clock.step(LONGEST_LEASES * int(self._schedule.settings["ttl_ms"]) + GRACE_MS + 1)
        self._server.sweep()


def hooks_of(
    schedule: Schedule, connection: dict[str, Any], risks: dict[str, int], recorder: Recorder
) -> CyclesRunHooks:
    """Hooks with the schedule's settings."""
    return CyclesRunHooks(config=CyclesConfig(**connection), **schedule.settings, tool_risk=risks, recorder=recorder)


def _budgets(schedule: Schedule) -> list[Budget]:
    return [
        Budget("tenant:acme", unit, allocated, overdraft_limit=overdraft)
        for unit, (allocated, overdraft) in schedule.budgets.items()
    ]
