"""Agents as tools, and runs at the same time: each step settles its own reservation, with its own amount, once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from agents import (
    Agent,
    GuardrailFunctionOutput,
    InputGuardrail,
    ModelBehaviorError,
    RunHooks,
    Runner,
    UserError,
    function_tool,
)

from cycles_otel import HookChain, StepDeniedError
from cycles_otel.local import LocalCycles
from tests.run.desk import AMPLE, ESTIMATE, Books, Desk, Gate, agent, calls, hooks_of, says, until

POOR_HELPER = {"tenant:acme": AMPLE, "tenant:acme/agent:helper": {"TOKENS": 10}}


@function_tool
def look_up() -> str:
    """Answers at once."""
    return "found"


@pytest.fixture
async def desk(server: LocalCycles, streamed: bool) -> AsyncIterator[Desk]:
    async with hooks_of(server) as hooks:
        yield Desk(server, hooks, streamed)


def _helper(*steps: Any, **more: Any) -> Agent[Any]:
    return agent(*steps, name="helper", tools=[look_up], **more)


class Counting(RunHooks[Any]):
    """Hooks of the program's own."""

    def __init__(self) -> None:
        self.llm_calls = 0

    async def on_llm_start(self, *_: Any) -> None:
        self.llm_calls += 1


class CountingChain(HookChain):
    """A chain of the program's own, which does more than to call what it has."""

    llm_calls = 0

    async def on_llm_start(self, *args: Any) -> None:
        self.llm_calls += 1
        await super().on_llm_start(*args)


class Delegating(Counting):
    """Hooks of the program's own that call others themselves."""

    def __init__(self, hooks: RunHooks[Any]) -> None:
        super().__init__()
        self.hooks = hooks

    async def on_llm_start(self, *args: Any) -> None:
        await super().on_llm_start(*args)
        await self.hooks.on_llm_start(*args)

    async def on_llm_end(self, *args: Any) -> None:
        await self.hooks.on_llm_end(*args)

    async def on_tool_start(self, *args: Any) -> None:
        await self.hooks.on_tool_start(*args)

    async def on_tool_end(self, *args: Any) -> None:
        await self.hooks.on_tool_end(*args)

    async def on_handoff(self, context: Any, from_agent: Any, to_agent: Any) -> None:
        await self.hooks.on_handoff(context=context, from_agent=from_agent, to_agent=to_agent)


@pytest.mark.parametrize("given", ["none", "the_same", "a_chain", "a_bound_view", "none_streamed"])
async def test_an_agent_as_a_tool_is_governed_whatever_hooks_it_is_given(desk: Desk, given: str) -> None:
    books, hooks = Books(), desk.hooks
    ways: dict[str, dict[str, Any]] = {
        "none": {},
        "the_same": {"hooks": hooks},
        "a_chain": {"hooks": HookChain(hooks)},
        "a_bound_view": {"hooks": hooks.bind(workflow="nested")},
        "none_streamed": {"on_stream": lambda _: None},
    }
    helper = _helper(books.noted(calls(100, "look_up")), books.noted(says(110)))
    ask = helper.as_tool("ask", "Asks the helper.", **ways[given])
    clerk = agent(books.noted(calls(120, "ask", input="?")), books.noted(says(130)), tools=[ask])
    await desk.run(clerk)
    assert await desk.charged() == (460, 2)
    books.agree_with(desk.ledger)
    spent_by = [each.subject["agent"] for each in desk.ledger.committed if each.unit == "TOKENS"]
    assert spent_by == ["clerk", "helper", "helper", "clerk"]


@pytest.mark.parametrize("kind", ["plain", "in_a_chain", "a_chain", "delegating", "delegating_to_a_view"])
async def test_an_agent_as_a_tool_with_hooks_of_its_own_is_governed_beside_them_once(desk: Desk, kind: str) -> None:
    books, plain = Books(), Counting()
    own: dict[str, Any] = {
        "plain": plain,
        "in_a_chain": plain,
        "a_chain": CountingChain(RunHooks()),
        "delegating": Delegating(desk.hooks),
        "delegating_to_a_view": Delegating(desk.hooks.bind()),
    }
    helper = _helper(books.noted(calls(100, "look_up")), books.noted(says(110)))
    given = HookChain(plain) if kind == "in_a_chain" else own[kind]
    ask = helper.as_tool("ask", "Asks the helper.", hooks=given)
    await desk.run(agent(books.noted(calls(120, "ask", input="?")), books.noted(says(130)), tools=[ask]))
    assert await desk.charged() == (460, 2)
    books.agree_with(desk.ledger)
    assert desk.sent("reserve") == 6
    assert own[kind].llm_calls == 2


async def test_a_cut_answer_is_charged_in_the_run_in_which_it_came_and_nowhere_else(desk: Desk) -> None:
    """The error ends the run around it as well, while the call of that is in its model."""
    gate, cut = Gate(), ModelBehaviorError("Responses stream ended with terminal event `response.incomplete`.")

    async def check(*_: Any) -> GuardrailFunctionOutput:
        await gate.reached.wait()
        await Runner.run(agent(cut, name="helper"), "?")
        raise AssertionError("the helper's answer was cut")

    with pytest.raises(ModelBehaviorError):
        await desk.run(agent(gate.before(says(100)), input_guardrails=[InputGuardrail(check)]))
    await desk.all_settled()
    settled = {each.subject["agent"]: (each.status, each.charged) for each in desk.ledger.reservations}
    assert settled == {"clerk": ("RELEASED", None), "helper": ("COMMITTED", ESTIMATE)}


async def test_a_run_in_a_tool_with_what_are_no_hooks_is_refused(desk: Desk) -> None:
    helper: Any = _helper(says(100))

    @function_tool(failure_error_function=None)
    async def ask() -> str:
        """Asks the helper."""
        return str((await Runner.run(helper, "?", hooks="none")).final_output)  # type: ignore[arg-type]

    with pytest.raises(Exception, match="hooks"):
        await desk.run(agent(calls(120, "ask"), tools=[ask]))
    assert await desk.charged() == (120, 1)


async def test_two_calls_of_one_agent_in_one_turn_settle_their_own_reservations(desk: Desk) -> None:
    """The first call is still in its model when the second is over."""
    books, gate = Books(), Gate()
    ask = _helper(books.noted(says(100), gate), books.noted(says(200))).as_tool("ask", "Asks the helper.")
    clerk = agent(books.noted(calls(300, "ask", "ask", input="?")), books.noted(says(400)), tools=[ask])
    run = desk.start(clerk)
    await gate.reached.wait()
    await until(lambda: desk.ledger.charged("TOKENS") == 500, seconds=10)
    await until(lambda: desk.ledger.charged("RISK_POINTS") == 1, seconds=10)
    gate.opened.set()
    await run
    assert await desk.charged() == (1_000, 2)
    books.agree_with(desk.ledger)


async def test_a_nested_run_that_fails_leaves_its_sibling_alone(desk: Desk) -> None:
    books, gate = Books(), Gate()
    ask = _helper(books.noted(says(100), gate), ConnectionError("down")).as_tool("ask", "Asks the helper.")
    clerk = agent(books.noted(calls(300, "ask", "ask", input="?")), books.noted(says(400)), tools=[ask])
    run = desk.start(clerk)
    await gate.reached.wait()
    await until(lambda: len(desk.ledger.released) == 1, seconds=10)
    gate.opened.set()
    await run
    assert await desk.charged() == (800, 2)
    books.agree_with(desk.ledger)


async def test_many_runs_at_once_settle_their_own_reservations(desk: Desk) -> None:
    books, gate = Books(), Gate()
    count = 20

    def clerk(number: int) -> Agent[Any]:
        own = 1_000 + 10 * number
        ask = _helper(books.noted(says(own + 1), gate)).as_tool("ask", "Asks the helper.")
        steps = books.noted(calls(own, "look_up", "ask", input="?")), books.noted(says(own + 2))
        return agent(*steps, name=f"clerk-{number}", tools=[anything, ask])

    @function_tool(name_override="look_up")
    def anything(input: str) -> str:
        """Answers at once."""
        return input

    runs = [desk.start(clerk(number)) for number in range(count)]
    await until(lambda: len(books.expected) == 2 * count, seconds=20)
    gate.opened.set()
    await asyncio.gather(*runs)
    tokens = sum(3 * (1_000 + 10 * number) + 3 for number in range(count))
    assert await desk.charged() == (tokens, 2 * count)
    books.agree_with(desk.ledger)
    assert desk.sent("commit") == desk.sent("reserve") == 5 * count


class TestDenial:
    """A step of a nested run that its budget does not allow."""

    async def test_is_the_text_of_the_tools_result_by_default(self, streamed: bool) -> None:
        with LocalCycles(budgets=POOR_HELPER) as server:
            async with hooks_of(server) as hooks:
                desk, never_called = Desk(server, hooks, streamed), Gate()
                ask = _helper(never_called.before(says(100))).as_tool("ask", "Asks the helper.")
                result = await desk.run(agent(calls(300, "ask", input="?"), says(400), tools=[ask]))
                told = [item.output for item in result.new_items if item.type == "tool_call_output_item"]
                assert "An error occurred while running the tool" in str(told)
                assert await desk.charged() == (700, 1)
                assert not never_called.reached.is_set()

    async def test_is_an_exception_for_the_caller_where_the_tool_says_so(self, streamed: bool) -> None:
        with LocalCycles(budgets=POOR_HELPER) as server:
            async with hooks_of(server) as hooks:
                desk = Desk(server, hooks, streamed)
                ask = _helper(says(100)).as_tool("ask", "Asks the helper.", failure_error_function=None)
                with pytest.raises(StepDeniedError) as denied:
                    await desk.run(agent(calls(300, "ask", input="?"), says(400), tools=[ask]))
                assert not isinstance(denied.value, UserError)
                assert await desk.charged() == (300, 1)
