"""Who pays for a run: views on one hooks object for many customers, or a function of the run's context."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from typing import Any

import pytest
from agents import Agent, Runner, function_tool

from cycles_otel import CyclesRunHooks
from cycles_otel.local import LocalCycles
from tests.hooks.conftest import MakeHooks
from tests.hooks.desk import BUDGETS, COST, DONE, CountingTool, PricedModel, agent, calling
from tests.run.desk import until
from tests.telemetry.witness import Witness

CUSTOMERS = [f"customer-{number}" for number in range(8)]


async def served(hooks: CyclesRunHooks, context: Any = None, name: str = "desk") -> None:
    """One run with a tool."""
    starting = agent(PricedModel(calling("lookup"), DONE), CountingTool(), name=name)
    await Runner.run(starting, "hello", hooks=hooks, context=context)


def payers(server: LocalCycles) -> Counter[str]:
    """How much was charged to each workflow, in microcents."""
    charged: Counter[str] = Counter()
    for each in server.ledger().committed:
        if each.unit == "USD_MICROCENTS":
            charged[each.subject["workflow"]] += each.charged or 0
    return charged


def background_threads() -> int:
    return [thread.name for thread in threading.enumerate()].count("cycles-otel-background")


class TestBind:
    async def test_levels_that_are_given_stand_and_the_others_stay(
        self, server: LocalCycles, make_hooks: MakeHooks
    ) -> None:
        hooks = make_hooks(workspace="w", app="a", workflow="f")
        await served(hooks.bind(workflow="Customer One", app="b").bind(workspace="x"))
        subject = server.requests[0].body["subject"]
        assert subject["workflow"].startswith("Customer-One-")
        assert {name: subject[name] for name in ("tenant", "workspace", "app", "agent")} == {
            "tenant": "acme",
            "workspace": "x",
            "app": "b",
            "agent": "desk",
        }

    async def test_the_hooks_that_were_bound_stay_as_they_were(
        self, server: LocalCycles, make_hooks: MakeHooks
    ) -> None:
        hooks = make_hooks(workflow="f")
        hooks.bind(workflow="other")
        await served(hooks)
        assert set(payers(server)) == {"f"}

    async def test_views_work_at_once_and_each_pays_for_itself(
        self, server: LocalCycles, make_hooks: MakeHooks
    ) -> None:
        server.fund("tenant:acme", 100_000_000)
        hooks = make_hooks()
        await asyncio.gather(*(served(hooks.bind(workflow=each)) for each in CUSTOMERS for _ in range(2)))
        assert payers(server) == dict.fromkeys(CUSTOMERS, 4 * COST)
        assert server.ledger().active == ()

    async def test_views_for_several_tenants_need_a_key_for_each(
        self, server: LocalCycles, make_hooks: MakeHooks
    ) -> None:
        with pytest.raises(Exception, match="must belong to the tenant 'other'"):
            await served(make_hooks().bind(tenant="other"))

    async def test_a_view_works_on_the_connection_and_the_thread_of_its_hooks(
        self, server: LocalCycles, witness: Witness
    ) -> None:
        before = background_threads()
        async with CyclesRunHooks(config=server.config("acme"), recorder=witness.recorder) as hooks:
            await served(hooks)
            working = background_threads()
            views = [hooks.bind(workflow=each) for each in CUSTOMERS]
            await asyncio.gather(*(served(view) for view in views))
            assert background_threads() == working
        # The thread ends with its last connection: no view has one of its own that would keep it.
        await until(lambda: background_threads() <= before)
        assert len(views) == len(CUSTOMERS)

    async def test_a_run_inside_pays_with_the_view_of_the_run_around_it(
        self, server: LocalCycles, make_hooks: MakeHooks
    ) -> None:
        inner = agent(PricedModel(DONE), name="helper")
        outer = agent(PricedModel(calling("ask"), DONE))

        @function_tool
        async def ask() -> str:
            return str((await Runner.run(inner, "help")).final_output)

        outer.tools = [ask]
        await Runner.run(outer, "hello", hooks=make_hooks().bind(workflow="customer"))
        assert payers(server) == {"customer": 3 * COST}


class TestFunction:
    async def test_it_says_from_the_run_s_context_who_pays(self, server: LocalCycles, make_hooks: MakeHooks) -> None:
        hooks = make_hooks(workflow="nobody", subject=lambda context: {"workflow": context["customer"]})
        await asyncio.gather(*(served(hooks, {"customer": each}) for each in CUSTOMERS))
        assert payers(server) == dict.fromkeys(CUSTOMERS, 2 * COST)
        tools = [each for each in server.ledger().committed if each.unit == "RISK_POINTS"]
        assert Counter(each.subject["workflow"] for each in tools) == Counter(CUSTOMERS)

    async def test_it_stands_before_a_view_and_the_agent_s_name_before_it(
        self, server: LocalCycles, make_hooks: MakeHooks
    ) -> None:
        hooks = make_hooks(subject=lambda context: {"workflow": "function", "agent": "function"})
        await served(hooks.bind(workflow="view", app="view"))
        subject = server.requests[0].body["subject"]
        assert (subject["workflow"], subject["app"], subject["agent"]) == ("function", "view", "desk")

    async def test_it_counts_for_a_handoff_too(self, server: LocalCycles, make_hooks: MakeHooks) -> None:
        starting: Agent[Any] = agent(PricedModel(calling("transfer_to_billing")))
        starting.handoffs = [agent(PricedModel(DONE), name="billing")]
        hooks = make_hooks(subject=lambda context: {"workflow": "function"})
        await Runner.run(starting, "hello", hooks=hooks)
        assert [each.subject["workflow"] for each in server.ledger().events] == ["function"]

    async def test_one_that_fails_lets_nothing_run(self, server: LocalCycles, make_hooks: MakeHooks) -> None:
        model = PricedModel(DONE)
        hooks = make_hooks(subject=lambda context: {"workflow": context["customer"]})
        with pytest.raises(KeyError, match="customer"):
            await Runner.run(agent(model), "hello", hooks=hooks, context={})
        assert (model.calls, server.requests) == ((), ())


class TestReleasePending:
    async def test_it_leaves_a_run_of_other_hooks_alone(self, server: LocalCycles, witness: Witness) -> None:
        """A tool of a governed run that governs something of its own."""
        with LocalCycles(budgets=BUDGETS) as elsewhere:
            async with (
                CyclesRunHooks(config=server.config("acme"), recorder=witness.recorder) as hooks,
                CyclesRunHooks(config=elsewhere.config("acme"), recorder=witness.recorder) as others,
            ):
                released: list[int] = []

                @function_tool
                async def clean_up() -> str:
                    released.append(await others.release_pending("agent_run_failed"))
                    return "clean"

                starting = Agent(name="desk", model=PricedModel(calling("clean_up"), DONE), tools=[clean_up])
                await Runner.run(starting, "hello", hooks=hooks)
        assert released == [0]
        assert server.ledger().released == ()
        assert server.ledger().events == ()
        assert server.ledger().charged("RISK_POINTS") == 1
