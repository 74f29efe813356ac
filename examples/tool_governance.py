"""Tools of different risk: what can do more harm costs more points, and is stopped first when they run out."""

from __future__ import annotations

import asyncio

from agents import Agent, Runner, function_tool
from agents.testing import ModelStep
from runcycles import BudgetExceededError
from stage import Stage, calls, says

from cycles_otel import CyclesRunHooks, ToolRiskConfig, ToolRiskMap

CUSTOMERS = ("Ada", "Grace", "Edsger")

RISK = ToolRiskMap(
    mapping={
        "send_email": 50,
        "update_crm": ToolRiskConfig(risk_points=10, action_kind="tool.crm.update"),
        "search_knowledge": 0,  # free: no reservation, no request to Cycles
    },
    default_risk=1,  # any other tool
)


@function_tool
def search_knowledge(query: str) -> str:
    """Search the handbook."""
    return f"The handbook says how {query} is done."


@function_tool
def update_crm(customer: str, note: str) -> str:
    """Write a note to the customer's record."""
    print(f"  update_crm: {note} ({customer})")
    return "Noted."


@function_tool
def send_email(customer: str, text: str) -> str:
    """Send an e-mail to the customer; it cannot be taken back."""
    print(f"  send_email: {text} ({customer})")
    return "Sent."


async def main() -> None:
    async with Stage(budgets={"USD_MICROCENTS": 10_000_000, "RISK_POINTS": 130}) as stage:
        agent = Agent(
            name="support",
            instructions="Search the handbook, note the refund in the CRM, then tell the customer by e-mail.",
            tools=[search_knowledge, update_crm, send_email],
            model=stage.model(*(step for name in CUSTOMERS for step in a_refund(name))),
        )
        async with CyclesRunHooks(tenant=stage.tenant, tool_risk=RISK) as hooks:
            for name in CUSTOMERS:
                print(f"{name} asks for a refund.")
                try:
                    result = await Runner.run(agent, input=f"{name} asks for a refund.", hooks=hooks)
                except BudgetExceededError as denied:
                    print(f"  DENIED before the tool ran: {denied}")
                    break
                print(f"  {result.final_output}")
        await stage.show_budgets()


def a_refund(customer: str) -> tuple[ModelStep, ...]:
    """What the model does for one customer, where it follows a script."""
    return (
        calls("search_knowledge", read=700, written=20, query="a refund"),
        calls("update_crm", read=780, written=30, customer=customer, note="refund granted"),
        calls("send_email", read=850, written=60, customer=customer, text="Your refund is on its way."),
        says("The refund is granted.", read=960, written=15),
    )


if __name__ == "__main__":
    asyncio.run(main())
