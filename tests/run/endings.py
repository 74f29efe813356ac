"""Every way in which a run can end by itself, and what each of them costs.

Each model call uses a number of tokens of its own, so that the sum in the ledger tells which calls were charged.
A tool call costs 1 RISK_POINT, the default.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from agents import (
    Agent,
    AgentHooks,
    GuardrailFunctionOutput,
    InputGuardrail,
    InputGuardrailTripwireTriggered,
    MaxTurnsExceeded,
    ModelBehaviorError,
    OutputGuardrail,
    OutputGuardrailTripwireTriggered,
    ToolTimeoutError,
    UserError,
    function_tool,
)
from agents.testing import ModelCall, ModelStep

from tests.run.desk import Desk, Gate, agent, calls, says, until

Play = Callable[[Desk], Awaitable[None]]


@dataclass(frozen=True)
class Ending:
    """One way to end, and the tokens and risk points that it costs.

    Parameters
    ----------
    streamed_tokens: what it costs where the run is a stream.
    """

    play: Play
    tokens: int
    points: int
    streamed_tokens: int

    def __str__(self) -> str:
        return self.play.__name__


ENDINGS: list[Ending] = []


def costs(*, tokens: int = 0, points: int = 0, streamed_tokens: int | None = None) -> Callable[[Play], Play]:
    """Add the ending to the list, with what it costs."""

    def add(play: Play) -> Play:
        ENDINGS.append(Ending(play, tokens, points, tokens if streamed_tokens is None else streamed_tokens))
        return play

    return add


class ModelDownError(Exception):
    """The model gave no answer."""


class OwnHooksError(Exception):
    """A user's own hook failed."""


@function_tool
def look_up() -> str:
    """Answers at once."""
    return "found"


@function_tool(failure_error_function=None)
def break_down() -> str:
    """Fails, and the run with it."""
    raise ValueError("broken")


@function_tool
def stumble() -> str:
    """Fails, and the model is told."""
    raise ValueError("stumbled")


@function_tool(timeout=0.05, timeout_behavior="raise_exception")
async def stall() -> str:
    """Takes too long, and the run fails."""
    await asyncio.sleep(30)
    return "late"


@function_tool(timeout=0.05)
async def dawdle() -> str:
    """Takes too long, and the model is told."""
    await asyncio.sleep(30)
    return "late"


@function_tool(needs_approval=True)
def delete_account() -> str:
    """Runs only with an approval."""
    return "deleted"


@costs(tokens=210, points=1)
async def a_result(desk: Desk) -> None:
    await desk.run(agent(calls(100, "look_up"), says(110), tools=[look_up]))


@costs(tokens=100, points=1)
async def a_model_error(desk: Desk) -> None:
    with pytest.raises(ModelDownError):
        await desk.run(agent(calls(100, "look_up"), ModelDownError(), tools=[look_up]))


@costs(tokens=100, points=1)
async def a_tool_that_fails_the_run(desk: Desk) -> None:
    with pytest.raises(UserError, match="broken"):
        await desk.run(agent(calls(100, "break_down"), tools=[break_down]))


@costs(tokens=210, points=1)
async def a_tool_whose_failure_is_told_to_the_model(desk: Desk) -> None:
    await desk.run(agent(calls(100, "stumble"), says(110), tools=[stumble]))


@costs(tokens=100, points=2)
async def a_tool_that_fails_beside_another(desk: Desk) -> None:
    gate = Gate()

    @function_tool
    async def wait() -> str:
        await gate.pass_through()
        return "never"

    @function_tool(failure_error_function=None)
    async def break_down_later() -> str:
        await gate.reached.wait()
        raise ValueError("broken")

    with pytest.raises(UserError, match="broken"):
        await desk.run(agent(calls(100, "break_down_later", "wait"), tools=[break_down_later, wait]))


@costs(tokens=100, points=1)
async def a_tool_timeout_that_fails_the_run(desk: Desk) -> None:
    with pytest.raises(ToolTimeoutError):
        await desk.run(agent(calls(100, "stall"), tools=[stall]))


@costs(tokens=210, points=1)
async def a_tool_timeout_that_is_told_to_the_model(desk: Desk) -> None:
    await desk.run(agent(calls(100, "dawdle"), says(110), tools=[dawdle]))


@costs(tokens=210, points=2)
async def max_turns(desk: Desk) -> None:
    with pytest.raises(MaxTurnsExceeded):
        await desk.run(agent(calls(100, "look_up"), calls(110, "look_up"), tools=[look_up]), max_turns=2)


@costs(tokens=100)
async def a_call_of_a_tool_that_does_not_exist(desk: Desk) -> None:
    """The SDK refuses the answer before it tells any hook of it; the tokens are spent all the same."""
    with pytest.raises(ModelBehaviorError):
        await desk.run(agent(calls(100, "no_such_tool"), tools=[look_up]))


@costs(tokens=310, points=1)
async def a_second_answer_that_no_hook_is_told_of(desk: Desk) -> None:
    with pytest.raises(ModelBehaviorError):
        await desk.run(agent(calls(100, "look_up"), calls(210, "no_such_tool"), tools=[look_up]))


@costs(tokens=0, streamed_tokens=100)
async def an_input_guardrail_that_trips_while_the_model_runs(desk: Desk) -> None:
    """The SDK cancels the model's call; in a stream it waits for the answer, whose tokens are spent."""
    gate = Gate()

    async def check(*_: Any) -> GuardrailFunctionOutput:
        await gate.reached.wait()
        if desk.streamed:
            asyncio.get_running_loop().call_later(0.05, gate.opened.set)
        return GuardrailFunctionOutput(None, tripwire_triggered=True)

    with pytest.raises(InputGuardrailTripwireTriggered):
        await desk.run(agent(gate.before(says(100)), input_guardrails=[InputGuardrail(check)]))


@costs(tokens=100)
async def an_input_guardrail_that_trips_after_the_model_answered(desk: Desk) -> None:
    committed = len(desk.ledger.committed)

    async def check(*_: Any) -> GuardrailFunctionOutput:
        await until(lambda: len(desk.ledger.committed) > committed)
        return GuardrailFunctionOutput(None, tripwire_triggered=True)

    with pytest.raises(InputGuardrailTripwireTriggered):
        await desk.run(agent(says(100), input_guardrails=[InputGuardrail(check)]))


@costs()
async def an_input_guardrail_that_blocks(desk: Desk) -> None:
    def check(*_: Any) -> GuardrailFunctionOutput:
        return GuardrailFunctionOutput(None, tripwire_triggered=True)

    with pytest.raises(InputGuardrailTripwireTriggered):
        await desk.run(agent(says(100), input_guardrails=[InputGuardrail(check, run_in_parallel=False)]))


@costs(tokens=210, points=1)
async def an_output_guardrail_that_trips(desk: Desk) -> None:
    def check(*_: Any) -> GuardrailFunctionOutput:
        return GuardrailFunctionOutput(None, tripwire_triggered=True)

    clerk = agent(calls(100, "look_up"), says(110), tools=[look_up], output_guardrails=[OutputGuardrail(check)])
    with pytest.raises(OutputGuardrailTripwireTriggered):
        await desk.run(clerk)


@costs(tokens=100)
async def a_pause_for_an_approval(desk: Desk) -> None:
    result = await desk.run(agent(calls(100, "delete_account"), says(110), tools=[delete_account]))
    assert len(result.interruptions) == 1


@costs(tokens=210, points=1)
async def an_approval_and_a_resumed_run(desk: Desk) -> None:
    clerk = agent(calls(100, "delete_account"), says(110), tools=[delete_account])
    state = (await desk.run(clerk)).to_state()
    state.approve(state.get_interruptions()[0])
    await desk.run(clerk, state)


@costs(tokens=210)
async def a_rejection_and_a_resumed_run(desk: Desk) -> None:
    clerk = agent(calls(100, "delete_account"), says(110), tools=[delete_account])
    state = (await desk.run(clerk)).to_state()
    state.reject(state.get_interruptions()[0])
    await desk.run(clerk, state)


@costs(tokens=100, points=1)
async def an_approval_and_a_resumed_run_whose_model_fails(desk: Desk) -> None:
    clerk = agent(calls(100, "delete_account"), ModelDownError(), tools=[delete_account])
    state = (await desk.run(clerk)).to_state()
    state.approve(state.get_interruptions()[0])
    with pytest.raises(ModelDownError):
        await desk.run(clerk, state)


@costs(tokens=310, points=1)
async def an_approval_and_a_resumed_run_with_an_answer_that_no_hook_is_told_of(desk: Desk) -> None:
    clerk = agent(calls(100, "delete_account"), calls(210, "no_such_tool"), tools=[delete_account])
    state = (await desk.run(clerk)).to_state()
    state.approve(state.get_interruptions()[0])
    with pytest.raises(ModelBehaviorError):
        await desk.run(clerk, state)


@costs()
async def own_hooks_that_fail_before_the_model(desk: Desk) -> None:
    with pytest.raises(OwnHooksError):
        await desk.run(_with_hooks_that_fail_at("on_llm_start", says(100)))


@costs(tokens=100)
async def own_hooks_that_fail_after_the_model(desk: Desk) -> None:
    with pytest.raises(OwnHooksError):
        await desk.run(_with_hooks_that_fail_at("on_llm_end", says(100)))


@costs(tokens=100)
async def own_hooks_that_fail_before_a_tool(desk: Desk) -> None:
    """The SDK calls them beside those that govern: here they fail while the budget is still asked for the tool."""
    with contextlib.ExitStack() as until_the_run_is_over:

        async def respond(_: ModelCall) -> ModelStep:
            until_the_run_is_over.enter_context(desk.server.hold("reserve"))
            return calls(100, "look_up")

        with pytest.raises((OwnHooksError, UserError)):
            await desk.run(_with_hooks_that_fail_at("on_tool_start", ModelStep.respond(respond)))


@costs(tokens=100, points=1)
async def own_hooks_that_fail_after_a_tool(desk: Desk) -> None:
    with pytest.raises((OwnHooksError, UserError)):
        await desk.run(_with_hooks_that_fail_at("on_tool_end", calls(100, "look_up")))


def _with_hooks_that_fail_at(callback: str, *steps: Any) -> Agent[Any]:
    async def fail(*_: Any) -> None:
        raise OwnHooksError(callback)

    hooks = AgentHooks[Any]()
    setattr(hooks, callback, fail)
    return agent(*steps, tools=[look_up], hooks=hooks)
