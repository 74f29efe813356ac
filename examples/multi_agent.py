"""Several agents on one budget: triage hands over to specialists, and a guardrail asks before each ticket is begun."""

from __future__ import annotations

import asyncio
from typing import Any

from agents import Agent, InputGuardrail, InputGuardrailTripwireTriggered, Runner
from prometheus_client import REGISTRY
from runcycles import BudgetExceededError
from stage import Stage, calls, says

from cycles_otel import CyclesRunHooks, cycles_budget_guardrail

TICKETS = ("I was charged twice.", "The login page is down.", "My invoice has the wrong address.")


async def main() -> None:
    async with Stage(budgets={"USD_MICROCENTS": 400_000, "RISK_POINTS": 100}) as stage:
        # Amounts are microcents: 250,000 for a whole ticket, asked for before it is begun; 100,000 for each LLM call.
        guardrail = cycles_budget_guardrail(tenant=stage.tenant, estimate=250_000)
        triage = the_desk(stage, guardrail)
        async with CyclesRunHooks(tenant=stage.tenant, llm_estimate=100_000) as hooks:
            for ticket in TICKETS:
                try:
                    result = await Runner.run(triage, input=ticket, hooks=hooks)
                except InputGuardrailTripwireTriggered as tripped:
                    reason = tripped.guardrail_result.output.output_info["reason_code"]
                    print(f"{ticket}\n  DENIED before any agent began: {reason}")
                    break
                except BudgetExceededError as denied:
                    print(f"{ticket}\n  DENIED half way: {denied}")
                    break
                print(f"{ticket}\n  {result.last_agent.name}: {result.final_output}")
        show_agents()
        await stage.show_budgets()


def the_desk(stage: Stage, guardrail: InputGuardrail[Any]) -> Agent:
    """The agents. Nothing in here knows of budgets but the guardrail of the first one."""
    billing = Agent(
        name="billing",
        instructions="Settle charges and invoices, in one sentence.",
        model=stage.model(says("The second charge is refunded.", read=2_310, written=410)),
    )
    technical = Agent(
        name="technical",
        instructions="Say how to mend what is broken, in one sentence.",
        model=stage.model(says("The certificate had expired; it is renewed.", read=2_904, written=655)),
    )
    return Agent(
        name="triage",
        instructions="Hand over to the agent that can help.",
        handoffs=[billing, technical],
        input_guardrails=[guardrail],
        model=stage.model(
            calls("transfer_to_billing", read=1_850, written=24),
            calls("transfer_to_technical", read=1_862, written=24),
        ),
    )


def show_agents() -> None:
    """Print what each agent spent, from the metrics that the hooks keep in the process."""
    print()
    for metric in REGISTRY.collect():
        for sample in metric.samples:
            of_agent = sample.labels.get("gen_ai_agent_name")
            if sample.name == "cycles_client_amount_committed_total" and sample.value:
                print(f"{of_agent}: {sample.value:,.0f} {sample.labels['cycles_unit']} spent")


if __name__ == "__main__":
    asyncio.run(main())
