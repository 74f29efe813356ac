"""A governed tool is a copy of the tool that it was made from, and calls it as the SDK would."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

import pytest
from agents import Agent, FunctionTool, RunContextWrapper, Runner, function_tool
from agents.tool_context import ToolContext

from cycles_otel import Disable, governed_tool
from cycles_otel.degradation.policies import NOT_RUN
from cycles_otel.degradation.tools import GovernedInvoker, is_governed
from tests.degradation.conftest import OpenDesk
from tests.degradation.desk import tool_outputs
from tests.degradation.test_disable import RISKY
from tests.hooks.desk import CountingTool
from tests.run.desk import calls, model, says

NO_PARAMETERS: dict[str, Any] = {"type": "object", "properties": {}}


def clerk_with(*tools: FunctionTool, name: str = "wipe", **arguments: Any) -> Agent[Any]:
    return Agent(name="clerk", model=model(calls(30, name, **arguments), says(40)), tools=[*tools])


class TestOutsideOfAGovernedRun:
    async def test_it_runs(self) -> None:
        wipe = CountingTool("wipe")
        await Runner.run(clerk_with(governed_tool(wipe.tool)), "hello")
        assert wipe.calls == 1

    def test_it_is_a_copy_that_looks_the_same_to_a_model(self) -> None:
        tool = CountingTool("wipe").tool
        governed = governed_tool(tool)
        assert governed is not tool
        assert is_governed(governed)
        assert not is_governed(tool)
        assert (governed.name, governed.description, governed.params_json_schema) == (
            tool.name,
            tool.description,
            tool.params_json_schema,
        )

    def test_it_is_wrapped_once_and_stays_so_in_each_copy(self) -> None:
        governed = governed_tool(CountingTool("wipe").tool)
        assert is_governed(copy.copy(governed))
        again: Any = governed_tool(governed).on_invoke_tool
        assert not isinstance(again.__wrapped__, GovernedInvoker)

    async def test_each_copy_fails_in_its_own_way(self) -> None:
        @function_tool
        def wipe() -> str:
            raise ValueError("no disk")

        copied = copy.copy(governed_tool(wipe))
        # How the SDK's own copies differ: a tool's way to fail is an attribute of the tool that is called.
        copied._failure_error_function = lambda context, error: "sorry"
        copied._use_default_failure_error_function = False
        assert tool_outputs(await Runner.run(clerk_with(copied), "hello")) == ["sorry"]

    async def test_a_failure_is_told_to_the_model_as_ever(self) -> None:
        @function_tool
        def wipe() -> str:
            raise ValueError("no disk")

        plain = tool_outputs(await Runner.run(clerk_with(wipe), "hello"))
        assert tool_outputs(await Runner.run(clerk_with(governed_tool(wipe)), "hello")) == plain
        assert "error" in plain[0]

    async def test_a_failure_goes_the_way_that_the_copy_was_told(self) -> None:
        def sorry(context: RunContextWrapper[Any], error: Exception) -> str:
            return f"sorry: {error}"

        @function_tool(failure_error_function=sorry)
        def wipe() -> str:
            raise ValueError("no disk")

        assert tool_outputs(await Runner.run(clerk_with(governed_tool(wipe)), "hello")) == ["sorry: no disk"]

    async def test_an_approval_is_asked_for_as_ever(self) -> None:
        asked: list[dict[str, Any]] = []

        async def needs_approval(context: Any, arguments: dict[str, Any], call_id: str) -> bool:
            asked.append(arguments)
            return True

        @function_tool(needs_approval=needs_approval)
        def wipe(path: str) -> str:
            return path

        result = await Runner.run(clerk_with(governed_tool(wipe), path="/tmp"), "hello")
        assert len(result.interruptions) == 1
        assert asked == [{"path": "/tmp"}]


class OwnTool(FunctionTool):
    """A tool whose invoker is a method of its own, which tells objects apart."""

    def __init__(self) -> None:
        self.seen: list[object] = []
        super().__init__("wipe", "wipes", NO_PARAMETERS, self._invoke, strict_json_schema=False)

    async def _invoke(self, context: ToolContext[Any], arguments: str) -> str:
        self.seen.append(context)
        return "wiped"


class TestAToolOfTheProgramsOwn:
    @pytest.mark.parametrize("points", [1, 50])
    async def test_gets_no_more_context_than_it_asks_for(self, open_desk: OpenDesk, points: int) -> None:
        seen: list[object] = []

        async def wipe(context: RunContextWrapper[Any], arguments: str) -> str:
            seen.append(context)
            return "wiped"

        tool = FunctionTool("wipe", "wipes", NO_PARAMETERS, wipe, strict_json_schema=False)
        async with open_desk(on_tool_denied=Disable(), tool_risk={"wipe": points}, llm_estimate=100) as desk:
            outputs = tool_outputs(await desk.run(clerk_with(governed_tool(tool))))
        assert outputs == (["wiped"] if points == 1 else [NOT_RUN])
        assert [type(each) for each in seen] == ([RunContextWrapper] if points == 1 else [])

    @pytest.mark.parametrize("copied", [False, True])
    async def test_may_be_a_method(self, open_desk: OpenDesk, copied: bool) -> None:
        tool = OwnTool()
        governed = governed_tool(tool)
        async with open_desk(on_tool_denied=Disable(), **RISKY) as desk:
            given = copy.copy(governed) if copied else governed
            assert tool_outputs(await desk.run(clerk_with(given))) == [NOT_RUN]
        assert tool.seen == []

    async def test_keeps_its_timeout(self) -> None:
        async def wipe(context: ToolContext[Any], arguments: str) -> str:
            await asyncio.Event().wait()
            return "never"

        tool = FunctionTool("wipe", "wipes", NO_PARAMETERS, wipe, strict_json_schema=False, timeout_seconds=0.01)
        (output,) = tool_outputs(await Runner.run(clerk_with(governed_tool(tool)), "hello"))
        assert "timed out" in output
