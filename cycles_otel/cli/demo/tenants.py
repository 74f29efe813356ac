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
    story: what is to be seen of it, in a few words.
    risk_points: its budget of risk points for each customer.
    narrow: budgets below the tenant's own, as (rest of the scope, unit, amount).
    one_at_a_time: its customers are served one after the other, each step settled before the next, so that the same
        steps are denied whenever the same seed is given. A budget that runs out needs that; others do not.
    """

    name: str
    microcents: int
    story: str
    risk_points: int = 120
    narrow: tuple[tuple[str, str, int], ...] = field(default=())
    one_at_a_time: bool = False

    def budgets(self, customers: int) -> list[tuple[str, str, int]]:
        """Scope, unit and amount of each budget, for so many customers."""
        scope = f"tenant:{self.name}"
        own = [(scope, USD, self.microcents * customers), (scope, POINTS, self.risk_points * customers)]
        return own + [(f"{scope}/{rest}", unit, amount) for rest, unit, amount in self.narrow]


TENANTS = (
    Tenant("acme", 3_000_000, "has enough"),
    Tenant("globex", 2_500_000, "has enough"),
    Tenant("initech", 300_000, "runs out of dollars: stopped in a run, then turned away", one_at_a_time=True),
    Tenant(
        "hooli",
        3_000_000,
        "gives its billing agent too few risk points for an e-mail (50)",
        narrow=(("agent:billing/toolset:send_email", POINTS, 40),),
    ),
)
_ACME, _GLOBEX, _INITECH, _HOOLI = TENANTS
_TURNS = (_HOOLI, _INITECH, _ACME, _GLOBEX, _ACME, _GLOBEX, _ACME, _GLOBEX)


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
