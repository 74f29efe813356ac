"""How Grafana spells a number in a unit."""

from __future__ import annotations

import math
from typing import Any

_DURATIONS = ((604_800, " weeks"), (86_400, " days"), (3_600, " h"), (60, " min"), (1, " s"), (1e-3, " ms"))
_SHORT = ((1e12, " T"), (1e9, " B"), (1e6, " M"), (1e3, " K"))
_RATES = {"ops": " ops/s", "reqps": " req/s"}


def spelled(value: float, defaults: dict[str, Any]) -> str:
    """The value with the unit and the decimals of a field."""
    unit, decimals = defaults.get("unit", ""), defaults.get("decimals")
    if math.isnan(value):
        return ""
    if unit == "percentunit":
        return _number(value * 100, decimals, 1) + "%"
    if unit == "locale":
        return f"{value:,.0f}"
    if unit == "bool_on_off":
        return "On" if value else "Off"
    scales, tail = (_DURATIONS, "") if unit == "s" else (_SHORT, _RATES.get(unit, ""))
    size, name = next(((size, name) for size, name in scales if abs(value) >= size), (1.0, " s" if unit == "s" else ""))
    sign = "$" if unit == "currencyUSD" else ""
    return sign + _number(value / size, decimals, 2) + name + tail


def _number(value: float, decimals: int | None, usual: int) -> str:
    if decimals is not None:
        return f"{value:.{decimals}f}"
    if 0 < abs(value) < 10**-usual:
        return f"{value:.2g}"
    text = f"{value:.{usual}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
