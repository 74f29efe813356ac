"""The life of one reservation, as a span and metrics."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from opentelemetry import context, trace
from opentelemetry.trace import SpanKind, Status, StatusCode

from cycles_otel.budget.step import Step
from cycles_otel.telemetry import log, semconv
from cycles_otel.telemetry.calling import Calling, call_facts
from cycles_otel.telemetry.exemplar import Exemplar
from cycles_otel.telemetry.facts import Attributes, Facts, caps_attributes
from cycles_otel.telemetry.linking import link_text
from cycles_otel.telemetry.recorder import Recorder
from cycles_otel.telemetry.schema import Metric
from cycles_otel.telemetry.spans import span_name
from cycles_otel.telemetry.unreserved import count_charge

Ending = Callable[[Mapping[str, Any]], None]
"""Takes what is said at the end of a life."""
Mirror = Callable[[Facts], Ending]
"""Shows a life at another place as well: called where it begins, and what it returns where it ends."""

_NOTHING: Attributes = {}


class ReservationLife:
    """Observes one reservation: a span from before the reserve until it is settled, ended exactly once.

    The span is never current, so nothing of the program nests below it.
    """

    def __init__(self, recorder: Recorder, step: Step, mirror: Mirror | None = None) -> None:
        self._recorder = recorder
        self._facts = Facts.of_step(step)
        self._mirrored: Ending | None = None
        self._lock = threading.Lock()
        self._ended = False
        self._granted_at: float | None = None
        self._usage: Attributes = {}
        self._said: Attributes = {}
        self._span: trace.Span = trace.INVALID_SPAN
        self._exemplar: Exemplar | None = None
        self._metrics = recorder.contained("metrics", "the metrics of a reservation")
        self._context = context.get_current()
        if recorder.traces:
            with recorder.contained("traces", "the start of a reservation"):
                self._start()
        if mirror is not None:
            with recorder.contained("traces", "the mirror of a reservation"):
                self._mirrored = mirror(self._facts)

    def _start(self) -> None:
        attributes = {**self._facts.attributes, **self._facts.estimate_attributes}
        name = span_name(semconv.RESERVATION_SPAN, self._facts.kind)
        self._span = self._recorder.start_span(name, SpanKind.INTERNAL, self._context, attributes)
        self._context = trace.set_span_in_context(self._span, self._context)
        self._exemplar = Exemplar.of(self._span)

    def calling(self, operation: str, attempt: int = 0, **attributes: Any) -> AbstractContextManager[None]:
        """Around one HTTP request; a commit and an event carry the usage that was reported before."""
        said = call_facts(attributes) if attributes else _NOTHING
        if self._usage and operation in ("commit", "event"):
            said = {**self._usage, **said}
        return Calling(self._facts, self._context, attempt, said)

    def granted(self, reservation_id: str, amount: int, *, capped: Mapping[str, Any] | None) -> None:
        """The budget is held."""
        with self._lock:
            if self._ended or self._granted_at is not None:
                return
            self._granted_at = time.monotonic()
        self._record(semconv.RESERVATIONS_ACTIVE, 1, (self._facts.kind,))
        self._said[semconv.RESERVATION_ID] = reservation_id
        self._caps_applied(capped)

    def denied(self, reason_code: str, *, scope: str | None = None) -> None:
        """The step is stopped."""
        remaining = None if scope is None else self._recorder.balances.remaining(scope, self._facts.unit)
        said = {semconv.REASON_CODE: reason_code, semconv.SCOPE_PATH: scope, semconv.REMAINING: remaining}
        if self._end(semconv.DENIED, event=(semconv.EVENT_DENIED, said)):
            log.denied(self._facts, self._span, reason_code)

    def policy_applied(self, reason_code: str, policy: str, *, model: str | None = None) -> None:
        """What is done about a denial."""
        tenant = self._facts.subject_labels(self._recorder.subject_levels)[0]
        labels = (self._facts.kind, reason_code, tenant, self._facts.agent, policy)
        self._record(semconv.DENIALS, 1, labels)
        if policy != semconv.RAISE:
            said = {semconv.DENIAL_POLICY: policy, semconv.REASON_CODE: reason_code, semconv.MODEL: model}
            self._event(semconv.EVENT_DEGRADED, said)

    def would_deny(self, reason_code: str) -> None:
        """The shadow of a denial."""
        self._end(semconv.WOULD_DENY, event=(semconv.EVENT_WOULD_DENY, {semconv.REASON_CODE: reason_code}))

    def shadowed(self, *, capped: Mapping[str, Any] | None) -> None:
        """A dry run was allowed."""
        self._caps_applied(capped)
        self._end(semconv.WOULD_ALLOW)

    def unenforced(self, error_type: str) -> None:
        """The step runs unguarded."""
        if self._end(semconv.UNENFORCED, event=(semconv.EVENT_UNENFORCED, {semconv.ERROR_TYPE: error_type})):
            self._record(semconv.UNENFORCED_STEPS, 1, (self._facts.kind, error_type))
            log.unenforced(self._facts, self._span, error_type)

    def unbudgeted(self) -> None:
        """The step runs without a budget."""
        if self._end(semconv.UNBUDGETED):
            self._record(semconv.UNBUDGETED_STEPS, 1, (self._facts.kind, self._facts.unit))

    def failed(self, error_type: str) -> None:
        """The step is stopped by a wrong set-up, or by unavailability."""
        self._end(semconv.FAILED, error_type=error_type)

    def heartbeat(self, sequence: int, margin: float) -> None:
        """A beat was acknowledged."""
        self._record(semconv.HEARTBEAT_MARGIN_SECONDS, margin)

    def heartbeat_failed(self, error_type: str, disposition: str) -> None:
        """A beat failed."""
        self._record(semconv.HEARTBEAT_FAILURES, 1, (error_type, disposition))
        said = {semconv.HEARTBEAT_DISPOSITION: disposition, semconv.ERROR_TYPE: error_type}
        self._event(semconv.EVENT_HEARTBEAT_FAILED, said)

    def retrying(self, operation: str, attempt: int, error_type: str) -> None:
        """A settlement is tried again."""
        said = {semconv.OPERATION_NAME: operation, semconv.RETRY_ATTEMPT: attempt, semconv.ERROR_TYPE: error_type}
        self._event(semconv.EVENT_RETRY, said)

    def usage(self, tokens: Mapping[str, int]) -> None:
        """What the model used."""
        said = {semconv.USAGE[kind]: count for kind, count in tokens.items() if kind in semconv.USAGE}
        self._usage = {**self._usage, **said}
        for kind, count in tokens.items():
            if kind in semconv.VALUES[semconv.TOKEN_TYPE] and count > 0:
                self._record(semconv.TOKENS, count, (kind, self._facts.agent, self._facts.name))

    def charged(self, outcome: str, *, actual: int, charged: int | None, source: str | None) -> None:
        """What was used unenforced is charged, after the life has ended."""
        count_charge(self._recorder, self._facts, self._span, outcome, source)

    def link(self) -> str | None:
        """What a later process links its settlement to."""
        return link_text(self._span)

    def priced(self, source: str, data_version: str | None, multiplier: float) -> None:
        """How the usage was priced."""
        said = _known(
            {
                semconv.PRICE_SOURCE: source,
                semconv.PRICE_DATA_VERSION: data_version,
                semconv.PRICE_MULTIPLIER: multiplier,
            }
        )
        self._usage = {**self._usage, **said}
        self._said.update(said)

    def price_unknown(self, model: str) -> None:
        """No price is known for the model."""
        self._record(semconv.PRICE_UNKNOWN, 1, (model,))
        self._event(semconv.EVENT_PRICE_UNKNOWN, {semconv.MODEL: model})

    def settlement_queued(self) -> None:
        """The settlement goes on in the background and in the journal."""
        self._event(semconv.EVENT_SETTLEMENT_QUEUED, {})

    def settled(
        self,
        outcome: str,
        *,
        actual: int | None = None,
        charged: int | None = None,
        released: int | None = None,
        source: str | None = None,
    ) -> None:
        """The life ends in a settlement."""
        final = {
            semconv.AMOUNT_ACTUAL: actual,
            semconv.AMOUNT_CHARGED: charged,
            semconv.AMOUNT_RELEASED: released,
            semconv.AMOUNT_SOURCE: source,
        }
        overage = {semconv.AMOUNT_CHARGED: charged, semconv.AMOUNT_ESTIMATED: self._facts.estimate}
        estimate = self._facts.estimate or 0
        exceeded = actual is not None and actual > estimate
        if not self._end(outcome, final, event=(semconv.EVENT_OVERAGE, overage) if exceeded else None):
            return
        kind = self._facts.kind
        self._record(semconv.SETTLEMENT_COUNT, 1, (kind, outcome, source or ""))
        # An estimate that is charged for want of anything better says nothing about how good it was.
        if actual is not None and estimate > 0 and source != semconv.SOURCE_ESTIMATE:
            self._record(semconv.ESTIMATE_RATIO, actual / estimate, (kind, self._facts.unit))
        if outcome in (semconv.LOST, semconv.EXPIRED):
            log.settlement_failed(self._facts, self._span, outcome)

    def _end(
        self,
        outcome: str,
        attributes: Mapping[str, Any] | None = None,
        *,
        event: tuple[str, Mapping[str, Any]] | None = None,
        error_type: str | None = None,
    ) -> bool:
        """End the life, if it is not over: only the first end counts, and only this one returns True."""
        with self._lock:
            if self._ended:
                return False
            self._ended = True
        if event is not None:
            self._event(*event)
        self._said.update(attributes or _NOTHING)
        self._said[semconv.RESERVATION_OUTCOME] = outcome
        self._said[semconv.ERROR_TYPE] = error_type
        if self._span.is_recording():
            with self._recorder.contained("traces", "the end of a reservation"):
                self._end_span(error_type)
        if self._mirrored is not None:
            with self._recorder.contained("traces", "the mirror of a reservation"):
                self._mirrored({**(event[1] if event is not None else _NOTHING), **self._said})
        self._let_go(outcome)
        return True

    def _end_span(self, error_type: str | None) -> None:
        self._span.set_attributes(_known(self._said))
        if error_type is not None:
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()

    def _let_go(self, outcome: str) -> None:
        if self._granted_at is None:
            return
        self._record(semconv.RESERVATIONS_ACTIVE, -1, (self._facts.kind,))
        elapsed = time.monotonic() - self._granted_at
        self._record(semconv.RESERVATION_DURATION, elapsed, (self._facts.kind, outcome))

    def _caps_applied(self, caps: Mapping[str, Any] | None) -> None:
        if caps:
            self._event(semconv.EVENT_CAPS_APPLIED, caps_attributes(caps))

    def _event(self, name: str, attributes: Mapping[str, Any]) -> None:
        if self._span.is_recording():
            with self._recorder.contained("traces", "the events of a reservation"):
                self._span.add_event(name, _known(attributes))

    def _record(self, metric: Metric, value: float, labels: tuple[str, ...] = ()) -> None:
        if not self._recorder.metrics.is_routed:
            return
        with self._metrics:
            self._recorder.metrics.record(metric, value, labels, self._exemplar)


def _known(attributes: Mapping[str, Any]) -> Attributes:
    return {key: value for key, value in attributes.items() if value is not None}
