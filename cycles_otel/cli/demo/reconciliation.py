"""The proof: what the telemetry says, beside what the server's ledger and its log of requests hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cycles_otel.cli.demo.amounts import POINTS, USD
from cycles_otel.cli.demo.readings import Readings
from cycles_otel.local import LedgerSnapshot
from cycles_otel.telemetry import semconv

UNITS = {USD: "microcents", POINTS: "points"}
"""The units of the desk's budgets, in words."""


@dataclass(frozen=True)
class Comparison:
    """One figure, as the telemetry has it and as the server does."""

    what: str
    telemetry: int
    server: int

    @property
    def difference(self) -> int:
        """What the telemetry says too much; 0 where both agree."""
        return self.telemetry - self.server

    def __str__(self) -> str:
        sign = "=" if not self.difference else "≠"
        return f"{self.what} {self.telemetry:,} {sign} {self.server:,}"


@dataclass(frozen=True)
class Reconciliation:
    """All comparisons: the sums of each unit, each tenant's part of them, and the number of API calls."""

    sums: Sequence[Comparison]
    parts: Sequence[Comparison]
    calls: Sequence[Comparison]

    @property
    def differences(self) -> list[Comparison]:
        """The comparisons that do not hold."""
        return [each for each in (*self.sums, *self.parts, *self.calls) if each.difference]


def reconcile(readings: Readings, ledger: LedgerSnapshot, requests: int, client_spans: int) -> Reconciliation:
    """Compare everything.

    Parameters
    ----------
    requests: how many the server has in its log.
    client_spans: how many spans of API calls were seen.
    """
    committed = readings.by(semconv.AMOUNT_COMMITTED_TOTAL, [semconv.TENANT, semconv.UNIT])
    spent: dict[tuple[str, ...], int] = {
        (budget.scope.removeprefix("tenant:"), budget.unit): budget.spent + budget.debt
        for budget in ledger.budgets.values()
        if "/" not in budget.scope
    }
    keys = sorted(committed.keys() | spent.keys())
    return Reconciliation(
        sums=[
            Comparison(
                word,
                sum(amount for (_, each), amount in committed.items() if each == unit),
                sum(amount for (_, each), amount in spent.items() if each == unit),
            )
            for unit, word in UNITS.items()
        ],
        parts=[Comparison(" ".join(key), committed.get(key, 0), spent.get(key, 0)) for key in keys],
        calls=[
            Comparison("CLIENT spans and requests on the wire", client_spans, requests),
            Comparison("duration observations and requests", readings.total(semconv.OPERATION_DURATION), requests),
        ],
    )
