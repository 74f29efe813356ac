"""A span processor that looks on: what an exporter would send, for the figures and the trees of the demo."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from concurrent.futures import Future

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.trace import SpanKind

from cycles_otel.telemetry import semconv

KEPT_SPANS = 20_000
_LLM_RESERVATION = f"{semconv.RESERVATION_SPAN.name} llm.completion"


class Witness(SpanProcessor):
    """Keeps the spans that ended, counts those of requests, and knows which tenant has an LLM call unsettled."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._unsettled: Counter[str] = Counter()
        self._all_settled: dict[str, Future[None]] = {}
        self.clear()

    def clear(self) -> None:
        """Forget the spans that were seen."""
        self.spans: list[ReadableSpan] = []
        self.client_spans = 0

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Called by the tracer provider."""
        self._count_unsettled(span, 1)

    def on_end(self, span: ReadableSpan) -> None:
        """Called by the tracer provider."""
        with self._lock:
            self.client_spans += span.kind is SpanKind.CLIENT
            if len(self.spans) < KEPT_SPANS:
                self.spans.append(span)
        self._count_unsettled(span, -1)

    async def settled(self, tenant: str) -> None:
        """Wait until no LLM call of the tenant holds a reservation."""
        with self._lock:
            all_settled = self._all_settled.get(tenant)
        if all_settled is not None:
            await asyncio.shield(asyncio.wrap_future(all_settled))

    def _count_unsettled(self, span: ReadableSpan, change: int) -> None:
        if span.name != _LLM_RESERVATION:
            return
        tenant = str((span.attributes or {}).get(semconv.TENANT))
        with self._lock:
            self._unsettled[tenant] += change
            if self._unsettled[tenant]:
                self._all_settled.setdefault(tenant, Future())
            else:
                self._all_settled.pop(tenant).set_result(None)
