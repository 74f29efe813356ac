"""Whether the budgets of a subject admit an amount: who is asked, in which order, and why one says no."""

from __future__ import annotations

from collections.abc import Sequence

from cycles_otel.local import errors
from cycles_otel.local.scopes import UNITS
from cycles_otel.local.snapshot import BudgetState
from cycles_otel.local.store import Store


def budgets_on(store: Store, scopes: Sequence[str], unit: str) -> list[BudgetState]:
    """The budgets in `unit` at `scopes`, the widest first; scopes without one are skipped.

    Raises
    ------
    ProtocolError: 400, there are only budgets in other units; 404, there are none at all.
    """
    at_scopes = [store.budgets.all(scope=scope) for scope in scopes]
    budgets = [budget for at_scope in at_scopes for budget in at_scope if budget.unit == unit]
    if budgets:
        return budgets
    for scope, others in zip(scopes, at_scopes, strict=True):
        if others:
            raise errors.unit_mismatch(scope, unit, sorted((each.unit for each in others), key=UNITS.index))
    raise errors.budget_not_found(scopes[-1])


def budgets_that_can_hold(store: Store, scopes: Sequence[str], unit: str, amount: int) -> list[BudgetState]:
    """As `budgets_on`, when each of them can hold `amount`; an overdraft does not help.

    Raises
    ------
    Denial: the first budget that cannot, with the first reason of its own.
    """
    budgets = budgets_on(store, scopes, unit)
    for budget in budgets:
        refuse_unless_open(budget)
        if budget.is_over_limit:
            raise errors.overdraft_limit_exceeded("Scope is over-limit, no new reservations allowed")
        if budget.debt > 0 and budget.overdraft_limit == 0:
            raise errors.debt_outstanding()
        if budget.remaining < amount:
            raise errors.budget_exceeded()
    return budgets


def refuse_unless_open(budget: BudgetState) -> None:
    """Refuse a budget that an operator has frozen or closed.

    Raises
    ------
    Denial: 409.
    """
    if budget.status != "ACTIVE":
        raise errors.budget_not_active(budget.scope, budget.status)
