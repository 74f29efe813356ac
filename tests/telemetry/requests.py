"""Bodies of requests, as a bare client sends them."""

from __future__ import annotations

import uuid
from typing import Any

from runcycles import Unit

from cycles_otel.budget.step import Action, Origin, Step
from cycles_otel.budget.subject import Subject

MODEL = "gpt-4o"


def reserve(amount: int = 100, *, unit: str = "USD_MICROCENTS", agent: str | None = "triage", **more: Any) -> Any:
    return {**_what(agent), "estimate": {"unit": unit, "amount": amount}, **more}


def event(amount: int, *, unit: str = "USD_MICROCENTS", agent: str | None = "triage", **more: Any) -> Any:
    return {**_what(agent), "actual": {"unit": unit, "amount": amount}, **more}


def commit(amount: int, *, unit: str = "USD_MICROCENTS", **more: Any) -> Any:
    return {"idempotency_key": uuid.uuid4().hex, "actual": {"unit": unit, "amount": amount}, **more}


def release() -> Any:
    return {"idempotency_key": uuid.uuid4().hex, "reason": "requested"}


def extend(extend_by_ms: int = 1_000) -> Any:
    return {"idempotency_key": uuid.uuid4().hex, "extend_by_ms": extend_by_ms}


def step(amount: int = 100, *, agent: str = "Triage Agent", unit: Unit = Unit.USD_MICROCENTS) -> Step:
    origin = Origin(agent=agent, model=MODEL, run_id="run-1")
    return Step(Subject(tenant="acme", agent="triage"), Action("llm.completion", MODEL), unit, amount, origin)


def body_of(step: Step) -> Any:
    return {
        "idempotency_key": step.idempotency_key("reserve"),
        "subject": step.subject.to_body(),
        "action": {"kind": step.action.kind, "name": step.action.name},
        "estimate": {"unit": step.unit.value, "amount": step.amount},
    }


def _what(agent: str | None) -> dict[str, Any]:
    levels = {"tenant": "acme", "agent": agent}
    return {
        "idempotency_key": uuid.uuid4().hex,
        "subject": {level: value for level, value in levels.items() if value is not None},
        "action": {"kind": "llm.completion", "name": MODEL},
    }
