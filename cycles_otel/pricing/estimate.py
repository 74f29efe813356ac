"""What is reserved for an LLM call before it is made: an amount, a function's answer, its price, or its usual cost.

An estimate never stops a step, and no step runs unguarded for want of one: what fails or makes no sense is replaced by
the default, and logged once.
"""

from __future__ import annotations

import logging
import math
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from inspect import iscoroutinefunction
from typing import Any, Literal, Protocol, TypeAlias

from agents import Agent, ModelSettings
from agents.items import TResponseInputItem
from runcycles import Unit

from cycles_otel.errors import InvalidParameterTypeError
from cycles_otel.parameters import MAX_AMOUNT, whole_number
from cycles_otel.pricing.counting import input_tokens
from cycles_otel.pricing.identity import ModelIdentity
from cycles_otel.pricing.once import Once
from cycles_otel.pricing.price import Pricing
from cycles_otel.pricing.usage import TokenUsage

logger = logging.getLogger("cycles_otel")

DEFAULT_ESTIMATE = 500_000
"""What is reserved where nothing better is known, in ``llm_unit``: $0.005 in microcents."""
DEFAULT_OUTPUT_TOKENS = 2_048
"""How much output is priced for a call whose settings do not limit it."""
QUANTILE = 0.9
"""Nine of ten calls are to cost no more than the adaptive estimate."""
FIRST_CALLS = 5
"""After so many calls the adaptive estimate follows what they cost."""
REMEMBERED_CALLS = 100
_MOST_KEYS = 256
_ACCEPTED = f"a whole number from 0 to {MAX_AMOUNT}, 'priced', 'adaptive', or a function of a PlannedCall"


@dataclass(frozen=True)
class PlannedCall:
    """An LLM call that is about to be made.

    Parameters
    ----------
    agent: the agent that makes it.
    model: the name of the model that is asked for.
    system_prompt: what the agent is told.
    input_items: what the model is sent.
    settings: the agent's settings with those of the run's config over them.
    """

    agent: Agent[Any]
    model: str
    system_prompt: str | None
    input_items: Sequence[TResponseInputItem]
    settings: ModelSettings


EstimateFunction: TypeAlias = Callable[[PlannedCall], int]
"""What to reserve for a call, in whole units of ``llm_unit``."""
LlmEstimate: TypeAlias = int | Literal["priced", "adaptive"] | EstimateFunction


class Estimates(Protocol):
    """Says what to reserve, and is told what it cost."""

    def of(self, call: PlannedCall, identity: ModelIdentity) -> int:
        """What to reserve for a call. It never raises."""

    def learn(self, agent: str, model: str, amount: int) -> None:
        """A call of this agent and model really cost ``amount``."""


def estimates(llm_estimate: object, pricing: Pricing) -> Estimates:
    """The estimates that a caller meant; ``InvalidParameterError`` where that is nothing."""
    if llm_estimate == "priced":
        return Priced(pricing)
    if llm_estimate == "adaptive":
        return Adaptive(Priced(pricing))
    if callable(llm_estimate):
        if iscoroutinefunction(llm_estimate):
            raise InvalidParameterTypeError("llm_estimate", llm_estimate, "a plain function, not an async one")
        return OfFunction(llm_estimate)
    if isinstance(llm_estimate, bool) or not isinstance(llm_estimate, int):
        raise InvalidParameterTypeError("llm_estimate", llm_estimate, _ACCEPTED)
    return Fixed(whole_number("llm_estimate", llm_estimate))


@dataclass(frozen=True)
class Fixed:
    """The same for every call."""

    amount: int

    def of(self, call: PlannedCall, identity: ModelIdentity) -> int:
        """The amount."""
        return self.amount

    def learn(self, agent: str, model: str, amount: int) -> None:
        """There is nothing to learn."""


class OfFunction:
    """What the caller's function says."""

    def __init__(self, function: EstimateFunction) -> None:
        self._function = function
        self._failures = Once()

    def of(self, call: PlannedCall, identity: ModelIdentity) -> int:
        """The function's answer, if it is an amount, else the default."""
        try:
            return whole_number("llm_estimate", self._function(call))
        except Exception as error:
            if self._failures.first("estimate"):
                logger.error("The estimate function failed: %d is reserved instead.", DEFAULT_ESTIMATE, exc_info=error)
            return DEFAULT_ESTIMATE

    def learn(self, agent: str, model: str, amount: int) -> None:
        """The function learns by itself, if it does."""


class Priced:
    """The input's tokens, counted cheaply, and as much output as the settings allow, times the price."""

    def __init__(self, pricing: Pricing) -> None:
        self._pricing = pricing
        self._failures = Once()

    def of(self, call: PlannedCall, identity: ModelIdentity) -> int:
        """What the call may cost; the default where the model has no price."""
        try:
            amount = self._amount(call, identity)
        except Exception as error:
            if self._failures.first("estimate"):
                logger.error("A call could not be estimated: %d is reserved.", DEFAULT_ESTIMATE, exc_info=error)
            amount = None
        return DEFAULT_ESTIMATE if amount is None else min(amount, MAX_AMOUNT)

    def learn(self, agent: str, model: str, amount: int) -> None:
        """Prices are not learned."""

    def _amount(self, call: PlannedCall, identity: ModelIdentity) -> int | None:
        most = call.settings.max_tokens
        usage = TokenUsage(
            input_tokens=input_tokens(call.system_prompt, call.input_items, call.agent.tools),
            output_tokens=DEFAULT_OUTPUT_TOKENS if most is None else most,
        )
        if self._pricing.unit is Unit.TOKENS:
            return usage.input_tokens + usage.output_tokens
        price = self._pricing.price(identity, usage, call.agent.name)
        return None if price is None else price.amount


class Adaptive:
    """What nine of ten calls of this agent and model cost at most; until enough of them are known, their price.

    It remembers the latest calls of each agent and model, and so many agents and models and no more.
    """

    def __init__(self, until_then: Estimates) -> None:
        self._until_then = until_then
        self._costs: OrderedDict[tuple[str, str], deque[int]] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, call: PlannedCall, identity: ModelIdentity) -> int:
        """The quantile of the latest costs."""
        with self._lock:
            costs = sorted(self._costs.get((call.agent.name, identity.name), ()))
        if len(costs) < FIRST_CALLS:
            return self._until_then.of(call, identity)
        return costs[math.ceil(QUANTILE * len(costs)) - 1]

    def learn(self, agent: str, model: str, amount: int) -> None:
        """Remember what a call cost; the agent and model that were silent longest are forgotten."""
        with self._lock:
            costs = self._costs.setdefault((agent, model), deque(maxlen=REMEMBERED_CALLS))
            costs.append(amount)
            self._costs.move_to_end((agent, model))
            if len(self._costs) > _MOST_KEYS:
                self._costs.popitem(last=False)
