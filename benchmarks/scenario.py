"""The run that is timed: two LLM calls and one tool call, with a scripted model; three governed steps."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from agents import Agent, RunHooks, Runner, function_tool
from agents.items import TResponseOutputItem
from agents.testing import ScriptedModel, assistant_message, function_call

STEPS = 3
Play = Callable[[], Awaitable[object]]
"""One run, from its begin to its result."""


@function_tool
def look_up(question: str) -> str:
    """Look something up."""
    return f"an answer to {question}"


def agent_of(tool_calls: int = 1, name: str = "helper") -> Agent[Any]:
    """An agent that calls its tool so many times, a turn for each, and then answers."""
    turns: list[list[TResponseOutputItem] | Exception] = [
        [function_call("look_up", {"question": "budget"}, call_id=f"call_{number}")] for number in range(tool_calls)
    ]
    model = ScriptedModel([*turns, [assistant_message("done")]])
    return Agent(name=name, instructions="You are a helpful assistant.", tools=[look_up], model=model)


def plain(hooks: RunHooks[Any] | None) -> Play:
    """The run as the SDK's own runner makes it."""
    return lambda: Runner.run(agent_of(), "What is budget authority?", hooks=hooks)
