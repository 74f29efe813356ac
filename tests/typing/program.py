"""A program that uses the whole public interface: compiled by the type checkers of its authors, and never run.

A line that must be an error says so by an ``ignore``, which both checkers report where it is not needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from agents import Agent, InputGuardrail, OpenAIProvider, RunConfig, RunHooks, Runner, RunResult, Tool, function_tool
from prometheus_client import CollectorRegistry
from typing_extensions import assert_type

import cycles_otel
from cycles_otel import (
    CyclesInstrumentor,
    CyclesModelProvider,
    CyclesRunHooks,
    CyclesUnavailableError,
    Defer,
    Denial,
    Disable,
    Downgrade,
    HookChain,
    InvalidParameterError,
    PlannedCall,
    PricedCall,
    Recorder,
    StepDeniedError,
    ToolRiskConfig,
    ToolRiskMap,
    cycles_budget_guardrail,
    governed_model,
    governed_tool,
    metrics_asgi_app,
    metrics_wsgi_app,
    public_price,
    setup_telemetry,
)
from cycles_otel.local import Fault, LedgerSnapshot, LocalCycles
from cycles_otel.testing import (
    CyclesMetrics,
    CyclesSpans,
    Step,
    Steps,
    assert_allowed,
    assert_denied,
    assert_nothing_reserved,
    assert_spent,
)


@dataclass
class Case:
    """What a run is about."""

    customer: str


class Chatty(RunHooks[Case]):
    """Hooks of the program's own."""


@function_tool
def send_email(to: str) -> str:
    """Send an email."""
    return to


def customer(case: Case) -> Mapping[str, str]:
    """Who pays for a run."""
    return {"workflow": case.customer}


def estimate(planned: PlannedCall) -> int:
    """What to reserve for an LLM call."""
    return 1_000 if planned.model.startswith("gpt-4") else 100


def price(call: PricedCall) -> int | None:
    """What an LLM call costs."""
    known = public_price(call)
    assert_type(known, int | None)
    return known if call.usage.by_type else 0


def instead(denied: Denial) -> Disable | Defer:
    """What becomes of a denied tool call."""
    return Disable(f"{denied.tool} is over budget") if denied.reason_code == "BUDGET_FROZEN" else Defer(5)


telemetry = setup_telemetry("desk", prometheus_port=None, registry=CollectorRegistry(), max_values=50)
assert_type(telemetry.metrics_url, str | None)
assert_type(telemetry.force_flush(), bool)
recorder = Recorder(metrics="none", subject_labels=["tenant", "app"])
hooks = CyclesRunHooks(
    tenant="acme",
    tool_risk=ToolRiskMap({"send_email": 50, "update_crm": ToolRiskConfig(10, action_kind="tool.crm.update")}),
    llm_estimate=estimate,
    llm_unit="TOKENS",
    price=price,
    subject=customer,
    on_llm_denied=[Downgrade("gpt-4o-mini"), Defer(30)],
    on_tool_denied=instead,
    recorder=recorder,
)
assert_type(hooks.bind(workflow="order-4711"), CyclesRunHooks)
kinds = ToolRiskMap.from_kinds({"send_email": "message.email.send"})
guard = cycles_budget_guardrail(tenant="acme", estimate=5_000_000)
assert_type(guard, InputGuardrail[Any])
tools: list[Tool] = [governed_tool(send_email)]
agent = Agent[Case](
    name="helper", tools=tools, input_guardrails=[guard], model=governed_model(OpenAIProvider().get_model("gpt-4o"))
)
asgi, wsgi = metrics_asgi_app(), metrics_wsgi_app()
CyclesInstrumentor().instrument()

CyclesRunHooks(tenant=7)  # type: ignore[arg-type]
CyclesRunHooks(tenant="acme", tool_risk={"send_email": "much"})  # type: ignore[dict-item]
CyclesRunHooks(tenant="acme", tool_risks={})  # type: ignore[call-arg]
CyclesRunHooks(tenant="acme", unbudgeted="maybe")  # type: ignore[arg-type]
Recorder(registry="default")  # type: ignore[arg-type]
nothing: object = cycles_otel.Nothing  # type: ignore[attr-defined]


async def resolve(question: str) -> str:
    """A run as the README has it."""
    config = RunConfig(model_provider=CyclesModelProvider())
    try:
        async with hooks as governing:
            chain = HookChain(governing, Chatty())
            result = await Runner.run(agent, question, context=Case("ann"), hooks=chain, run_config=config)
            assert_type(result, RunResult)
            assert_type(await governing.release_pending(), int)
            return str(result.final_output)
    except StepDeniedError as denied:
        assert_type(denied.scope, str | None)
        assert_type(denied.amount, int | None)
        return denied.unit or "denied"
    except (CyclesUnavailableError, InvalidParameterError) as error:
        return str(error)


@pytest.mark.local_cycles(budgets={"tenant:acme": {"TOKENS": 100}})
async def test_of_an_agent(local_cycles: LocalCycles, cycles_spans: CyclesSpans, cycles_metrics: CyclesMetrics) -> None:
    """A test as docs/testing.md has it."""
    local_cycles.inject(Fault("reserve", status=503))
    assert_type(local_cycles.ledger(), LedgerSnapshot)
    steps = cycles_spans.of(agent="helper").tool_calls
    assert_type(steps, Steps)
    assert_type(steps[0], Step)
    assert_type(steps[:2], Steps)
    assert_type(assert_denied(steps, at=3), Step)
    assert_allowed(cycles_spans.llm_calls)
    assert_spent(local_cycles, TOKENS=100)
    assert_nothing_reserved(local_cycles)
    assert_type(cycles_metrics.value("cycles_client_denials_total", agent="helper", dry_run=False), float)
    cycles_spans.of(colour="red")  # type: ignore[call-arg]
    assert_spent(local_cycles, EUROS=1)  # type: ignore[call-arg]
