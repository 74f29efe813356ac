"""The desk: the agent that answers, the run that it makes for one customer, and what that run has used.

With ``OPENAI_API_KEY`` set, OpenAI's model answers. Without it the model follows a script, under the same name and at
the same price, so that the whole service can be tried, and put under load, for nothing.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from agents import Agent, RunConfig, RunContextWrapper, RunHooks, Runner, RunResult, Tool, Usage, function_tool
from agents.items import ModelResponse
from agents.testing import ModelCall, ModelStep, ScriptedModel, assistant_message, function_call
from openai.types.responses import ResponseTextDeltaEvent

from cycles_otel import CyclesRunHooks, HookChain, PricedCall, TokenUsage, public_price

MODEL = "gpt-4o-mini"
RISK = {"look_up_order": 0, "issue_refund": 20}
"""RISK_POINTS of each tool: looking up is free, and is not asked for; money that was sent cannot be taken back."""
_TURNS = 6
# The SDK's own traces go to OpenAI: without what customers wrote.
_RUN = RunConfig(workflow_name="support", trace_include_sensitive_data=False)


@dataclass
class Visit:
    """The context of one request's run; hooks and tools see it, the model does not.

    Parameters
    ----------
    customer: who pays.
    used: what the steps so far have used, by unit.
    """

    customer: str
    request_id: str
    used: Counter[str] = field(default_factory=Counter)


class Receipt(RunHooks[Visit]):
    """Notes on the visit what each step has used, so that the customer can be told."""

    async def on_llm_end(self, context: RunContextWrapper[Visit], agent: Agent[Visit], response: ModelResponse) -> None:
        call = PricedCall(MODEL, "openai", TokenUsage.of(response), agent.name)
        context.context.used["USD_MICROCENTS"] += public_price(call) or 0

    async def on_tool_end(
        self, context: RunContextWrapper[Visit], agent: Agent[Visit], tool: Tool, result: object
    ) -> None:
        context.context.used["RISK_POINTS"] += RISK[tool.name]


class Desk:
    """Answers questions under budgets.

    Parameters
    ----------
    hooks: the one object of this process; it serves any number of runs at once.
    """

    def __init__(self, hooks: CyclesRunHooks) -> None:
        self._hooks = HookChain(hooks, Receipt())

    async def answer(self, question: str, visit: Visit) -> str:
        """The whole answer."""
        agent = _agent(question)
        result: RunResult = await Runner.run(
            agent, question, context=visit, hooks=self._hooks, run_config=_RUN, max_turns=_TURNS
        )
        return str(result.final_output)

    async def stream(self, question: str, visit: Visit) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """The answer while it comes into being, as named events: ``text``, ``tool`` and, at the end, ``done``."""
        agent = _agent(question)
        result = Runner.run_streamed(
            agent, question, context=visit, hooks=self._hooks, run_config=_RUN, max_turns=_TURNS
        )
        try:
            async for event in result.stream_events():
                if event.type == "raw_response_event" and isinstance(event.data, ResponseTextDeltaEvent):
                    yield "text", {"text": event.data.delta}
                elif event.type == "run_item_stream_event" and event.name == "tool_called":
                    yield "tool", {"tool": getattr(event.item.raw_item, "name", "")}
            yield "done", {"answer": str(result.final_output), "used": dict(visit.used)}
        finally:
            result.cancel()  # Where the client has gone away, nobody pays for the rest.


@function_tool
def look_up_order(order: str) -> str:
    """Look up an order."""
    return f"Order {order}: delivered, damaged, 20 dollars."


@function_tool
def issue_refund(order: str) -> str:
    """Send the money of an order back; this cannot be undone."""
    return f"The money of order {order} is on its way."


def _agent(question: str) -> Agent[Visit]:
    return Agent(
        name="support",
        instructions="Look the order up before you say anything about it. Refund it where it arrived damaged.",
        tools=[look_up_order, issue_refund],
        model=MODEL if os.environ.get("OPENAI_API_KEY") else _Scripted(question),
    )


class _Scripted(ScriptedModel):
    """Looks the order up, refunds it, and says so; a longer question uses more tokens."""

    def __init__(self, question: str) -> None:
        words = len(question.split())
        looks = [
            assistant_message("Let me look that up."),
            function_call("look_up_order", {"order": "7"}, call_id="look"),
        ]
        refunds = [function_call("issue_refund", {"order": "7"}, call_id="refund")]
        says = [assistant_message("It arrived damaged: your money is on its way.")]
        script = ((looks, 300 + words, 40), (refunds, 380 + words, 25), (says, 450 + words, 30))
        super().__init__(_step(output, read, written) for output, read, written in script)
        self.model = MODEL


def _step(output: list[Any], read: int, written: int) -> ModelStep:
    usage = Usage(requests=1, input_tokens=read, output_tokens=written, total_tokens=read + written)

    async def respond(_: ModelCall) -> ModelStep:
        await asyncio.sleep(float(os.environ.get("SCRIPT_PAUSE", "0.1")))  # Models take their time.
        return ModelStep(output=output, usage=usage)

    return ModelStep.respond(respond)
