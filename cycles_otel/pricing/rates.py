"""The rates of one model: what a token of each kind costs, exactly."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from cycles_otel.pricing.usage import TokenUsage

MICROCENTS_PER_USD = 10**8
MICROCENTS_PER_TOKEN = Fraction(MICROCENTS_PER_USD, 10**6)
"""What a token costs, in microcents, at a price of one dollar per million tokens."""


@dataclass(frozen=True)
class Rates:
    """What a model costs, in microcents: whole numerators over one denominator, so that nothing is rounded on the way.

    Parameters
    ----------
    tokens: for a token of each kind that has a price; a token of another kind cannot be charged.
    request: for each request, whatever it used.
    tools: for a call of a tool that the provider hosts, by the tool's name.
    """

    tokens: Mapping[str, int]
    denominator: int
    request: int = 0
    tools: Mapping[str, Fraction] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        tokens: Mapping[str, Fraction],
        request: Fraction = Fraction(0),
        tools: Mapping[str, Fraction] | None = None,
    ) -> Rates:
        """The rates that these exact prices are."""
        denominator = math.lcm(request.denominator, *(price.denominator for price in tokens.values()))
        whole = {kind: int(price * denominator) for kind, price in tokens.items()}
        return cls(whole, denominator, int(request * denominator), tools or {})

    def cost(self, usage: TokenUsage) -> Fraction | None:
        """What these tokens cost; None where a kind of them has no price, or for a usage that cannot be."""
        counts = usage.by_kind()
        if counts is None:
            return None
        total = self.request * usage.requests
        for kind, count in counts.items():
            if count:
                rate = self.tokens.get(kind)
                if rate is None:
                    return None
                total += rate * count
        return Fraction(total, self.denominator)
