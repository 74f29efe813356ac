"""The bodies of the requests, as the protocol has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runcycles import CommitOveragePolicy

from cycles_otel.budget.policy import Policy
from cycles_otel.budget.step import Step


@dataclass(frozen=True)
class Spend:
    """What a step really used.

    Parameters
    ----------
    amount: in whole units of the step's unit.
    source: where the amount is from: ``usage``, ``price``, ``risk_points`` or ``estimate``.
    metrics: the protocol's metrics of a commit (``tokens_input``, ``latency_ms``…).
    """

    amount: int
    source: str
    metrics: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None


def reserve_body(step: Step, policy: Policy) -> dict[str, Any]:
    """``POST /v1/reservations``."""
    body = {
        **_what(step, "dry_run" if policy.dry_run else "reserve"),
        "estimate": {"unit": step.unit.value, "amount": step.amount},
        "ttl_ms": policy.ttl_ms,
        "overage_policy": policy.overage_policy.value,
    }
    if policy.dry_run:
        body["dry_run"] = True
    return body


def decide_body(step: Step) -> dict[str, Any]:
    """``POST /v1/decide``."""
    return {**_what(step, "decide"), "estimate": {"unit": step.unit.value, "amount": step.amount}}


def commit_body(step: Step, spend: Spend) -> dict[str, Any]:
    """``POST /v1/reservations/{id}/commit``."""
    body = {"idempotency_key": step.idempotency_key("commit"), "actual": _actual(step, spend)}
    return body | _optional(metrics=spend.metrics, metadata=spend.metadata)


def charge_body(step: Step, spend: Spend, policy: CommitOveragePolicy) -> dict[str, Any]:
    """``POST /v1/events`` for a spend that no commit can charge; it keeps the key of the commit.

    It never asks for REJECT: the spend is a fact, and what the budget cannot cover shows as uncharged, or as debt.
    """
    overdraft = policy is CommitOveragePolicy.ALLOW_WITH_OVERDRAFT
    overage = policy if overdraft else CommitOveragePolicy.ALLOW_IF_AVAILABLE
    body = {**_what(step, "commit"), "actual": _actual(step, spend), "overage_policy": overage.value}
    return body | _optional(metrics=spend.metrics, metadata=spend.metadata)


def in_full(charge: Mapping[str, Any] | None) -> dict[str, Any]:
    """The same charge where the budget covers all of it, and nothing otherwise."""
    return {**(charge or {}), "overage_policy": CommitOveragePolicy.REJECT.value}


def as_covered(charge: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The same charge of what the budget covers, without debt; None where that is what was asked for."""
    capped = CommitOveragePolicy.ALLOW_IF_AVAILABLE.value
    if charge is None or charge.get("overage_policy") == capped:
        return None
    return {**charge, "overage_policy": capped}


def event_body(step: Step) -> dict[str, Any]:
    """``POST /v1/events`` for something that happened, such as a handoff."""
    return {**_what(step, "event"), "actual": {"unit": step.unit.value, "amount": step.amount}}


def release_body(step: Step, reason: str) -> dict[str, Any]:
    """``POST /v1/reservations/{id}/release``."""
    return {"idempotency_key": step.idempotency_key("release"), "reason": reason[:256]}


def release_body_of(commit: Mapping[str, Any], reason: str) -> dict[str, Any]:
    """The release that follows a commit which another process could not settle."""
    key = str(commit["idempotency_key"]).removesuffix("-commit")
    return {"idempotency_key": f"{key}-release", "reason": reason}


def extend_body(step: Step, sequence: int, extend_by_ms: int) -> dict[str, Any]:
    """``POST /v1/reservations/{id}/extend``, the ``sequence``-th beat of the step."""
    return {"idempotency_key": step.idempotency_key(f"extend-{sequence}"), "extend_by_ms": extend_by_ms}


def _what(step: Step, operation: str) -> dict[str, Any]:
    body = {
        "idempotency_key": step.idempotency_key(operation),
        "subject": step.subject.to_body(),
        "action": {"kind": step.action.kind, "name": step.action.name},
    }
    return body | _optional(metadata=step.metadata)


def _actual(step: Step, spend: Spend) -> dict[str, Any]:
    return {"unit": step.unit.value, "amount": spend.amount}


def _optional(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value}
