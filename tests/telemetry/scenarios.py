"""Runs whose trees of spans are looked at, alone and beside each instrumentation of the Agents SDK."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from agents import Agent, Runner, function_tool
from agents.testing import ScriptedModel, assistant_message, function_call
from opentelemetry.trace import Tracer
from runcycles import CyclesConfig

from cycles_otel import CyclesRunHooks, Recorder, cycles_budget_guardrail
from cycles_otel.local import LocalCycles
from tests.run.desk import AMPLE, hooks_of


@dataclass(frozen=True)
class Stage:
    """Where a scenario is played: the server's config, its hooks, and the tracer of the program."""

    config: CyclesConfig
    hooks: CyclesRunHooks
    recorder: Recorder
    tracer: Tracer


Scenario = Callable[[Stage], Awaitable[None]]


@function_tool
async def look_up(topic: str) -> str:
    """Look something up."""
    await asyncio.sleep(0.01)
    return f"all about {topic}"


def model(*steps: Any) -> ScriptedModel:
    """A model that traces its calls, as those of the SDK do."""
    return ScriptedModel(steps, emit_traces=True)


def desk() -> Agent[Any]:
    """An agent that asks another one, looks two things up meanwhile, and hands over to a third."""
    helper = Agent(
        name="helper",
        model=model([function_call("look_up", {"topic": "c"}, call_id="h1")], [assistant_message("found")]),
        tools=[look_up],
    )
    closer = Agent(name="closer", model=model([assistant_message("bye")]))
    at_once = [
        function_call("look_up", {"topic": "a"}, call_id="d1"),
        function_call("look_up", {"topic": "b"}, call_id="d2"),
        function_call("ask_helper", {"input": "c"}, call_id="d3"),
    ]
    return Agent(
        name="desk",
        model=model(at_once, [function_call("transfer_to_closer", {}, call_id="d4")]),
        tools=[look_up, helper.as_tool("ask_helper", "Ask the helper.")],
        handoffs=[closer],
    )


def clerk(name: str) -> Agent[Any]:
    """An agent that looks one thing up."""
    call = function_call("look_up", {"topic": name}, call_id=f"{name}1")
    return Agent(name=name, model=model([call], [assistant_message("done")]), tools=[look_up])


async def team(stage: Stage) -> None:
    """A nested agent and parallel tools, then a handoff."""
    await Runner.run(desk(), "hello", hooks=stage.hooks)


async def streamed_team(stage: Stage) -> None:
    """The same as a stream."""
    async for _ in Runner.run_streamed(desk(), "hello", hooks=stage.hooks).stream_events():
        pass


async def concurrent(stage: Stage) -> None:
    """Two runs at once."""
    await asyncio.gather(*(Runner.run(clerk(name), "hello", hooks=stage.hooks) for name in ("left", "right")))


async def guarded(stage: Stage) -> None:
    """A guardrail that asks before the run."""
    guardrail = cycles_budget_guardrail(config=stage.config, estimate=1, unit="TOKENS", recorder=stage.recorder)
    agent = Agent(name="guarded", model=model([assistant_message("done")]), input_guardrails=[guardrail])
    await Runner.run(agent, "hello", hooks=stage.hooks)


async def within_a_span(stage: Stage) -> None:
    """Inside of a span of the program: a run, then a stream, then another span of the program."""
    with stage.tracer.start_as_current_span("request"):
        await Runner.run(clerk("first"), "hello", hooks=stage.hooks)
        async for _ in Runner.run_streamed(clerk("second"), "hello", hooks=stage.hooks).stream_events():
            pass
        with stage.tracer.start_as_current_span("afterwards"):
            pass


SCENARIOS: tuple[Scenario, ...] = (team, streamed_team, concurrent, guarded, within_a_span)


async def play(scenario: Scenario, recorder: Recorder, tracer: Tracer) -> None:
    """Play one scenario to its end: every reservation is settled, and every span of ours has ended."""
    with LocalCycles(budgets={"tenant:acme": AMPLE}) as server:
        async with hooks_of(server, recorder=recorder) as hooks:
            await scenario(Stage(server.config(), hooks, recorder, tracer))
