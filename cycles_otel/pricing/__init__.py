"""Money: what an LLM call really costs, and what is reserved for it before.

``usage`` reads what a model says it used, ``identity`` which model of which provider it was. ``rates`` are what the
tokens of one model cost: from ``genai-prices`` (``data``) or from the caller's ``table``. ``price`` puts them together
with the fees of ``hosted`` tools; ``spend`` makes of it what is committed. ``estimate`` says what to reserve, with the
help of ``counting``. Amounts are rounded up to whole units, once, at the end: 1 USD is 10**8 microcents.
"""

from __future__ import annotations

from cycles_otel.pricing.estimate import DEFAULT_ESTIMATE, LlmEstimate, PlannedCall
from cycles_otel.pricing.identity import ModelIdentity
from cycles_otel.pricing.price import PricedCall, PriceFunction, Pricing, public_price
from cycles_otel.pricing.rates import MICROCENTS_PER_USD
from cycles_otel.pricing.spend import llm_spend
from cycles_otel.pricing.table import PriceTable
from cycles_otel.pricing.usage import TokenUsage

__all__ = [
    "DEFAULT_ESTIMATE",
    "MICROCENTS_PER_USD",
    "LlmEstimate",
    "ModelIdentity",
    "PlannedCall",
    "PriceFunction",
    "PriceTable",
    "PricedCall",
    "Pricing",
    "TokenUsage",
    "llm_spend",
    "public_price",
]
