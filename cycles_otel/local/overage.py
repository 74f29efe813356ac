"""How budgets cover an amount that nothing was reserved for: the overage of a commit, or an event."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cycles_otel.local.errors import overdraft_limit_exceeded
from cycles_otel.local.snapshot import BudgetState


def cover(budgets: Sequence[BudgetState], amount: int, policy: str) -> tuple[list[BudgetState], int]:
    """Charge `amount` to all `budgets` under an overage `policy` that allows it.

    Without an overdraft all budgets are charged what the poorest can pay, and those that could not pay all are over
    their limit from then on. With one, what a budget lacks becomes its debt.

    Returns
    -------
    The budgets after the charge, and what was charged, which is less than `amount` where a budget ran out.

    Raises
    ------
    ProtocolError: 409, a debt would pass its limit.
    """
    limits = [budget.overdraft_limit if policy == "ALLOW_WITH_OVERDRAFT" else 0 for budget in budgets]
    pairs = list(zip(budgets, limits, strict=True))
    covered = min([amount, *(max(budget.remaining, 0) for budget, limit in pairs if limit == 0)])
    return [_charge(budget, limit, amount, covered) for budget, limit in pairs], covered


def _charge(budget: BudgetState, overdraft_limit: int, amount: int, covered: int) -> BudgetState:
    debt = covered - min(covered, max(budget.remaining, 0))
    if debt > 0 and budget.debt + debt > overdraft_limit:
        raise overdraft_limit_exceeded()
    fell_short = overdraft_limit == 0 and covered < amount and budget.remaining < amount
    return replace(
        budget,
        remaining=budget.remaining - covered,
        spent=budget.spent + covered - debt,
        debt=budget.debt + debt,
        is_over_limit=budget.is_over_limit or fell_short,
    )
