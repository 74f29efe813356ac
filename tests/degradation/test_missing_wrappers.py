"""A policy that something is missing for is an error that says what to add, never a run that goes on without it."""

from __future__ import annotations

from typing import Any

import pytest
from agents import Agent, FunctionTool, Model, ModelProvider, RunConfig, ShellTool
from agents.run_context import RunContextWrapper

from cycles_otel import (
    CyclesConfigurationError,
    CyclesModelProvider,
    CyclesRunHooks,
    Disable,
    Downgrade,
    governed_model,
    governed_tool,
)
from cycles_otel.local import LocalCycles
from tests.degradation.conftest import OpenDesk
from tests.degradation.desk import NamedModel, Shelf, governed, reserves
from tests.degradation.test_disable import RISKY
from tests.hooks.desk import CountingTool
from tests.run.desk import calls, model, says

SMALL = Downgrade("small", estimate=100)


class TestDowngrade:
    async def test_needs_a_governed_provider_and_says_so_before_anything_is_asked_for(
        self, open_desk: OpenDesk, server: LocalCycles
    ) -> None:
        shelf = Shelf(NamedModel("large", says(60)), NamedModel("small"))
        async with open_desk(on_llm_denied=SMALL, llm_estimate=100) as desk:
            with pytest.raises(
                CyclesConfigurationError, match=r"Downgrade in on_llm_denied .*=CyclesModelProvider\(\)"
            ):
                await desk.run(Agent(name="clerk", model="large"), run_config=RunConfig(model_provider=shelf))
            assert shelf.calls("large") == 0
            assert reserves(server) == []

    async def test_needs_a_governed_object_where_the_model_is_one(self, open_desk: OpenDesk) -> None:
        large, shelf = NamedModel("large", says(60)), Shelf(NamedModel("small"))
        async with open_desk(on_llm_denied=SMALL) as desk:
            with pytest.raises(CyclesConfigurationError, match=r"wrap the one of 'clerk', as in model=governed_model"):
                await desk.run(Agent(name="clerk", model=large), run_config=governed(shelf))
            assert large.calls == ()

    async def test_that_a_function_chooses_is_checked_at_the_denial(
        self, open_desk: OpenDesk, server: LocalCycles
    ) -> None:
        shelf = Shelf(NamedModel("large"), NamedModel("small"))
        async with open_desk(on_llm_denied=lambda denial: SMALL) as desk:
            with pytest.raises(CyclesConfigurationError, match="CyclesModelProvider") as raised:
                await desk.run(Agent(name="clerk", model="large"), run_config=RunConfig(model_provider=shelf))
            assert "was denied: BUDGET_EXCEEDED" in str(raised.value.__cause__)
            assert (shelf.calls("large"), shelf.calls("small"), len(reserves(server))) == (0, 0, 1)

    async def test_may_come_from_a_provider_of_the_programs_own(self, open_desk: OpenDesk) -> None:
        small = NamedModel("small", says(60))

        class Own(ModelProvider):
            def get_model(self, model_name: str | None) -> Model:
                return governed_model(NamedModel("large"))

        async with open_desk(on_llm_denied=Downgrade(small, estimate=100)) as desk:
            await desk.run(Agent(name="clerk", model="large"), run_config=RunConfig(model_provider=Own()))
            assert len(small.calls) == 1

    async def test_may_come_from_a_run_config_that_is_a_dict(self, open_desk: OpenDesk) -> None:
        shelf = Shelf(NamedModel("large"), NamedModel("small", says(60)))
        async with open_desk(on_llm_denied=SMALL) as desk:
            await desk.run(
                Agent(name="clerk", model="large"), run_config={"model_provider": CyclesModelProvider(shelf)}
            )
            assert shelf.calls("small") == 1

    async def test_outside_of_a_run_of_the_sdk_is_refused(self, server: LocalCycles) -> None:
        async with CyclesRunHooks(config=server.config(), on_llm_denied=SMALL) as hooks:
            with pytest.raises(CyclesConfigurationError, match=r"outside of a run of Runner\.run"):
                await hooks.on_llm_start(RunContextWrapper(None), Agent(name="clerk", model="large"), None, [])

    async def test_stops_no_shadow(self, open_desk: OpenDesk) -> None:
        large = NamedModel("large", says(60))
        async with open_desk(on_llm_denied=SMALL, dry_run=True) as desk:
            await desk.run(Agent(name="clerk", model=large))
            assert len(large.calls) == 1


class TestDisable:
    async def test_needs_a_governed_tool_and_says_so_before_anything_is_asked_for(
        self, open_desk: OpenDesk, server: LocalCycles
    ) -> None:
        look, clerk_model = CountingTool("look"), model(calls(30, "look"))
        clerk = Agent(name="clerk", model=clerk_model, tools=[governed_tool(CountingTool("wipe").tool), look.tool])
        async with open_desk(on_tool_denied=Disable(), llm_estimate=100) as desk:
            with pytest.raises(CyclesConfigurationError, match=r"Disable in on_tool_denied .*'look', as in tools="):
                await desk.run(clerk)
            assert clerk_model.calls == ()
            assert reserves(server) == []

    async def test_needs_none_for_a_tool_that_costs_nothing(self, open_desk: OpenDesk) -> None:
        look = CountingTool("look")
        clerk = Agent(name="clerk", model=model(calls(30, "look"), says(40)), tools=[look.tool])
        async with open_desk(on_tool_denied=Disable(), tool_risk={"look": 0}, llm_estimate=100) as desk:
            await desk.run(clerk)
            assert look.calls == 1

    async def test_that_a_function_chooses_is_checked_at_the_denial(self, open_desk: OpenDesk) -> None:
        wipe = CountingTool("wipe")
        clerk = Agent(name="clerk", model=model(calls(30, "wipe")), tools=[wipe.tool])
        async with open_desk(on_tool_denied=lambda denial: Disable(), **RISKY) as desk:
            with pytest.raises(CyclesConfigurationError, match="governed_tool") as raised:
                await desk.run(clerk)
            assert "was denied: BUDGET_EXCEEDED" in str(raised.value.__cause__)
            assert wipe.calls == 0

    async def test_is_refused_for_a_tool_that_is_no_function(self, server: LocalCycles) -> None:
        shell = ShellTool(executor=lambda request: "ran")
        given: dict[str, Any] = {"config": server.config(), "tool_risk": {"shell": 50}}
        async with CyclesRunHooks(on_tool_denied=Disable(), **given) as hooks:
            with pytest.raises(CyclesConfigurationError, match=r"outside of a run of Runner\.run"):
                await hooks.on_tool_start(RunContextWrapper(None), Agent(name="clerk"), shell)

    def test_wraps_nothing_but_function_tools(self) -> None:
        shell: Any = ShellTool(executor=lambda request: "ran")
        with pytest.raises(TypeError, match=r"tool=.* is not accepted: an agents.FunctionTool"):
            governed_tool(shell)
        assert isinstance(governed_tool(CountingTool().tool), FunctionTool)


def test_a_governed_model_wraps_nothing_but_models() -> None:
    name: Any = "gpt-4o"
    with pytest.raises(TypeError, match=r"model='gpt-4o' is not accepted: an agents.Model; names are for CyclesModelP"):
        governed_model(name)


def test_a_governed_provider_wraps_nothing_but_providers() -> None:
    model: Any = NamedModel("large")
    with pytest.raises(TypeError, match=r"provider=.* is not accepted: an agents.ModelProvider"):
        CyclesModelProvider(model)
