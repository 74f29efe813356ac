"""What an LLM call really used: the model's usage becomes a spend in the unit of the budget.

Dollars come from ``genai-prices`` (its bundled data: nothing is fetched), which knows what reading from and writing to
a cache costs where the provider prices it. Amounts are rounded up to whole microcents: 1 USD is 10**8 of them.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from decimal import Decimal

import genai_prices
from agents.items import ModelResponse
from agents.usage import Usage
from runcycles import Unit

from cycles_otel.budget.requests import Spend
from cycles_otel.budget.step import cut

logger = logging.getLogger("cycles_otel")

MICROCENTS_PER_USD = 10**8
_LONGEST_VERSION = 128
_warned_of: set[str] = set()


def llm_spend(unit: Unit, model: str, response: ModelResponse, estimate: int, latency_ms: int) -> Spend:
    """The spend of one LLM call, in ``unit``; the estimate where neither usage nor price is known."""
    tokens = tokens_of(response.usage)
    amount, source = _amount(unit, model, response.usage, estimate)
    metrics = {
        "tokens_input": tokens["input"],
        "tokens_output": tokens["output"],
        "latency_ms": latency_ms,
        "model_version": cut(model, _LONGEST_VERSION),
    }
    return Spend(amount, source, metrics=metrics)


def tokens_of(usage: Usage) -> dict[str, int]:
    """Tokens by type: the input with what was read from and written to a cache, the output with the reasoning."""
    return {
        "input": _count(usage, "input_tokens"),
        "output": _count(usage, "output_tokens"),
        "cached": _count(usage.input_tokens_details, "cached_tokens"),
        "cache_write": _count(usage.input_tokens_details, "cache_write_tokens"),
        "reasoning": _count(usage.output_tokens_details, "reasoning_tokens"),
    }


def price_microcents(model: str, tokens: Mapping[str, int]) -> int | None:
    """What these tokens cost with a model, in whole microcents rounded up; None where no price is known."""
    usage = genai_prices.Usage(
        input_tokens=tokens["input"],
        cache_read_tokens=tokens.get("cached", 0),
        cache_write_tokens=tokens.get("cache_write", 0),
        output_tokens=tokens["output"],
    )
    for provider, name in _references_of(model):
        try:
            price = genai_prices.calc_price(usage, name, provider_id=provider)
        except (LookupError, ValueError):
            # Not known there, or a usage that cannot be: more tokens from the cache than tokens at all.
            continue
        return math.ceil(Decimal(price.total_price) * MICROCENTS_PER_USD)
    return None


def _amount(unit: Unit, model: str, usage: Usage, estimate: int) -> tuple[int, str]:
    tokens = tokens_of(usage)
    if not tokens["input"] and not tokens["output"]:
        return estimate, "estimate"
    if unit is Unit.TOKENS:
        return tokens["input"] + tokens["output"], "usage"
    if unit is not Unit.USD_MICROCENTS:
        return estimate, "estimate"
    price = price_microcents(model, tokens)
    if price is not None:
        return price, "price"
    _warn_of(model)
    return estimate, "estimate"


def is_unpriced(unit: Unit, spend: Spend) -> bool:
    """Whether tokens were used and charged at the estimate, since no price is known."""
    used = bool(spend.metrics and (spend.metrics["tokens_input"] or spend.metrics["tokens_output"]))
    return unit is Unit.USD_MICROCENTS and spend.source == "estimate" and used


def _count(usage: object, name: str) -> int:
    return max(getattr(usage, name, 0) or 0, 0)


def _references_of(model: str) -> Iterator[tuple[str | None, str]]:
    """Provider and model for each way to read a name: by the prefixes that route it (``litellm/anthropic/…``) first."""
    segments = model.split("/")
    for number in range(1, len(segments)):
        yield segments[number - 1], "/".join(segments[number:])
    yield None, model
    if len(segments) > 1:
        yield None, segments[-1]


def _warn_of(model: str) -> None:
    if model not in _warned_of:
        _warned_of.add(model)
        logger.warning("No price is known for the model %r: its calls are charged at the estimate.", model)
