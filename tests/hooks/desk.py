"""An agent as small as it can be: a scripted model that has a price, and a tool that counts its calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agents import Agent, FunctionTool, Usage, function_tool
from agents.testing import ModelStep, ScriptedModel, assistant_message, function_call
from openai.types.responses.response_usage import InputTokensDetails, OutputTokensDetails

BUDGETS = {"tenant:acme": {"USD_MICROCENTS": 10_000_000, "RISK_POINTS": 1_000}}
ESTIMATE = 500_000
"""What is reserved for an LLM call by default, in microcents."""
DONE = [assistant_message("done")]


def usage(input_tokens: int = 1_000, output_tokens: int = 100, *, cached: int = 0, reasoning: int = 0) -> Usage:
    """What a model reports: ``cached`` tokens are part of the input, ``reasoning`` tokens of the output."""
    return Usage(
        requests=1,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        total_tokens=input_tokens + output_tokens,
        input_tokens_details=InputTokensDetails(cached_tokens=cached, cache_write_tokens=0),
        output_tokens_details=OutputTokensDetails(reasoning_tokens=reasoning),
    )


COST = 350_000
"""What ``usage()`` costs with gpt-4o, in microcents: 1,000 x 250 + 100 x 1,000."""


class PricedModel(ScriptedModel):
    """Answers from its script under the name of a real model."""

    def __init__(self, *steps: Any, model: str = "gpt-4o", used: Usage | None = None) -> None:
        super().__init__(steps, default_usage=used or usage())
        self.model = model


def calling(*tools: str) -> list[Any]:
    """A model's answer that calls tools, in one turn."""
    return [function_call(name, {}, call_id=f"call-{number}-{name}") for number, name in enumerate(tools)]


def after(do: Callable[[], Any], answer: list[Any]) -> ModelStep:
    """A model's answer before which something happens."""

    def respond(_: object) -> list[Any]:
        do()
        return answer

    return ModelStep.respond(respond)


class CountingTool:
    """A tool without parameters that knows how often it ran."""

    def __init__(self, name: str = "lookup") -> None:
        self.calls = 0
        self.tool: FunctionTool = function_tool(self._run, name_override=name)

    def _run(self) -> str:
        self.calls += 1
        return "found"


def agent(model: ScriptedModel, *tools: CountingTool, name: str = "desk", **more: Any) -> Agent[Any]:
    """An agent with this model and these tools."""
    return Agent(name=name, model=model, tools=[each.tool for each in tools], **more)
