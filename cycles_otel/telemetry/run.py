"""One run of an agent, as a span (where the program has none of its own) and as metrics."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext

from opentelemetry import trace
from opentelemetry.trace import SpanKind, Status, StatusCode
from runcycles import Unit

from cycles_otel.telemetry import semconv
from cycles_otel.telemetry.exemplar import Exemplar
from cycles_otel.telemetry.recorder import Recorder
from cycles_otel.telemetry.spans import span_name


class RunLife:
    """Observes one run: it has a span of its own only where no other span is current when it begins."""

    def __init__(self, recorder: Recorder, run_id: str, agent: str) -> None:
        self._recorder = recorder
        self._agent = agent
        self._lock = threading.Lock()
        self._ended = False
        self._span: trace.Span | None = None
        with recorder.contained("traces", "the start of a run"):
            if recorder.traces and not trace.get_current_span().get_span_context().is_valid:
                attributes = {semconv.RUN_ID: run_id, semconv.AGENT_NAME: agent}
                name = span_name(semconv.RUN_SPAN, agent)
                self._span = recorder.start_span(name, SpanKind.INTERNAL, None, attributes)

    def attached(self) -> AbstractContextManager[None]:
        """Around the SDK's run: what happens inside belongs to the run's span."""
        return nullcontext() if self._span is None else _current(self._span)

    def ended(self, outcome: str, committed: Mapping[Unit, int], leaked: int) -> None:
        """The run is over; only the first end counts."""
        with self._lock:
            if self._ended:
                return
            self._ended = True
        with self._recorder.contained("metrics", "the metrics of a run"):
            self._count(outcome, committed, leaked)
        with self._recorder.contained("traces", "the end of a run"):
            self._end_span(outcome)

    def _count(self, outcome: str, committed: Mapping[Unit, int], leaked: int) -> None:
        record, labels, exemplar = self._recorder.metrics.record, (self._agent, outcome), Exemplar.of(self._span)
        record(semconv.RUNS, 1, labels)
        record(semconv.LEAKED, leaked)
        for unit, amount in committed.items():
            record(semconv.RUN_AMOUNTS[unit.value], amount, labels, exemplar)

    def _end_span(self, outcome: str) -> None:
        if self._span is None:
            return
        self._span.set_attribute(semconv.RUN_OUTCOME, outcome)
        if outcome == semconv.FAILED:
            self._span.set_attribute(semconv.ERROR_TYPE, semconv.ERROR_OTHER)
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()


@contextmanager
def _current(span: trace.Span) -> Iterator[None]:
    # The run reports its own failure: an exception that passes here must not be recorded with its text.
    with trace.use_span(span, record_exception=False, set_status_on_exception=False):
        yield
