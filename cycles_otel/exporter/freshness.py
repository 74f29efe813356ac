"""Which values are still known: one that was not seen again in time is absent, rather than a lie."""

from __future__ import annotations

from collections.abc import Iterable

from cycles_otel.telemetry.balances import Budget


class Freshness:
    """Keeps, for each budget, until when its balance counts, on a monotonic clock."""

    def __init__(self) -> None:
        self._until: dict[Budget, float] = {}

    def __len__(self) -> int:
        return len(self._until)

    def __contains__(self, budget: Budget) -> bool:
        return budget in self._until

    def seen(self, budgets: Iterable[Budget], until: float) -> None:
        """These were seen; of two targets that see the same one, the more patient one counts."""
        for budget in budgets:
            self._until[budget] = max(until, self._until.get(budget, until))

    def expired(self, now: float) -> list[Budget]:
        """Those whose time is over; they are told once."""
        over = [budget for budget, until in self._until.items() if until <= now]
        for budget in over:
            del self._until[budget]
        return over

    def next_expiry(self) -> float | None:
        """When the next one is over if it is not seen again; None where there is none."""
        return min(self._until.values(), default=None)
