"""Hooks and guardrails that are only made: nothing listens at their address."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from runcycles import CyclesConfig

from cycles_otel import CyclesRunHooks, InvalidParameterError, cycles_budget_guardrail

SECRET = "cyc_test_do-not-show"
ADDRESS = "http://localhost:7878"

Make = Callable[..., object]


def connection(**fields: Any) -> CyclesConfig:
    return CyclesConfig(**{"base_url": ADDRESS, "api_key": SECRET, "tenant": "acme", **fields})


def hooks(**options: Any) -> CyclesRunHooks:
    return CyclesRunHooks(**{"config": connection(), **options})


def guardrail(**options: Any) -> object:
    return cycles_budget_guardrail(**{"config": connection(), **options})


def refused(make: Make, parameter: str, value: object, **options: Any) -> InvalidParameterError:
    """The error, which must name what it is about."""
    with pytest.raises(InvalidParameterError) as caught:
        make(**{parameter: value, **options})
    error = caught.value
    assert error.parameter == parameter
    assert str(error).startswith(f"{parameter}={value!r} is not accepted: ")
    assert error.accepted
    assert isinstance(error, ValueError)
    return error


both = pytest.mark.parametrize("make", [hooks, guardrail], ids=["hooks", "guardrail"])
"""For what holds for the hooks and for the guardrail."""
