"""Agents at work for the dashboards: ``python -m tests.stack.desk health | faults FOLDER``.

Both print the pages that a Prometheus is to scrape, and go on until their input ends. In health each kind of thing
happens that happens on a good day; with the faults each thing happens that a panel waits for.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sys
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import agents
from agents import Agent, Runner
from agents.testing import ModelStep, assistant_message
from runcycles import AsyncCyclesClient

from cycles_otel import CyclesRunHooks
from cycles_otel.cli.demo import tenants
from cycles_otel.cli.demo.accounts import open_account
from cycles_otel.cli.demo.cases import cases
from cycles_otel.cli.demo.witness import Witness
from cycles_otel.cli.demo.workload import DeskLog, serve_customer
from cycles_otel.local import Budget, LocalCycles
from cycles_otel.telemetry import default_recorder, setup_telemetry
from tests.pricing.answers import web_search
from tests.run.desk import model, says, using
from tests.stack import causes
from tests.stack.causes import PAUSE, Stage, keep_running, run

AMPLE = 10**6
"""Customers for whom the budgets of the good day would be enough."""
SHARED_BY = 4
"""How many customers are served at once."""


# --- A good day -----------------------------------------------------------------------------------------------------


async def customers_are_served(server: LocalCycles) -> None:
    """The desk of the demo: handoffs, tools with risk, cached prompts, a step that outlives its lease."""
    witness = Witness()
    tenant = tenants.TENANTS[0]
    account = open_account(tenant, server, default_recorder(), witness)
    waiting = iter([case for case in cases(4_000, seed=1) if case.tenant == tenant])

    async def serve() -> None:
        for case in waiting:
            await serve_customer(case, account, DeskLog())

    await asyncio.gather(*(serve() for _ in range(SHARED_BY)))


async def a_model_fails(server: LocalCycles) -> None:
    """So that there is something to release."""
    async with CyclesRunHooks(config=server.config("acme"), llm_estimate=1_000) as hooks:
        while True:
            await run(hooks, Agent(name="unlucky", model=model(RuntimeError("the model is down"))))
            await asyncio.sleep(PAUSE)


class FaultStage(Stage):
    """Servers with budgets of a cause's own."""

    async def server(self, budgets: Any = causes.BUDGETS) -> LocalCycles:
        return await self._stack.enter_async_context(LocalCycles(budgets))


# --- Faults ---------------------------------------------------------------------------------------------------------


async def runs_are_turned_away(stage: FaultStage) -> None:
    """The demo's tenants at the end of their money: denied in a run, and before it."""
    server = await stage.server(tenants.budgets(1))
    account = open_account(tenants.TENANTS[2], server, default_recorder(), Witness())
    account = type(account)(account.tenant, account.governing, account.governing, account.guardrail)
    for case in [case for case in cases(4_000, seed=1) if case.tenant == account.tenant]:
        await serve_customer(case, account, DeskLog())


async def shadow_mode_sees_denials(stage: FaultStage) -> None:
    hooks = await stage.hooks("spent", dry_run=True, llm_estimate=causes.BURN)
    await keep_running(hooks, "shadow", 150)


async def a_policy_caps_a_charge(stage: FaultStage) -> None:
    """More is used than there is: the budget goes over its limit."""
    server = await stage.server([Budget("tenant:capped", "USD_MICROCENTS", 100_000)])
    hooks = await stage.hooks("capped", server=server, llm_unit="USD_MICROCENTS", llm_estimate=50_000)
    agent = Agent(name="greedy", model=_priced(says(900_000)))
    await Runner.run(agent, "hello", hooks=hooks)
    await keep_running(hooks, "greedy", 10)


async def a_charge_becomes_debt(stage: FaultStage) -> None:
    budget = Budget("tenant:owing", "TOKENS", 200, overdraft_limit=10_000)
    server = await stage.server([budget])
    hooks = await stage.hooks("owing", server=server, overage_policy="ALLOW_WITH_OVERDRAFT")
    await keep_running(hooks, "owing", 900)


async def a_tool_is_hosted(stage: FaultStage) -> None:
    hooks = await stage.hooks()
    while True:
        answer = ModelStep(output=[web_search(), assistant_message("done")], usage=using(50))
        await run(hooks, Agent(name="searcher", model=model(answer)))
        await asyncio.sleep(PAUSE)


async def nobody_settles(server: LocalCycles) -> None:
    """Reservations by a program that goes away: the server lets them expire."""
    asked: dict[str, Any] = {"subject": {"tenant": "acme"}, "action": {"kind": "llm.completion", "name": "abandoned"}}
    asked |= {"estimate": {"unit": "TOKENS", "amount": 1}, "ttl_ms": 1_000, "grace_period_ms": 0}
    async with AsyncCyclesClient(server.config("acme", **causes.PATIENT)) as client:
        for number in itertools.count():
            await client.create_reservation({**asked, "idempotency_key": f"abandoned-{number}"})
            await asyncio.sleep(PAUSE)


FAULTS = (
    *(runs_are_turned_away, shadow_mode_sees_denials, a_policy_caps_a_charge, a_charge_becomes_debt, a_tool_is_hosted),
    *(causes.model_has_no_price, causes.tool_has_no_budget, causes.agents_have_too_many_names),
    *(causes.server_is_broken, causes.journal_is_in_the_way, causes.reservation_is_released_under_way),
    *(causes.heartbeats_are_not_answered, causes.run_leaks),
)


def _priced(*steps: ModelStep) -> Any:
    scripted = model(*steps)
    scripted.model = "gpt-4.1"  # type: ignore[attr-defined]
    return scripted


# --- Programs -------------------------------------------------------------------------------------------------------


async def health(metrics: str, _: Path) -> None:
    async with LocalCycles(tenants.budgets(AMPLE), sweep_interval=0.5) as server:
        _say({"desk": metrics, "server": f"{server.url}/actuator/prometheus", "environment": server.environ("acme")})
        await _until_told([customers_are_served(server), a_model_fails(server)])


async def faults(metrics: str, folder: Path) -> None:
    async with AsyncExitStack() as stack:
        stage = FaultStage(folder, await stack.enter_async_context(LocalCycles(causes.BUDGETS)), stack)
        server = await stack.enter_async_context(LocalCycles(causes.BUDGETS, sweep_interval=0.5))
        _say({"desk": metrics, "server": f"{server.url}/actuator/prometheus"})
        await _until_told([nobody_settles(server), *(fault(stage) for fault in FAULTS)])


async def _until_told(work: list[Coroutine[Any, Any, None]]) -> None:
    tasks = [asyncio.create_task(_noted(each)) for each in work]
    await asyncio.to_thread(sys.stdin.read)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _noted(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except Exception as error:
        print(f"{work!r}: {error!r}", file=sys.stderr, flush=True)
        raise


def _say(what: object) -> None:
    print(json.dumps(what), flush=True)


def main() -> None:
    """Work as the program that the first argument names."""
    program, folder = {"health": health, "faults": faults}[sys.argv[1]], Path(sys.argv[2])
    agents.set_trace_processors([])
    telemetry = setup_telemetry("desk", prometheus_port=0)
    asyncio.run(program(str(telemetry.metrics_url), folder))
    sys.stdout.flush()
    os._exit(0)  # What waits in the journal of a broken server is not waited for.


if __name__ == "__main__":
    main()
