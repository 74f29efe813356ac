"""What telemetry knows of a step: who pays for what, where it comes from, and the attributes that say so."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from cycles_otel.budget.step import Origin, Step
from cycles_otel.telemetry import semconv

Attributes = dict[str, Any]
SWITCHABLE_LEVELS = ("tenant", "workspace", "app", "workflow")
"""The levels of the subject that can stand on metrics."""
_NO_ORIGIN = Origin()


class Facts:
    """Facts of one step, from the step itself or from the body of a bare client's request.

    Parameters
    ----------
    estimate: the amount that was asked for, in ``unit``; None for an event.
    """

    def __init__(
        self,
        subject: Mapping[str, str] | None = None,
        kind: str = "",
        name: str = "",
        unit: str = "",
        estimate: int | None = None,
        origin: Origin = _NO_ORIGIN,
    ) -> None:
        self.subject: Mapping[str, str] = {} if subject is None else subject
        self.kind = kind
        self.name = name
        self.unit = unit
        self.estimate = estimate
        self.origin = origin
        self._labels: tuple[frozenset[str], tuple[str, ...]] | None = None

    @classmethod
    def of_step(cls, step: Step) -> Facts:
        """The facts of a governed step."""
        action, unit = step.action, str(step.unit.value)
        return cls(step.subject.to_body(), action.kind, action.name, unit, step.amount, step.origin)

    @classmethod
    def of_body(cls, body: Mapping[str, Any]) -> Facts:
        """The facts in the body of a reserve, decide or event; what is missing or malformed is left out."""
        action, estimate = body.get("action"), amount_in(body, "estimate")
        kind, name = (_text(action, "kind"), _text(action, "name")) if isinstance(action, dict) else ("", "")
        return cls(_levels(body), kind, name, unit_in(body, "actual" if estimate is None else "estimate"), estimate)

    @property
    def agent(self) -> str:
        """The agent's original name where it is known, else the subject's agent."""
        return self.origin.agent or self.subject.get("agent", "")

    @property
    def tenant(self) -> str:
        """The tenant of the subject."""
        return self.subject.get("tenant", "")

    def subject_labels(self, shown: frozenset[str]) -> tuple[str, ...]:
        """The labels of tenant, workspace, app and workflow: "" for one without a value, or not among ``shown``."""
        if self._labels is None or self._labels[0] is not shown:
            labels = tuple(self.subject.get(level, "") if level in shown else "" for level in SWITCHABLE_LEVELS)
            self._labels = shown, labels
        return self._labels[1]

    @cached_property
    def attributes(self) -> Attributes:
        """What the spans of the step say of it: action, subject, origin."""
        origin = self.origin
        said = {
            semconv.ACTION_KIND: self.kind,
            semconv.ACTION_NAME: self.name,
            semconv.AGENT_NAME: origin.agent,
            semconv.MODEL: origin.model,
            semconv.TOOL_NAME: origin.tool,
            semconv.TOOL_CALL_ID: origin.tool_call_id,
            semconv.RUN_ID: origin.run_id,
        }
        for level, value in self.subject.items():
            said[semconv.SUBJECT_LEVELS[level]] = value
        return {key: value for key, value in said.items() if value}

    @cached_property
    def estimate_attributes(self) -> Attributes:
        """What was asked for, as the reserve and the reservation say it."""
        asked = {semconv.UNIT: self.unit or None, semconv.AMOUNT_ESTIMATED: self.estimate}
        return {key: value for key, value in asked.items() if value is not None}


def caps_attributes(caps: Mapping[str, Any]) -> Attributes:
    """The caps of a reply, or those that were applied, as attributes."""
    return {semconv.CAPS[name]: value for name, value in caps.items() if name in semconv.CAPS and value is not None}


def amount_in(body: Mapping[str, Any], name: str) -> int | None:
    """The whole number of the amount called ``name``; None where there is none."""
    value = body.get(name)
    amount = value.get("amount") if isinstance(value, dict) else None
    return amount if isinstance(amount, int) else None


def unit_in(body: Mapping[str, Any], name: str) -> str:
    """The unit of the amount called ``name``, "" where there is none."""
    value = body.get(name)
    unit = value.get("unit") if isinstance(value, dict) else None
    return _plain(unit) if isinstance(unit, str) else ""


def _levels(body: Mapping[str, Any]) -> Mapping[str, str]:
    subject = body.get("subject")
    if not isinstance(subject, dict):
        return {}
    known = semconv.SUBJECT_LEVELS
    return {level: value for level, value in subject.items() if level in known and isinstance(value, str)}


def _text(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    return _plain(value) if isinstance(value, str) else ""


def _plain(text: str) -> str:
    """A member of an enumeration of strings as the string that it is."""
    return text if type(text) is str else str(getattr(text, "value", text))
