"""What the models and tools really used, noted by themselves, whatever anybody else says."""

from __future__ import annotations

from dataclasses import dataclass

TOKENS, RISK_POINTS = "TOKENS", "RISK_POINTS"
_USAGES = 4_001


@dataclass(frozen=True)
class Used:
    """What one step used, in whole ``unit``s."""

    unit: str
    amount: int


class Oracle:
    """Steps by their names, and what each used."""

    def __init__(self) -> None:
        self.used: dict[str, Used] = {}
        self._given = 0

    def next_tokens(self) -> int:
        """A usage that no other answer has, from 20 to 4,020, in an order without order."""
        self._given += 1
        assert self._given < _USAGES
        return 20 + self._given * 1_237 % _USAGES

    def answered(self, step: str, tokens: int) -> None:
        """A model answered."""
        self._use(step, Used(TOKENS, tokens))

    def ran(self, step: str, points: int) -> None:
        """A tool began to run."""
        self._use(step, Used(RISK_POINTS, points))

    def _use(self, step: str, used: Used) -> None:
        assert step not in self.used, f"{step} ran twice"
        self.used[step] = used
