"""Log records of what needs somebody's attention; a step that goes well leaves none.

What a record holds beside its message stands in ``docs/operation.md``. Handlers are the program's own.
"""

from __future__ import annotations

import logging

from opentelemetry.trace import Span, format_span_id, format_trace_id

from cycles_otel.telemetry.facts import Facts

logger = logging.getLogger("cycles_otel")


def denied(facts: Facts, span: Span, reason_code: str) -> None:
    """A step was stopped: what budgets are for, hence no warning."""
    logger.info(
        "Denied %s %s: %s", facts.kind, facts.name, reason_code, extra=_extra("denied", reason_code, facts, span)
    )


def unenforced(facts: Facts, span: Span, error_type: str) -> None:
    """A step ran unguarded."""
    extra = _extra("unenforced", error_type, facts, span)
    logger.warning("Unenforced %s %s: %s", facts.kind, facts.name, error_type, extra=extra)


def settlement_failed(facts: Facts, span: Span, outcome: str) -> None:
    """A reservation could not be settled."""
    extra = _extra("settlement_failed", outcome, facts, span)
    logger.warning("Settlement of %s %s failed: %s", facts.kind, facts.name, outcome, extra=extra)


def journal_failed(error: OSError) -> None:
    """A known spend is not on disk: only this process can settle it."""
    logger.warning("A spend could not be written to the journal (%s): it is lost if this process dies now", error)


def _extra(event: str, reason: str, facts: Facts, span: Span) -> dict[str, str | None]:
    trace_context = span.get_span_context()
    ids = {"trace_id": format_trace_id(trace_context.trace_id), "span_id": format_span_id(trace_context.span_id)}
    return {
        "event": event,
        "reason": reason,
        **(ids if trace_context.is_valid else {"trace_id": None, "span_id": None}),
        "action_kind": facts.kind,
        "action_name": facts.name,
        "agent": facts.agent or None,
        "tenant": facts.tenant or None,
        "run_id": facts.origin.run_id,
    }
