"""The budgets: whether each unit that the steps need has one on the way to their scope, and whether that suffices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from runcycles import CyclesResponse, Unit

from cycles_otel.api_key import without_key
from cycles_otel.budget.decision import NO_BUDGET, UNIT_MISMATCH, Ruling, Verdict, judge
from cycles_otel.budget.requests import reserve_body
from cycles_otel.budget.step import Step
from cycles_otel.doctor.conversation import Conversation
from cycles_otel.doctor.finding import Finding, well, wrong
from cycles_otel.doctor.setup import shadow
from cycles_otel.refusal import scope_path, what_to_mend

Remaining = tuple[str, str, int]
"""The scope of a budget, its unit, and what is left in it."""

_MEND = {
    "BUDGET_EXCEEDED": "Fund the budget, or reserve less (llm_estimate, tool_risk)",
    "BUDGET_FROZEN": "An operator has to unfreeze the budget",
    "BUDGET_CLOSED": "The budget is closed for good: create another one",
    "DEBT_OUTSTANDING": "Repay the debt of the budget",
    "OVERDRAFT_LIMIT_EXCEEDED": "An operator has to clear the overdraft of the budget",
}


def checks(steps: Sequence[Step]) -> list[str]:
    """The names of the checks that are made for these steps."""
    return [_check(step) for step in steps]


def look(server: Conversation, first_page: CyclesResponse, steps: Sequence[Step]) -> Iterator[Finding]:
    """A dry run of each step, whose reply is judged as that of a real one, beside the budgets that there are."""
    remaining = [each for balance in server.more_balances(first_page) if (each := _remaining(balance)) is not None]
    for step in steps:
        response = server.reserve(reserve_body(step, shadow()))
        verdict = judge("reserve", response, fail_open=False, dry_run=True)
        on_the_way = [each for each in remaining if _is_on_the_way(each, step)]
        yield _finding(server, step, verdict, on_the_way)


def _finding(server: Conversation, step: Step, verdict: Verdict, on_the_way: Sequence[Remaining]) -> Finding:
    check, asked_for = _check(step), f"{step.amount:,} {step.unit.value} at {scope_path(step)}"
    left = _left(step, on_the_way)
    if verdict.ruling is Ruling.GO:
        return well(check, f"{asked_for} would be held; {left}")
    found = f"{asked_for}: {verdict.reason} ({without_key(verdict.message, server.config.api_key)})"
    if verdict.ruling is Ruling.UNAVAILABLE:
        return wrong(check, found, server.mend_the_way_to(verdict.response))
    if verdict.ruling is Ruling.DENIED:
        return wrong(check, f"{found}; {left}", _mend_a_denial(verdict.reason, step))
    if verdict.reason == UNIT_MISMATCH:
        units = ", ".join(sorted({unit for _, unit, _ in on_the_way}))
        return wrong(check, f"{found}; the budgets on the way are in {units or '?'}", what_to_mend(verdict, step))
    return wrong(check, found, what_to_mend(verdict, step))


def _mend_a_denial(reason: str, step: Step) -> str:
    if reason in (NO_BUDGET, "NOT_FOUND"):
        setting = "default_tool_risk=0, or " if step.unit is Unit.RISK_POINTS else ""
        return f"Create a {step.unit.value} budget on the way to this scope, or set {setting}unbudgeted='allow'"
    return _MEND.get(reason, "Ask the operator of the server about the reason")


def _check(step: Step) -> str:
    return f"reserve {step.unit.value}"


def _remaining(balance: Mapping[str, Any]) -> Remaining | None:
    remaining = balance.get("remaining")
    if not isinstance(remaining, dict) or not isinstance(remaining.get("amount"), int):
        return None
    return str(balance.get("scope_path") or balance.get("scope")), str(remaining.get("unit")), remaining["amount"]


def _is_on_the_way(budget: Remaining, step: Step) -> bool:
    """Whether a budget stands at the step's scope, or between that and the tenant."""
    return f"{scope_path(step)}/".startswith(f"{budget[0]}/")


def _left(step: Step, on_the_way: Sequence[Remaining]) -> str:
    left = [f"{amount:,} left at {scope}" for scope, unit, amount in on_the_way if unit == step.unit.value]
    return ", ".join(left) or "no budget on the way is in sight"
