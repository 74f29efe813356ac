"""What became of the customers, in the desk's own words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from runcycles import BudgetExceededError

from cycles_otel.cli.demo.cases import Case


@dataclass
class DeskLog:
    """Counts the customers by what became of them, and tells of each denial.

    Parameters
    ----------
    seconds: how long the desk has worked.
    stories: one line for each denial, in the order in which they came.
    """

    seconds: float = 0.0
    answers: int = 0
    stops: int = 0
    refusals: int = 0
    stories: list[str] = field(default_factory=list)

    @property
    def served(self) -> int:
        """The customers that were dealt with, in whichever way."""
        return self.answers + self.stops + self.refusals

    def answered(self, case: Case) -> None:
        """The agents dealt with it to the end."""
        self.answers += 1

    def stopped(self, case: Case, denial: BudgetExceededError) -> None:
        """A step was denied in the middle of a run."""
        self.stops += 1
        self.stories.append(f"{_who(case)} stopped in its run: {denial}")

    def turned_away(self, case: Case, decision: Mapping[str, Any]) -> None:
        """The guardrail saw that the budget is gone, before anything was spent."""
        self.refusals += 1
        self.stories.append(f"{_who(case)} stopped at the door: {decision['reason_code']}, no token used")


def _who(case: Case) -> str:
    return f"{case.tenant.name}: customer {case.number}"
