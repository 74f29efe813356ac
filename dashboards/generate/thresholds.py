"""At what an alert fires: every number of every alert. Durations are in s; shares are of 1."""

from __future__ import annotations

from dataclasses import dataclass

from dashboards.generate.promql import DAY, HOUR, MINUTE

BUDGET_USED_INFO, BUDGET_USED_WARNING, BUDGET_USED_UP = 0.80, 0.95, 1.0
"""As the documentation of Cycles has it. What is held counts as used."""

EXHAUSTED_SOON, EXHAUSTED_IN_A_DAY = HOUR, DAY

BUDGET_PERIOD = 7 * DAY
"""How long an allocation is meant to last. Where budgets are reset daily this has to be a day."""


@dataclass(frozen=True)
class BurnRate:
    """How many times too fast for ``BUDGET_PERIOD`` a budget burns, over a long window and over a short one.

    The long one says that it matters, the short one that it goes on: so the alert ends soon after the burn does.
    """

    factor: float
    long: str
    short: str


BURN_RATES = (BurnRate(14.4, "1h", "5m"), BurnRate(3, "1d", "1h"))
"""The pairs of the SRE workbook: 8.6 % of a week's allocation within an hour, or 43 % of it within a day."""

DENIED_SHARE, DENIED_AT_LEAST = 0.20, 5
"""Denials among the reserves of 5 minutes, and how many of them there must be."""
UNANSWERED_SHARE = 0.05
SLOW_ADMISSION, ADMISSIONS_AT_LEAST = 0.5, 10
"""The 99th percentile of what a step waits for, and how many such calls 5 minutes must have."""

BACKLOG_AT_LEAST = 100
BACKLOG_IN_WINDOWS = 1
"""More waits than is settled in so many times 5 minutes."""
SETTLEMENT_OLD = 10 * MINUTE

ESTIMATE_TOO_LOW, ESTIMATE_TOO_HIGH, ESTIMATES_AT_LEAST = 1.5, 0.1, 20
"""The mean of actual / estimate over an hour, and of how many steps."""

POLLS_MISSED = 5
EXPORTER_REMEMBERED = DAY
"""For how long an exporter that is gone is missed; after that it was taken away on purpose."""
