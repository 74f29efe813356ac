"""The support desk: its agents, and the tools that they use. Nothing in here knows of budgets but the guardrail."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from agents import Agent, InputGuardrail, RunHooks, Tool, function_tool

from cycles_otel.cli.demo.scripted import NamedModel, Turn

TOOL_RISK = {"search_knowledge": 0, "research": 1, "run_diagnostics": 5, "update_crm": 10, "send_email": 50}
"""What a call costs in risk points; what only reads is free."""
SMALL, LARGE = "gpt-4o-mini", "gpt-4.1"


@function_tool
async def search_knowledge(query: str) -> str:
    """Search the handbook."""
    await asyncio.sleep(0.03)
    return f"Three pages of the handbook on {query}."


@function_tool
async def update_crm(note: str) -> str:
    """Write a note to the customer's record."""
    await asyncio.sleep(0.04)
    return "Noted."


@function_tool
async def send_email(subject: str) -> str:
    """Send an e-mail to the customer; it cannot be taken back."""
    await asyncio.sleep(0.04)
    return "Sent."


@function_tool
async def run_diagnostics(area: str) -> str:
    """Test a customer's installation. It takes longer than a reservation holds: the heartbeat keeps that alive."""
    await asyncio.sleep(2.1)
    return f"The {area} was tested: a certificate has expired."


def front_desk(
    script: Mapping[str, Sequence[Turn]], guardrail: InputGuardrail[Any], hooks: RunHooks[Any]
) -> Agent[Any]:
    """The agent that customers talk to first, with its colleagues behind it.

    Parameters
    ----------
    script: what each agent's model answers.
    hooks: those of the run. The agent that is used as a tool would inherit the governing ones; it is given all.
    """

    def agent(name: str, model: str, instructions: str, **rest: Any) -> Agent[Any]:
        turns = script.get(name, ())
        return Agent(name=name, instructions=instructions, model=NamedModel(model, turns), **rest)

    researcher = agent("researcher", SMALL, "Find what the handbook says.", tools=[search_knowledge])
    research: Tool = researcher.as_tool(
        "research", "Ask the researcher about the handbook.", hooks=hooks, failure_error_function=None
    )
    billing = agent("billing", LARGE, "Settle charges and invoices.", tools=[search_knowledge, update_crm, send_email])
    technical = agent(
        "technical", LARGE, "Mend what is broken.", tools=[research, run_diagnostics, update_crm, send_email]
    )
    return agent(
        "triage",
        SMALL,
        "Find out what the customer needs, and hand over.",
        handoffs=[billing, technical],
        input_guardrails=[guardrail],
    )
