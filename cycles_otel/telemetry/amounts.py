"""What a call changed in the ledger, counted: decisions, and the amounts that were held, charged, freed, refused."""

from __future__ import annotations

from collections.abc import Mapping

from cycles_otel.telemetry import semconv
from cycles_otel.telemetry.exchange import Reply, Request
from cycles_otel.telemetry.exemplar import Exemplar
from cycles_otel.telemetry.facts import Facts, amount_in, unit_in
from cycles_otel.telemetry.recorder import Recorder
from cycles_otel.telemetry.schema import Metric


def count(recorder: Recorder, request: Request, reply: Reply, facts: Facts, exemplar: Exemplar | None) -> None:
    """Count what the reply to this request says; the caller leaves out a reply that repeats an earlier one."""
    if reply.decision is not None:
        _count_decision(recorder, request, reply, facts, exemplar)
    if reply.decision == semconv.DENY:
        _count_denied(recorder, request, facts)
    elif reply.error_type is None and request.operation in _LEDGER_CHANGES:
        _LEDGER_CHANGES[request.operation](recorder, request, reply, facts)


def _count_decision(
    recorder: Recorder, request: Request, reply: Reply, facts: Facts, exemplar: Exemplar | None
) -> None:
    labels = (
        request.operation,
        reply.decision or "",
        reply.reason_code or "",
        facts.kind,
        facts.subject_labels(recorder.subject_levels)[0],
        facts.agent,
        "true" if request.is_dry_run else "false",
    )
    recorder.metrics.record(semconv.DECISIONS, 1, labels, exemplar)


def _count_denied(recorder: Recorder, request: Request, facts: Facts) -> None:
    if request.operation == "reserve" and not request.is_dry_run:
        _add_from(recorder, semconv.AMOUNT_DENIED_TOTAL, request.body, "estimate", facts)


def _reserved(recorder: Recorder, request: Request, reply: Reply, facts: Facts) -> None:
    if not request.is_dry_run:
        _add_from(recorder, semconv.AMOUNT_RESERVED_TOTAL, reply.body, "reserved", facts)


def _committed(recorder: Recorder, request: Request, reply: Reply, facts: Facts) -> None:
    _add_from(recorder, semconv.AMOUNT_COMMITTED_TOTAL, reply.body, "charged", facts)
    _add_from(recorder, semconv.AMOUNT_RELEASED_TOTAL, reply.body, "released", facts)
    _add_uncharged(recorder, request, reply, facts)


def _released(recorder: Recorder, request: Request, reply: Reply, facts: Facts) -> None:
    _add_from(recorder, semconv.AMOUNT_RELEASED_TOTAL, reply.body, "released", facts)


def _applied(recorder: Recorder, request: Request, reply: Reply, facts: Facts) -> None:
    # The server names the charge of an event only where it is less than what was asked for.
    if "charged" in reply.body:
        _add_from(recorder, semconv.AMOUNT_COMMITTED_TOTAL, reply.body, "charged", facts)
    else:
        _add_from(recorder, semconv.AMOUNT_COMMITTED_TOTAL, request.body, "actual", facts)
    _add_uncharged(recorder, request, reply, facts)


_LEDGER_CHANGES = {"reserve": _reserved, "commit": _committed, "release": _released, "event": _applied}


def _add_uncharged(recorder: Recorder, request: Request, reply: Reply, facts: Facts) -> None:
    actual, charged = amount_in(request.body, "actual"), amount_in(reply.body, "charged")
    if actual is not None and charged is not None and charged < actual:
        _add(recorder, semconv.AMOUNT_UNCHARGED_TOTAL, actual - charged, unit_in(reply.body, "charged"), facts)


def _add_from(recorder: Recorder, metric: Metric, body: Mapping[str, object], name: str, facts: Facts) -> None:
    amount = body.get(name)
    if isinstance(amount, dict) and isinstance(amount.get("amount"), int):
        _add(recorder, metric, amount["amount"], unit_in(body, name), facts)


def _add(recorder: Recorder, metric: Metric, amount: int, unit: str, facts: Facts) -> None:
    tenant, workspace, app, workflow = facts.subject_labels(recorder.subject_levels)
    labels = (unit, facts.kind, tenant, facts.agent, facts.name, workspace, app, workflow)
    recorder.metrics.record(metric, amount, labels)
