"""Disable: a tool that is denied is not run, its model reads why, and the run goes on."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from agents import Agent, AgentHooks, FunctionTool, RunConfig, SQLiteSession, function_tool

from cycles_otel import Defer, Disable, governed_tool
from cycles_otel.degradation.policies import NOT_RUN
from cycles_otel.local import Fault, LocalCycles
from cycles_otel.run import current_scope
from tests.degradation.conftest import OpenDesk
from tests.degradation.desk import TENANT, asked, denied_run, tool_outputs
from tests.hooks.desk import CountingTool
from tests.run.desk import calls, model, says, until

RISKY = {"tool_risk": {"wipe": 50}, "llm_estimate": 100}
"""A tool that costs more risk points than there are, beside LLM calls that are allowed."""


class TestADisabledTool:
    async def test_is_not_run_and_costs_nothing_and_its_model_is_told(self, open_desk: OpenDesk) -> None:
        wipe, clerk_model = CountingTool("wipe"), model(calls(30, "wipe"), says(40, "I could not."))
        clerk = Agent(name="clerk", model=clerk_model, tools=[governed_tool(wipe.tool)])
        async with open_desk(on_tool_denied=Disable(), **RISKY) as desk:
            result = await desk.run(clerk)
            assert wipe.calls == 0
            assert tool_outputs(result) == [NOT_RUN]
            assert NOT_RUN in str(clerk_model.calls[1].input)
            assert result.final_output == "I could not."
            assert await desk.charged() == (70, 0)

    async def test_gives_the_model_the_message_that_the_policy_has(self, open_desk: OpenDesk) -> None:
        clerk = Agent(name="clerk", model=model(calls(30, "wipe"), says(40)), tools=[governed_tool(_wipe())])
        async with open_desk(on_tool_denied=Disable("Ask a human."), **RISKY) as desk:
            assert tool_outputs(await desk.run(clerk)) == ["Ask a human."]

    async def test_runs_again_once_there_is_budget(self, open_desk: OpenDesk, server: LocalCycles) -> None:
        wipe = CountingTool("wipe")

        @function_tool(name_override="refill")
        async def top_up() -> str:
            server.fund(TENANT, 100, "RISK_POINTS")
            return "done"

        steps = calls(10, "wipe"), calls(11, "refill"), calls(12, "wipe"), says(13)
        clerk = Agent(name="clerk", model=model(*steps), tools=[governed_tool(wipe.tool), governed_tool(top_up)])
        async with open_desk(on_tool_denied=Disable(), **RISKY) as desk:
            assert tool_outputs(await desk.run(clerk)) == [NOT_RUN, "done", "found"]
            assert wipe.calls == 1
            assert await desk.charged() == (46, 51)

    async def test_lets_its_siblings_of_the_same_turn_run(self, open_desk: OpenDesk) -> None:
        wipe, look = CountingTool("wipe"), CountingTool("look")
        clerk = Agent(
            name="clerk",
            model=model(calls(30, "wipe", "look", "wipe", "look"), says(40)),
            tools=[governed_tool(wipe.tool), governed_tool(look.tool)],
        )
        async with open_desk(on_tool_denied=Disable(), **RISKY) as desk:
            assert tool_outputs(await desk.run(clerk)) == [NOT_RUN, "found", NOT_RUN, "found"]
            assert (wipe.calls, look.calls) == (0, 2)
            assert await desk.charged() == (70, 2)

    async def test_may_be_an_agent_and_a_tool_of_a_nested_agent(self, open_desk: OpenDesk) -> None:
        wipe = CountingTool("wipe")
        inner = Agent(name="inner", model=model(calls(20, "wipe"), says(21)), tools=[governed_tool(wipe.tool)])
        never = Agent(name="never", model=model())
        tools = [governed_tool(inner.as_tool("ask", "asks")), governed_tool(never.as_tool("wake", "wakes"))]
        outer = Agent(name="outer", model=model(calls(30, "ask", "wake", input="x"), says(31)), tools=[*tools])
        risk = {"tool_risk": {"wipe": 50, "wake": 50}, "llm_estimate": 100}
        async with open_desk(on_tool_denied=Disable(), **risk) as desk:
            assert tool_outputs(await desk.run(outer))[1] == NOT_RUN
            assert wipe.calls == 0
            assert await desk.charged() == (102, 1)

    async def test_stands_in_the_session_as_any_result_does(self, open_desk: OpenDesk) -> None:
        clerk = Agent(name="clerk", model=model(calls(30, "wipe"), says(40)), tools=[governed_tool(_wipe())])
        session = SQLiteSession("session")
        async with open_desk(on_tool_denied=Disable(), **RISKY) as desk:
            await desk.run(clerk, session=session)
        assert NOT_RUN in str(await session.get_items())

    async def test_may_first_be_waited_for(self, open_desk: OpenDesk, server: LocalCycles) -> None:
        wipe = CountingTool("wipe")
        clerk = Agent(name="clerk", model=model(calls(30, "wipe"), says(40)), tools=[governed_tool(wipe.tool)])
        policies = [Defer(0.03, first_pause=0.01), Disable()]
        async with open_desk(on_tool_denied=policies, **RISKY) as desk:
            assert tool_outputs(await desk.run(clerk)) == [NOT_RUN]
            assert len(asked(server, "tool.invoke")) > 1
            assert wipe.calls == 0

    async def test_stays_left_out_when_what_the_run_holds_is_released_meanwhile(self, open_desk: OpenDesk) -> None:
        wipe = CountingTool("wipe")

        class Releasing(AgentHooks[Any]):
            async def on_tool_start(self, context: Any, agent: Any, tool: Any) -> None:
                await until(lambda: bool(scopes[0].disabled_message(context.tool_call_id)), seconds=10)
                await desk.hooks.release_pending()

            async def on_llm_start(self, *_: Any) -> None:
                scopes.append(current_scope())

        scopes: list[Any] = []
        clerk = Agent(
            name="clerk",
            model=model(calls(30, "wipe"), says(40)),
            tools=[governed_tool(wipe.tool)],
            hooks=Releasing(),
        )
        async with open_desk(on_tool_denied=Disable(), **RISKY) as desk:
            assert tool_outputs(await desk.run(clerk)) == [NOT_RUN]
            assert wipe.calls == 0


class TestAToolThatIsNotDenied:
    async def test_is_charged_as_ever(self, open_desk: OpenDesk) -> None:
        look = CountingTool("look")
        clerk = Agent(name="clerk", model=model(calls(30, "look"), says(40)), tools=[governed_tool(look.tool)])
        async with open_desk(on_tool_denied=Disable(), llm_estimate=100) as desk:
            assert tool_outputs(await desk.run(clerk)) == ["found"]
            assert await desk.charged() == (70, 1)

    async def test_runs_unenforced_while_the_server_is_silent(self, open_desk: OpenDesk, server: LocalCycles) -> None:
        wipe = CountingTool("wipe")
        server.inject(Fault("reserve", status=503, after=1, times=None))
        clerk = Agent(name="clerk", model=model(calls(30, "wipe"), says(40)), tools=[governed_tool(wipe.tool)])
        async with open_desk(on_tool_denied=Disable(), **RISKY) as desk:
            await desk.run(clerk)
            assert wipe.calls == 1

    async def test_runs_in_a_shadow(self, open_desk: OpenDesk) -> None:
        wipe = CountingTool("wipe")
        clerk = Agent(name="clerk", model=model(calls(30, "wipe"), says(40)), tools=[wipe.tool])
        async with open_desk(on_tool_denied=Disable(), dry_run=True, **RISKY) as desk:
            await desk.run(clerk)
            assert wipe.calls == 1


class TestWhatTheUserGave:
    async def test_is_never_changed(self, open_desk: OpenDesk) -> None:
        wipe = _wipe()
        before = {field.name: getattr(wipe, field.name) for field in fields(wipe)}
        clerk = Agent(name="clerk", model=model(calls(30, "wipe"), says(40)), tools=[governed_tool(wipe)])
        tools, config = list(clerk.tools), RunConfig()
        async with open_desk(on_tool_denied=Disable(), **RISKY) as desk:
            await desk.run(clerk, run_config=config)
        assert {field.name: getattr(wipe, field.name) for field in fields(wipe)} == before
        assert clerk.tools == tools
        assert config == RunConfig(model_provider=config.model_provider)

    async def test_stays_with_a_bound_view_of_the_hooks(self, open_desk: OpenDesk) -> None:
        clerk = Agent(name="clerk", model=model(calls(30, "wipe"), says(40)), tools=[governed_tool(_wipe())])
        async with open_desk(on_tool_denied=Disable(), **RISKY) as desk:
            desk.hooks = desk.hooks.bind(app="helpdesk")
            assert tool_outputs(await desk.run(clerk)) == [NOT_RUN]


class TestWithoutAPolicy:
    async def test_a_denial_stops_the_run_though_the_tool_is_governed(self, open_desk: OpenDesk) -> None:
        wipe = CountingTool("wipe")
        clerk = Agent(name="clerk", model=model(calls(30, "wipe")), tools=[governed_tool(wipe.tool)])
        async with open_desk(**RISKY) as desk:
            assert (await denied_run(desk, clerk)).reason_code == "BUDGET_EXCEEDED"
            assert wipe.calls == 0


def _wipe() -> FunctionTool:
    return CountingTool("wipe").tool
