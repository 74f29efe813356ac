"""The spans of one test, kept in memory, whatever tracer provider the program under test has."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from opentelemetry.sdk.environment_variables import OTEL_SDK_DISABLED
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import SpanKind

from cycles_otel.telemetry import semconv
from cycles_otel.telemetry.recorder import spans_watched
from cycles_otel.testing.steps import Step, Steps
from cycles_otel.testing.tree import drawn, parent_id, span_id

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import Span

_ASKS = ("reserve", "decide")
_OF_STEPS = ("reserve", "decide", "commit", "release", "extend")


class CyclesSpans:
    """Keeps every span of this package while it watches; the fixture ``cycles_spans`` is one that watches one test."""

    def __init__(self) -> None:
        self._kept = _Kept()

    @contextlib.contextmanager
    def watching(self) -> Iterator[CyclesSpans]:
        """Take all spans of this package, in all threads, instead of the tracer providers that they would go to."""
        with spans_watched(_provider(self._kept)):
            yield self

    @property
    def all(self) -> tuple[ReadableSpan, ...]:
        """The spans themselves, in the order in which they began."""
        return tuple(self._kept.spans)

    @property
    def steps(self) -> Steps:
        """Everything that asked for budget, in the order in which it began."""
        spans = self.all
        return Steps((Step.of(span, calls) for span, calls in _steps(spans).values()), _tree(spans))

    @property
    def tool_calls(self) -> Steps:
        """The tool calls among the steps; a tool that costs nothing asks for nothing, and is none."""
        return self.steps.tool_calls

    @property
    def llm_calls(self) -> Steps:
        """The LLM calls among the steps."""
        return self.steps.llm_calls

    def of(
        self,
        *,
        agent: str | None = None,
        tool: str | None = None,
        model: str | None = None,
        kind: str | None = None,
        decision: str | None = None,
        outcome: str | None = None,
        reason: str | None = None,
    ) -> Steps:
        """The steps that fit all that is given; see the fields of ``Step``."""
        return self.steps.of(
            agent=agent, tool=tool, model=model, kind=kind, decision=decision, outcome=outcome, reason=reason
        )

    def tree(self) -> str:
        """What happened, as text: runs, their steps with what became of each, and events."""
        return _tree(self.all)

    def __str__(self) -> str:
        return self.tree()

    def __repr__(self) -> str:
        return f"<CyclesSpans: {len(self.all)} spans>"


class _Kept(SpanProcessor):
    """Keeps spans from their start on, so that an open one is seen too."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        self.spans.append(span)


def _provider(processor: SpanProcessor) -> TracerProvider:
    """A provider whose spans are all kept; also in a suite that switches the SDK off, so that nothing is sent."""
    switch = os.environ.pop(OTEL_SDK_DISABLED, None)
    try:
        provider = TracerProvider(sampler=ALWAYS_ON, shutdown_on_exit=False)
    finally:
        if switch is not None:
            os.environ[OTEL_SDK_DISABLED] = switch
    provider.add_span_processor(processor)
    return provider


def _steps(spans: Sequence[ReadableSpan]) -> dict[int, tuple[ReadableSpan, list[ReadableSpan]]]:
    """By the id of its span each step, with the spans of its calls: those below it, or of the same reservation."""
    steps = {span_id(span): (span, list[ReadableSpan]()) for span in spans if _is_reservation(span)}
    by_reservation: dict[object, int] = {}
    for span in spans:
        operation = _said(span, semconv.OPERATION_NAME)
        if span.kind is not SpanKind.CLIENT or operation not in _OF_STEPS:
            continue
        step = parent_id(span)
        if step not in steps:
            step = by_reservation.get(_said(span, semconv.RESERVATION_ID))
        if step is None and operation in _ASKS:
            step = span_id(span)
            steps[step] = (span, [])
            if (reservation := _said(span, semconv.RESERVATION_ID)) is not None:
                by_reservation[reservation] = step
        if step in steps:
            steps[step][1].append(span)
    return steps


def _tree(spans: Sequence[ReadableSpan]) -> str:
    steps = _steps(spans)
    shown = [span for span in spans if span_id(span) in steps or _said(span, semconv.OPERATION_NAME) not in _OF_STEPS]

    def line(span: ReadableSpan) -> str:
        step = steps.get(span_id(span))
        events = "".join(f" !{event.name}" for event in span.events if event.name not in _SAID_BY_THE_OUTCOME)
        return f"{_plain_line(span) if step is None else Step.of(*step)}{events}"

    return drawn(shown, line) or "nothing asked for budget"


_SAID_BY_THE_OUTCOME = (semconv.EVENT_DENIED, semconv.EVENT_WOULD_DENY, semconv.EVENT_UNENFORCED)


def _plain_line(span: ReadableSpan) -> str:
    name = span.name.removeprefix(semconv.NAMESPACE)
    said = [str(_said(span, key)) for key in (semconv.RUN_OUTCOME, semconv.ACTION_NAME, semconv.ERROR_TYPE)]
    known = [each for each in said if each != "None"]
    return f"{name}: {', '.join(known)}" if known else name


def _is_reservation(span: ReadableSpan) -> bool:
    return span.kind is SpanKind.INTERNAL and span.name.startswith(semconv.RESERVATION_SPAN.name)


def _said(span: ReadableSpan, key: str) -> object:
    return (span.attributes or {}).get(key)
