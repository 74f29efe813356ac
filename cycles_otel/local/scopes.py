"""Scopes: the levels of a subject, the scopes that it derives, and how a filter matches them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LEVELS = ("tenant", "workspace", "app", "workflow", "agent", "toolset")
"""The standard fields of a subject, from the widest to the narrowest."""

UNITS = ("USD_MICROCENTS", "TOKENS", "CREDITS", "RISK_POINTS")
"""The units of an amount, in the order in which the server names them."""


def derive_scopes(subject: Mapping[str, Any]) -> list[str]:
    """The scopes of a subject: its cumulative prefixes, lower-cased, levels without a value left out.

    `{"tenant": "acme", "agent": "Triage"}` has `tenant:acme` and `tenant:acme/agent:triage`.
    """
    segments = [f"{level}:{subject[level]}".lower() for level in LEVELS if subject.get(level)]
    return ["/".join(segments[: depth + 1]) for depth in range(len(segments))]


def leaf_of(scope: str) -> str:
    """The last segment of a scope: `agent:triage` of `tenant:acme/agent:triage`."""
    return scope.rpartition("/")[2]


def filter_segments(filters: Mapping[str, str | None]) -> list[str]:
    """The segments that a scope must have to pass `filters`, one for each level given."""
    return [f"{level}:{value}".lower() for level in LEVELS if (value := filters.get(level)) is not None]


def has_segments(scope: str, segments: list[str]) -> bool:
    """Whether `scope` contains every one of `segments` as a whole."""
    return set(segments) <= set(scope.split("/"))
