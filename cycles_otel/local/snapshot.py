"""What the ledger holds, as immutable values: budgets, reservations, events, and a snapshot of them all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cycles_otel.local.errors import InvalidParameter


@dataclass(frozen=True)
class BudgetState:
    """One budget, all amounts in `unit`. `remaining` may be negative: then the scope owes."""

    scope: str
    unit: str
    allocated: int
    remaining: int
    reserved: int
    spent: int
    debt: int
    overdraft_limit: int
    is_over_limit: bool
    status: str
    caps: dict[str, Any] | None


@dataclass(frozen=True)
class ReservationState:
    """One reservation. Times are in ms since the epoch, amounts in `unit`; `charged` is None until it is committed."""

    id: str
    tenant: str
    status: str
    idempotency_key: str
    subject: dict[str, Any]
    action: dict[str, Any]
    unit: str
    reserved: int
    overage_policy: str
    scope_path: str
    affected_scopes: list[str]
    budgeted_scopes: list[str]
    created_ms: int
    expires_ms: int
    grace_ms: int
    max_extensions: int
    metadata: dict[str, Any] | None
    extensions: int = 0
    charged: int | None = None
    finalized_ms: int | None = None
    commit_metadata: dict[str, Any] | None = None
    commit_metrics: dict[str, Any] | None = None
    release_reason: str | None = None


@dataclass(frozen=True)
class EventState:
    """One direct debit. `actual` is what was reported, `charged` what the budgets could cover, both in `unit`."""

    id: str
    tenant: str
    idempotency_key: str
    subject: dict[str, Any]
    action: dict[str, Any]
    unit: str
    actual: int
    charged: int
    overage_policy: str
    scope_path: str
    created_ms: int
    metrics: dict[str, Any] | None
    metadata: dict[str, Any] | None
    client_time_ms: int | None


@dataclass(frozen=True)
class LedgerSnapshot:
    """Everything the ledger held at one moment."""

    budgets: Mapping[tuple[str, str], BudgetState]
    reservations: tuple[ReservationState, ...]
    events: tuple[EventState, ...]

    def budget(self, scope: str, unit: str = "USD_MICROCENTS") -> BudgetState:
        """The budget at exactly `scope` and `unit`.

        Raises
        ------
        InvalidParameter: there is none.
        """
        if (scope, unit) not in self.budgets:
            known = ", ".join(f"{a} in {b}" for a, b in self.budgets) or "nothing: the ledger has no budgets"
            raise InvalidParameter("scope, unit", (scope, unit), known)
        return self.budgets[scope, unit]

    def reservation(self, reservation_id: str) -> ReservationState:
        """The reservation with this id.

        Raises
        ------
        InvalidParameter: there is none.
        """
        for reservation in self.reservations:
            if reservation.id == reservation_id:
                return reservation
        raise InvalidParameter("reservation_id", reservation_id, "the id of a reservation in the ledger")

    @property
    def active(self) -> tuple[ReservationState, ...]:
        """The reservations that are neither settled nor swept, oldest first."""
        return self.with_status("ACTIVE")

    @property
    def committed(self) -> tuple[ReservationState, ...]:
        """The reservations that were committed, oldest first."""
        return self.with_status("COMMITTED")

    @property
    def released(self) -> tuple[ReservationState, ...]:
        """The reservations that were released, oldest first."""
        return self.with_status("RELEASED")

    def with_status(self, status: str) -> tuple[ReservationState, ...]:
        """The reservations in `status` (ACTIVE, COMMITTED, RELEASED, EXPIRED), oldest first."""
        return tuple(reservation for reservation in self.reservations if reservation.status == status)

    def charged(self, unit: str = "USD_MICROCENTS", tenant: str | None = None) -> int:
        """What commits and events were charged in `unit`, each once however many scopes it passed, debt included."""
        entries: list[ReservationState | EventState] = [*self.reservations, *self.events]
        return sum(entry.charged or 0 for entry in entries if entry.unit == unit and tenant in (None, entry.tenant))

    def held(self, unit: str = "USD_MICROCENTS", tenant: str | None = None) -> int:
        """What the active reservations hold in `unit`, each once."""
        return sum(each.reserved for each in self.active if each.unit == unit and tenant in (None, each.tenant))
