"""What a test of a governed agent needs: the steps that were taken, the metrics and the money, and assertions on them.

The pytest fixtures `local_cycles`, `cycles_spans` and `cycles_metrics` come with the package. Nothing is imported
before a name is used, so that the pytest plugin costs nothing where it is not.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cycles_otel.testing.assertions import (
        CyclesAssertionError,
        assert_allowed,
        assert_denied,
        assert_nothing_reserved,
        assert_spent,
        settled,
    )
    from cycles_otel.testing.metrics import CyclesMetrics
    from cycles_otel.testing.spans import CyclesSpans
    from cycles_otel.testing.steps import Step, Steps

__all__ = [
    "CyclesAssertionError",
    "CyclesMetrics",
    "CyclesSpans",
    "Step",
    "Steps",
    "assert_allowed",
    "assert_denied",
    "assert_nothing_reserved",
    "assert_spent",
    "settled",
]

_HOMES = {
    "CyclesAssertionError": "assertions",
    "CyclesMetrics": "metrics",
    "CyclesSpans": "spans",
    "Step": "steps",
    "Steps": "steps",
    "assert_allowed": "assertions",
    "assert_denied": "assertions",
    "assert_nothing_reserved": "assertions",
    "assert_spent": "assertions",
    "settled": "assertions",
}


# A type checker would take it for a module that has every name.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
