"""How far the demo is: one snapshot of all that a display shows, while the customers are served."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from cycles_otel.cli.demo import tenants
from cycles_otel.cli.demo.amounts import POINTS, USD
from cycles_otel.cli.demo.readings import Readings
from cycles_otel.cli.demo.workload import DeskLog
from cycles_otel.telemetry import semconv

_WINDOW = 1.0
"""Over how many seconds the steps are counted for their rate."""


@dataclass(frozen=True)
class Budget:
    """A budget as it was last seen in a reply of the server, in ``unit``; one that was never seen is untouched."""

    scope: str
    unit: str
    allocated: int
    spent: int
    held: int

    @property
    def tenant(self) -> str:
        """Whose budget it is."""
        return self.scope.split("/")[0].removeprefix("tenant:")

    @property
    def gone(self) -> float:
        """The part of it that is spent, or held for steps that are under way."""
        return (self.spent + self.held) / max(self.allocated, 1)


@dataclass(frozen=True)
class Progress:
    """One moment of the demo.

    Parameters
    ----------
    steps: LLM calls and tool calls that were allowed.
    at_the_desk: the customers whose runs are under way.
    rate: steps in a second, over the last second.
    spend: by agent, dollars in microcents and risk points.
    denials: refused steps and runs, by tenant.
    stories: one line for each denial, in the order in which they came.
    """

    seconds: float
    customers: int
    served: int
    at_the_desk: int
    steps: int
    rate: float
    denials: dict[str, int]
    heartbeats: int
    unenforced: int
    budgets: Sequence[Budget]
    spend: dict[str, tuple[int, int]]
    stories: Sequence[str]

    @property
    def denied(self) -> int:
        """The refused steps and runs of all tenants."""
        return sum(self.denials.values())


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
        self._budgets = tenants.budgets(customers)
        self._started = time.monotonic()
        self._done = deque([(0.0, steps(Readings(registry)))])

    def look(self) -> Progress:
        """What the metrics, and the desk's log, say now."""
        readings, seconds = Readings(self._registry), time.monotonic() - self._started
        done = steps(readings)
        return Progress(
            seconds=seconds,
            customers=self._customers,
            served=self._log.served,
            at_the_desk=self._log.came - self._log.served,
            steps=done,
            rate=self._rate(seconds, done),
            denials=denials(readings),
            heartbeats=heartbeats(readings),
            unenforced=readings.total(semconv.UNENFORCED_STEPS),
            budgets=_budgets(readings, self._budgets),
            spend=spend_by_agent(readings),
            stories=tuple(self._log.stories),
        )

    def _rate(self, seconds: float, done: int) -> float:
        self._done.append((seconds, done))
        while self._done[1][0] <= seconds - _WINDOW:
            self._done.popleft()
        since, before = self._done[0]
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


def _budgets(readings: Readings, given: Mapping[str, Mapping[str, int]]) -> list[Budget]:
    def seen(field: str) -> dict[tuple[str, ...], int]:
        return readings.by(semconv.BUDGETS[field], [semconv.SCOPE_PATH, semconv.UNIT])

    allocated, spent, held = seen("allocated"), seen("spent"), seen("reserved")
    return [
        Budget(*key, allocated.get(key, amount), spent.get(key, 0), held.get(key, 0))
        for scope, units in given.items()
        for unit, amount in units.items()
        for key in [(scope, unit)]
    ]
