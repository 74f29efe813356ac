"""Medians and ratios with their spread."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """The median of what the rounds said, and the middle half of them."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Of at least one value."""
        ordered = sorted(values)
        if len(ordered) == 1:
            return cls(ordered[0], ordered[0], ordered[0])
        low, median, high = statistics.quantiles(ordered, n=4, method="inclusive")
        return cls(median, low, high)

    def text(self, scale: float = 1.0, digits: int = 2) -> str:
        """``median (low-high)``."""
        median, low, high = (f"{value * scale:.{digits}f}" for value in (self.median, self.low, self.high))
        return f"{median} ({low}-{high})"


def ratio(of: Sequence[float], over: Sequence[float], less: Sequence[float] | None = None) -> Spread:
    """Round by round, what ``of`` adds to ``less`` over what ``over`` adds to it: rounds that a machine slows alike."""
    base = less if less is not None else [0.0] * len(of)
    return Spread.of((one - none) / (other - none) for one, other, none in zip(of, over, base, strict=True))
