"""A seeded schedule: a workload, the settings it runs under, and what goes wrong with which request."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.chaos.oracle import RISK_POINTS, TOKENS
from tests.chaos.proxy import Passage
from tests.chaos.troubles import Kind, Trouble

OPERATIONS = ("reserve", "commit", "release", "extend", "event")
PLANNED = 60
"""Requests of each operation that the plan speaks of; after them everything works."""
UNLUCKY = 3
"""A request is in trouble so often at most, so that a schedule ends soon: each try waits twice as long."""
ESTIMATE = 2_000

_OFTEN = (
    *(
        Kind.RESET_BEFORE,
        Kind.RESET_AFTER,
        Kind.LATE,
        Kind.CUT,
        Kind.TRUNCATED,
        Kind.DELAY,
        Kind.ERROR_500,
        Kind.PAGE_502,
    ),
    *(Kind.PAGE_502_AFTER, Kind.LIMITED, Kind.UNAUTHORIZED, Kind.DUPLICATE, Kind.DUPLICATE_LOST),
)
_SELDOM = (*(Kind.STALL_BEFORE, Kind.STALL_AFTER, Kind.OUTAGE, Kind.RESTART_BEFORE, Kind.RESTART_AFTER, Kind.EXPIRY),)
_SECONDS = {Kind.LATE: (0.02, 0.4), Kind.DELAY: (0.01, 0.05), Kind.OUTAGE: (0.05, 0.3)}


@dataclass(frozen=True)
class Schedule:
    """What one seed stands for.

    Parameters
    ----------
    budgets: of the tenant ``acme``, with the overdraft limit where there is one.
    ample: whether the budgets are so large that nothing is denied and nothing capped.
    settings: parameters of the hooks.
    plan: for each operation what happens to its first, second… request.
    journaled: whether the client keeps a journal on disk.
    """

    seed: int
    budgets: Mapping[str, tuple[int, int]]
    ample: bool
    settings: Mapping[str, Any]
    plan: Mapping[str, tuple[Trouble | None, ...]]
    journaled: bool

    @classmethod
    def of(cls, seed: int) -> Schedule:
        """The schedule of a seed, always the same."""
        chance = random.Random(f"schedule {seed}")
        ample = chance.random() < 0.6
        policy = chance.choice(("ALLOW_IF_AVAILABLE", "ALLOW_WITH_OVERDRAFT", "REJECT"))
        settings = {
            "llm_unit": TOKENS,
            "llm_estimate": ESTIMATE,
            "ttl_ms": chance.choice((1_000, 1_500, 5_000)),
            "fail_open": chance.random() < 0.7,
            "overage_policy": policy,
            "unknown_spend": chance.choice(("release", "release", "release", "commit_estimate")),
            "settle_timeout": chance.choice((0.0, 0.05, 5.0)),
        }
        overdraft = chance.choice((0, 3_000)) if policy == "ALLOW_WITH_OVERDRAFT" else 0
        tokens, points = (10**9, 10**9) if ample else (chance.randint(4_000, 30_000), chance.randint(3, 40))
        budgets = {TOKENS: (tokens, overdraft), RISK_POINTS: (points, overdraft and 5)}
        intensity = {operation: chance.choice((0.0, 0.15, 0.4, 0.7)) for operation in OPERATIONS}
        plan = {operation: tuple(_troubles(chance, intensity[operation])) for operation in OPERATIONS}
        return cls(seed, budgets, ample, settings, plan, journaled=chance.random() < 0.3)

    @property
    def cut_off_at(self) -> int | None:
        """What an LLM call is charged that was cut off; None where it is charged nothing."""
        return ESTIMATE if self.settings["unknown_spend"] == "commit_estimate" else None

    def script(self) -> _Script:
        """The plan as a script for the proxy."""
        return _Script(self.plan)

    def __str__(self) -> str:
        return f"seed {self.seed}: {dict(self.settings)}, {dict(self.budgets)}, journal={self.journaled}"


class _Script:
    def __init__(self, plan: Mapping[str, tuple[Trouble | None, ...]]) -> None:
        self._left = {operation: list(reversed(troubles)) for operation, troubles in plan.items()}

    def __call__(self, passage: Passage) -> Trouble | None:
        left = self._left.get(passage.operation)
        return left.pop() if left and passage.attempt < UNLUCKY else None


def _troubles(chance: random.Random, intensity: float) -> list[Trouble | None]:
    return [any_trouble(chance) if chance.random() < intensity else None for _ in range(PLANNED)]


def any_trouble(chance: random.Random) -> Trouble:
    """One of all troubles, those that take long seldom."""
    kind = chance.choice(_OFTEN if chance.random() < 0.9 else _SELDOM)
    if kind is Kind.LIMITED:
        return Trouble(kind, chance.choice((0, 0, 0, 1)))
    return Trouble(kind, round(chance.uniform(*_SECONDS[kind]), 3) if kind in _SECONDS else 0.0)
