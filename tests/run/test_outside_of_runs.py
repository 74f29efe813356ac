"""Hooks that are called outside of any bracketed run, as by another program than the SDK's runner."""

from __future__ import annotations

from typing import Any

from agents import Agent, ModelResponse, RunContextWrapper, function_tool

from tests.run.desk import Desk, agent, using


@function_tool
def look_up() -> str:
    """Answers at once."""
    return "found"


@function_tool
def send_mail() -> str:
    """Answers at once."""
    return "sent"


def _answer(tokens: int) -> ModelResponse:
    return ModelResponse(output=[], usage=using(tokens), response_id=None)


async def test_each_step_is_reserved_and_charged(desk: Desk) -> None:
    clerk: Agent[Any] = agent()
    context = RunContextWrapper(None)
    await desk.hooks.on_llm_start(context, clerk, None, [])
    await desk.hooks.on_llm_end(context, clerk, _answer(100))
    await desk.hooks.on_tool_start(context, clerk, look_up)
    await desk.hooks.on_tool_end(context, clerk, look_up, "found")
    await desk.hooks.on_handoff(context, from_agent=clerk, to_agent=agent(name="billing"))
    assert await desk.charged() == (100, 1)


async def test_calls_of_two_contexts_at_once_settle_their_own_reservations(desk: Desk) -> None:
    clerk: Agent[Any] = agent()
    one, other = RunContextWrapper(None), RunContextWrapper(None)
    await desk.hooks.on_llm_start(one, clerk, None, [])
    await desk.hooks.on_llm_start(other, clerk, None, [])
    await desk.hooks.on_llm_end(one, clerk, _answer(100))
    await desk.hooks.on_llm_end(other, clerk, _answer(200))
    await desk.all_settled()
    assert [each.charged for each in desk.ledger.reservations] == [100, 200]


async def test_another_call_of_a_context_gives_back_the_one_that_never_ended(desk: Desk) -> None:
    clerk: Agent[Any] = agent()
    context = RunContextWrapper(None)
    await desk.hooks.on_llm_start(context, clerk, None, [])
    await desk.hooks.on_llm_start(context, clerk, None, [])
    await desk.hooks.on_llm_end(context, clerk, _answer(100))
    await desk.all_settled()
    assert [each.charged for each in desk.ledger.reservations] == [None, 100]


async def test_an_answer_without_a_start_is_not_charged(desk: Desk) -> None:
    """Another run was charged for it, if any was."""
    await desk.hooks.on_llm_end(RunContextWrapper(None), agent(), _answer(100))
    assert await desk.charged() == (0, 0)


async def test_a_tool_without_a_start_is_charged_by_an_event(desk: Desk) -> None:
    await desk.hooks.on_tool_end(RunContextWrapper(None), agent(), send_mail, "sent")
    await desk.hooks.aclose()
    assert await desk.charged() == (0, 1)
    assert [event.action["name"] for event in desk.ledger.events] == ["send_mail"]
