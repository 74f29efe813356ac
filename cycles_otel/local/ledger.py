"""The rules of the money: what reserve, commit, release, extend, decide and event do to budgets and reservations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from uuid import uuid4

from cycles_otel.local import errors, replies
from cycles_otel.local.bodies import DEFAULT_GRACE_MS
from cycles_otel.local.clock import Clock
from cycles_otel.local.idempotency import DAY_MS, Idempotency
from cycles_otel.local.overage import cover
from cycles_otel.local.replies import Json, amount, balance
from cycles_otel.local.scopes import UNITS, derive_scopes
from cycles_otel.local.snapshot import BudgetState, EventState, ReservationState
from cycles_otel.local.store import Store
from cycles_otel.local.tenants import Tenant

DEFAULT_TTL_MS = 60_000
MAX_TTL_MS = 3_600_000
MAX_EXTENSIONS = 10


class Ledger:
    """Budgets and the holds on them. Each method is one operation of the protocol and one transaction.

    Bodies are those of `bodies.py`, replies are JSON objects; what is refused raises `ProtocolError`.

    Args:
        store: where everything is kept.
        clock: the time that expiry goes by.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._idempotency = Idempotency(store, clock)

    def reserve(self, tenant: str, body: Json) -> Json:
        """Hold the estimate on all budgets of the subject; with `dry_run` only say whether that could be done."""
        with self._store.transaction():
            reply = self._idempotency.recall(tenant, "reserve", body["idempotency_key"], body)
            if reply is not None:
                return self._with_fresh_ttl(reply, reply.get("reservation_id"))
            if body["dry_run"]:
                reply = self._dry_run(tenant, body)
                forget_ms = self._clock() + DAY_MS
            else:
                reply, forget_ms = self._hold(self._open_tenant(tenant), body)
            self._idempotency.remember(tenant, "reserve", body["idempotency_key"], body, reply, forget_ms)
            return reply

    def _hold(self, tenant: Tenant, body: Json) -> tuple[Json, int]:
        now = self._clock()
        scopes = derive_scopes(body["subject"])
        unit, estimate = body["estimate"]["unit"], body["estimate"]["amount"]
        held = [
            replace(budget, reserved=budget.reserved + estimate, remaining=budget.remaining - estimate)
            for budget in self._budgets_that_can_hold(scopes, unit, estimate)
        ]
        ttl_ms = _ttl_ms(tenant, body["ttl_ms"])
        reservation = ReservationState(
            id=str(uuid4()),
            tenant=tenant.name,
            status="ACTIVE",
            idempotency_key=body["idempotency_key"],
            subject=body["subject"],
            action=body["action"],
            unit=unit,
            reserved=estimate,
            charged=None,
            overage_policy=_overage_policy(tenant, body),
            scope_path=scopes[-1],
            affected_scopes=scopes,
            budgeted_scopes=[budget.scope for budget in held],
            created_ms=now,
            expires_ms=now + ttl_ms,
            grace_ms=DEFAULT_GRACE_MS if body["grace_period_ms"] is None else body["grace_period_ms"],
            finalized_ms=None,
            extensions=0,
            max_extensions=_or_default(tenant.max_reservation_extensions, MAX_EXTENSIONS),
            metadata=body["metadata"],
            commit_metadata=None,
            commit_metrics=None,
            release_reason=None,
        )
        self._write(held, reservation)
        reply = {
            **_allowance(held, scopes[-1]),
            "reservation_id": reservation.id,
            "affected_scopes": scopes,
            "expires_at_ms": reservation.expires_ms,
            "remaining_ttl_ms": ttl_ms,
            "scope_path": scopes[-1],
            "reserved": amount(unit, estimate),
            "balances": [balance(budget) for budget in held],
        }
        return reply, now + max(ttl_ms + reservation.grace_ms, DAY_MS)

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
            key = body["idempotency_key"]
            reply = self._idempotency.recall(tenant, "decide", key, body)
            if reply is None:
                reply = self._decision(tenant, body)
                self._idempotency.remember(tenant, "decide", key, body, reply, self._clock() + DAY_MS)
            return reply

    def _decision(self, tenant: str, body: Json) -> Json:
        scopes = derive_scopes(body["subject"])
        try:
            budgets = self._evaluate(tenant, scopes, body["estimate"])
        except errors.Denial as denial:
            return {"decision": "DENY", "reason_code": denial.reason_code, "affected_scopes": scopes}
        return {**_allowance(budgets, scopes[-1]), "affected_scopes": scopes}

    def _evaluate(self, tenant: str, scopes: Sequence[str], estimate: Json) -> list[BudgetState]:
        self._open_tenant(tenant)
        return self._budgets_that_can_hold(scopes, estimate["unit"], estimate["amount"])

    def commit(self, reservation_id: str, body: Json) -> Json:
        """Charge what was really used, and give back the rest of the hold."""
        with self._store.transaction():
            reservation = self.reservation(reservation_id)
            key = f"{reservation_id}:{body['idempotency_key']}"
            reply = self._idempotency.recall(reservation.tenant, "commit", key, body)
            if reply is None:
                reply = self._commit(reservation, body)
                self._idempotency.remember(reservation.tenant, "commit", key, body, reply)
            return reply

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
            key = f"{reservation_id}:{body['idempotency_key']}"
            reply = self._idempotency.recall(reservation.tenant, "release", key, body)
            if reply is None:
                reply = self._release(reservation, body)
                self._idempotency.remember(reservation.tenant, "release", key, body, reply)
            return reply

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
            key = f"{reservation_id}:{body['idempotency_key']}"
            reply = self._idempotency.recall(reservation.tenant, "extend", key, body)
            if reply is not None:
                return self._with_fresh_ttl(reply, reservation_id)
            extended = self._extended(reservation, body["extend_by_ms"])
            budgets = self._budgets_of(reservation)
            self._write([], extended)
            reply = {
                "status": "ACTIVE",
                "expires_at_ms": extended.expires_ms,
                "remaining_ttl_ms": extended.expires_ms - self._clock(),
                "balances": [balance(budget) for budget in budgets],
            }
            self._idempotency.remember(reservation.tenant, "extend", key, body, reply, extended.expires_ms)
            return reply

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
            key = body["idempotency_key"]
            reply = self._idempotency.recall(tenant, "event", key, body)
            if reply is None:
                reply = self._event(self._open_tenant(tenant), body)
                self._idempotency.remember(tenant, "event", key, body, reply, self._clock() + 7 * DAY_MS)
            return reply

    def _event(self, tenant: Tenant, body: Json) -> Json:
        scopes = derive_scopes(body["subject"])
        unit, actual = body["actual"]["unit"], body["actual"]["amount"]
        policy = _overage_policy(tenant, body)
        budgets = self._budgets_on(scopes, unit)
        for budget in budgets:
            _refuse_unless_open(budget)
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

        Raises:
            ProtocolError: 404, there never was one.
        """
        reservation = self._store.reservations.first(id=reservation_id)
        if reservation is None:
            raise errors.not_found(reservation_id)
        return reservation

    def describe(self, reservation: ReservationState) -> Json:
        """The reservation as a client sees it.

        Raises:
            ProtocolError: 410, it was swept.
        """
        if reservation.status == "EXPIRED":
            raise errors.reservation_expired()
        return replies.reservation(reservation)

    def _budgets_that_can_hold(self, scopes: Sequence[str], unit: str, estimate: int) -> list[BudgetState]:
        budgets = self._budgets_on(scopes, unit)
        for budget in budgets:
            _refuse_unless_open(budget)
            if budget.is_over_limit:
                raise errors.overdraft_limit_exceeded("Scope is over-limit, no new reservations allowed")
            if budget.debt > 0 and budget.overdraft_limit == 0:
                raise errors.debt_outstanding()
            if budget.remaining < estimate:
                raise errors.budget_exceeded()
        return budgets

    def _budgets_on(self, scopes: Sequence[str], unit: str) -> list[BudgetState]:
        on_the_way = [self._store.budgets.all(scope=scope) for scope in scopes]
        budgets = [budget for at_scope in on_the_way for budget in at_scope if budget.unit == unit]
        if budgets:
            return budgets
        for scope, others in zip(scopes, on_the_way, strict=True):
            if others:
                raise errors.unit_mismatch(scope, unit, sorted((each.unit for each in others), key=UNITS.index))
        raise errors.budget_not_found(scopes[-1])

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

    def _with_fresh_ttl(self, reply: Json, reservation_id: str | None) -> Json:
        if reservation_id is None or "remaining_ttl_ms" not in reply:
            return reply
        is_active = self.reservation(reservation_id).status == "ACTIVE"
        left = max(0, reply["expires_at_ms"] - self._clock()) if is_active else 0
        return {**reply, "remaining_ttl_ms": left}


def _refuse_unless_open(budget: BudgetState) -> None:
    if budget.status != "ACTIVE":
        raise errors.budget_not_active(budget.scope, budget.status)


def _allowance(budgets: Sequence[BudgetState], scope_path: str) -> Json:
    caps = next((budget.caps for budget in budgets if budget.scope == scope_path and budget.caps), None)
    return {"decision": "ALLOW"} if caps is None else {"decision": "ALLOW_WITH_CAPS", "caps": caps}


def _overage_policy(tenant: Tenant, body: Json) -> str:
    policy: str | None = body["overage_policy"] or tenant.default_commit_overage_policy
    return policy or "ALLOW_IF_AVAILABLE"


def _ttl_ms(tenant: Tenant, asked_ms: int | None) -> int:
    ttl_ms = _or_default(asked_ms, _or_default(tenant.default_reservation_ttl_ms, DEFAULT_TTL_MS))
    return min(ttl_ms, _or_default(tenant.max_reservation_ttl_ms, MAX_TTL_MS))


def _or_default(value: int | None, default: int) -> int:
    return default if value is None else value
