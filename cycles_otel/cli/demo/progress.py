"""How far the demo is: one snapshot of all that a display shows, while the customers are served."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from cycles_otel.cli.demo.amounts import POINTS, USD
from cycles_otel.cli.demo.log import DeskLog
from cycles_otel.cli.demo.readings import Readings
from cycles_otel.cli.demo.tenants import TENANTS
from cycles_otel.telemetry import semconv

_STORIES = 4


@dataclass(frozen=True)
class Budget:
    """A budget as it was last seen in a reply of the server, in ``unit``; one that was never seen is untouched."""

    scope: str
    unit: str
    allocated: int
    spent: int
    held: int


@dataclass(frozen=True)
class Progress:
    """One moment of the demo.

    Parameters
    ----------
    steps: LLM calls and tool calls that were allowed.
    rate: steps in a second, over the last while.
    spend: by agent, dollars in microcents and risk points.
    denials: refused steps and runs, by tenant.
    """

    seconds: float
    customers: int
    served: int
    steps: int
    rate: float
    denials: dict[str, int]
    heartbeats: int
    unenforced: int
    budgets: Sequence[Budget]
    spend: dict[str, tuple[int, int]]
    stories: Sequence[str]


class Watch:
    """Takes snapshots of a workload.

    Parameters
    ----------
    customers: how many are served in all.
    """

    def __init__(self, registry: CollectorRegistry, log: DeskLog, customers: int) -> None:
        self._registry = registry
        self._log = log
        self._customers = customers
        self._started = time.monotonic()
        self._last = (0.0, steps(Readings(registry)))

    def look(self) -> Progress:
        """What the metrics, and the desk's log, say now."""
        readings, seconds = Readings(self._registry), time.monotonic() - self._started
        done = steps(readings)
        return Progress(
            seconds=seconds,
            customers=self._customers,
            served=self._log.served,
            steps=done,
            rate=self._rate(seconds, done),
            denials=denials(readings),
            heartbeats=heartbeats(readings),
            unenforced=readings.total(semconv.UNENFORCED_STEPS),
            budgets=_budgets(readings),
            spend=spend_by_agent(readings),
            stories=self._log.stories[-_STORIES:],
        )

    def _rate(self, seconds: float, done: int) -> float:
        (since, before), self._last = self._last, (seconds, done)
        return (done - before) / (seconds - since) if seconds > since else 0.0


def steps(readings: Readings) -> int:
    """The steps that were allowed and reserved for."""
    return readings.total(semconv.DECISIONS, {semconv.OPERATION_NAME: "reserve", semconv.DECISION: semconv.ALLOW})


def heartbeats(readings: Readings) -> int:
    """The beats that were acknowledged."""
    return readings.total(semconv.HEARTBEAT_MARGIN_SECONDS)


def denials(readings: Readings) -> dict[str, int]:
    """Refused steps and runs, by tenant."""
    denied = readings.by(semconv.DECISIONS, [semconv.TENANT], {semconv.DECISION: semconv.DENY})
    return {tenant: count for (tenant,), count in denied.items()}


def spend_by_agent(readings: Readings) -> dict[str, tuple[int, int]]:
    """Microcents and risk points of each agent, by its name."""
    spent = readings.by(semconv.AMOUNT_COMMITTED_TOTAL, [semconv.AGENT_NAME, semconv.UNIT])
    agents = sorted({agent for agent, _ in spent})
    return {agent: (spent.get((agent, USD), 0), spent.get((agent, POINTS), 0)) for agent in agents}


def _budgets(readings: Readings) -> list[Budget]:
    def seen(field: str) -> dict[tuple[str, ...], int]:
        return readings.by(semconv.BUDGETS[field], [semconv.SCOPE_PATH, semconv.UNIT])

    allocated, spent, held = seen("allocated"), seen("spent"), seen("reserved")
    order = [(scope, unit) for tenant in TENANTS for scope, unit, _ in tenant.budgets(1)]
    return [
        Budget(*budget, allocated[budget], spent.get(budget, 0), held.get(budget, 0))
        for budget in order
        if budget in allocated
    ]
