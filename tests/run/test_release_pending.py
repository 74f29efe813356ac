"""``release_pending``: what it gives back, and what it leaves alone."""

from __future__ import annotations

import asyncio
from typing import Any

from agents import Agent, GuardrailFunctionOutput, InputGuardrail, RunContextWrapper, function_tool

from tests.run.desk import Desk, Gate, agent, calls, says, until


@function_tool
def look_up() -> str:
    """Answers at once."""
    return "found"


async def _begin_outside_of_any_run(desk: Desk) -> None:
    """What an SDK that cannot be bracketed leaves after a failure."""
    clerk: Agent[Any] = agent()
    await desk.hooks.on_llm_start(RunContextWrapper(None), clerk, None, [])
    await desk.hooks.on_tool_start(RunContextWrapper(None), clerk, look_up)


async def test_it_gives_back_what_callbacks_outside_of_any_run_left(desk: Desk) -> None:
    await _begin_outside_of_any_run(desk)
    assert len(desk.ledger.active) == 2
    assert await desk.hooks.release_pending("agent_run_failed") == 2
    assert [each.release_reason for each in desk.ledger.released] == ["agent_run_failed"] * 2
    assert await desk.charged() == (0, 0)


async def test_a_second_time_there_is_nothing_left(desk: Desk) -> None:
    await _begin_outside_of_any_run(desk)
    await desk.hooks.release_pending()
    assert await desk.hooks.release_pending() == 0


async def test_after_a_bracketed_run_that_failed_there_is_nothing_left(desk: Desk) -> None:
    try:
        await desk.run(agent(ConnectionError("down")))
    except ConnectionError:
        assert await desk.hooks.release_pending("agent_run_failed") == 0
    assert [each.release_reason for each in desk.ledger.released] == ["run_failed"]


async def test_it_leaves_what_a_live_run_holds(desk: Desk) -> None:
    gate = Gate()
    run = desk.start(agent(gate.before(says(100))))
    await gate.reached.wait()
    assert await desk.hooks.release_pending() == 0
    assert len(desk.ledger.active) == 1
    gate.opened.set()
    await run
    assert await desk.charged() == (100, 0)


async def test_inside_of_a_run_it_gives_back_what_that_run_holds_and_no_other(desk: Desk) -> None:
    gate, released = Gate(), []

    @function_tool
    async def release() -> str:
        released.append(await desk.hooks.release_pending())
        released.append(len(desk.ledger.active))
        return "released"

    other = desk.start(agent(gate.before(says(100))))
    await gate.reached.wait()
    await desk.run(agent(calls(110, "release"), says(120), tools=[release]))
    assert released == [1, 1]
    gate.opened.set()
    await other
    # The tool went on after its points were given back, and came back: it is charged by an event.
    assert await desk.charged() == (330, 1)
    assert [event.action["name"] for event in desk.ledger.events] == ["release"]


async def test_a_model_that_answers_after_its_reservation_was_given_back_is_charged_once(desk: Desk) -> None:
    gate = Gate()

    async def check(*_: Any) -> GuardrailFunctionOutput:
        await gate.reached.wait()
        assert await desk.hooks.release_pending() == 1
        gate.opened.set()
        return GuardrailFunctionOutput(None, tripwire_triggered=False)

    clerk = agent(gate.before(calls(100, "look_up")), says(110), tools=[look_up])
    clerk.input_guardrails = [InputGuardrail(check)]
    await desk.run(clerk)
    assert await desk.charged() == (210, 1)
    assert [event.charged for event in desk.ledger.events] == [100]


async def test_it_leaves_what_is_known_to_be_spent(desk: Desk) -> None:
    clerk: Agent[Any] = agent()
    context = RunContextWrapper(None)
    await desk.hooks.on_tool_start(context, clerk, look_up)
    with desk.server.hold("commit") as hold:
        await desk.hooks.on_tool_end(context, clerk, look_up, "found")
        await hold.arrived()
        releasing = asyncio.create_task(desk.hooks.release_pending())
        await asyncio.sleep(0)
        hold.release()
        assert await releasing == 0
    assert await desk.charged() == (0, 1)
    assert desk.sent("release") == 0


async def test_it_waits_until_the_server_has_taken_it_back(desk: Desk) -> None:
    await _begin_outside_of_any_run(desk)
    with desk.server.hold("release") as hold:
        releasing = asyncio.create_task(desk.hooks.release_pending())
        await hold.arrived(2)
        assert not releasing.done()
        hold.release()
        await releasing
    await until(lambda: not desk.ledger.active)
