"""Balances as they were last seen in a reply: the gauges of budgets."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from cycles_otel.telemetry import semconv
from cycles_otel.telemetry.bounded import BoundedMap
from cycles_otel.telemetry.facts import amount_in, unit_in
from cycles_otel.telemetry.metrics import Metrics

REMEMBERED = 10_000
_LEFT_OUT_AT_ZERO = ("debt", "overdraft_limit", "over_limit")
_TENANT = "tenant:"
_Scope = tuple[str, str]


class Balances:
    """Sets the gauges of each balance that a reply shows.

    The server leaves out a debt, an overdraft limit and a flag that are zero. A field that was never seen stays
    absent; one that was seen and is left out later has become zero.

    Parameters
    ----------
    subject_label: gives the value of a subject's level as a label.
    """

    def __init__(self, metrics: Metrics, subject_label: Callable[[str, str], str]) -> None:
        self._metrics = metrics
        self._subject_label = subject_label
        self._seen: BoundedMap[_Scope, dict[str, int]] = BoundedMap(REMEMBERED)

    def seen(self, body: Mapping[str, Any]) -> None:
        """Take the balances of a reply."""
        balances = body.get("balances")
        for balance in balances if isinstance(balances, list) else ():
            if isinstance(balance, dict):
                self._take(balance)

    def remaining(self, scope_path: str, unit: str) -> int | None:
        """What was left in this scope when it was last seen."""
        return (self._seen.get((scope_path, unit)) or {}).get("remaining")

    def _take(self, balance: Mapping[str, Any]) -> None:
        path, unit = balance.get("scope_path"), unit_in(balance, "remaining") or unit_in(balance, "allocated")
        if not isinstance(path, str) or not unit:
            return
        fields = {name: value for name in semconv.BUDGETS if (value := amount_in(balance, name)) is not None}
        if isinstance(balance.get("is_over_limit"), bool):
            fields["over_limit"] = int(balance["is_over_limit"])
        earlier = self._seen.get((path, unit)) or {}
        fields = {name: 0 for name in _LEFT_OUT_AT_ZERO if name in earlier} | fields
        self._seen.put((path, unit), fields)
        self._show(fields, (path, self._tenant(path), unit))

    def _show(self, fields: Mapping[str, int], labels: tuple[str, ...]) -> None:
        for name, value in fields.items():
            self._metrics.record(semconv.BUDGETS.get(name, semconv.BUDGET_OVER_LIMIT), value, labels)
        self._metrics.record(semconv.BUDGET_OBSERVED, time.time(), labels)

    def _tenant(self, scope_path: str) -> str:
        first = scope_path.split("/", 1)[0]
        return self._subject_label("tenant", first.removeprefix(_TENANT)) if first.startswith(_TENANT) else ""
