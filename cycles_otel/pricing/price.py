"""What an LLM call costs: by the caller's own function or table, else by public prices.

The sum of what the tokens and the hosted tools cost is multiplied by the discount and rounded up to a whole unit,
once, at the end: what is charged is never less than the cost, and always less than one unit more.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, TypeAlias

from runcycles import Unit

from cycles_otel.errors import InvalidParameterError, InvalidParameterTypeError
from cycles_otel.parameters import MAX_AMOUNT
from cycles_otel.pricing import hosted
from cycles_otel.pricing.identity import ModelIdentity
from cycles_otel.pricing.once import Once
from cycles_otel.pricing.table import Dollars, PriceTable, exact, price_table, rates_in
from cycles_otel.pricing.usage import TokenUsage

if TYPE_CHECKING:
    from cycles_otel.pricing.data import PriceData, PricedModel

logger = logging.getLogger("cycles_otel")

_A_MULTIPLIER = "a finite number above 0: 0.85 for a discount of 15 %"
_warned = Once()


@dataclass(frozen=True)
class PricedCall:
    """An LLM call whose price is asked for.

    Parameters
    ----------
    model: the model that answered, where that is known, else the one that was asked for.
    provider: the id of its provider (``openai``, ``azure``, ``anthropic``…), where that is known.
    usage: the tokens that it used.
    agent: the name of the agent that made the call.
    hosted_tools: calls of tools that the provider hosts and charges, by the tool's name.
    """

    model: str
    provider: str | None
    usage: TokenUsage
    agent: str
    hosted_tools: Mapping[str, int] = field(default_factory=dict)


PriceFunction: TypeAlias = Callable[[PricedCall], "int | None"]
"""The price of a call in whole units of ``llm_unit``, all that it used together; None where it is not known."""


@dataclass(frozen=True)
class Price:
    """What a call costs.

    Parameters
    ----------
    amount: in whole units.
    source: whose price it is: ``function``, ``table`` or ``data``.
    data_version: the version of the public prices, where they were used.
    multiplier: the discount that is in the amount.
    """

    amount: int
    source: str
    data_version: str | None
    multiplier: float


class Pricing:
    """Prices calls in one unit.

    Parameters
    ----------
    unit: the unit of LLM calls.
    price: the caller's own function or table; models that a table does not name have their public price.
    multiplier: what every price is multiplied with.

    Raises ``InvalidParameterError`` where a value is not accepted.
    """

    def __init__(self, unit: Unit, price: PriceFunction | PriceTable | None = None, multiplier: Dollars = 1) -> None:
        self.unit = unit
        self._function = _price_function(price)
        self._table = {} if price is None or self._function is not None else price_table(price)
        if price is not None and unit is Unit.TOKENS:
            raise InvalidParameterError("price", price, "none with llm_unit=TOKENS, which commits input + output")
        if price is not None and self._function is None and unit is not Unit.USD_MICROCENTS:
            raise InvalidParameterError(
                "price", price, f"a function, with llm_unit={unit.value}: a table is in dollars"
            )
        self._multiplier = exact("price_multiplier", multiplier, _A_MULTIPLIER)
        if not self._multiplier:
            raise InvalidParameterError("price_multiplier", multiplier, _A_MULTIPLIER)
        self.multiplier = float(multiplier)
        # A function is told the provider, which the data knows.
        self._data = _public_prices() if self.is_expected else None
        self._failures = Once()

    @property
    def is_expected(self) -> bool:
        """Whether calls in this unit can have a price; elsewhere the estimate is what is meant to be charged."""
        return self._function is not None or self.unit is Unit.USD_MICROCENTS

    def price(
        self,
        asked: ModelIdentity,
        usage: TokenUsage,
        agent: str,
        *,
        served: ModelIdentity | None = None,
        hosted_tools: Mapping[str, int] | None = None,
    ) -> Price | None:
        """What a call costs; None where that is not known. It never raises.

        Parameters
        ----------
        served: the model that answered, where it is known; one without a price costs what was asked for costs.
        hosted_tools: calls of hosted tools that have a fee, by the tool's name.
        """
        identities = (asked,) if served is None else (served, asked)
        tools = hosted_tools or {}
        try:
            if self._function is not None:
                return self._by_function(self._function, identities, usage, agent, tools)
            return self._by_rates(identities, usage, tools)
        except Exception as error:
            if self._failures.first("price"):
                logger.error("A price could not be worked out: the estimate is charged.", exc_info=error)
            return None

    def _by_function(
        self,
        function: PriceFunction,
        identities: tuple[ModelIdentity, ...],
        usage: TokenUsage,
        agent: str,
        tools: Mapping[str, int],
    ) -> Price | None:
        first = identities[0]
        provider = self._data.provider(first) if self._data is not None else first.provider
        amount = function(PricedCall(first.name, provider, usage, agent, dict(tools)))
        if amount is None:
            return None
        if isinstance(amount, bool) or not isinstance(amount, int) or not 0 <= amount <= MAX_AMOUNT:
            raise ValueError(
                f"the price function gave {amount!r}, which is neither a whole number, 0 or more, nor None"
            )
        return self._rounded_up(Fraction(amount), "function")

    def _by_rates(
        self, identities: tuple[ModelIdentity, ...], usage: TokenUsage, tools: Mapping[str, int]
    ) -> Price | None:
        own = next((rates for each in identities if (rates := rates_in(self._table, each)) is not None), None)
        if own is not None:
            cost, source = own.cost(usage), "table"
        else:
            cost, source = self._by_data(identities, usage), "data"
        if cost is None:
            return None
        return self._rounded_up(cost + self._fees(identities, usage, tools), source)

    def _by_data(self, identities: tuple[ModelIdentity, ...], usage: TokenUsage) -> Fraction | None:
        costs = (model.cost(usage) for each in identities if (model := self._public(each)) is not None)
        return next((cost for cost in costs if cost is not None), None)

    def _fees(self, identities: tuple[ModelIdentity, ...], usage: TokenUsage, tools: Mapping[str, int]) -> Fraction:
        total = Fraction(0)
        for tool, calls in tools.items():
            provider, of_model = self._list_prices(identities, usage)
            fee = hosted.fee(tool, provider, of_model)
            if fee is None:
                _warn_of_tool(tool, provider)
            else:
                total += fee * calls
        return total

    def _list_prices(
        self, identities: tuple[ModelIdentity, ...], usage: TokenUsage
    ) -> tuple[str | None, Mapping[str, Fraction]]:
        """The provider, and the fees that the price data has for the model."""
        known = next((model for each in identities if (model := self._public(each)) is not None), None)
        if known is not None:
            return known.provider, known.rates(usage.input_tokens).tools
        return (self._data.provider(identities[0]) if self._data is not None else None), {}

    def _public(self, identity: ModelIdentity) -> PricedModel | None:
        return None if self._data is None else self._data.model(identity)

    def _rounded_up(self, cost: Fraction, source: str) -> Price:
        amount = min(math.ceil(cost * self._multiplier), MAX_AMOUNT)
        version = self._data.version if self._data is not None and source == "data" else None
        return Price(amount, source, version, self.multiplier)


def public_price(call: PricedCall) -> int | None:
    """What a call costs by the public prices, in microcents: for a price function that knows some models only."""
    identity = ModelIdentity(call.model, call.provider)
    price = Pricing(Unit.USD_MICROCENTS).price(identity, call.usage, call.agent, hosted_tools=call.hosted_tools)
    return None if price is None else price.amount


def warn_of_model(model: str) -> None:
    """Say, once for each model, that its calls are charged at the estimate."""
    if _warned.first(("model", model)):
        logger.warning("No price is known for the model %r: its calls are charged at the estimate.", model)


def _warn_of_tool(tool: str, provider: str | None) -> None:
    if _warned.first(("tool", tool, provider)):
        logger.warning("What a call of the hosted tool %r costs is not known: only its tokens are charged.", tool)


def _price_function(price: object) -> PriceFunction | None:
    if not callable(price):
        return None
    if iscoroutinefunction(price):
        raise InvalidParameterTypeError("price", price, "a plain function: it is called while nothing may be awaited")
    return price


_PUBLIC: list[PriceData] = []
_PUBLIC_LOCK = threading.Lock()


def _public_prices() -> PriceData:
    """The public prices, which all hooks share; who counts in another unit does not wait for them to be read."""
    from cycles_otel.pricing.data import PriceData

    with _PUBLIC_LOCK:
        if not _PUBLIC:
            _PUBLIC.append(PriceData())
        return _PUBLIC[0]
