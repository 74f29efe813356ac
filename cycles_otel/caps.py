"""The caps of an ALLOW_WITH_CAPS: what they allow, for the step they came with and for the steps that follow it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FORBIDDEN_TOOL = "TOOL_NOT_ALLOWED"
NO_STEPS_LEFT = "MAX_STEPS_REACHED"
LONG_COOLDOWN = "COOLDOWN"


@dataclass
class CapsInForce:
    """What the reservation of a run's latest LLM call allows its tools, and how many steps may follow."""

    llm: Mapping[str, Any] | None = None
    steps_left: int | None = None
    counts_steps: bool = True

    def from_llm(self, caps: Mapping[str, Any] | None) -> None:
        """The caps of the latest LLM call, which may have none, replace those of the one before."""
        self.llm = caps
        self.narrow(caps)

    def narrow(self, caps: Mapping[str, Any] | None) -> None:
        """A step's caps say how many steps may still follow it; an earlier, smaller number stands."""
        limit = caps.get("max_steps_remaining") if caps else None
        if isinstance(limit, int) and self.counts_steps:
            self.steps_left = limit if self.steps_left is None else min(self.steps_left, limit)

    def take_step(self) -> bool:
        """Count one step; False if none is left."""
        if self.steps_left is None:
            return True
        self.steps_left -= 1
        return self.steps_left >= 0

    def give_back_step(self) -> None:
        """A step that was counted is left out."""
        if self.steps_left is not None:
            self.steps_left += 1

    def allow_tool(self, tool: str) -> bool:
        """Whether the latest LLM call may call this tool."""
        return allows_tool(self.llm, tool)


def allows_tool(caps: Mapping[str, Any] | None, tool: str) -> bool:
    """By the protocol's precedence: an allowlist with something on it counts alone, else a denylist.

    Parameters
    ----------
    tool: the name as the action has it.
    """
    if allowed := _names(caps, "tool_allowlist"):
        return tool in allowed
    return tool not in _names(caps, "tool_denylist")


def _names(caps: Mapping[str, Any] | None, field: str) -> list[Any]:
    names = caps.get(field) if caps else None
    return names if isinstance(names, list) else []


def max_tokens_of(caps: Mapping[str, Any] | None) -> int | None:
    """How long a model's answer may be, in tokens; None where that is not limited."""
    limit = caps.get("max_tokens") if caps else None
    return limit if isinstance(limit, int) else None


def cooldown_of(caps: Mapping[str, Any] | None) -> float:
    """How long to wait before the step, in s."""
    pause = caps.get("cooldown_ms") if caps else None
    return pause / 1000 if isinstance(pause, int) else 0.0
