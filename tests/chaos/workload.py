"""A seeded mixed workload: agents of every shape, each run in one of the SDK's ways and ended in one of many.

Every step has a name of its own, so that its charge can be found in the ledger and its life in the spans: an LLM call
is its model's name, which the model changes with every call; a tool call is its tool's name.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from agents import (
    Agent,
    AgentsException,
    FunctionTool,
    RunConfig,
    RunHooks,
    Runner,
    RunResultStreaming,
    Usage,
    function_tool,
    handoff,
)
from agents.testing import ModelCall, ModelStep, ScriptedModel, assistant_message, function_call
from agents.tool_context import ToolContext
from runcycles import CyclesError

from tests.chaos.oracle import Oracle

Output = Callable[[], list[Any]]

LONGEST_TOOL = 0.7
"""Seconds that a tool takes which outlives half of the shortest lease."""


class ModelDownError(Exception):
    """The model gave no answer."""


class NumberedModel(ScriptedModel):
    """A model whose every call has another name, and which tells the oracle what it used."""

    def __init__(self, name: str, oracle: Oracle, steps: Sequence[Step]) -> None:
        self._name = name
        self._asked = 0
        self._oracle = oracle
        super().__init__([ModelStep.respond(self._responder(step)) for step in steps])

    @property
    def model(self) -> str:
        """The name of the next call, and of one that is under way until it is answered."""
        return f"{self._name}-{self._asked}"

    def _responder(self, step: Step) -> Callable[[ModelCall], Any]:
        async def respond(call: ModelCall) -> ModelStep:
            for _ in range(step.turns):
                await asyncio.sleep(0)
            if step.gate is not None:
                step.gate.set()
                await asyncio.Event().wait()
            name = self.model
            self._asked += 1
            if step.output is None:
                raise ModelDownError(name)
            self._oracle.answered(name, step.tokens)
            return ModelStep(output=step.output(), usage=_usage(step.tokens))

        return respond


@dataclass
class Step:
    """One answer of a model.

    Parameters
    ----------
    output: what it says; None where it fails.
    turns: how many turns of the event loop it takes.
    gate: set when the call has come in; then it never answers.
    """

    tokens: int
    output: Output | None
    turns: int = 0
    gate: asyncio.Event | None = None


class Casting:
    """Makes the agents and tools of one run, each with a name of its own.

    Parameters
    ----------
    risks: RISK_POINTS by the tool's name, filled as tools are made.
    points: what a tool costs is one of these.
    """

    def __init__(
        self,
        prefix: str,
        chance: random.Random,
        oracle: Oracle,
        risks: dict[str, int],
        points: Sequence[int] = (0, 1, 1, 3, 7),
    ) -> None:
        self.prefix = prefix
        self.chance = chance
        self.oracle = oracle
        self.risks = risks
        self.gate = asyncio.Event()
        self._points = points
        self._made = 0

    def name(self, what: str) -> str:
        """A name that nothing else has."""
        self._made += 1
        return f"{self.prefix}-{what}{self._made}"

    def agent(self, *steps: Step, **more: Any) -> Agent[Any]:
        """An agent whose model answers with these steps."""
        name = self.name("agent")
        model = NumberedModel(f"{name}-llm", self.oracle, steps)
        return Agent(name=name, model=model, **more)

    def says(self, **more: Any) -> Step:
        """An answer that ends a run."""
        return self._step(lambda: [assistant_message("done")], **more)

    def calls(self, *tools: Any) -> Step:
        """An answer that calls tools, all at once."""
        named = [(tool.name, self.name("call")) for tool in tools]
        return self._step(
            lambda: [
                function_call(name, {"input": "x"} if "nested" in name else {}, call_id=call) for name, call in named
            ]
        )

    def hands_over(self, transfer: str) -> Step:
        """An answer that hands over to another agent."""
        return self._step(lambda: [function_call(transfer, {}, call_id=transfer)])

    def fails(self) -> Step:
        """No answer, but an error."""
        return Step(0, None)

    def hangs(self) -> Step:
        """A call that comes in and is never answered."""
        return self._step(list, gate=self.gate)

    def _step(self, output: Output, **more: Any) -> Step:
        return Step(self.oracle.next_tokens(), output, turns=self.chance.randint(0, 3), **more)

    def tool(self, *, seconds: float = 0.0, error: Exception | None = None, fatal: bool = False) -> FunctionTool:
        """A tool that takes a while, and fails where an error is given; a fatal one fails its run."""
        name = self.name("tool")
        self.risks[name] = points = self.chance.choice(self._points)

        async def run() -> str:
            self.oracle.ran(name, points)
            await asyncio.sleep(seconds)
            if error is not None:
                raise error
            return "found"

        if fatal:
            return function_tool(run, name_override=name, failure_error_function=None)
        return function_tool(run, name_override=name)

    def hanging_tool(self) -> FunctionTool:
        """A tool that begins and never comes back."""
        name = self.name("tool")
        self.risks[name] = points = self.chance.choice(self._points)

        async def run() -> str:
            self.oracle.ran(name, points)
            self.gate.set()
            await asyncio.Event().wait()
            return "never"

        return function_tool(run, name_override=name)

    def nested(self, inner: Agent[Any]) -> FunctionTool:
        """An agent as a tool: the call itself is a step, and so is everything that the agent does."""
        name = self.name("nested")
        self.risks[name] = points = self.chance.choice(self._points)
        tool = inner.as_tool(name, "Ask the other agent.")
        invoke = tool.on_invoke_tool

        async def noted(context: ToolContext[Any], arguments: str) -> Any:
            self.oracle.ran(name, points)
            return await invoke(context, arguments)

        tool.on_invoke_tool = noted
        return tool


def _usage(tokens: int) -> Usage:
    return Usage(requests=1, input_tokens=tokens - 1, output_tokens=1, total_tokens=tokens)


# --- Shapes: what a run does ----------------------------------------------------------------------------------------


def an_answer(cast: Casting) -> Agent[Any]:
    return cast.agent(cast.says())


def tools_at_once(cast: Casting) -> Agent[Any]:
    first = [cast.tool() for _ in range(cast.chance.randint(1, 4))]
    second = [cast.tool(error=ValueError("stumbled")), cast.tool()]
    return cast.agent(cast.calls(*first), cast.calls(*second), cast.says(), tools=[*first, *second])


def agents_as_tools(cast: Casting) -> Agent[Any]:
    innermost = cast.nested(cast.agent(cast.says()))
    busy = cast.tool()
    nested = cast.nested(cast.agent(cast.calls(busy, innermost), cast.says(), tools=[busy, innermost]))
    tools = [nested, cast.tool(), cast.nested(cast.agent(cast.says()))]
    return cast.agent(cast.calls(*tools), cast.says(), tools=tools)


def an_agent_as_a_tool(cast: Casting) -> Agent[Any]:
    tools = [cast.tool(), cast.nested(cast.agent(cast.says()))]
    return cast.agent(cast.calls(*tools), cast.says(), tools=tools)


def a_handoff(cast: Casting) -> Agent[Any]:
    tool = cast.tool()
    closer = cast.agent(cast.calls(tool), cast.says(), tools=[tool])
    over = cast.name("transfer")
    return cast.agent(cast.hands_over(over), handoffs=[handoff(closer, tool_name_override=over)])


def a_model_that_fails(cast: Casting) -> Agent[Any]:
    tool = cast.tool()
    return cast.agent(cast.calls(tool), cast.fails(), tools=[tool])


def a_tool_that_fails_the_run(cast: Casting) -> Agent[Any]:
    tools = [cast.tool(), cast.tool(error=ValueError("broken"), fatal=True), cast.tool()]
    return cast.agent(cast.calls(*tools), cast.says(), tools=tools)


def a_tool_that_outlives_half_a_lease(cast: Casting) -> Agent[Any]:
    tools = [cast.tool(seconds=LONGEST_TOOL), cast.tool()]
    return cast.agent(cast.calls(*tools), cast.says(), tools=tools)


def a_model_that_hangs(cast: Casting) -> Agent[Any]:
    tool = cast.tool()
    return cast.agent(cast.calls(tool), cast.hangs(), tools=[tool])


def a_tool_that_hangs(cast: Casting) -> Agent[Any]:
    tools = [cast.tool(), cast.hanging_tool()]
    return cast.agent(cast.calls(*tools), cast.says(), tools=tools)


def a_nested_tool_that_hangs(cast: Casting) -> Agent[Any]:
    inner_tool = cast.hanging_tool()
    tools = [cast.nested(cast.agent(cast.calls(inner_tool), cast.says(), tools=[inner_tool])), cast.tool()]
    return cast.agent(cast.calls(*tools), cast.says(), tools=tools)


SHAPES = (
    an_answer,
    tools_at_once,
    an_agent_as_a_tool,
    agents_as_tools,
    a_handoff,
    a_model_that_fails,
    a_tool_that_fails_the_run,
    a_tool_that_outlives_half_a_lease,
)
HANGING = (a_model_that_hangs, a_tool_that_hangs, a_nested_tool_that_hangs)


# --- Ways: how a run is made, and how it is ended -------------------------------------------------------------------


async def awaited(run: Governed) -> None:
    await run.start()


async def cancelled_at_any_moment(run: Governed) -> None:
    task = asyncio.ensure_future(run.start())
    await asyncio.wait([task], timeout=run.cast.chance.uniform(0, 0.08))
    task.cancel()
    await _over(task)


async def cancelled_when_it_hangs(run: Governed) -> None:
    task = asyncio.ensure_future(run.start())
    await _first(run.cast.gate, task)
    task.cancel()
    await _over(task)


async def streamed_and_read(run: Governed) -> None:
    async for _ in run.stream().stream_events():
        pass


async def streamed_and_never_read(run: Governed) -> None:
    await _over(_loop_task(run.stream()))


async def streamed_and_left_half_way(run: Governed) -> None:
    result, left = run.stream(), run.cast.chance.randint(1, 8)
    async for _ in result.stream_events():
        left -= 1
        if not left:
            break
    await _over(_loop_task(result))


async def streamed_and_cancelled_half_way(run: Governed) -> None:
    result, left = run.stream(), run.cast.chance.randint(1, 8)
    async for _ in result.stream_events():
        left -= 1
        if not left:
            result.cancel()
    await _over(_loop_task(result))


async def streamed_and_cancelled_when_it_hangs(run: Governed) -> None:
    result = run.stream()
    await _first(run.cast.gate, _loop_task(result))
    result.cancel()
    await _over(_loop_task(result))


WAYS = (
    awaited,
    awaited,
    cancelled_at_any_moment,
    streamed_and_read,
    streamed_and_never_read,
    streamed_and_left_half_way,
    streamed_and_cancelled_half_way,
)
WAYS_OF_HANGING = (cancelled_when_it_hangs, streamed_and_cancelled_when_it_hangs)
ENDS = (AgentsException, CyclesError, ModelDownError, asyncio.CancelledError)


@dataclass
class Governed:
    """One run of an agent under hooks."""

    cast: Casting
    agent: Agent[Any]
    way: Callable[[Governed], Awaitable[None]]
    tracing: bool
    hooks: RunHooks[Any] | None = None

    async def play(self, hooks: RunHooks[Any]) -> None:
        """Make the run and see it end, in whatever way; an end that no run should have is raised."""
        self.hooks = hooks
        with contextlib.suppress(*ENDS):
            await self.way(self)

    async def start(self) -> Any:
        return await Runner.run(self.agent, "hello", **self._settings)

    def stream(self) -> RunResultStreaming:
        return Runner.run_streamed(self.agent, "hello", **self._settings)

    @property
    def _settings(self) -> dict[str, Any]:
        return {"hooks": self.hooks, "run_config": RunConfig(tracing_disabled=not self.tracing)}


def mixed(chance: random.Random, oracle: Oracle, risks: dict[str, int]) -> list[Governed]:
    """A few runs of different shapes, made in different ways; the names of their steps begin with their numbers."""
    runs = []
    for number in range(chance.randint(3, 6)):
        cast = Casting(f"run{number}", chance, oracle, risks)
        hangs = chance.random() < 0.2
        shape, way = chance.choice(HANGING if hangs else SHAPES), chance.choice(WAYS_OF_HANGING if hangs else WAYS)
        runs.append(Governed(cast, shape(cast), way, tracing=chance.random() < 0.5))
    return runs


def _loop_task(result: RunResultStreaming) -> asyncio.Task[Any]:
    task = result.run_loop_task
    assert task is not None
    return task


async def _over(task: asyncio.Future[Any]) -> None:
    await asyncio.wait([task])
    if not task.cancelled() and (error := task.exception()) is not None:
        raise error


async def _first(gate: asyncio.Event, task: asyncio.Future[Any]) -> None:
    waiting = asyncio.ensure_future(gate.wait())
    await asyncio.wait([waiting, task], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
