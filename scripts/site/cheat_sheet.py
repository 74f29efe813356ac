"""What LLM calls cost, by the price data that is installed: ``python -m scripts.site.cheat_sheet``.

It is worked out when the site is built, since prices move with the version of their data: a table in the repository
would soon be wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata

from cycles_otel import PricedCall, TokenUsage, public_price
from cycles_otel.pricing import MICROCENTS_PER_USD
from cycles_otel.pricing.data import PACKAGE

MODELS = (
    ("openai", "gpt-6-sol"),
    ("openai", "gpt-6-luna"),
    ("openai", "gpt-5.5"),
    ("openai", "gpt-5.4-mini"),
    ("openai", "gpt-5-mini"),
    ("openai", "gpt-5-nano"),
    ("openai", "gpt-4.1"),
    ("openai", "gpt-4.1-mini"),
    ("openai", "gpt-4o"),
    ("openai", "gpt-4o-mini"),
    ("openai", "o4-mini"),
    ("anthropic", "claude-opus-5-5"),
    ("anthropic", "claude-sonnet-5-5"),
    ("anthropic", "claude-haiku-5-5"),
    ("google", "gemini-3.1-pro-preview"),
    ("google", "gemini-3.8-flash"),
    ("google", "gemini-2.5-flash"),
    ("mistral", "mistral-large-latest"),
    ("mistral", "mistral-small-latest"),
    ("deepseek", "deepseek-chat"),
)
"""Models that are asked for often, each at the provider that makes it; one that the data does not know is left out."""
CALLS = {
    "a short question": TokenUsage(input_tokens=500, output_tokens=200),
    "a turn with tools": TokenUsage(input_tokens=4_000, output_tokens=500),
    "a long document": TokenUsage(input_tokens=50_000, output_tokens=2_000),
    "the same, half of it cached": TokenUsage(input_tokens=50_000, output_tokens=2_000, cached_tokens=25_000),
}


def markdown() -> str:
    """The table, with the version of the data above it."""
    rows = [f"| `{model}` ({provider}) | {' | '.join(costs)} |" for provider, model, costs in _costs()]
    return "\n".join(
        [
            f"By {PACKAGE} {metadata.version(PACKAGE)}, in USD_MICROCENTS and, below them, in dollars:",
            "",
            "| model | " + " | ".join(f"{name}<br>{_tokens(usage)}" for name, usage in CALLS.items()) + " |",
            "|---|" + "--:|" * len(CALLS),
            *rows,
        ]
    )


def _costs() -> Iterator[tuple[str, str, list[str]]]:
    """The models that the data knows, with what each of the calls costs."""
    for provider, model in MODELS:
        amounts = [public_price(PricedCall(model, provider, usage, "any")) for usage in CALLS.values()]
        if None not in amounts:
            yield provider, model, [_amount(amount or 0) for amount in amounts]


def _amount(microcents: int) -> str:
    return f"{microcents:,}<br>${microcents / MICROCENTS_PER_USD:.5f}"


def _tokens(usage: TokenUsage) -> str:
    return f"{usage.input_tokens:,} in, {usage.output_tokens:,} out"


if __name__ == "__main__":
    print(markdown().replace("<br>", ", "))
