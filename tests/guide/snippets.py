"""The snippets of the integration guide for the Agents SDK, as they are written there."""

from __future__ import annotations

PACKAGE_OF_THE_GUIDE = "runcycles_openai_agents"

CONFIG = """
from runcycles import CyclesConfig, AsyncCyclesClient
from runcycles_openai_agents import CyclesRunHooks

config = CyclesConfig(
    base_url=load_from_vault("cycles_base_url"),
    api_key=load_from_vault("cycles_api_key"),
)
hooks = CyclesRunHooks(client=AsyncCyclesClient(config), tenant="acme")
"""

QUICK_START = """
from agents import Agent, Runner
from runcycles_openai_agents import CyclesRunHooks

hooks = CyclesRunHooks(tenant="acme")
agent = Agent(name="helper", instructions="You are a helpful assistant.")
result = await Runner.run(agent, input="What is budget authority?", hooks=hooks)
print(result.final_output)
"""

TOOL_RISK_MAP = """
from runcycles_openai_agents import CyclesRunHooks, ToolRiskMap, ToolRiskConfig

hooks = CyclesRunHooks(
    tenant="acme",
    tool_risk=ToolRiskMap(
        mapping={
            "send_email": 50,
            "update_crm": ToolRiskConfig(risk_points=10, action_kind="tool.crm.update"),
            "search_knowledge": 0,  # free — no reservation, no API call
        },
        default_risk=1,  # unmapped tools cost 1 point
    ),
)
"""

TOOL_RISK_DICT = """
hooks = CyclesRunHooks(
    tenant="acme",
    tool_risk={"send_email": 50, "search": 0},
)
"""

GUARDRAIL = """
from agents import Agent
from runcycles_openai_agents import cycles_budget_guardrail

guardrail = cycles_budget_guardrail(
    tenant="acme",
    estimate=5_000_000,  # expected total run cost
    fail_open=True,  # allow if Cycles server is down
)
agent = Agent(
    name="support-bot",
    input_guardrails=[guardrail],
)
"""

DENIED = """
from runcycles import BudgetExceededError

try:
    result = await Runner.run(agent, input="...", hooks=hooks)
except BudgetExceededError as e:
    print(f"Budget denied: {e}")
"""

RELEASE_PENDING = """
try:
    result = await Runner.run(agent, input="...", hooks=hooks)
except Exception:
    await hooks.release_pending("agent_run_failed")
    raise
"""

FAIL_CLOSED = """
hooks = CyclesRunHooks(tenant="acme", fail_open=False)
"""
