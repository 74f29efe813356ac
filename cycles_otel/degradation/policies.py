"""The policies for a denied step, and what a function that chooses among them is told."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from agents import Model, ModelSettings

from cycles_otel.errors import InvalidParameterError, InvalidParameterTypeError, StepDeniedError
from cycles_otel.parameters import seconds, text, whole_number
from cycles_otel.pricing.identity import ModelIdentity

NOT_RUN = "The tool was not run: the budget does not allow it. Go on without it."


@dataclass(frozen=True)
class Raise:
    """Stop the run with the denial; what happens where nothing else is said."""

    name: ClassVar[str] = "raise"


@dataclass(frozen=True)
class Downgrade:
    """Let another, cheaper model answer this LLM call, on a reservation of its own.

    It needs ``CyclesModelProvider`` or ``governed_model``: hooks alone cannot change the model.

    Parameters
    ----------
    model: the name of the model, as the run's model provider knows it, or a ``Model``.
    estimate: what is reserved for it, in the hooks' ``llm_unit``; by default what ``llm_estimate`` says for the other
        model, of a fixed amount as much more or less as that costs.
    settings: laid over the call's settings, for what the cheaper model does not take.

    Raises
    ------
    InvalidParameterError: a value is not accepted.
    """

    name: ClassVar[str] = "downgrade"
    model: str | Model
    estimate: int | None = None
    settings: ModelSettings | None = None

    @property
    def model_name(self) -> str:
        """The name of the model, as spans and prices have it."""
        return self.model if isinstance(self.model, str) else ModelIdentity.of_model(self.model).name

    def __post_init__(self) -> None:
        if not isinstance(self.model, Model):
            text("model", self.model)
        if self.estimate is not None:
            whole_number("estimate", self.estimate)
        if self.settings is not None and not isinstance(self.settings, ModelSettings):
            raise InvalidParameterTypeError("settings", self.settings, "an agents.ModelSettings")


@dataclass(frozen=True)
class Disable:
    """Do not run the tool; tell the model so, in the tool's result, and let the run go on.

    It needs ``governed_tool``: hooks alone cannot keep a tool from running without ending the run.

    Parameters
    ----------
    message: what the model reads as the result of the tool.
    """

    name: ClassVar[str] = "disable"
    message: str = NOT_RUN

    def __post_init__(self) -> None:
        text("message", self.message)


@dataclass(frozen=True)
class Defer:
    """Wait for budget: ask again, with growing pauses, until it is there or the time is over.

    Parameters
    ----------
    timeout: how long the step waits at most, in s.
    first_pause: the time before the step is asked for again, in s; each pause is twice the one before.
    longest_pause: what a pause grows to at most, in s.

    Raises
    ------
    InvalidParameterError: a value is not accepted.
    """

    name: ClassVar[str] = "defer"
    timeout: float
    first_pause: float = 0.5
    longest_pause: float = 10.0

    def __post_init__(self) -> None:
        for parameter in ("timeout", "first_pause", "longest_pause"):
            value = seconds(parameter, getattr(self, parameter))
            if not 0 < value < math.inf:
                raise InvalidParameterError(parameter, value, "a number of seconds, more than 0")


@dataclass(frozen=True)
class Denial:
    """A denied step, as the function that chooses a policy is told of it.

    Parameters
    ----------
    error: what is raised if nothing else is done; it carries the reason code, the scope and the unit.
    agent: the agent's name.
    model: the model that was asked for, of an LLM step.
    tool: the tool's name, of a tool step.
    """

    error: StepDeniedError
    agent: str
    model: str | None = None
    tool: str | None = None

    @property
    def reason_code(self) -> str:
        """The reason code of the denial, such as BUDGET_EXCEEDED."""
        return self.error.reason_code or ""


Policy: TypeAlias = Raise | Downgrade | Disable | Defer
LlmPolicy: TypeAlias = Raise | Downgrade | Defer
ToolPolicy: TypeAlias = Raise | Disable | Defer
LlmChoice: TypeAlias = LlmPolicy | Sequence[LlmPolicy]
ToolChoice: TypeAlias = ToolPolicy | Sequence[ToolPolicy]
OnLlmDenied: TypeAlias = LlmChoice | Callable[[Denial], LlmChoice | Awaitable[LlmChoice]]
OnToolDenied: TypeAlias = ToolChoice | Callable[[Denial], ToolChoice | Awaitable[ToolChoice]]

RAISE = Raise()
