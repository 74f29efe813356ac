"""The tenants of the desk, and the budgets that they have with Cycles: so much for each customer that is expected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import cycle, islice

from cycles_otel.cli.demo.amounts import POINTS, USD


@dataclass(frozen=True)
class Tenant:
    """One company whose customers the desk serves.

    Parameters
    ----------
    microcents: its dollar budget for each customer; a customer costs about 1,600,000 ($0.016).
    risk_points: its budget of risk points for each customer.
    narrow: budgets below the tenant's own, as (rest of the scope, unit, amount for each customer).
    one_at_a_time: its customers are served one after the other, each step settled before the next, so that the same
        steps are denied whenever the same seed is given. Budgets that run out need that; ample ones do not.
    """

    name: str
    microcents: int
    risk_points: int = 120
    narrow: tuple[tuple[str, str, int], ...] = field(default=())
    one_at_a_time: bool = False

    def budgets(self, customers: int) -> list[tuple[str, str, int]]:
        """Scope, unit and amount of each budget, for so many customers."""
        scope = f"tenant:{self.name}"
        own = [(scope, USD, self.microcents * customers), (scope, POINTS, self.risk_points * customers)]
        return own + [(f"{scope}/{rest}", unit, amount * customers) for rest, unit, amount in self.narrow]


ACME = Tenant("acme", microcents=4_000_000)
GLOBEX = Tenant("globex", microcents=3_000_000)
INITECH = Tenant("initech", microcents=1_000_000, one_at_a_time=True)
"""Has too few dollars for its customers: its runs are stopped in their middle, then at the door."""
HOOLI = Tenant(
    "hooli",
    microcents=3_000_000,
    narrow=(("agent:billing/toolset:send_email", POINTS, 25),),
    one_at_a_time=True,
)
"""Lets its billing agent send an e-mail (50 points) to every second customer only, whatever else is left."""

TENANTS = (ACME, GLOBEX, INITECH, HOOLI)
_TURNS = (ACME, GLOBEX, INITECH, ACME, GLOBEX, HOOLI, ACME, GLOBEX)


def turns(customers: int) -> Iterator[Tenant]:
    """Whose customer is served next, for each of so many customers."""
    return islice(cycle(_TURNS), customers)


def budgets(customers: int) -> dict[str, dict[str, int]]:
    """All budgets, by scope and unit, as the embedded server takes them."""
    expected = Counter(turns(customers))
    by_scope: dict[str, dict[str, int]] = {}
    for tenant in TENANTS:
        for scope, unit, amount in tenant.budgets(expected[tenant]):
            by_scope.setdefault(scope, {})[unit] = amount
    return by_scope
