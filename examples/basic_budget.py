"""A budget of tokens: the agent answers for as long as the budget covers one more call."""

from __future__ import annotations

import asyncio

from agents import Agent, Runner
from runcycles import BudgetExceededError
from stage import Stage, says

from cycles_otel import CyclesRunHooks

QUESTIONS = (
    "What is budget authority?",
    "Who grants it?",
    "What happens when it is used up?",
    "And if somebody spends all the same?",
)


async def main() -> None:
    async with Stage(budgets={"TOKENS": 3_000}) as stage:
        agent = Agent(
            name="helper",
            instructions="You are a helpful assistant. Answer in one sentence.",
            model=stage.model(
                says("The right to commit money within a limit.", read=612, written=143),
                says("Whoever owns the budget.", read=798, written=95),
                says("Nothing more can be committed.", read=934, written=118),
            ),
        )
        async with CyclesRunHooks(tenant=stage.tenant, llm_unit="TOKENS", llm_estimate=1_000) as hooks:
            for question in QUESTIONS:
                try:
                    result = await Runner.run(agent, input=question, hooks=hooks)
                except BudgetExceededError as denied:
                    print(f"{question}\n  DENIED before the model was called: {denied}")
                    break
                used = result.context_wrapper.usage.total_tokens
                print(f"{question}\n  {result.final_output}  [{used:,} tokens]")
        await stage.show_budgets()


if __name__ == "__main__":
    asyncio.run(main())
