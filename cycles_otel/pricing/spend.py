"""From a model's answer to what is committed for it: the amount, and the figures with which the ledger can answer."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from agents.items import ModelResponse
from runcycles import Unit

from cycles_otel.budget.requests import Spend
from cycles_otel.budget.step import cut
from cycles_otel.pricing.hosted import HostedCall, hosted_calls, with_fee
from cycles_otel.pricing.identity import ModelIdentity
from cycles_otel.pricing.price import Price, Pricing, warn_of_model
from cycles_otel.pricing.usage import TokenUsage

logger = logging.getLogger("cycles_otel")

_LONGEST_VERSION = 128


@dataclass(frozen=True)
class LlmSpend:
    """What one LLM call used and costs.

    Parameters
    ----------
    spend: what is committed.
    price: how it was priced, where it was.
    is_unpriced: whether it should have been priced and could not be, so that the estimate is charged.
    hosted: the calls of tools that the provider hosts.
    """

    spend: Spend
    usage: TokenUsage
    price: Price | None
    is_unpriced: bool
    hosted: tuple[HostedCall, ...]


def llm_spend(
    pricing: Pricing,
    asked: ModelIdentity,
    agent: str,
    response: ModelResponse,
    *,
    estimate: int,
    latency_ms: int,
    served: ModelIdentity | None = None,
) -> LlmSpend:
    """What is to be committed for an answer; the estimate where neither usage nor price is known. It never raises.

    Parameters
    ----------
    served: the model that answered, where it is known.
    """
    usage, hosted = TokenUsage.of(response), _hosted(response)
    price = None
    if usage.is_known and pricing.unit is Unit.TOKENS:
        amount, source = usage.input_tokens + usage.output_tokens, "usage"
    else:
        if usage.is_known:
            price = pricing.price(asked, usage, agent, served=served, hosted_tools=with_fee(hosted))
        amount, source = (estimate, "estimate") if price is None else (price.amount, "price")
    is_unpriced = price is None and usage.is_known and pricing.is_expected
    if is_unpriced:
        warn_of_model(asked.name)
    metrics = _metrics(usage, hosted, latency_ms, (served or asked).name)
    return LlmSpend(Spend(amount, source, metrics, _metadata(source, price)), usage, price, is_unpriced, hosted)


def _hosted(response: ModelResponse) -> tuple[HostedCall, ...]:
    try:
        return hosted_calls(response.output)
    except Exception:
        logger.exception("The items of a model's answer could not be read: its hosted tools are not charged.")
        return ()


def _metrics(usage: TokenUsage, hosted: tuple[HostedCall, ...], latency_ms: int, model: str) -> dict[str, Any]:
    """The protocol's metrics of a commit; what it has no field for stands under ``custom``."""
    metrics: dict[str, Any] = {
        "tokens_input": usage.input_tokens,
        "tokens_output": usage.output_tokens,
        "latency_ms": latency_ms,
        "model_version": cut(model, _LONGEST_VERSION),
    }
    custom: dict[str, Any] = {
        "tokens_cached": usage.cached_tokens,
        "tokens_cache_write": usage.cache_write_tokens,
        "tokens_reasoning": usage.reasoning_tokens,
        "tokens_input_audio": usage.input_audio_tokens,
        "tokens_output_audio": usage.output_audio_tokens,
        "requests": usage.requests if usage.requests > 1 else 0,
        "hosted_tools": {tool: sum(call.tool == tool for call in hosted) for tool in {call.tool for call in hosted}},
    }
    known = {name: value for name, value in custom.items() if value}
    return metrics | {"custom": known} if known else metrics


def _metadata(source: str, price: Price | None) -> dict[str, Any]:
    """Where the amount is from, so that it can be worked out again."""
    said: dict[str, Any] = {"amount_source": source}
    if price is not None:
        said |= {"price_source": price.source, "price_multiplier": price.multiplier}
        if price.data_version is not None:
            said["price_data_version"] = price.data_version
    return said
