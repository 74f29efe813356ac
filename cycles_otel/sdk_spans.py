"""Reservations in the SDK's own traces, as custom spans, for those who use its trace viewer."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import copy_context
from typing import Any

from agents import custom_span
from agents.tracing import SpanError

from cycles_otel.telemetry import semconv
from cycles_otel.telemetry.facts import Facts
from cycles_otel.telemetry.life import Ending
from cycles_otel.telemetry.spans import span_name

_AT_THE_END = (semconv.RESERVATION_OUTCOME, semconv.REASON_CODE, semconv.AMOUNT_CHARGED)


def shown_in_sdk(facts: Facts) -> Ending:
    """Begin the custom span of a reservation, and return what ends it; where the SDK traces nothing it is none.

    It says the action, the unit, the estimate, and at the end the outcome, the reason of a denial and the charge:
    neither who pays nor anything of the conversation.
    """
    asked = {semconv.ACTION_KIND: facts.kind, semconv.ACTION_NAME: facts.name}
    span = custom_span(span_name(semconv.RESERVATION_SPAN, facts.kind), {**asked, **facts.estimate_attributes})
    # Processors make a span of theirs current in the context in which it starts, until it ends in the same one.
    around = copy_context()
    around.run(span.start)

    def ended(said: Mapping[str, Any]) -> None:
        span.span_data.data.update({key: said[key] for key in _AT_THE_END if said.get(key) is not None})
        if said.get(semconv.ERROR_TYPE) is not None:
            span.set_error(SpanError(message=said[semconv.ERROR_TYPE], data=None))
        around.run(span.finish)

    return ended
