"""What an operator changes by hand, outside the protocol: budgets and tenants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from typing import Any

from cycles_otel.local.errors import InvalidParameter
from cycles_otel.local.seed import BUDGET_STATUSES, check_amount, check_choice, read_tenants_of
from cycles_otel.local.snapshot import BudgetState
from cycles_otel.local.store import Store
from cycles_otel.local.tenants import Tenant

AMOUNTS = ("allocated", "reserved", "spent", "debt", "overdraft_limit")


def change_budget(store: Store, scope: str, unit: str, changes: Mapping[str, Any]) -> BudgetState:
    """Change fields of a budget; `remaining` follows the amounts that it depends on, unless it is given itself.

    Raises
    ------
    InvalidParameter: there is no such budget or field, or a value is not allowed.
    """
    _check_changes(changes)
    with store.transaction():
        before = _budget(store, scope, unit)
        after = replace(before, **changes)
        if "remaining" not in changes:
            after = replace(after, remaining=before.remaining + _left_by(after) - _left_by(before))
        store.budgets.put(after)
    return after


def fund_budget(store: Store, scope: str, unit: str, amount: int) -> BudgetState:
    """Allocate `amount` more to a budget, pay its debt from it first, and clear its over-limit state.

    Raises
    ------
    InvalidParameter: there is no such budget, or the amount is not allowed.
    """
    check_amount("amount", amount)
    with store.transaction():
        before = _budget(store, scope, unit)
        paid = min(before.debt, amount)
        after = replace(
            before,
            allocated=before.allocated + amount,
            remaining=before.remaining + amount,
            debt=before.debt - paid,
            spent=before.spent + paid,
            is_over_limit=False,
        )
        store.budgets.put(after)
    return after


def change_tenant(store: Store, name: str, changes: Mapping[str, Any]) -> Tenant:
    """Change the status or the settings of a tenant.

    Raises
    ------
    InvalidParameter: there is no such tenant or setting, or a value is not allowed.
    """
    with store.transaction():
        before = store.tenants.first(name=name)
        if before is None:
            raise InvalidParameter("tenant", name, ", ".join(each.name for each in store.tenants.all()))
        (after,) = read_tenants_of({name: {**asdict(before), **changes}})
        store.tenants.put(after)
    return after


def _check_changes(changes: Mapping[str, Any]) -> None:
    known = [field.name for field in fields(BudgetState) if field.name not in ("scope", "unit")]
    for name, value in changes.items():
        check_choice("budget field", name, known)
        if name in AMOUNTS:
            check_amount(name, value)
        if name == "status":
            check_choice("status", value, BUDGET_STATUSES)


def _budget(store: Store, scope: str, unit: str) -> BudgetState:
    budget = store.budgets.first(scope=scope, unit=unit)
    if budget is None:
        known = ", ".join(f"{each.scope} in {each.unit}" for each in store.budgets.all())
        raise InvalidParameter("scope, unit", (scope, unit), known or "nothing: the ledger has no budgets")
    return budget


def _left_by(budget: BudgetState) -> int:
    return budget.allocated - budget.spent - budget.reserved - budget.debt
