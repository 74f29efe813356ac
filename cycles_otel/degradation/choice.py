"""What the hooks were told to do about denials: one choice for LLM steps, one for tool steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from agents import Agent, FunctionTool, Tool

from cycles_otel.degradation.answers import Answers, OnDenied
from cycles_otel.degradation.models import missing_for_downgrade
from cycles_otel.degradation.policies import (
    Defer,
    Disable,
    Downgrade,
    OnLlmDenied,
    OnToolDenied,
    Policy,
    Raise,
)
from cycles_otel.degradation.tools import missing_for_disable
from cycles_otel.run import RunScope


@dataclass(frozen=True)
class Place:
    """Where a step is made: in which run, and whether the run has a begin and an end that models and tools can see."""

    scope: RunScope
    bracketed: bool
    agent: Agent[Any]


class Degradation:
    """The policies for denied steps, as ``CyclesRunHooks`` was given them; raises where they make no sense."""

    def __init__(self, on_llm_denied: OnLlmDenied, on_tool_denied: OnToolDenied) -> None:
        self._llm = OnDenied("on_llm_denied", (Raise, Downgrade, Defer), on_llm_denied)
        self._tool = OnDenied("on_tool_denied", (Raise, Disable, Defer), on_tool_denied)

    def of_llm_call(self, place: Place, model: str) -> Answers:
        """What becomes of the denials of one LLM call."""

        def missing(policy: Policy) -> str | None:
            if not isinstance(policy, Downgrade):
                return None
            return missing_for_downgrade(place.scope, place.bracketed, place.agent)

        return Answers(self._llm, missing, agent=place.agent.name, model=model)

    def of_tool_call(self, place: Place, tool: Tool) -> Answers:
        """What becomes of the denials of one tool call."""

        def missing(policy: Policy) -> str | None:
            return missing_for_disable(place.bracketed, tool) if isinstance(policy, Disable) else None

        return Answers(self._tool, missing, agent=place.agent.name, tool=tool.name)

    def check(self, place: Place, costs: Callable[[str], int]) -> None:
        """Raise ``CyclesConfigurationError``, before anything is denied, for a policy that could not be carried out.

        ``costs`` gives the risk points of a tool: one that costs nothing is not denied by any budget.
        """
        self.of_llm_call(place, "").check()
        if any(isinstance(policy, Disable) for policy in self._tool.always):
            for tool in place.agent.tools:
                if isinstance(tool, FunctionTool) and costs(tool.name):
                    self.of_tool_call(place, tool).check()
