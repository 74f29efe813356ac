"""The whole tree of spans as text that a reader can take in, the same for each run."""

from __future__ import annotations

from collections.abc import Iterable

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind

from cycles_otel.testing.tree import drawn

TOLD = {
    "cycles.decision": "decision",
    "cycles.run.outcome": "outcome",
    "cycles.reservation.outcome": "outcome",
    "http.request.resend_count": "resent",
    "error.type": "error",
}
WHO = {"gen_ai.agent.name": "agent", "gen_ai.tool.name": "tool"}
"""What is told of our own spans, by which word: of a call not who makes it, since its reservation tells."""


def tree(spans: Iterable[ReadableSpan]) -> str:
    """Each span below its parent, siblings in the order of their text; a span whose parent is not there is a root.

    Of our own spans the kind (where it is CLIENT), a few attributes and the events are shown, of others the name.
    """
    return drawn(spans, _line, ordered=sorted)


def _line(span: ReadableSpan) -> str:
    scope = span.instrumentation_scope
    if scope is None or scope.name != "cycles_otel":
        # The name that logfire gives a span is a template, filled in elsewhere.
        return str((span.attributes or {}).get("logfire.msg", span.name))
    attributes, is_call = span.attributes or {}, span.kind is SpanKind.CLIENT
    told = TOLD if is_call else WHO | TOLD
    said = [f"{word}={attributes[key]!s}" for key, word in told.items() if key in attributes]
    kind = ["CLIENT"] if is_call else []
    links = ["linked"] * len(span.links)
    return " ".join([span.name, *kind, *said, *links, *(f"!{event.name}" for event in span.events)])
