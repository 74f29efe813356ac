"""Budgets in front of every step of an agent run, with spans and metrics for each decision.

Everything public is listed here, and imported when it is first used: a plugin that only needs the package's name
does not pay for the Agents SDK.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cycles_otel._version import __version__

if TYPE_CHECKING:
    from cycles_otel.chain import HookChain
    from cycles_otel.degradation.models import CyclesModelProvider, governed_model
    from cycles_otel.degradation.policies import Defer, Denial, Disable, Downgrade, Raise
    from cycles_otel.degradation.tools import governed_tool
    from cycles_otel.errors import (
        CyclesConfigurationError,
        CyclesUnavailableError,
        InvalidParameterError,
        MissingExtraError,
        StepDeniedError,
    )
    from cycles_otel.guardrail import cycles_budget_guardrail
    from cycles_otel.hooks import CyclesRunHooks
    from cycles_otel.pricing import ModelIdentity, PlannedCall, PricedCall, TokenUsage, public_price
    from cycles_otel.run import served_by
    from cycles_otel.telemetry import Recorder, metrics_asgi_app, metrics_wsgi_app, setup_telemetry
    from cycles_otel.telemetry.instrumentor import CyclesInstrumentor
    from cycles_otel.tools import ToolRiskConfig, ToolRiskMap

__all__ = [
    "CyclesConfigurationError",
    "CyclesInstrumentor",
    "CyclesModelProvider",
    "CyclesRunHooks",
    "CyclesUnavailableError",
    "Defer",
    "Denial",
    "Disable",
    "Downgrade",
    "HookChain",
    "InvalidParameterError",
    "MissingExtraError",
    "ModelIdentity",
    "PlannedCall",
    "PricedCall",
    "Raise",
    "Recorder",
    "StepDeniedError",
    "TokenUsage",
    "ToolRiskConfig",
    "ToolRiskMap",
    "__version__",
    "cycles_budget_guardrail",
    "governed_model",
    "governed_tool",
    "metrics_asgi_app",
    "metrics_wsgi_app",
    "public_price",
    "served_by",
    "setup_telemetry",
]

_MODULE_OF = {
    "CyclesConfigurationError": "errors",
    "CyclesInstrumentor": "telemetry.instrumentor",
    "CyclesModelProvider": "degradation.models",
    "CyclesRunHooks": "hooks",
    "CyclesUnavailableError": "errors",
    "Defer": "degradation.policies",
    "Denial": "degradation.policies",
    "Disable": "degradation.policies",
    "Downgrade": "degradation.policies",
    "HookChain": "chain",
    "InvalidParameterError": "errors",
    "MissingExtraError": "errors",
    "ModelIdentity": "pricing",
    "PlannedCall": "pricing",
    "PricedCall": "pricing",
    "Raise": "degradation.policies",
    "Recorder": "telemetry",
    "StepDeniedError": "errors",
    "TokenUsage": "pricing",
    "ToolRiskConfig": "tools",
    "ToolRiskMap": "tools",
    "cycles_budget_guardrail": "guardrail",
    "governed_model": "degradation.models",
    "governed_tool": "degradation.tools",
    "metrics_asgi_app": "telemetry",
    "metrics_wsgi_app": "telemetry",
    "public_price": "pricing",
    "served_by": "run",
    "setup_telemetry": "telemetry",
}


# A type checker would take it for a module that has every name.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name not in _MODULE_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted(__all__)
