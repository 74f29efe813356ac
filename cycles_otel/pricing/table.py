"""The caller's own prices: a table of models, in dollars for a million tokens."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import TypeAlias

from cycles_otel.errors import InvalidParameterError, InvalidParameterTypeError
from cycles_otel.pricing.identity import ModelIdentity
from cycles_otel.pricing.rates import MICROCENTS_PER_TOKEN, Rates
from cycles_otel.pricing.usage import KINDS

Dollars: TypeAlias = "int | float | Decimal"
PriceTable: TypeAlias = Mapping[str, Mapping[str, Dollars]]
"""For each model ``{"input": …, "output": …}``, and where they differ ``cached``, ``cache_write``, ``reasoning``…"""

_REQUIRED = ("input", "output")
_OTHERWISE = {
    "cached": "input",
    "cache_write": "input",
    "input_audio": "input",
    "cached_audio": "input_audio",
    "reasoning": "output",
    "output_audio": "output",
}
"""The price of a kind of token for which the table has none."""
_A_PRICE = "dollars for a million tokens, a finite number, 0 or more"
_A_TABLE = "a function of a PricedCall, or a dict of models, each a dict with input and output in " + _A_PRICE


def price_table(prices: object) -> dict[str, Rates]:
    """The rates of each model of a table; an ``InvalidParameterError`` that names what is not accepted in it."""
    if not isinstance(prices, Mapping):
        raise InvalidParameterTypeError("price", prices, _A_TABLE)
    return {_model(name): _rates(f"price[{name!r}]", row) for name, row in prices.items()}


def rates_in(table: Mapping[str, Rates], identity: ModelIdentity) -> Rates | None:
    """The rates of a model, by its name as it was asked for, or by what is left of it without routing prefixes."""
    return next((table[name] for name in identity.names() if name in table), None) if table else None


def exact(parameter: str, value: object, accepted: str) -> Fraction:
    """A number as it is written: 0.85 is 85/100, not what a float makes of it."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise InvalidParameterTypeError(parameter, value, accepted)
    decimal = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    if not decimal.is_finite() or decimal < 0:
        raise InvalidParameterError(parameter, value, accepted)
    return Fraction(decimal)


def _model(name: object) -> str:
    if not isinstance(name, str) or not name:
        raise InvalidParameterTypeError("price", name, "names of models, each a str that is not empty")
    return name


def _rates(parameter: str, row: object) -> Rates:
    if not isinstance(row, Mapping):
        raise InvalidParameterTypeError(parameter, row, f"a dict with input and output, in {_A_PRICE}")
    for name in row:
        if name not in KINDS:
            raise InvalidParameterError(parameter, name, "prices for " + ", ".join(KINDS))
    prices = {name: exact(f"{parameter}[{name!r}]", value, _A_PRICE) for name, value in row.items()}
    for name in _REQUIRED:
        if name not in prices:
            raise InvalidParameterError(f"{parameter}[{name!r}]", None, _A_PRICE)
    for name, other in _OTHERWISE.items():
        prices.setdefault(name, prices[other])
    return Rates.of({name: price * MICROCENTS_PER_TOKEN for name, price in prices.items()})
