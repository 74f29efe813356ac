"""Programs in which something goes wrong for real, each with Cycles servers of its own, and one in which nothing does.

``python -m tests.stack.causes PROGRAM FOLDER`` prints the address of its metrics, works under real hooks, and goes on
until its input ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import agents
from agents import Agent, RunConfig, Runner, function_tool
from runcycles import AsyncCyclesClient

from cycles_otel import CyclesRunHooks
from cycles_otel.local import Budget, Fault, LocalCycles
from cycles_otel.telemetry import TelemetryObserver, default_recorder, setup_telemetry
from tests.run.desk import calls, model, says

PAUSE = 0.5
"""Seconds from one run of a cause to the next."""
BURN = 400
"""Tokens of each run of the budget that burns; 80 runs take some 45 s."""
BUDGETS = [
    *(Budget("tenant:burning", "TOKENS", 80 * BURN), Budget("tenant:spent", "TOKENS", 200)),
    *(Budget("tenant:dollars", "USD_MICROCENTS", 10**12), Budget("tenant:tokens", "TOKENS", 10**9)),
    *(Budget("tenant:well", "TOKENS", 10**9, spent=3 * 10**8), Budget("tenant:acme", "TOKENS", 10**9)),
    Budget("tenant:acme", "RISK_POINTS", 10**9),
]
PATIENT = {"connect_timeout": 30.0, "read_timeout": 30.0}
"""So that a starved machine is no cause."""
Work = Callable[["Stage"], Awaitable[None]]


class Stage:
    """What a cause works with, closed in the end.

    Parameters
    ----------
    folder: for journals.
    """

    def __init__(self, folder: Path, shared: LocalCycles, stack: AsyncExitStack) -> None:
        self.folder = folder
        self._shared = shared
        self._stack = stack

    async def server(self) -> LocalCycles:
        """A server of the cause's own."""
        return await self._stack.enter_async_context(LocalCycles(BUDGETS))

    async def hooks(
        self,
        tenant: str = "acme",
        server: LocalCycles | None = None,
        config: dict[str, Any] | None = None,
        **parameters: Any,
    ) -> CyclesRunHooks:
        """Hooks that count LLM calls in tokens, by default for the server that the causes share."""
        given: dict[str, Any] = {"llm_unit": "TOKENS", "llm_estimate": 100, "settle_timeout": 0.5, **parameters}
        settings = {"retry_flush_timeout": 0.2, **PATIENT, **(config or {})}
        hooks = CyclesRunHooks(config=(server or self._shared).config(tenant, **settings), **given)
        return await self._stack.enter_async_context(hooks)


async def run(hooks: CyclesRunHooks, agent: Agent[Any]) -> None:
    """One run to its end, whatever that is."""
    with contextlib.suppress(Exception):
        await Runner.run(agent, "hello", hooks=hooks, run_config=RunConfig(tracing_disabled=True))


async def keep_running(hooks: CyclesRunHooks, name: str, tokens: int, **more: Any) -> None:
    """A run of one LLM call that uses so many tokens, again and again."""
    while True:
        await run(hooks, Agent(name=name, model=model(says(tokens)), **more))
        await asyncio.sleep(PAUSE)


# --- Budgets --------------------------------------------------------------------------------------------------------


async def budget_burns(stage: Stage) -> None:
    """A budget that would last for a week is gone in a minute."""
    await keep_running(await stage.hooks("burning", llm_estimate=BURN), "spender", BURN)


async def budget_is_exhausted(stage: Stage) -> None:
    """Nothing remains, and the agent goes on asking."""
    await keep_running(await stage.hooks("spent"), "poor", 250)


async def model_has_no_price(stage: Stage) -> None:
    hooks = await stage.hooks("dollars", llm_unit="USD_MICROCENTS")
    await keep_running(hooks, "unpriced", 50)


async def estimate_is_too_low(stage: Stage) -> None:
    await keep_running(await stage.hooks(llm_estimate=10), "optimist", 90)


async def tool_has_no_budget(stage: Stage) -> None:
    """There are tokens, but no risk points."""
    hooks = await stage.hooks("tokens", unbudgeted="allow")
    while True:
        await run(hooks, Agent(name="handy", model=model(calls(50, "hammer"), says(50)), tools=[hammer]))
        await asyncio.sleep(PAUSE)


@function_tool
def hammer() -> str:
    """Does it."""
    return "done"


async def agents_have_too_many_names(stage: Stage) -> None:
    """A name made of an id, which the guard of cardinality folds."""
    hooks = await stage.hooks(llm_estimate=2)
    for number in range(120):
        await run(hooks, Agent(name=f"agent-{number}", model=model(says(1))))


# --- Enforcement ----------------------------------------------------------------------------------------------------


async def server_is_broken(stage: Stage) -> None:
    """It answers 500 to everything: steps run unguarded, and what they use waits in the journal."""
    server = await stage.server()
    config = {"journal_enabled": True, "journal_dir": str(stage.folder / "journal")}
    hooks = await stage.hooks(server=server, config=config)
    await run(hooks, Agent(name="before", model=model(says(10))))
    server.inject(Fault(status=500, times=None))
    await asyncio.gather(*(keep_running(hooks, f"unguarded-{number}", 60) for number in range(16)))


async def server_is_slow(stage: Stage) -> None:
    server = await stage.server()
    server.inject(Fault("reserve", delay=0.7, times=None))
    hooks = await stage.hooks(server=server)
    await asyncio.gather(*(keep_running(hooks, f"waiting-{number}", 60) for number in range(3)))


async def journal_is_in_the_way(stage: Stage) -> None:
    """The folder of the journal is a file; that it is read-only would not keep root from writing."""
    (stage.folder / "file").write_text("in the way")
    config = {"journal_enabled": True, "journal_dir": str(stage.folder / "file")}
    await keep_running(await stage.hooks(config=config), "careless", 60)


async def reservation_is_released_under_way(stage: Stage) -> None:
    """Somebody else gives back what a running step holds: what it used can no longer be committed."""
    server = await stage.server()
    hooks = await stage.hooks(server=server)

    @function_tool
    async def meddled() -> str:
        async with AsyncCyclesClient(server.config("acme", **PATIENT)) as client:
            for held in server.ledger().active:
                await client.release_reservation(held.id, {"idempotency_key": held.id})
        return "done"

    while True:
        await run(hooks, Agent(name="meddled", model=model(calls(60, "meddled"), says(60)), tools=[meddled]))
        await asyncio.sleep(PAUSE)


async def heartbeats_are_not_answered(stage: Stage) -> None:
    """A step that takes longer than its lease, while extensions get no answer."""
    server = await stage.server()
    server.inject(Fault("extend", status=503, times=None))
    hooks = await stage.hooks(server=server, ttl_ms=1_000)

    @function_tool
    async def long_step() -> str:
        await asyncio.sleep(2)
        return "done"

    while True:
        await run(hooks, Agent(name="patient", model=model(calls(60, "long_step"), says(60)), tools=[long_step]))


async def run_leaks(stage: Stage) -> None:
    """No run is known to leak: only a defect of this package could, so telemetry is told of one."""
    observer = TelemetryObserver(default_recorder())
    observer.run("run-1", "tight").ended("completed", {}, leaked=0)
    await asyncio.sleep(3)
    observer.run("run-2", "leaky").ended("failed", {}, leaked=1)


# --- Programs -------------------------------------------------------------------------------------------------------


async def another_sdk(stage: Stage) -> None:
    """A version of the SDK whose runner has no method that could be wrapped."""
    await keep_running(await stage.hooks(), "unbracketed", 60)


async def nothing(stage: Stage) -> None:
    """All is well: a third of an ample budget is used, slowly, within its estimates."""
    await keep_running(await stage.hooks("well"), "healthy", 80)


PROGRAMS: dict[str, tuple[Work, ...]] = {
    "budgets": (*(budget_burns, budget_is_exhausted, model_has_no_price, estimate_is_too_low, tool_has_no_budget),),
    "names": (agents_have_too_many_names,),
    "enforcement": (
        *(server_is_slow, journal_is_in_the_way, reservation_is_released_under_way),
        *(heartbeats_are_not_answered, run_leaks),
    ),
    "outage": (server_is_broken,),
    "another_sdk": (another_sdk,),
    "health": (nothing,),
}


@asynccontextmanager
async def _stage(folder: Path) -> AsyncIterator[Stage]:
    async with AsyncExitStack() as stack:
        yield Stage(folder, await stack.enter_async_context(LocalCycles(BUDGETS)), stack)


async def _work(program: str, folder: Path) -> None:
    async with _stage(folder) as stage:
        causes = [asyncio.create_task(_noted(cause, stage)) for cause in PROGRAMS[program]]
        await asyncio.to_thread(sys.stdin.read)
        for cause in causes:
            cause.cancel()
        await asyncio.wait(causes)


async def _noted(cause: Work, stage: Stage) -> None:
    try:
        await cause(stage)
    except Exception as error:
        print(f"{cause.__name__}: {error!r}", file=sys.stderr, flush=True)
        raise


def main() -> None:
    """Work as the program that the first argument names."""
    program, folder = sys.argv[1], Path(sys.argv[2])
    agents.set_trace_processors([])
    if program == "another_sdk":
        from agents.run import AgentRunner

        del AgentRunner.run_streamed
    print(setup_telemetry("causes", prometheus_port=0).metrics_url, flush=True)
    asyncio.run(_work(program, folder))
    sys.stdout.flush()
    os._exit(0)  # What waits in the journal of a broken server is not waited for.


if __name__ == "__main__":
    main()
