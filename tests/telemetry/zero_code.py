"""A program that knows nothing of telemetry: run by ``opentelemetry-instrument``."""

from __future__ import annotations

import asyncio

from runcycles import AsyncCyclesClient, CyclesClient, CyclesConfig, cycles

config = CyclesConfig.from_env()
blocking = CyclesClient(config)
client = AsyncCyclesClient(config)


@cycles(estimate=50, action_kind="llm.completion", action_name="gpt-4o", client=blocking)
def work() -> str:
    return "done"


@cycles(estimate=50, action_kind="tool.call", action_name="search", client=client)
async def work_async() -> str:
    return "done"


work()
asyncio.run(work_async())
