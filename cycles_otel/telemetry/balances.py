"""Balances as they were last seen in a reply: the gauges of budgets."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from cycles_otel.telemetry import semconv
from cycles_otel.telemetry.bounded import BoundedMap
from cycles_otel.telemetry.facts import amount_in, unit_in
from cycles_otel.telemetry.metrics import Metrics
from cycles_otel.telemetry.schema import Metric

REMEMBERED = 10_000
_OVER_LIMIT = "over_limit"
_LEFT_OUT_AT_ZERO = ("debt", "overdraft_limit")
_TENANT = "tenant:"
Budget = tuple[str, str]
"""Which budget a balance is of: its scope path and its unit."""


class Balances:
    """Sets the gauges of each balance that a reply shows.

    The server leaves out a debt, an overdraft limit and a flag that are zero. A field that was never seen stays
    absent; one that was seen and is left out later has become zero.

    Parameters
    ----------
    subject_label: gives the value of a subject's level as a label.
    remembered: of how many budgets the last balance is kept.
    """

    def __init__(
        self, metrics: Metrics, subject_label: Callable[[str, str], str], remembered: int = REMEMBERED
    ) -> None:
        self._metrics = metrics
        self._subject_label = subject_label
        self._seen: BoundedMap[Budget, _Seen] = BoundedMap(remembered)

    def seen(self, body: Mapping[str, Any]) -> None:
        """Take the balances of a reply."""
        balances = body.get("balances")
        for balance in balances if isinstance(balances, list) else ():
            if isinstance(balance, dict):
                self._take(balance)

    def remaining(self, scope_path: str, unit: str) -> int | None:
        """What was left in this scope when it was last seen."""
        seen = self._seen.get((scope_path, unit))
        return None if seen is None else seen.remaining

    def relabel(self) -> None:
        """Label the gauges anew from now on, since other levels of the subject stand on metrics."""
        self._seen.clear()

    def forget(self, scope_path: str, unit: str) -> None:
        """Let the gauges of this budget disappear, until it is seen again."""
        self._seen.pop((scope_path, unit))
        labels = (scope_path, self._tenant(scope_path), unit)
        for metric in (*semconv.BUDGETS.values(), semconv.BUDGET_OVER_LIMIT, semconv.BUDGET_OBSERVED):
            self._metrics.forget(metric, labels)

    def _take(self, balance: Mapping[str, Any]) -> None:
        budget = budget_of(balance)
        if budget is None:
            return
        seen = self._seen.get(budget)
        if seen is None:
            path, unit = budget
            seen = _Seen((path, self._tenant(path), unit))
            self._seen.put(budget, seen)
        record, labels = self._metrics.record, seen.labels
        for gauge, value in seen.update(balance):
            record(gauge, value, labels)
        record(semconv.BUDGET_OBSERVED, time.time(), labels)

    def _tenant(self, scope_path: str) -> str:
        first = scope_path.split("/", 1)[0]
        return self._subject_label("tenant", first.removeprefix(_TENANT)) if first.startswith(_TENANT) else ""


class _Seen:
    """What was seen of one budget.

    Parameters
    ----------
    labels: of its gauges.
    """

    __slots__ = ("_left_out_at_zero", "labels", "remaining")

    def __init__(self, labels: tuple[str, ...]) -> None:
        self.labels = labels
        self.remaining: int | None = None
        self._left_out_at_zero: set[str] = set()

    def update(self, balance: Mapping[str, Any]) -> list[tuple[Metric, int]]:
        """What to show of the balance: gauges with their values."""
        self.remaining = amount_in(balance, "remaining")
        shown = []
        for name, gauge in semconv.BUDGETS.items():
            amount = balance.get(name)
            value = amount.get("amount") if isinstance(amount, dict) else None
            if isinstance(value, int):
                shown.append((gauge, value))
                if name in _LEFT_OUT_AT_ZERO:
                    self._left_out_at_zero.add(name)
            elif name in self._left_out_at_zero:
                shown.append((gauge, 0))
        flag = balance.get("is_over_limit")
        if isinstance(flag, bool) or _OVER_LIMIT in self._left_out_at_zero:
            shown.append((semconv.BUDGET_OVER_LIMIT, int(flag is True)))
            self._left_out_at_zero.add(_OVER_LIMIT)
        return shown


def budget_of(balance: object) -> Budget | None:
    """Which budget this entry of a reply's balances is of; None for what has another shape."""
    if not isinstance(balance, dict):
        return None
    path, unit = balance.get("scope_path"), unit_in(balance, "remaining") or unit_in(balance, "allocated")
    return (path, unit) if isinstance(path, str) and unit else None
