"""From a verdict that stops a step to the exception that says why, and what to mend."""

from __future__ import annotations

from typing import Any

from runcycles import Unit

from cycles_otel.budget.decision import NO_BUDGET, UNIT_MISMATCH, Ruling, Verdict, retry_after
from cycles_otel.budget.step import Step
from cycles_otel.errors import DENIALS, CyclesConfigurationError, CyclesUnavailableError, StepDeniedError


def raise_unless_it_goes(verdict: Verdict, step: Step) -> None:
    """Raise what stops the step, if anything does.

    Raises ``StepDeniedError`` (a ``BudgetExceededError``), ``CyclesConfigurationError`` or
    ``CyclesUnavailableError``.
    """
    if verdict.ruling is Ruling.DENIED:
        raise denial(step, verdict.reason, verdict.message, verdict)
    if verdict.ruling is Ruling.MISCONFIGURED:
        raise _misconfigured(verdict, step)
    if verdict.ruling is Ruling.UNAVAILABLE:
        raise CyclesUnavailableError(
            f"{_named(step)} was not started: Cycles gave no answer ({verdict.reason}), and fail_open=False",
            error_type=verdict.reason,
            cause=verdict.response.transport_exception,
        )


def denial(step: Step, reason_code: str, message: str, verdict: Verdict | None = None) -> StepDeniedError:
    """The denial of a step, by the server or by caps that the server has set."""
    scope = scope_path(step)
    hint = ". Create a budget for it, or set unbudgeted='allow'" if reason_code == NO_BUDGET else ""
    return DENIALS.get(reason_code, StepDeniedError)(
        f"{_named(step)} was denied: {reason_code} at {scope} for {step.amount} {step.unit.value} ({message}){hint}",
        reason_code=reason_code,
        scope=scope,
        unit=step.unit.value,
        amount=step.amount,
        trace_id=verdict.body.get("trace_id") if verdict else None,
        **_protocol_facts(verdict),
    )


def scope_path(step: Step) -> str:
    """The deepest scope of a step's subject, as the protocol writes it."""
    return "/".join(f"{level}:{value.lower()}" for level, value in step.subject.to_body().items())


def _misconfigured(verdict: Verdict, step: Step) -> CyclesConfigurationError:
    return CyclesConfigurationError(
        f"{_named(step)} was refused by Cycles with {verdict.response.status} {verdict.reason}: {verdict.message}. "
        f"{what_to_mend(verdict, step)}",
        reason_code=verdict.reason,
        **_protocol_facts(verdict),
    )


def what_to_mend(verdict: Verdict, step: Step) -> str:
    """What to change where the server refused a request because of how the program is set up."""
    if verdict.reason == UNIT_MISMATCH:
        details = verdict.body.get("details") or {}
        scope, unit = details.get("scope", scope_path(step)), step.unit.value
        setting = "default_tool_risk=0" if step.unit is Unit.RISK_POINTS else "another llm_unit"
        return f"Create a {unit} budget at {scope}, or set {setting}, or unbudgeted='allow'"
    if verdict.response.status == 401:
        return "Check the key (CYCLES_API_KEY, or api_key of the config)"
    if verdict.response.status == 403:
        return f"The key must belong to the tenant {step.subject.tenant!r}, and be allowed to reserve"
    return "Check the parameters of the hooks against the message"


def _protocol_facts(verdict: Verdict | None) -> dict[str, Any]:
    if verdict is None:
        return {}
    return {
        "status": verdict.response.status,
        "error_code": verdict.body.get("error") or verdict.reason,
        "request_id": verdict.body.get("request_id") or verdict.response.request_id,
        "details": verdict.body.get("details"),
        "retry_after_ms": _retry_after_ms(verdict),
    }


def _retry_after_ms(verdict: Verdict) -> int | None:
    """When another try may help, as the reply's body or its header says."""
    given = verdict.body.get("retry_after_ms")
    if isinstance(given, int) and given >= 0:
        return given
    pause = retry_after(verdict.response)
    return None if pause is None else round(pause * 1000)


def _named(step: Step) -> str:
    what = {"llm.completion": "The LLM call", "agent.run": "The run"}.get(step.action.kind, "The tool call")
    return f"{what} {step.action.name!r}"
