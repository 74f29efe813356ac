"""Which model a call asks for: the SDK does not tell its hooks."""

from __future__ import annotations

from typing import Any

from agents.models import get_default_model


def model_name(override: object, agent: Any) -> str:
    """The model of the run's config, else the agent's, else the SDK's default.

    A ``Model`` object names itself by its attribute ``model``; one that does not is known by its class.
    """
    asked = override if override is not None else agent.model
    if asked is None:
        return get_default_model()
    if isinstance(asked, str):
        return asked
    name = getattr(asked, "model", None)
    return name if isinstance(name, str) and name else type(asked).__name__
