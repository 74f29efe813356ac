"""What it costs to price a call: `python -m benchmarks.pricing`.

Prints the median in µs of pricing one call with rates that are kept, against `genai_prices.calc_price`, and of each
kind of estimate.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import genai_prices
from agents import Agent, ModelResponse, ModelSettings, Usage
from openai.types.responses.response_usage import InputTokensDetails, OutputTokensDetails
from runcycles import Unit

from cycles_otel.pricing import ModelIdentity, PlannedCall, Pricing, TokenUsage, llm_spend
from cycles_otel.pricing.estimate import Estimates, estimates

ROUNDS, CALLS = 30, 500
MODELS = {"one price": "gpt-4o", "tiers": "claude-sonnet-4-5", "tiers, and prices over time": "gpt-5.6-luna"}


def microseconds(work: Callable[[], object]) -> float:
    """The median of several rounds."""
    for _ in range(CALLS):
        work()
    rounds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(CALLS):
            work()
        rounds.append((time.perf_counter() - began) / CALLS * 1e6)
    return statistics.median(rounds)


def answer() -> ModelResponse:
    """An answer with a usage in which every kind of token occurs that the Responses API reports."""
    usage = Usage(
        requests=1,
        input_tokens=2_000,
        output_tokens=300,
        total_tokens=2_300,
        input_tokens_details=InputTokensDetails(cached_tokens=1_024, cache_write_tokens=0),
        output_tokens_details=OutputTokensDetails(reasoning_tokens=120),
    )
    return ModelResponse(output=[], usage=usage, response_id=None)


def main() -> None:
    """Print the table."""
    pricing, response = Pricing(Unit.USD_MICROCENTS), answer()
    used = TokenUsage.of(response)
    theirs = genai_prices.Usage(
        input_tokens=used.input_tokens, output_tokens=used.output_tokens, cache_read_tokens=used.cached_tokens
    )
    print(f"{'µs for a call':32}{'kept rates':>12}{'calc_price':>12}{'whole spend':>13}")
    for kind, name in MODELS.items():
        model = ModelIdentity(name)

        def kept(model: ModelIdentity = model) -> object:
            return pricing.price(model, used, "desk")

        def anew(name: str = name) -> object:
            return genai_prices.calc_price(theirs, name)

        def spend(model: ModelIdentity = model) -> object:
            return llm_spend(pricing, model, "desk", response, estimate=1, latency_ms=1)

        print(f"{kind:32}{microseconds(kept):12.1f}{microseconds(anew):12.1f}{microseconds(spend):13.1f}")
    print(f"\n{'µs for an estimate':32}{'20 messages of 400 characters':>30}")
    items: Any = [{"role": "user", "content": "a word or two " * 29} for _ in range(20)]
    planned = PlannedCall(Agent(name="desk"), "gpt-4o", "Be brief. " * 50, items, ModelSettings())
    for kind in ("priced", "adaptive"):
        estimate = estimates(kind, pricing)
        if kind == "adaptive":
            for cost in range(100):
                estimate.learn("desk", "gpt-4o", cost)

        def asked(estimate: Estimates = estimate) -> object:
            return estimate.of(planned, ModelIdentity("gpt-4o"))

        print(f"{kind:32}{microseconds(asked):30.1f}")


if __name__ == "__main__":
    main()
