"""The calls of a step that holds no reservation, and the charges that belong to none."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from opentelemetry import context, trace

from cycles_otel.telemetry import log, semconv
from cycles_otel.telemetry.calling import Calling, call_facts
from cycles_otel.telemetry.exemplar import Exemplar
from cycles_otel.telemetry.facts import Facts
from cycles_otel.telemetry.linking import link_text
from cycles_otel.telemetry.recorder import Recorder


class StepCalls:
    """Observes the calls of a step without a reservation.

    Parameters
    ----------
    parent: holds the parent of their spans, by default the span that is current where this is made.
    link: the trace that their spans are linked to, as a ``traceparent``.
    """

    def __init__(
        self, recorder: Recorder, facts: Facts, parent: context.Context | None = None, link: str | None = None
    ) -> None:
        self._recorder = recorder
        self._facts = facts
        self._context = context.get_current() if parent is None else parent
        self._link = link

    def calling(self, operation: str, attempt: int = 0, **attributes: Any) -> AbstractContextManager[None]:
        """Around one HTTP request; see ``CallObserver``."""
        return Calling(self._facts, self._context, attempt, call_facts(attributes), self._link)

    def retrying(self, operation: str, attempt: int, error_type: str) -> None:
        """There is no span of a reservation to note it on: the span of the next try counts it."""

    def charged(self, outcome: str, *, actual: int, charged: int | None, source: str | None) -> None:
        """What was used without a reservation, or left by another process, is charged."""
        count_charge(self._recorder, self._facts, trace.get_current_span(self._context), outcome, source)

    def link(self) -> str | None:
        """What a later process links its settlement to."""
        return self._link or link_text(trace.get_current_span(self._context))


def count_charge(recorder: Recorder, facts: Facts, span: trace.Span, outcome: str, source: str | None) -> None:
    """Count a charge that belongs to no reservation of this process."""
    with recorder.contained("metrics", "the metrics of a charge"):
        if outcome == semconv.UNBUDGETED:
            recorder.metrics.record(semconv.UNBUDGETED_STEPS, 1, (facts.kind, facts.unit))
        else:
            labels = (facts.kind, outcome, source or "")
            recorder.metrics.record(semconv.SETTLEMENT_COUNT, 1, labels, Exemplar.of(span))
    if outcome in (semconv.LOST, semconv.UNBUDGETED):
        log.settlement_failed(facts, span, outcome)
