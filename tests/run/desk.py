"""A desk at which agents work under budgets: one server, one hooks object, and models whose every call has its price.

LLM calls are counted in TOKENS, so that a test writes down what a call uses and finds that number in the ledger.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

from agents import Agent, FunctionTool, RunConfig, Runner, RunResult, RunResultStreaming, Usage, function_tool
from agents.testing import ModelCall, ModelStep, ScriptedModel, assistant_message, function_call

from cycles_otel import CyclesRunHooks
from cycles_otel.budget.reservation import Reservation
from cycles_otel.local import LedgerSnapshot, LocalCycles
from cycles_otel.run import current_scope

AMPLE = {"TOKENS": 1_000_000, "RISK_POINTS": 1_000_000}
ESTIMATE = 1_000
Result: TypeAlias = RunResult | RunResultStreaming
Step: TypeAlias = ModelStep | Exception


@asynccontextmanager
async def hooks_of(server: LocalCycles, **parameters: Any) -> AsyncIterator[CyclesRunHooks]:
    """Hooks for the server's first tenant, which count LLM calls in tokens; closed at the end."""
    given = {"llm_unit": "TOKENS", "llm_estimate": ESTIMATE, "settle_timeout": 5.0, **parameters}
    async with CyclesRunHooks(config=given.pop("config", None) or server.config(), **given) as hooks:
        yield hooks


@dataclass
class Desk:
    """Runs agents in one of the SDK's ways, and knows what the ledger says of it.

    Parameters
    ----------
    streamed: whether a run is a stream, which is read to its end.
    tracing: whether the SDK traces its runs.
    """

    server: LocalCycles
    hooks: CyclesRunHooks
    streamed: bool = False
    tracing: bool = True

    async def run(self, agent: Agent[Any], given: Any = "hello", **more: Any) -> Result:
        """A run to its end, whatever that is."""
        if not self.streamed:
            return await Runner.run(agent, given, **self._settings(more))
        result = self.stream(agent, given, **more)
        async for _ in result.stream_events():
            pass
        return result

    def start(self, agent: Agent[Any], given: Any = "hello", **more: Any) -> asyncio.Task[Result]:
        """A run that goes on while the test does something else."""
        return asyncio.create_task(self.run(agent, given, **more))

    def stream(self, agent: Agent[Any], given: Any = "hello", **more: Any) -> RunResultStreaming:
        """A streamed run that nobody reads yet."""
        return Runner.run_streamed(agent, given, **self._settings(more))

    @property
    def ledger(self) -> LedgerSnapshot:
        return self.server.ledger()

    def sent(self, operation: str) -> int:
        """How many requests of an operation were on the wire."""
        return sum(request.operation == operation for request in self.server.requests)

    async def charged(self) -> tuple[int, int]:
        """The tokens and the risk points that were charged, once nothing is held any more."""
        await self.all_settled()
        return self.ledger.charged("TOKENS"), self.ledger.charged("RISK_POINTS")

    async def all_settled(self) -> None:
        """Soon, and before any lease with its grace (5 s) could be over, no reservation is held."""
        await until(lambda: not self.ledger.active, seconds=4.0)

    async def no_heartbeat_is_left(self) -> None:
        """Nothing is held, and no heartbeat goes on; for hooks with a TTL of a second."""
        await self.all_settled()
        beats = self.sent("extend")
        await asyncio.sleep(0.7)  # Longer than half a lease, after which a heartbeat that lives on would be seen.
        assert self.sent("extend") == beats

    def _settings(self, more: dict[str, Any]) -> dict[str, Any]:
        return {"hooks": self.hooks, "run_config": RunConfig(tracing_disabled=not self.tracing), **more}


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait until the condition holds; it is an error if it does not within the given time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "what was waited for did not come"
        await asyncio.sleep(0.01)


def using(tokens: int) -> Usage:
    """A usage of so many tokens, input and output together."""
    return Usage(requests=1, input_tokens=tokens - 1, output_tokens=1, total_tokens=tokens)


def says(tokens: int, text: str = "done") -> ModelStep:
    """A model's answer that ends the run."""
    return ModelStep(output=[assistant_message(text)], usage=using(tokens))


def calls(tokens: int, *tools: str, **arguments: Any) -> ModelStep:
    """A model's answer that calls tools, each with a call id of its own."""
    output = [
        function_call(tool, arguments, call_id=f"call_{tool}_{tokens}_{number}") for number, tool in enumerate(tools)
    ]
    return ModelStep(output=output, usage=using(tokens))


def model(*steps: Step) -> ScriptedModel:
    """A model that answers with these steps, one after the other."""
    return ScriptedModel(steps)


def agent(*steps: Step, name: str = "clerk", **more: Any) -> Agent[Any]:
    """An agent whose model answers with these steps."""
    return Agent(name=name, model=model(*steps), **more)


@dataclass
class Gate:
    """A place inside a model or a tool where a test can stop it."""

    def __post_init__(self) -> None:
        self.reached = asyncio.Event()
        self.opened = asyncio.Event()

    async def pass_through(self) -> None:
        self.reached.set()
        await self.opened.wait()

    def tool(self, name: str = "wait", **more: Any) -> FunctionTool:
        """A tool that waits here before it answers."""

        async def wait() -> str:
            await self.pass_through()
            return "waited"

        return function_tool(wait, name_override=name, **more)

    def before(self, step: ModelStep) -> ModelStep:
        """A model call that waits here before it answers."""

        async def respond(_: ModelCall) -> ModelStep:
            await self.pass_through()
            return step

        return ModelStep.respond(respond)


async def cancelled(task: asyncio.Task[Any]) -> None:
    """Cancel a task and see that it is."""
    task.cancel()
    await asyncio.wait([task], timeout=10)
    assert task.cancelled()


class Books:
    """What each reservation should be charged: a model notes what its call uses while the reservation is held."""

    def __init__(self) -> None:
        self.expected: dict[str, int] = {}

    def noted(self, step: ModelStep, before: Gate | None = None) -> ModelStep:
        """A model's answer that is noted, and that may wait at a gate."""
        assert step.usage is not None
        tokens = step.usage.total_tokens

        async def respond(_: ModelCall) -> ModelStep:
            (held,) = _held_llm_calls()
            self.expected[held] = tokens
            if before is not None:
                await before.pass_through()
            return step

        return ModelStep.respond(respond)

    def agree_with(self, ledger: LedgerSnapshot) -> None:
        """Each call that was noted was charged on its own reservation, and no other call was."""
        charged = {each.id: each.charged for each in ledger.committed if each.unit == "TOKENS"}
        assert charged == self.expected


def _held_llm_calls() -> list[str]:
    scope = current_scope()
    assert scope is not None, "the model is called outside of any run's scope"
    open_reservations = [each for each in scope.open_reservations() if isinstance(each, Reservation)]
    return [held.id for held in open_reservations if held.step.origin.tool is None]


def names(requests: Sequence[Any]) -> list[str]:
    """The operations of requests, in the order in which they came in."""
    return [request.operation for request in requests]
