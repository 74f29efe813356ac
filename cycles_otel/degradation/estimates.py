"""What is reserved for a downgraded LLM call where the policy does not say."""

from __future__ import annotations

import math

from cycles_otel.pricing import ModelIdentity, Pricing, TokenUsage

_USUAL_CALL = TokenUsage(input_tokens=30_000, output_tokens=10_000)


def scaled_estimate(amount: int, pricing: Pricing, agent: str, asked: ModelIdentity, instead: ModelIdentity) -> int:
    """A fixed estimate for the model that is called instead: it shrinks, or grows, as the price does.

    Where a price is not known, and in TOKENS, it stays as it is.
    """
    if not pricing.is_expected:
        return amount
    before, after = (pricing.price(model, _USUAL_CALL, agent) for model in (asked, instead))
    if before is None or after is None or not before.amount:
        return amount
    return math.ceil(amount * after.amount / before.amount)
