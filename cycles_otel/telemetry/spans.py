"""The CLIENT span of an API call: what it says at its start, and what the reply adds."""

from __future__ import annotations

from collections.abc import Mapping

from opentelemetry.trace import Span, Status, StatusCode

from cycles_otel.telemetry import semconv
from cycles_otel.telemetry.calling import Calling
from cycles_otel.telemetry.exchange import Reply, Request
from cycles_otel.telemetry.facts import Attributes, Facts, amount_in, caps_attributes
from cycles_otel.telemetry.schema import Span as SpanSchema


def span_name(schema: SpanSchema, suffix: str) -> str:
    """The name of a span, with the value that its kind puts behind it."""
    return f"{schema.name} {suffix}" if schema.suffix is not None and suffix else schema.name


def start_attributes(request: Request, facts: Facts, calling: Calling | None, resent: int) -> Attributes:
    """What is known when a request is about to be sent; ``resent`` counts the tries before this one."""
    known = {semconv.OPERATION_NAME: request.operation, **request.endpoint.attributes, **facts.attributes}
    if request.reservation_id is not None:
        known[semconv.RESERVATION_ID] = request.reservation_id
    if request.idempotency_key is not None:
        known[semconv.IDEMPOTENCY_KEY] = request.idempotency_key
    if resent:
        known[semconv.RESEND_COUNT] = resent
    if request.operation in _ASKED:
        _ASKED[request.operation](known, request, facts)
    if calling is not None:
        known.update(calling.attributes)
    return known


def end(span: Span, request: Request, reply: Reply, lease_left: float | None = None) -> None:
    """Say what came back, and end the span; ``lease_left`` is a heartbeat's margin in s."""
    if span.is_recording():
        said = _reply_attributes(request, reply)
        said[semconv.HEARTBEAT_MARGIN] = lease_left
        span.set_attributes({key: value for key, value in said.items() if value is not None})
        if reply.error_type is not None:
            span.set_status(Status(StatusCode.ERROR))
    span.end()


def _reply_attributes(request: Request, reply: Reply) -> Attributes:
    body = reply.body
    said: Attributes = {
        semconv.HTTP_STATUS_CODE: reply.status,
        semconv.REQUEST_ID: reply.request_id,
        semconv.ERROR_TYPE: reply.error_type,
        semconv.DECISION: reply.decision,
        semconv.REASON_CODE: reply.reason_code,
    }
    if reply.worked:
        said[semconv.AMOUNT_CHARGED] = amount_in(body, "charged")
        said[semconv.AMOUNT_RELEASED] = amount_in(body, "released")
    if request.operation == "reserve":
        said[semconv.RESERVATION_ID] = body.get("reservation_id")
        said[semconv.SCOPE_PATH] = body.get("scope_path")
    if reply.decision == semconv.ALLOW_WITH_CAPS and isinstance(body.get("caps"), Mapping):
        said.update(caps_attributes(body["caps"]))
    return said


def _asked_for_budget(known: Attributes, request: Request, facts: Facts) -> None:
    body = request.body
    known.update(facts.estimate_attributes)
    ttl, overage_policy = body.get("ttl_ms"), body.get("overage_policy")
    if isinstance(ttl, int):
        known[semconv.TTL] = ttl / 1000
    if overage_policy is not None:
        known[semconv.OVERAGE_POLICY] = overage_policy
    if request.is_dry_run:
        known[semconv.DRY_RUN] = True


def _asked_to_charge(known: Attributes, request: Request, facts: Facts) -> None:
    actual = amount_in(request.body, "actual")
    if actual is not None:
        known[semconv.AMOUNT_ACTUAL] = actual


_ASKED = {
    "reserve": _asked_for_budget,
    "decide": _asked_for_budget,
    "commit": _asked_to_charge,
    "event": _asked_to_charge,
}
