"""How amounts are written for people."""

from __future__ import annotations

from runcycles import Unit

from cycles_otel.pricing import MICROCENTS_PER_USD

USD = Unit.USD_MICROCENTS.value
POINTS = Unit.RISK_POINTS.value


def dollars(microcents: float) -> str:
    """Microcents as dollars, to the hundredth of a cent."""
    return f"${microcents / MICROCENTS_PER_USD:,.4f}"


def points(amount: float) -> str:
    """Risk points; what is nothing is left blank in a table."""
    return f"{amount:,.0f} pt" if amount else ""


def amount(value: float, unit: str) -> str:
    """An amount in its unit, which is one of those two."""
    return dollars(value) if unit == USD else f"{value:,.0f} pt"
