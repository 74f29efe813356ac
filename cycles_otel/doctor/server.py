"""The server: whether it answers as Cycles does, knows the key and the tenant, and has the budgets that steps need."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from runcycles import CyclesClient, CyclesConfig, CyclesResponse, Unit

from cycles_otel.budget.decision import Ruling, body_of, error_code, judge, unavailable_reason
from cycles_otel.budget.requests import reserve_body
from cycles_otel.budget.step import Step
from cycles_otel.budget.subject import Subject
from cycles_otel.doctor.finding import Finding, note, skipped, well, wrong
from cycles_otel.doctor.setup import Asked, shadow
from cycles_otel.refusal import scope_path, what_to_mend

SERVER, KEY, CLOCK, LATENCY = "server", "key and tenant", "clock", "latency"
_PAGE = "200"
_SKEW = 5.0
"""Seconds; the header of HTTP knows whole ones."""
_SLOW = 0.25
_ASKED = 3


def look(config: CyclesConfig, subject: Subject, asked: Asked) -> Iterator[Finding]:
    """Everything that the server can be asked without changing it."""
    with CyclesClient(config) as client:
        began = time.perf_counter()
        response = client.get_balances(tenant=config.tenant or "", limit=_PAGE)
        lack = unavailable_reason("balances", response)
        if lack is not None:
            yield wrong(SERVER, f"{lack}: {_said(response, config)}", _mend_the_way(response, asked))
            yield from (skipped(each, "the server gave no answer") for each in (KEY, *_reserve_checks(subject, asked)))
            return
        yield well(SERVER, f"answers as Cycles does, the first time in {(time.perf_counter() - began) * 1000:.0f} ms")
        yield from _clock(response)
        if not response.is_success:
            yield _refused(response, config)
            yield from (skipped(each, "the key is refused") for each in _reserve_checks(subject, asked))
            return
        yield well(KEY, f"the key reads the balances of {config.tenant}")
        yield _latency(client, config)
        budgets = _budgets(response)
        for step in asked.steps(subject):
            yield _reserve(client, step, budgets)


def _reserve_checks(subject: Subject, asked: Asked) -> list[str]:
    return [_reserve_check(step) for step in asked.steps(subject)]


def _reserve_check(step: Step) -> str:
    return f"reserve {step.unit.value}"


def _said(response: CyclesResponse, config: CyclesConfig) -> str:
    """What the server, or the transport, said, in one line and without the key."""
    said = str(body_of(response).get("message") or response.error_message or f"status {response.status}")
    return " ".join(said.replace(config.api_key, "(the key)").split())[:200]


def _mend_the_way(response: CyclesResponse, asked: Asked) -> str:
    if response.is_transport_error:
        timed_out = unavailable_reason("balances", response) == "timeout"
        return (
            f"It did not answer within {asked.timeout:g} s: look at its health, or at what is on the way"
            if timed_out
            else "Start the server, or set CYCLES_BASE_URL to where it is (cycles-otel serve: one for development)"
        )
    if response.status == 429:
        return "The server limits requests: wait, or raise the limit"
    if response.status >= 500:
        return "The server has a fault: look at its log"
    return "That is not Cycles: CYCLES_BASE_URL leads to a proxy or to another server"


def _clock(response: CyclesResponse) -> Iterator[Finding]:
    date = response.server_date_ms
    if date is None:
        return
    skew = time.time() - date / 1000
    if abs(skew) > _SKEW:
        which = "ahead of" if skew > 0 else "behind"
        yield note(
            CLOCK,
            f"this machine is {abs(skew):.0f} s {which} the server",
            "Set both by NTP: leases hold all the same, but the times of traces and ledger do not match",
        )
    else:
        yield well(CLOCK, f"within {_SKEW:g} s of the server's")


def _refused(response: CyclesResponse, config: CyclesConfig) -> Finding:
    code = error_code(response) or str(response.status)
    found = f"{response.status} {code}: {_said(response, config)}"
    if any(state in found for state in ("TENANT_SUSPENDED", "TENANT_CLOSED")):
        return wrong(KEY, found, f"An operator has to open the tenant {config.tenant} again")
    if response.status == 401:
        return wrong(KEY, found, "Set CYCLES_API_KEY to a key that the server knows")
    if response.status == 403:
        return wrong(KEY, found, f"Use a key of the tenant {config.tenant}, or name the tenant that the key belongs to")
    return wrong(KEY, found, "Check CYCLES_TENANT and the other levels against the message")


def _latency(client: CyclesClient, config: CyclesConfig) -> Finding:
    """The best of a few replies, since the first pays for the connection."""
    took = []
    for _ in range(_ASKED):
        began = time.perf_counter()
        client.get_balances(tenant=config.tenant or "", limit="1")
        took.append(time.perf_counter() - began)
    found = f"{min(took) * 1000:.1f} ms for a reply"
    if min(took) < _SLOW:
        return well(LATENCY, found)
    return note(LATENCY, found, "Each step waits for one reply: bring the server nearer to the program")


def _budgets(response: CyclesResponse) -> list[Mapping[str, Any]]:
    balances = body_of(response).get("balances")
    return [each for each in balances if isinstance(each, dict)] if isinstance(balances, list) else []


def _reserve(client: CyclesClient, step: Step, budgets: list[Mapping[str, Any]]) -> Finding:
    """A dry run of the step, whose reply is judged as that of a real one."""
    policy, check = shadow(), _reserve_check(step)
    response = client.create_reservation(reserve_body(step, policy))
    verdict = judge("reserve", response, fail_open=False, dry_run=True)
    asked_for = f"{step.amount:,} {step.unit.value} at {scope_path(step)}"
    if verdict.ruling is Ruling.GO:
        return well(check, f"{asked_for} would be held; {_on_the_way(step, budgets)}")
    found = f"{asked_for}: {verdict.reason} ({verdict.message})"
    if verdict.ruling is Ruling.DENIED:
        return wrong(check, f"{found}; {_on_the_way(step, budgets)}", _mend_a_denial(verdict.reason, step))
    return wrong(check, found, what_to_mend(verdict, step))


def _mend_a_denial(reason: str, step: Step) -> str:
    if reason in ("BUDGET_NOT_FOUND", "NOT_FOUND"):
        setting = "default_tool_risk=0, or " if step.unit is Unit.RISK_POINTS else ""
        return f"Create a {step.unit.value} budget on the way to this scope, or set {setting}unbudgeted='allow'"
    return {
        "BUDGET_EXCEEDED": "Fund the budget, or reserve less (llm_estimate, tool_risk)",
        "BUDGET_FROZEN": "An operator has to unfreeze the budget",
        "BUDGET_CLOSED": "The budget is closed for good: create another one",
        "DEBT_OUTSTANDING": "Repay the debt of the budget",
        "OVERDRAFT_LIMIT_EXCEEDED": "An operator has to clear the overdraft of the budget",
    }.get(reason, "Ask the operator of the server about the reason")


def _on_the_way(step: Step, budgets: list[Mapping[str, Any]]) -> str:
    """What is left in the budgets from the tenant down to the step's scope."""
    scope = scope_path(step)
    left = []
    for budget in budgets:
        path, remaining = str(budget.get("scope_path") or budget.get("scope")), budget.get("remaining")
        is_on_the_way = scope == path or scope.startswith(f"{path}/")
        if is_on_the_way and isinstance(remaining, dict) and remaining.get("unit") == step.unit.value:
            left.append(f"{remaining.get('amount'):,} left at {path}")
    return ", ".join(left) or "no budget on the way is in sight"
