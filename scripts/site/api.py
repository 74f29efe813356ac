"""The reference of the Python API: every public name, with what its docstring says.

``mkdocstrings`` reads the docstrings; here is only the list, which is that of ``__all__``.
"""

from __future__ import annotations

from collections.abc import Iterable

import cycles_otel
import cycles_otel.local
import cycles_otel.testing

SECTIONS = {
    "Governing a run": ("CyclesRunHooks", "cycles_budget_guardrail", "HookChain"),
    "Tools": ("ToolRiskMap", "ToolRiskConfig", "governed_tool"),
    "Models and denials": (
        "CyclesModelProvider",
        "governed_model",
        "Raise",
        "Downgrade",
        "Disable",
        "Defer",
        "Denial",
    ),
    "Prices and estimates": ("PlannedCall", "PricedCall", "TokenUsage", "public_price", "served_by", "ModelIdentity"),
    "Telemetry": ("setup_telemetry", "Recorder", "CyclesInstrumentor", "metrics_asgi_app", "metrics_wsgi_app"),
    "Errors": (
        "StepDeniedError",
        "CyclesConfigurationError",
        "CyclesUnavailableError",
        "InvalidParameterError",
        "MissingExtraError",
    ),
}
"""What belongs together on the page; a public name that is in none of these stands under its package."""


def markdown() -> str:
    """The directives for ``mkdocstrings``, section by section."""
    listed = {name for names in SECTIONS.values() for name in names} | {"__version__"}
    further = [name for name in cycles_otel.__all__ if name not in listed]
    sections = [_section(title, "cycles_otel", names) for title, names in SECTIONS.items()]
    if further:
        sections.append(_section("More", "cycles_otel", further))
    sections.append(
        _section("Tests of agents: cycles_otel.testing", "cycles_otel.testing", cycles_otel.testing.__all__)
    )
    sections.append(_section("The embedded server: cycles_otel.local", "cycles_otel.local", cycles_otel.local.__all__))
    return "\n".join(sections)


def _section(title: str, module: str, names: Iterable[str]) -> str:
    return f"## {title}\n\n" + "".join(f"::: {module}.{name}\n\n" for name in names)
