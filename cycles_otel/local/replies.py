"""The JSON of replies: balances and reservations as the wire shows them."""

from __future__ import annotations

from typing import Any

from cycles_otel.local.scopes import LEVELS, leaf_of
from cycles_otel.local.snapshot import BudgetState, ReservationState

Json = dict[str, Any]

ALL_METADATA = frozenset({"metadata", "committed_metadata"})


def amount(unit: str, value: int) -> Json:
    """An amount with its unit."""
    return {"unit": unit, "amount": value}


def balance(budget: BudgetState) -> Json:
    """A budget as a balance; debt, overdraft and over-limit are shown only where there are any."""
    shown: Json = {
        "scope": leaf_of(budget.scope),
        "scope_path": budget.scope,
        "remaining": amount(budget.unit, budget.remaining),
        "reserved": amount(budget.unit, budget.reserved),
        "spent": amount(budget.unit, budget.spent),
        "allocated": amount(budget.unit, budget.allocated),
    }
    if budget.debt > 0:
        shown["debt"] = amount(budget.unit, budget.debt)
    if budget.overdraft_limit > 0:
        shown["overdraft_limit"] = amount(budget.unit, budget.overdraft_limit)
    if budget.is_over_limit:
        shown["is_over_limit"] = True
    return shown


def reservation(state: ReservationState, include: frozenset[str] = ALL_METADATA) -> Json:
    """A reservation, with those metadata maps that `include` names."""
    shown: Json = {
        "reservation_id": state.id,
        "status": state.status,
        "idempotency_key": state.idempotency_key,
        "subject": {name: state.subject.get(name) for name in (*LEVELS, "dimensions")},
        "action": {name: state.action.get(name) for name in ("kind", "name", "tags")},
        "reserved": amount(state.unit, state.reserved),
        "created_at_ms": state.created_ms,
        "expires_at_ms": state.expires_ms,
        "scope_path": state.scope_path,
        "affected_scopes": state.affected_scopes,
    }
    if state.finalized_ms is not None:
        shown["finalized_at_ms"] = state.finalized_ms
    if state.charged is not None:
        shown["committed"] = amount(state.unit, state.charged)
    if state.metadata is not None and "metadata" in include:
        shown["metadata"] = state.metadata
    if state.commit_metadata is not None and "committed_metadata" in include:
        shown["committed_metadata"] = state.commit_metadata
    return shown


def page(name: str, items: list[Json], next_cursor: str | None) -> Json:
    """One page of a list; both fields about the next one are always there."""
    return {name: items, "has_more": next_cursor is not None, "next_cursor": next_cursor}
