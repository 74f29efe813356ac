"""The CLIENT span of an API call: what it says at its start, and what the reply adds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
    known: Attributes = {
        semconv.OPERATION_NAME: request.operation,
        semconv.SERVER_ADDRESS: request.endpoint.address,
        semconv.SERVER_PORT: request.endpoint.port,
        semconv.RESERVATION_ID: request.reservation_id,
        semconv.IDEMPOTENCY_KEY: request.idempotency_key,
        semconv.RESEND_COUNT: resent or None,
        **facts.attributes,
        **_ASKED.get(request.operation, _nothing)(request, facts),
        **(calling.attributes if calling is not None else {}),
    }
    return {key: value for key, value in known.items() if value is not None}


def end(span: Span, request: Request, reply: Reply, lease_left: float | None = None) -> None:
    """Say what came back, and end the span; ``lease_left`` is a heartbeat's margin in s."""
    if span.is_recording():
        span.set_attributes({key: value for key, value in _reply_attributes(request, reply) if value is not None})
        if lease_left is not None:
            span.set_attribute(semconv.HEARTBEAT_MARGIN, lease_left)
        if reply.error_type is not None:
            span.set_status(Status(StatusCode.ERROR))
    span.end()


def _reply_attributes(request: Request, reply: Reply) -> list[tuple[str, Any]]:
    body = reply.body
    said: list[tuple[str, Any]] = [
        (semconv.HTTP_STATUS_CODE, reply.status),
        (semconv.REQUEST_ID, reply.request_id),
        (semconv.ERROR_TYPE, reply.error_type),
        (semconv.DECISION, reply.decision),
        (semconv.REASON_CODE, reply.reason_code),
    ]
    if reply.worked:
        said.append((semconv.AMOUNT_CHARGED, amount_in(body, "charged")))
        said.append((semconv.AMOUNT_RELEASED, amount_in(body, "released")))
    if request.operation == "reserve":
        said.append((semconv.RESERVATION_ID, body.get("reservation_id")))
        said.append((semconv.SCOPE_PATH, body.get("scope_path")))
    if reply.decision == semconv.ALLOW_WITH_CAPS and isinstance(body.get("caps"), Mapping):
        said.extend(caps_attributes(body["caps"]).items())
    return said


def _nothing(request: Request, facts: Facts) -> Attributes:
    return {}


def _asked_for_budget(request: Request, facts: Facts) -> Attributes:
    ttl = request.body.get("ttl_ms")
    return {
        **facts.estimate_attributes,
        semconv.TTL: ttl / 1000 if isinstance(ttl, int) else None,
        semconv.OVERAGE_POLICY: request.body.get("overage_policy"),
        semconv.DRY_RUN: request.is_dry_run or None,
    }


def _asked_to_charge(request: Request, facts: Facts) -> Attributes:
    return {semconv.AMOUNT_ACTUAL: amount_in(request.body, "actual")}


_ASKED = {
    "reserve": _asked_for_budget,
    "decide": _asked_for_budget,
    "commit": _asked_to_charge,
    "event": _asked_to_charge,
}
