"""A function in place of a policy: it is told of the denial, and chooses."""

from __future__ import annotations

from typing import Any

import pytest
from agents import Agent

from cycles_otel import (
    CyclesConfigurationError,
    Defer,
    Denial,
    Disable,
    Downgrade,
    Raise,
    StepDeniedError,
    governed_tool,
)
from cycles_otel.local import LocalCycles
from tests.degradation.conftest import OpenDesk
from tests.degradation.desk import NamedModel, Shelf, asked, denied_run, governed, tool_outputs
from tests.degradation.test_disable import RISKY
from tests.hooks.desk import CountingTool
from tests.run.desk import calls, model, says

CLERK = Agent[Any](name="clerk", model="large")


class TestAFunction:
    async def test_is_told_what_was_denied_to_whom(self, open_desk: OpenDesk) -> None:
        told: list[Denial] = []

        def choose(denial: Denial) -> Raise:
            told.append(denial)
            return Raise()

        async with open_desk(on_llm_denied=choose) as desk:
            error = await denied_run(desk, CLERK, run_config=governed(Shelf(NamedModel("large"))))
        (denial,) = told
        assert denial == Denial(error, "clerk", model="large")
        assert denial.reason_code == "BUDGET_EXCEEDED"
        assert isinstance(denial.error, StepDeniedError)
        assert denial.error.unit == "TOKENS"

    async def test_chooses_a_model(self, open_desk: OpenDesk) -> None:
        shelf = Shelf(NamedModel("large"), NamedModel("small", says(60)))
        async with open_desk(on_llm_denied=lambda denial: Downgrade("small", estimate=100)) as desk:
            await desk.run(CLERK, run_config=governed(shelf))
            assert shelf.calls("small") == 1

    async def test_may_be_a_coroutine(self, open_desk: OpenDesk) -> None:
        async def choose(denial: Denial) -> Downgrade:
            return Downgrade("small", estimate=100)

        shelf = Shelf(NamedModel("large"), NamedModel("small", says(60)))
        async with open_desk(on_llm_denied=choose) as desk:
            await desk.run(CLERK, run_config=governed(shelf))
            assert shelf.calls("small") == 1

    async def test_may_choose_a_chain_and_is_asked_once_for_the_step(
        self, open_desk: OpenDesk, server: LocalCycles
    ) -> None:
        asked_for: list[Denial] = []

        def choose(denial: Denial) -> list[Downgrade | Defer]:
            asked_for.append(denial)
            return [Downgrade("medium", estimate=600), Downgrade("small", estimate=100)]

        shelf = Shelf(NamedModel("large"), NamedModel("medium"), NamedModel("small", says(60)))
        async with open_desk(on_llm_denied=choose) as desk:
            await desk.run(CLERK, run_config=governed(shelf))
            assert [name for name, _, _ in asked(server)] == ["large", "medium", "small"]
            assert len(asked_for) == 1

    async def test_tells_tools_apart(self, open_desk: OpenDesk) -> None:
        def choose(denial: Denial) -> Disable | Raise:
            return Disable(f"{denial.agent} may not {denial.tool}") if denial.tool == "wipe" else Raise()

        wipe, burn = CountingTool("wipe"), CountingTool("burn")
        risk = {"tool_risk": {"wipe": 50, "burn": 50}, "llm_estimate": 100}
        clerk_model = model(calls(30, "wipe"), calls(31, "burn"))
        clerk = Agent[Any](name="clerk", model=clerk_model, tools=[governed_tool(wipe.tool), burn.tool])
        async with open_desk(on_tool_denied=choose, **risk) as desk:
            error = await denied_run(desk, clerk)
            assert "'burn'" in str(error)
            assert "clerk may not wipe" in str(clerk_model.calls[1].input)
            assert (wipe.calls, burn.calls) == (0, 0)

    async def test_that_returns_no_policy_of_this_kind_of_step_is_a_wrong_set_up(self, open_desk: OpenDesk) -> None:
        for wrong in (None, "raise", Disable(), [], [Raise(), Disable()]):
            async with open_desk(on_llm_denied=lambda denial, wrong=wrong: wrong) as desk:
                with pytest.raises(CyclesConfigurationError, match="The function on_llm_denied returned"):
                    await desk.run(CLERK, run_config=governed(Shelf(NamedModel("large"))))

    async def test_that_returns_no_policy_for_a_tool_is_a_wrong_set_up(self, open_desk: OpenDesk) -> None:
        clerk = Agent[Any](name="clerk", model=model(calls(30, "wipe")), tools=[CountingTool("wipe").tool])
        async with open_desk(on_tool_denied=lambda denial: None, **RISKY) as desk:
            with pytest.raises(CyclesConfigurationError, match="The function on_tool_denied returned None"):
                await desk.run(clerk)

    async def test_that_fails_lets_its_own_error_through_and_nothing_run(self, open_desk: OpenDesk) -> None:
        def choose(denial: Denial) -> Raise:
            raise LookupError("no such customer")

        shelf = Shelf(NamedModel("large"))
        async with open_desk(on_llm_denied=choose) as desk:
            with pytest.raises(LookupError, match="no such customer"):
                await desk.run(CLERK, run_config=governed(shelf))
            assert shelf.calls("large") == 0

    async def test_is_not_asked_while_nothing_is_denied(self, open_desk: OpenDesk) -> None:
        def choose(denial: Denial) -> Raise:
            raise AssertionError("nothing was denied")

        clerk = Agent[Any](name="clerk", model=model(calls(30, "look"), says(31)), tools=[CountingTool("look").tool])
        async with open_desk(on_llm_denied=choose, on_tool_denied=choose, llm_estimate=100) as desk:
            assert tool_outputs(await desk.run(clerk)) == ["found"]
