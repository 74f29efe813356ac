"""Every place in which a run can be cancelled from outside, and what it has cost until then."""

from __future__ import annotations

from collections.abc import Callable

from agents import function_tool

from tests.run.desk import Desk, Gate, agent, calls, cancelled, says, until
from tests.run.endings import Ending, Play

CANCELLATIONS: list[Ending] = []


@function_tool
def look_up() -> str:
    """Answers at once."""
    return "found"


def costs(*, tokens: int = 0, points: int = 0) -> Callable[[Play], Play]:
    """Add the cancellation to the list, with what it costs."""

    def add(play: Play) -> Play:
        CANCELLATIONS.append(Ending(play, tokens, points, tokens))
        return play

    return add


@costs()
async def in_the_model_call(desk: Desk) -> None:
    gate = Gate()
    run = desk.start(agent(gate.before(says(100))))
    await gate.reached.wait()
    await cancelled(run)


@costs(tokens=100, points=1)
async def in_a_later_model_call(desk: Desk) -> None:
    gate = Gate()
    run = desk.start(agent(calls(100, "look_up"), gate.before(says(110)), tools=[look_up]))
    await gate.reached.wait()
    await cancelled(run)


@costs(tokens=100, points=1)
async def in_a_tool(desk: Desk) -> None:
    gate = Gate()
    run = desk.start(agent(calls(100, "wait"), tools=[gate.tool()]))
    await gate.reached.wait()
    await cancelled(run)


@costs(tokens=100, points=2)
async def in_two_tools_at_once(desk: Desk) -> None:
    one, other = Gate(), Gate()
    run = desk.start(agent(calls(100, "one", "other"), tools=[one.tool("one"), other.tool("other")]))
    await one.reached.wait()
    await other.reached.wait()
    await cancelled(run)


@costs()
async def while_the_reserve_of_a_model_call_is_on_its_way(desk: Desk) -> None:
    given_back = len(desk.ledger.released)
    with desk.server.hold("reserve") as hold:
        run = desk.start(agent(says(100)))
        await hold.arrived()
        await cancelled(run)
    await until(lambda: len(desk.ledger.released) > given_back)


@costs()
async def while_the_reserve_of_a_model_call_is_granted_and_its_reply_late(desk: Desk) -> None:
    with desk.server.hold("reserve", applied=True) as hold:
        run = desk.start(agent(says(100)))
        await hold.arrived()
        await cancelled(run)


@costs(tokens=100)
async def while_the_reserve_of_a_tool_is_granted_and_its_reply_late(desk: Desk) -> None:
    gate = Gate()
    run = desk.start(agent(gate.before(calls(100, "look_up")), tools=[look_up]))
    await gate.reached.wait()
    with desk.server.hold("reserve", applied=True) as hold:
        gate.opened.set()
        await hold.arrived()
        await cancelled(run)


@costs(tokens=100, points=1)
async def while_a_commit_is_on_its_way(desk: Desk) -> None:
    await _in_a_tool_while_the_commit_is_held(desk, applied=False)


@costs(tokens=100, points=1)
async def while_a_commit_is_applied_and_its_reply_late(desk: Desk) -> None:
    await _in_a_tool_while_the_commit_is_held(desk, applied=True)


async def _in_a_tool_while_the_commit_is_held(desk: Desk, *, applied: bool) -> None:
    gate = Gate()
    with desk.server.hold("commit", applied=applied) as hold:
        run = desk.start(agent(calls(100, "wait"), tools=[gate.tool()]))
        await gate.reached.wait()
        await hold.arrived()
        await cancelled(run)


@costs(tokens=210, points=2)
async def in_a_nested_model_call(desk: Desk) -> None:
    """The tools of both runs were let start, the agent that is asked is one of them."""
    gate = Gate()
    helper = agent(calls(110, "look_up"), gate.before(says(1)), name="helper", tools=[look_up])
    clerk = agent(calls(100, "ask", input="?"), tools=[helper.as_tool("ask", "Asks the helper.")])
    run = desk.start(clerk)
    await gate.reached.wait()
    await cancelled(run)
