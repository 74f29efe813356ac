"""Runs that go on after an approval, with a nested agent that paused in its tool."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from agents import Agent, RunState, function_tool

from cycles_otel.local import LocalCycles
from cycles_otel.telemetry import semconv
from tests.run.desk import Desk, agent, calls, hooks_of, says
from tests.telemetry.witness import Witness


@function_tool(needs_approval=True)
def delete_account() -> str:
    """Runs only with an approval."""
    return "deleted"


@pytest.fixture
def witness() -> Any:
    witness = Witness()
    yield witness
    witness.close()


@pytest.fixture
async def desk(server: LocalCycles, witness: Witness, streamed: bool) -> AsyncIterator[Desk]:
    async with hooks_of(server, recorder=witness.recorder) as hooks:
        yield Desk(server, hooks, streamed)


def _clerk_with_a_helper_that_pauses() -> Agent[Any]:
    helper = agent(calls(100, "delete_account"), says(110), name="helper", tools=[delete_account])
    ask = helper.as_tool("ask", "Asks the helper.")
    return agent(calls(200, "ask", input="?"), says(210), tools=[ask])


async def _paused(desk: Desk, clerk: Agent[Any]) -> RunState[Any]:
    result = await desk.run(clerk)
    assert len(result.interruptions) == 1
    return result.to_state()


async def test_a_nested_agent_that_waits_for_an_approval_holds_nothing(desk: Desk) -> None:
    """Its call is charged when it is back."""
    await _paused(desk, _clerk_with_a_helper_that_pauses())
    assert await desk.charged() == (300, 0)


async def test_a_nested_agent_that_goes_on_is_charged_once_by_an_event_and_counted(
    desk: Desk, witness: Witness
) -> None:
    clerk = _clerk_with_a_helper_that_pauses()
    state = await _paused(desk, clerk)
    state.approve(state.get_interruptions()[0])
    await desk.run(clerk, state)
    assert await desk.charged() == (620, 2)
    assert [(event.action["name"], event.charged) for event in desk.ledger.events] == [("ask", 1)]
    assert [each.action["name"] for each in desk.ledger.committed if each.unit == "RISK_POINTS"] == ["delete_account"]
    assert witness.total(semconv.UNENFORCED_STEPS, error_type="start_not_seen") == 1


async def test_a_nested_agent_whose_tool_is_rejected_is_charged_without_the_tool(desk: Desk) -> None:
    clerk = _clerk_with_a_helper_that_pauses()
    state = await _paused(desk, clerk)
    state.reject(state.get_interruptions()[0])
    await desk.run(clerk, state)
    assert await desk.charged() == (620, 1)


async def test_a_tool_beside_one_that_waits_is_charged_before_the_pause(desk: Desk) -> None:
    @function_tool
    def look_up() -> str:
        return "found"

    clerk = agent(calls(100, "look_up", "delete_account"), says(110), tools=[look_up, delete_account])
    state = await _paused(desk, clerk)
    assert await desk.charged() == (100, 1)
    state.approve(state.get_interruptions()[0])
    await desk.run(clerk, state)
    assert await desk.charged() == (210, 2)
    assert not desk.ledger.events
