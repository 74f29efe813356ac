"""Programs for ``runcycles-openai-agents`` 0.3, of which a switch changes the import and nothing else."""

from __future__ import annotations

THEIR_PACKAGE = "from runcycles_openai_agents import"

RUN = """
from agents import Agent
from runcycles_openai_agents import CyclesRunHooks, cycles_budget_guardrail

guard = cycles_budget_guardrail(tenant="acme", estimate=5_000_000)
hooks = CyclesRunHooks(
    tenant="acme",
    app="desk",
    tool_estimates={"send_email": 50, "update_crm": 10, "search": 0},
)
agent = Agent(name="resolver", instructions="Resolve the case.", input_guardrails=[guard], tools=tools)
result = await hooks.run(agent, input="My invoice is wrong.")
"""

ONE_LINE = """
from runcycles_openai_agents import CyclesRunHooks

result = await CyclesRunHooks(tenant="acme").run(agent, input="hello", max_turns=3)
"""

STREAM = """
from runcycles_openai_agents import CyclesRunHooks, CyclesRunResultStreaming

hooks = CyclesRunHooks(tenant="acme")
result = hooks.run_streamed(agent, input="hello", run_id="case-4711")
assert isinstance(result, CyclesRunResultStreaming)
async for event in result.stream_events():
    seen.append(event)
"""

ESTIMATES = """
from runcycles import Unit
from runcycles_openai_agents import CyclesRunHooks, ToolEstimateConfig, ToolEstimateMap

estimates = ToolEstimateMap(
    mapping={
        "send_email": 50,
        "update_crm": ToolEstimateConfig(estimate=10, action_kind="tool.crm.update", unit=Unit.RISK_POINTS),
        "search": 0,
    },
    default_estimate=3,
    default_unit=Unit.RISK_POINTS,
)
hooks = CyclesRunHooks(tenant="acme", tool_estimates=estimates)
result = await hooks.run(agent, input="hello")
"""

ALL_OPTIONS = """
from runcycles import AsyncCyclesClient, CommitOveragePolicy, CyclesConfig, Unit
from runcycles_openai_agents import CyclesRunHooks

client = AsyncCyclesClient(CyclesConfig.from_env())
hooks = CyclesRunHooks(
    client=client,
    config=None,
    tenant="acme",
    workspace="prod",
    app="desk",
    workflow="refunds",
    agent="resolver",
    toolset=None,
    tool_estimates={"send_email": 50},
    default_tool_estimate=2,
    llm_estimate=400_000,
    llm_unit=Unit.USD_MICROCENTS,
    fail_open=False,
    ttl_ms=30_000,
    heartbeat_max_age_ms=600_000,
    heartbeat_max_extensions=20,
    commit_max_attempts=2,
    overage_policy=CommitOveragePolicy.ALLOW_IF_AVAILABLE,
    dry_run=False,
    retry_engine=None,
)
result = await hooks.run(agent, input="hello")
"""

CLEAN_UP = """
from agents import Runner
from runcycles_openai_agents import CyclesRunHooks

hooks = CyclesRunHooks(tenant="acme")
try:
    await Runner.run(agent, input="hello", hooks=hooks)
except ConnectionError:
    await hooks.release_pending("agent_run_failed", run_id="case-4711")
await hooks.release_all_pending()
"""

DENIED = """
from runcycles import BudgetExceededError
from runcycles_openai_agents import CyclesRunHooks

hooks = CyclesRunHooks(tenant="acme")
try:
    await hooks.run(agent, input="hello")
except BudgetExceededError as denied:
    seen.append(str(denied))
"""

TYPED = """
from dataclasses import dataclass
from runcycles_openai_agents import CyclesRunHooks

@dataclass
class Case:
    number: int

hooks = CyclesRunHooks[Case](tenant="acme")
result = await hooks.run(agent, input="hello", context=Case(4711))
"""
