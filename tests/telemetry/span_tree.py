"""The whole tree of spans as text that a reader can take in, the same for each run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind

from tests.telemetry.witness import parent_id, span_id

TOLD = {
    "gen_ai.agent.name": "agent",
    "gen_ai.tool.name": "tool",
    "cycles.decision": "decision",
    "cycles.run.outcome": "outcome",
    "cycles.reservation.outcome": "outcome",
    "http.request.resend_count": "resent",
    "error.type": "error",
}
"""What is told of our own spans, and by which word."""


def tree(spans: Iterable[ReadableSpan], told: Mapping[str, str] = TOLD) -> str:
    """Each span below its parent, siblings in the order of their text; a span whose parent is not there is a root.

    Of our own spans the kind (where it is CLIENT), a few attributes and the events are shown, of others the name.
    """
    spans = list(spans)
    known = {span_id(span) for span in spans}
    below: dict[int | None, list[ReadableSpan]] = {}
    for span in spans:
        parent = parent_id(span)
        below.setdefault(parent if parent in known else None, []).append(span)
    return "\n".join(_branches(None, below, told))


def _branches(parent: int | None, below: Mapping[int | None, Sequence[ReadableSpan]], told: Mapping[str, str]) -> Any:
    branches = [
        [_line(span, told), *("  " + line for line in _branches(span_id(span), below, told))]
        for span in below.get(parent, ())
    ]
    return [line for branch in sorted(branches) for line in branch]


def _line(span: ReadableSpan, told: Mapping[str, str]) -> str:
    scope = span.instrumentation_scope
    if scope is None or scope.name != "cycles_otel":
        return span.name
    attributes = span.attributes or {}
    said = [f"{word}={attributes[key]!s}" for key, word in told.items() if key in attributes]
    kind = ["CLIENT"] if span.kind is SpanKind.CLIENT else []
    links = ["linked"] * len(span.links)
    return " ".join([span.name, *kind, *said, *links, *(f"!{event.name}" for event in span.events)])
