"""The one place that each Cycles API call passes: it observes ``runcycles`` clients, and changes nothing they do.

One HTTP request is one CLIENT span and one observation of the duration. The decision, the amounts and the balances
are read from the request and the reply. A reply that is not the protocol's (a proxy's page with status 200, say) is
a failed call with the ``error.type`` ``_OTHER``.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Awaitable, Callable
from contextvars import Token
from types import TracebackType
from typing import Any, TypeVar

import httpx
from opentelemetry import baggage, context, trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanContext, SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from runcycles import AsyncCyclesClient, CyclesClient, CyclesResponse

from cycles_otel.budget.exchange import OPERATIONS
from cycles_otel.telemetry import amounts, semconv, spans
from cycles_otel.telemetry.calling import current_calling
from cycles_otel.telemetry.exchange import Endpoint, Reply, Request, read_reply
from cycles_otel.telemetry.exemplar import Exemplar
from cycles_otel.telemetry.facts import Facts
from cycles_otel.telemetry.linking import links_to
from cycles_otel.telemetry.recorder import Recorder, default_recorder
from cycles_otel.telemetry.reservations import Tries, lease_end

AnyClient = TypeVar("AnyClient", CyclesClient, AsyncCyclesClient)

_MARK = "_cycles_otel_recorder"
_UNKNOWN = Facts()
_propagator = TraceContextTextMapPropagator()


def is_observed(client: CyclesClient | AsyncCyclesClient) -> bool:
    """Whether ``observe_client`` observes this client."""
    return _MARK in vars(client)


def observe_client(client: AnyClient, recorder: Recorder | None = None) -> AnyClient:
    """Observe each API call of this client from now on, and return it; a client that is observed stays as it is.

    ``recorder`` is by default the one that the process shares.
    """
    if is_observed(client):
        return client
    recorder = recorder or default_recorder()
    vars(client)[_MARK] = recorder
    asynchronous = isinstance(client, AsyncCyclesClient)
    observed = Observed(recorder, Endpoint.of(client._config.base_url))
    observing: Callable[..., Any] = _observing_async if asynchronous else _observing
    for name, operation in OPERATIONS.items():
        setattr(client, name, observing(getattr(client, name), observed, operation))
    client._http.event_hooks["request"].append(propagation(recorder, asynchronous=asynchronous))
    return client


class Observed:
    """What all calls of one client share: where they are recorded, and the places at which that can fail."""

    __slots__ = ("count", "end", "endpoint", "read_reply", "read_request", "recorder", "start")

    def __init__(self, recorder: Recorder, endpoint: Endpoint) -> None:
        self.recorder = recorder
        self.endpoint = endpoint
        self.read_request = recorder.contained("traces", "the reading of a request")
        self.start = recorder.contained("traces", "the start of a call")
        self.read_reply = recorder.contained("traces", "the reading of a reply")
        self.count = recorder.contained("metrics", "the metrics of a call")
        self.end = recorder.contained("traces", "the end of a call")


class ApiCall:
    """One API call, as a context around the client's method; the method's ``response`` is handed in before the end."""

    __slots__ = (
        *("_calling", "_facts", "_observed", "_parent", "_request", "_span", "_started", "_token", "_tries"),
        "response",
    )

    def __init__(self, observed: Observed, operation: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.response: CyclesResponse | None = None
        self._observed = observed
        self._calling = current_calling()
        self._span: Span = trace.INVALID_SPAN
        self._token: Token[Context] | None = None
        self._parent: SpanContext | None = None
        self._facts = _UNKNOWN
        request = tries = None
        with observed.read_request:
            request = Request.of_call(operation, observed.endpoint, args, kwargs)
            request.is_dry_run |= self._calling is not None and semconv.DRY_RUN in self._calling.attributes
            self._facts = self._known_facts(request)
            tries = observed.recorder.replays.tries(request, self._facts.tenant)
        self._request = request or Request(operation, observed.endpoint, None, {})
        self._tries = tries or Tries()

    def __enter__(self) -> ApiCall:
        with self._observed.start:
            self._start()
        self._started = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        elapsed = time.perf_counter() - self._started
        if self._token is not None:
            context.detach(self._token)
        reply = None
        with self._observed.read_reply:
            reply = self._read(error)
        reply = reply or Reply()
        with self._observed.count:
            self._count(reply, elapsed)
        hooks = self._observed.recorder.call_hooks
        if hooks is not None and self.response is not None:
            hooks.answered(self._span, self._request, self.response)
        with self._observed.end:
            spans.end(self._span, self._request, reply, self._lease_left(reply))

    def _start(self) -> None:
        calling, request, recorder = self._calling, self._request, self._observed.recorder
        resent = calling.attempt if calling is not None else self._tries.sent
        self._tries.sent += 1
        if not recorder.traces:
            return
        parent = calling.context if calling is not None else self._context_of_bare_call()
        attributes = spans.start_attributes(request, self._facts, calling, resent)
        name = spans.span_name(semconv.OPERATION_SPANS[request.operation], self._facts.kind)
        links = links_to(calling.link) if calling is not None and calling.link else None
        self._span = recorder.start_span(name, SpanKind.CLIENT, parent, attributes, links)
        self._token = context.attach(_without_baggage(trace.set_span_in_context(self._span)))
        if calling is None and request.operation == "reserve":
            self._parent = _valid_span_context(parent) or self._span.get_span_context()
        if recorder.call_hooks is not None:
            recorder.call_hooks.asked(self._span, request)

    def _context_of_bare_call(self) -> Context:
        """The current context; a call from a thread that has none belongs to where its reservation was made."""
        current = context.get_current()
        if _valid_span_context(current) is not None:
            return current
        held = self._observed.recorder.reservations.get(self._request.about)
        if held is None or held.parent is None:
            return current
        return trace.set_span_in_context(trace.NonRecordingSpan(held.parent), current)

    def _known_facts(self, request: Request) -> Facts:
        if self._calling is not None:
            return self._calling.facts
        held = self._observed.recorder.reservations.get(request.reservation_id)
        return held.facts if held is not None else Facts.of_body(request.body)

    def _read(self, error: BaseException | None) -> Reply:
        if self.response is not None:
            return read_reply(self._request, self.response)
        return Reply(error_type=semconv.ERROR_OTHER) if isinstance(error, Exception) else Reply()

    def _count(self, reply: Reply, elapsed: float) -> None:
        recorder = self._observed.recorder
        exemplar = Exemplar.of(self._span)
        labels = (self._request.operation, reply.decision or "", reply.error_type or "")
        recorder.metrics.record(semconv.OPERATION_DURATION, elapsed, labels, exemplar)
        if self.response is None or self._tries.answered:
            return
        self._tries.answered = self._request.is_remembered_with(reply)
        facts = self._facts
        if not facts.subject and reply.tenant:
            facts = Facts({"tenant": reply.tenant})
        if recorder.metrics.is_routed:
            amounts.count(recorder, self._request, reply, facts, exemplar)
        if reply.error_type is None:
            recorder.reservations.follow(self._request, reply, facts, self._parent)
            recorder.balances.seen(reply.body)

    def _lease_left(self, reply: Reply) -> float | None:
        """How much of the lease was left when a heartbeat was acknowledged, which begins the next lease."""
        if self._request.operation != "extend" or not reply.worked:
            return None
        held = self._observed.recorder.reservations.get(self._request.reservation_id)
        if held is None:
            return None
        ended, held.lease_ends = held.lease_ends, lease_end(reply.body)
        return None if ended is None else ended - time.monotonic()


def _observing(
    method: Callable[..., CyclesResponse], observed: Observed, operation: str
) -> Callable[..., CyclesResponse]:
    @functools.wraps(method)
    def call(*args: Any, **kwargs: Any) -> CyclesResponse:
        if observed.recorder.is_idle:
            return method(*args, **kwargs)
        with ApiCall(observed, operation, args, kwargs) as api_call:
            api_call.response = method(*args, **kwargs)
        return api_call.response

    return call


def _observing_async(
    method: Callable[..., Awaitable[CyclesResponse]], observed: Observed, operation: str
) -> Callable[..., Awaitable[CyclesResponse]]:
    @functools.wraps(method)
    async def call(*args: Any, **kwargs: Any) -> CyclesResponse:
        if observed.recorder.is_idle:
            return await method(*args, **kwargs)
        with ApiCall(observed, operation, args, kwargs) as api_call:
            api_call.response = await method(*args, **kwargs)
        return api_call.response

    return call


def _valid_span_context(current: Context) -> SpanContext | None:
    span_context = trace.get_current_span(current).get_span_context()
    return span_context if span_context.is_valid else None


def _without_baggage(current: Context) -> Context:
    """Baggage is the program's own: an instrumentation of httpx must not send it to the Cycles server either."""
    return baggage.clear(current) if baggage.get_all(current) else current


def propagation(recorder: Recorder, *, asynchronous: bool) -> Callable[[httpx.Request], Any]:
    """A request hook for httpx that sends the trace of the current span along, and no baggage."""
    contained = recorder.contained("traces", "the propagation of a trace")

    def propagate(request: httpx.Request) -> None:
        if recorder.has_traces:
            with contained:
                _propagator.inject(request.headers)

    async def propagate_async(request: httpx.Request) -> None:
        propagate(request)

    return propagate_async if asynchronous else propagate
