"""The rules of the money: what reserve, commit, release, extend, decide and event do to budgets and reservations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from uuid import uuid4

from cycles_otel.local import errors
from cycles_otel.local.admission import budgets_on, budgets_that_can_hold, refuse_unless_open
from cycles_otel.local.bodies import DEFAULT_GRACE_MS
from cycles_otel.local.clock import Clock
from cycles_otel.local.idempotency import DAY_MS, Idempotency
from cycles_otel.local.overage import cover
from cycles_otel.local.replies import Json, amount, balance
from cycles_otel.local.scopes import derive_scopes
from cycles_otel.local.snapshot import BudgetState, EventState, ReservationState
from cycles_otel.local.store import Store
from cycles_otel.local.tenants import Tenant


class Ledger:
    """Budgets and the holds on them. Each method is one operation of the protocol and one transaction.

    Bodies are those of `bodies.py`, replies are JSON objects; what is refused raises `ProtocolError`.

    Parameters
    ----------
    store: where everything is kept.
    clock: the time that expiry goes by.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._idempotency = Idempotency(store, clock)

    def reserve(self, tenant: str, body: Json) -> Json:
        """Hold the estimate on all budgets of the subject; with `dry_run` only say whether that could be done."""
        act = self._dry_run if body["dry_run"] else self._hold
        kept_ms = max((body["ttl_ms"] or 0) + (body["grace_period_ms"] or 0), DAY_MS)
        with self._store.transaction():
            reply = self._once(tenant, "reserve", "", body, lambda: act(tenant, body), kept_ms)
            return self._with_fresh_ttl(reply, reply.get("reservation_id"))

    def _hold(self, tenant_name: str, body: Json) -> Json:
        tenant = self._open_tenant(tenant_name)
        scopes = derive_scopes(body["subject"])
        unit, estimate = body["estimate"]["unit"], body["estimate"]["amount"]
        held = [
            replace(budget, reserved=budget.reserved + estimate, remaining=budget.remaining - estimate)
            for budget in budgets_that_can_hold(self._store, scopes, unit, estimate)
        ]
        reservation = _new_reservation(tenant, body, scopes, held, self._clock())
        self._write(held, reservation)
        return {
            **_allowance(held, scopes[-1]),
            "reservation_id": reservation.id,
            "affected_scopes": scopes,
            "expires_at_ms": reservation.expires_ms,
            "remaining_ttl_ms": 0,  # told afresh by each reply
            "scope_path": scopes[-1],
            "reserved": amount(unit, estimate),
            "balances": [balance(budget) for budget in held],
        }

    def _dry_run(self, tenant: str, body: Json) -> Json:
        scopes = derive_scopes(body["subject"])
        reply: Json = {"affected_scopes": scopes, "scope_path": scopes[-1]}
        try:
            budgets = self._evaluate(tenant, scopes, body["estimate"])
        except errors.Denial as denial:
            return {"decision": "DENY", **reply, "reason_code": denial.reason_code}
        reply |= {"reserved": body["estimate"], "balances": [balance(budget) for budget in budgets]}
        return {**_allowance(budgets, scopes[-1]), **reply}

    def decide(self, tenant: str, body: Json) -> Json:
        """Say whether the estimate could be reserved; nothing is held."""
        with self._store.transaction():
            return self._once(tenant, "decide", "", body, lambda: self._decision(tenant, body), DAY_MS)

    def _decision(self, tenant: str, body: Json) -> Json:
        scopes = derive_scopes(body["subject"])
        try:
            budgets = self._evaluate(tenant, scopes, body["estimate"])
        except errors.Denial as denial:
            return {"decision": "DENY", "reason_code": denial.reason_code, "affected_scopes": scopes}
        return {**_allowance(budgets, scopes[-1]), "affected_scopes": scopes}

    def _evaluate(self, tenant: str, scopes: Sequence[str], estimate: Json) -> list[BudgetState]:
        self._open_tenant(tenant)
        return budgets_that_can_hold(self._store, scopes, estimate["unit"], estimate["amount"])

    def commit(self, reservation_id: str, body: Json) -> Json:
        """Charge what was really used, and give back the rest of the hold."""
        with self._store.transaction():
            reservation = self.reservation(reservation_id)
            tenant = reservation.tenant
            return self._once(tenant, "commit", reservation_id, body, lambda: self._commit(reservation, body))

    def _commit(self, reservation: ReservationState, body: Json) -> Json:
        self._refuse_unless_active(reservation)
        unit, actual = body["actual"]["unit"], body["actual"]["amount"]
        if unit != reservation.unit:
            raise errors.commit_unit_mismatch()
        now = self._refuse_after(reservation.expires_ms + reservation.grace_ms)
        budgets, charged = self._charged_against(reservation, actual)
        committed = replace(
            reservation,
            status="COMMITTED",
            charged=charged,
            finalized_ms=now,
            commit_metadata=body["metadata"],
            commit_metrics=body["metrics"],
        )
        self._write(budgets, committed)
        reply: Json = {"status": "COMMITTED", "charged": amount(unit, charged)}
        if charged < reservation.reserved:
            reply["released"] = amount(unit, reservation.reserved - charged)
        return reply | {"balances": [balance(budget) for budget in budgets]}

    def _charged_against(self, reservation: ReservationState, actual: int) -> tuple[list[BudgetState], int]:
        budgets = self._budgets_of(reservation)
        held, overage = reservation.reserved, actual - reservation.reserved
        covered = 0
        if overage > 0:
            if reservation.overage_policy == "REJECT":
                raise errors.budget_exceeded("Actual exceeds estimate and policy is REJECT")
            budgets, covered = cover(budgets, overage, reservation.overage_policy)
        used = min(actual, held)
        settled = [
            replace(
                budget,
                reserved=budget.reserved - held,
                remaining=budget.remaining + held - used,
                spent=budget.spent + used,
            )
            for budget in budgets
        ]
        return settled, used + covered

    def release(self, reservation_id: str, body: Json) -> Json:
        """Give back the whole hold."""
        with self._store.transaction():
            reservation = self.reservation(reservation_id)
            tenant = reservation.tenant
            return self._once(tenant, "release", reservation_id, body, lambda: self._release(reservation, body))

    def _release(self, reservation: ReservationState, body: Json) -> Json:
        self._refuse_unless_active(reservation)
        now = self._refuse_after(reservation.expires_ms + reservation.grace_ms)
        budgets = self._given_back(reservation)
        self._write(budgets, replace(reservation, status="RELEASED", finalized_ms=now, release_reason=body["reason"]))
        return {
            "status": "RELEASED",
            "released": amount(reservation.unit, reservation.reserved),
            "balances": [balance(budget) for budget in budgets],
        }

    def extend(self, reservation_id: str, body: Json) -> Json:
        """Move the expiry of a reservation out by `extend_by_ms`."""
        with self._store.transaction():
            reservation = self.reservation(reservation_id)
            tenant = reservation.tenant
            kept_ms = reservation.expires_ms + body["extend_by_ms"] - self._clock()
            reply = self._once(tenant, "extend", reservation_id, body, lambda: self._extend(reservation, body), kept_ms)
            return self._with_fresh_ttl(reply, reservation_id)

    def _extend(self, reservation: ReservationState, body: Json) -> Json:
        extended = self._extended(reservation, body["extend_by_ms"])
        self._write([], extended)
        return {
            "status": "ACTIVE",
            "expires_at_ms": extended.expires_ms,
            "remaining_ttl_ms": 0,  # told afresh by each reply
            "balances": [balance(budget) for budget in self._budgets_of(extended)],
        }

    def _extended(self, reservation: ReservationState, extend_by_ms: int) -> ReservationState:
        self._refuse_unless_active(reservation)
        self._refuse_after(reservation.expires_ms)
        if reservation.extensions >= reservation.max_extensions:
            raise errors.max_extensions_exceeded(reservation.max_extensions)
        return replace(
            reservation, expires_ms=reservation.expires_ms + extend_by_ms, extensions=reservation.extensions + 1
        )

    def event(self, tenant: str, body: Json) -> Json:
        """Charge something that happened without a reservation."""
        with self._store.transaction():
            return self._once(tenant, "event", "", body, lambda: self._event(tenant, body), 7 * DAY_MS)

    def _event(self, tenant_name: str, body: Json) -> Json:
        tenant = self._open_tenant(tenant_name)
        scopes = derive_scopes(body["subject"])
        unit, actual = body["actual"]["unit"], body["actual"]["amount"]
        policy = tenant.overage_policy(body["overage_policy"])
        budgets = budgets_on(self._store, scopes, unit)
        for budget in budgets:
            refuse_unless_open(budget)
            if policy == "REJECT" and budget.remaining < actual:
                raise errors.budget_exceeded()
        budgets, charged = cover(budgets, actual, policy)
        event = EventState(
            id=str(uuid4()),
            tenant=tenant.name,
            idempotency_key=body["idempotency_key"],
            subject=body["subject"],
            action=body["action"],
            unit=unit,
            actual=actual,
            charged=charged,
            overage_policy=policy,
            scope_path=scopes[-1],
            created_ms=self._clock(),
            metrics=body["metrics"],
            metadata=body["metadata"],
            client_time_ms=body["client_time_ms"],
        )
        self._write(budgets)
        self._store.events.put(event)
        reply: Json = {"status": "APPLIED", "event_id": event.id}
        if charged < actual:
            reply["charged"] = amount(unit, charged)
        return reply | {"balances": [balance(budget) for budget in budgets]}

    def expire_due(self) -> list[ReservationState]:
        """Give back the holds of all reservations whose grace is over, and return them."""
        with self._store.transaction():
            now = self._clock()
            active = self._store.reservations.all(status="ACTIVE")
            due = [each for each in active if now > each.expires_ms + each.grace_ms]
            for reservation in due:
                self._write(self._given_back(reservation), replace(reservation, status="EXPIRED"))
            return due

    def reservation(self, reservation_id: str) -> ReservationState:
        """The reservation with this id.

        Raises
        ------
        ProtocolError: 404, there never was one.
        """
        reservation = self._store.reservations.first(id=reservation_id)
        if reservation is None:
            raise errors.not_found(reservation_id)
        return reservation

    def _budgets_of(self, reservation: ReservationState) -> list[BudgetState]:
        found = (self._store.budgets.first(scope=scope, unit=reservation.unit) for scope in reservation.budgeted_scopes)
        return [budget for budget in found if budget is not None]

    def _given_back(self, reservation: ReservationState) -> list[BudgetState]:
        held = reservation.reserved
        return [
            replace(budget, reserved=budget.reserved - held, remaining=budget.remaining + held)
            for budget in self._budgets_of(reservation)
        ]

    def _write(self, budgets: Sequence[BudgetState], reservation: ReservationState | None = None) -> None:
        for budget in budgets:
            self._store.budgets.put(budget)
        if reservation is not None:
            self._store.reservations.put(reservation)

    def _open_tenant(self, name: str) -> Tenant:
        tenant = self._store.tenants.first(name=name) or Tenant(name)
        if tenant.status == "CLOSED":
            raise errors.tenant_closed(name)
        return tenant

    def _refuse_unless_active(self, reservation: ReservationState) -> None:
        self._open_tenant(reservation.tenant)
        if reservation.status == "EXPIRED":
            raise errors.reservation_expired()
        if reservation.status != "ACTIVE":
            raise errors.reservation_finalized()

    def _refuse_after(self, deadline_ms: int) -> int:
        now = self._clock()
        if now > deadline_ms:
            raise errors.reservation_expired()
        return now

    def _once(
        self, tenant: str, operation: str, target: str, body: Json, act: Callable[[], Json], kept_ms: int | None = None
    ) -> Json:
        key = f"{target}:{body['idempotency_key']}"
        reply = self._idempotency.recall(tenant, operation, key, body)
        if reply is None:
            reply = act()
            self._idempotency.remember(tenant, operation, key, body, reply, kept_ms)
        return reply

    def _with_fresh_ttl(self, reply: Json, reservation_id: str | None) -> Json:
        if reservation_id is None or "remaining_ttl_ms" not in reply:
            return reply
        is_active = self.reservation(reservation_id).status == "ACTIVE"
        left = max(0, reply["expires_at_ms"] - self._clock()) if is_active else 0
        return {**reply, "remaining_ttl_ms": left}


def _new_reservation(
    tenant: Tenant, body: Json, scopes: list[str], held: Sequence[BudgetState], now: int
) -> ReservationState:
    return ReservationState(
        id=str(uuid4()),
        tenant=tenant.name,
        status="ACTIVE",
        idempotency_key=body["idempotency_key"],
        subject=body["subject"],
        action=body["action"],
        unit=body["estimate"]["unit"],
        reserved=body["estimate"]["amount"],
        overage_policy=tenant.overage_policy(body["overage_policy"]),
        scope_path=scopes[-1],
        affected_scopes=scopes,
        budgeted_scopes=[budget.scope for budget in held],
        created_ms=now,
        expires_ms=now + tenant.ttl_ms(body["ttl_ms"]),
        grace_ms=DEFAULT_GRACE_MS if body["grace_period_ms"] is None else body["grace_period_ms"],
        max_extensions=tenant.max_extensions,
        metadata=body["metadata"],
    )


def _allowance(budgets: Sequence[BudgetState], scope_path: str) -> Json:
    caps = next((budget.caps for budget in budgets if budget.scope == scope_path and budget.caps), None)
    return {"decision": "ALLOW"} if caps is None else {"decision": "ALLOW_WITH_CAPS", "caps": caps}
