"""What telemetry costs: `python -m benchmarks.telemetry [--rounds N]`.

Prints, side by side from one run, the median µs that telemetry adds to one API call (half a reserve with its commit),
and to one governed step (the life of a reservation around these two calls), on each way out; beside it the floor: the
same spans with the same attributes, and the same number of operations on the same instruments, made by hand with
OpenTelemetry and `prometheus_client` alone. Then the memory of a series, and the time of a scrape.

No request leaves the process: the client answers at once with what a real server answered.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import gc
import itertools
import statistics
import time
import tracemalloc
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from prometheus_client import CollectorRegistry, generate_latest
from runcycles import AsyncCyclesClient, CyclesConfig, CyclesResponse, Unit

from cycles_otel.budget.step import Action, Origin, Step
from cycles_otel.budget.subject import Subject
from cycles_otel.telemetry import Recorder, TelemetryObserver, observe_client, semconv
from cycles_otel.telemetry.backends import Series
from cycles_otel.telemetry.backends.opentelemetry import OpenTelemetryBackend
from cycles_otel.telemetry.backends.prometheus import PrometheusBackend
from cycles_otel.telemetry.exemplar import Exemplar
from cycles_otel.telemetry.schema import Metric

STEPS = 200
SCRAPED_SERIES = (100, 1_000, 10_000)
SUBJECT = {"tenant": "acme", "app": "helpdesk", "agent": "triage"}
ACTION = {"kind": "llm.completion", "name": "openai:gpt-4o"}
UNIT = "USD_MICROCENTS"
COMMIT_FACTS: dict[str, Any] = {"amount.source": "price"}


class CannedClient(AsyncCyclesClient):
    """Answers at once, as a server with one budget does, and runs the request's hooks as httpx does."""

    def __init__(self) -> None:
        super().__init__(CyclesConfig(base_url="http://127.0.0.1:7878", api_key="none", journal_enabled=False))
        self._request = httpx.Request("POST", "http://127.0.0.1:7878/v1/reservations")
        self._ids = itertools.count()

    async def create_reservation(self, request: Any) -> CyclesResponse:
        await self._sent()
        number = next(self._ids)
        body = {
            "decision": "ALLOW",
            "reservation_id": f"rsv-{number}",
            "affected_scopes": ["tenant:acme", "tenant:acme/app:helpdesk/agent:triage"],
            "expires_at_ms": 1_900_000_000_000,
            "remaining_ttl_ms": 60_000,
            "scope_path": "tenant:acme/app:helpdesk/agent:triage",
            "reserved": {"unit": UNIT, "amount": 500},
            "balances": [_balance(number, reserved=500)],
        }
        return CyclesResponse(200, body, None, {"x-request-id": f"req-{number}", "x-cycles-tenant": "acme"})

    async def commit_reservation(self, reservation_id: str, request: Any) -> CyclesResponse:
        await self._sent()
        body = {
            "status": "COMMITTED",
            "charged": {"unit": UNIT, "amount": 300},
            "released": {"unit": UNIT, "amount": 200},
            "balances": [_balance(next(self._ids), reserved=0)],
        }
        return CyclesResponse(200, body, None, {"x-request-id": "req-commit", "x-cycles-tenant": "acme"})

    async def _sent(self) -> None:
        for hook in self._http.event_hooks["request"]:
            await hook(self._request)


def _balance(number: int, *, reserved: int) -> dict[str, Any]:
    amounts = {"remaining": 10**9 - 300 * number - reserved, "reserved": reserved, "spent": 300 * number}
    fields = {name: {"unit": UNIT, "amount": amount} for name, amount in {**amounts, "allocated": 10**9}.items()}
    return {"scope": "tenant:acme", "scope_path": "tenant:acme", **fields}


class NullExporter(SpanExporter):
    """Exports into nothing: what an exporter costs is not ours."""

    def export(self, spans: Any) -> SpanExportResult:
        return SpanExportResult.SUCCESS


class Work:
    """The work that is timed, with a client that may be observed."""

    def __init__(self, recorder: Recorder | None) -> None:
        client = CannedClient()
        self._client = observe_client(client, recorder) if recorder is not None else client
        self._observer = TelemetryObserver(recorder) if recorder is not None else None
        self._numbers = itertools.count()

    def calls(self) -> None:
        """A reserve and its commit by a bare client."""
        _drive(self._calls(next(self._numbers)))

    def step(self) -> None:
        """The same as a governed step, which a governor tells its observer of."""
        _drive(self._step(next(self._numbers)))

    async def _calls(self, number: int) -> None:
        reserved = await self._client.create_reservation(_reserve_body(number))
        reservation_id = (reserved.body or {})["reservation_id"]
        await self._client.commit_reservation(reservation_id, _commit_body(number))

    async def _step(self, number: int) -> None:
        step = _step_of(number)
        if self._observer is None:
            return await self._calls(number)
        life = self._observer.reservation(step)
        with life.calling("reserve"):
            reserved = await self._client.create_reservation(_reserve_body(number))
        reservation_id = (reserved.body or {})["reservation_id"]
        life.granted(reservation_id, 500, capped=None)
        life.usage({"input": 1_000, "output": 200})
        with life.calling("commit", 0, **COMMIT_FACTS):
            await self._client.commit_reservation(reservation_id, _commit_body(number))
        life.settled("committed", actual=300, charged=300, released=200, source="price")
        return None


def _reserve_body(number: int) -> dict[str, Any]:
    return {
        "idempotency_key": f"{number}-reserve",
        "subject": SUBJECT,
        "action": ACTION,
        "estimate": {"unit": UNIT, "amount": 500},
        "ttl_ms": 60_000,
        "overage_policy": "ALLOW_IF_AVAILABLE",
    }


def _commit_body(number: int) -> dict[str, Any]:
    return {"idempotency_key": f"{number}-commit", "actual": {"unit": UNIT, "amount": 300}}


def _step_of(number: int) -> Step:
    origin = Origin(agent="triage", model="gpt-4o", run_id="run-1")
    return Step(Subject(**SUBJECT), Action(**ACTION), Unit(UNIT), 500, origin, key=str(number))


def _drive(work: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine that never waits, without the cost of an event loop."""
    try:
        work.send(None)
    except StopIteration:
        return
    raise AssertionError("the canned client waited")


# --- The ways out -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Way:
    """A set-up: whether spans are recorded, and where metrics go."""

    name: str
    spans: str
    metrics: str

    def providers(self) -> tuple[TracerProvider | None, MeterProvider]:
        """Providers of their own, so that the ways do not share anything."""
        if self.spans == "none":
            return None, MeterProvider([InMemoryMetricReader()])
        tracers = TracerProvider(sampler=ALWAYS_OFF) if self.spans == "sampled out" else TracerProvider()
        tracers.add_span_processor(BatchSpanProcessor(NullExporter(), max_queue_size=100_000))
        return tracers, MeterProvider([InMemoryMetricReader()])

    def recorder(self) -> Recorder:
        """What the package records with, this way."""
        tracers, meters = self.providers()
        return Recorder(
            metrics=self.metrics, registry=CollectorRegistry(), tracer_provider=tracers, meter_provider=meters
        )


WAYS = (
    Way("all switched off", "none", "none"),
    Way("Prometheus alone", "none", "prometheus"),
    Way("spans alone", "recorded", "none"),
    Way("spans (sampled out) + Prometheus", "sampled out", "prometheus"),
    Way("spans + Prometheus", "recorded", "prometheus"),
    Way("spans + OTLP", "recorded", "otlp"),
    Way("spans + both", "recorded", "both"),
)


class Tape:
    """A back end that writes down each operation, to be repeated by hand."""

    def __init__(self) -> None:
        self.operations: list[tuple[Metric, tuple[str, ...], float]] = []

    def series(self, metric: Metric, values: tuple[str, ...]) -> Series:
        def series(value: float, exemplar: Exemplar | None) -> None:
            self.operations.append((metric, values, value))

        return series

    def forget(self, metric: Metric, values: tuple[str, ...]) -> bool:
        raise AssertionError("a step forgets nothing")


class Floor:
    """What a step records, repeated by hand: raw spans with their attributes, and bound instruments."""

    def __init__(self, way: Way, spans: list[ReadableSpan], tape: Tape) -> None:
        tracers, meters = way.providers()
        self._tracer = tracers.get_tracer("floor") if tracers is not None else None
        self._spans = [(span.name, span.kind, dict(span.attributes or {})) for span in spans]
        self._request = httpx.Request("POST", "http://127.0.0.1:7878/v1/reservations")
        self._propagator = TraceContextTextMapPropagator()
        backends: list[Any] = []
        if way.metrics in ("prometheus", "both"):
            backends.append(PrometheusBackend(CollectorRegistry()))
        if way.metrics in ("otlp", "both"):
            backends.append(OpenTelemetryBackend(meters))
        self._operations = [
            (backend.series(metric, values), value) for metric, values, value in tape.operations for backend in backends
        ]

    def step(self) -> None:
        """Every span and every operation of one step."""
        exemplar = None
        for name, kind, attributes in self._spans if self._tracer is not None else ():
            assert self._tracer is not None
            span = self._tracer.start_span(name, Context(), kind, attributes)
            self._propagator.inject(self._request.headers, trace.set_span_in_context(span))
            span.end()
            exemplar = Exemplar.of(span)
        for operation, value in self._operations:
            operation(value, exemplar)


def taped(work: Callable[[Work], None]) -> tuple[list[ReadableSpan], Tape]:
    """The spans and the operations of one piece of work, when all label sets are known."""
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter, tape = InMemorySpanExporter(), Tape()
    tracers = TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    recorder = Recorder(metrics="none", tracer_provider=tracers)
    recorder.metrics.route([tape])
    worker = Work(recorder)
    work(worker)
    exporter.clear()
    tape.operations.clear()
    work(worker)
    return list(exporter.get_finished_spans()), tape


# --- Timing -----------------------------------------------------------------------------------------------------------


def interleaved(works: Mapping[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    """The µs of each piece of work in each round; a round takes all of them in turn."""
    for work in works.values():
        _timed(work)
    found: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            found[name].append(_timed(work))
    return found


def _timed(work: Callable[[], None]) -> float:
    gc.collect()
    gc.disable()
    try:
        began = time.thread_time()
        for _ in range(STEPS):
            work()
        return (time.thread_time() - began) / STEPS * 1e6
    finally:
        gc.enable()


def print_costs(title: str, work: Callable[[Work], None], calls: int, rounds: int) -> None:
    """What telemetry adds to the work, divided by the number of calls in it, beside the floor."""
    spans, tape = taped(work)
    bare = Work(None)
    works: dict[str, Callable[[], None]] = {"bare": functools.partial(work, bare)}
    for way in WAYS:
        worker = Work(way.recorder())
        works[way.name] = functools.partial(work, worker)
        works["floor of " + way.name] = Floor(way, spans, tape).step
    rows = interleaved(works, rounds)
    print(f"\n{title}: {len(spans) / calls:g} spans, {len(tape.operations) / calls:g} metric operations")
    print(f"{'':36}{'added, µs':>12}{'quartiles':>16}{'floor, µs':>12}{'ratio':>8}")
    bare_cost = rows["bare"]
    for way in WAYS:
        added = [(cost - base) / calls for cost, base in zip(rows[way.name], bare_cost, strict=True)]
        floor = statistics.median(rows["floor of " + way.name]) / calls
        low, median, high = statistics.quantiles(added, n=4)
        ratio = f"{median / floor:8.2f}" if floor > 0.5 else f"{'-':>8}"
        print(f"{way.name:36}{median:12.1f}{f'{low:.1f} - {high:.1f}':>16}{floor:12.1f}{ratio}")


def print_series() -> None:
    """Memory of a series and the time of a scrape, by the number of series."""
    print(f"\n{'series':>8}{'memory of a series, bytes':>28}{'a scrape, ms':>16}{'page, kB':>12}")
    for count in SCRAPED_SERIES:
        registry = CollectorRegistry()
        recorder = Recorder(metrics="prometheus", registry=registry, max_values=10**6, max_series=10**6)
        gc.collect()
        tracemalloc.start()
        for number in range(count):
            labels = (UNIT, "llm.completion", "acme", f"agent-{number}", "openai:gpt-4o", "", "", "")
            recorder.metrics.record(semconv.AMOUNT_COMMITTED_TOTAL, 1, labels)
        memory = tracemalloc.get_traced_memory()[0] / count
        tracemalloc.stop()
        began = time.perf_counter()
        page = generate_latest(registry)
        elapsed = (time.perf_counter() - began) * 1e3
        print(f"{count:8,}{memory:28,.0f}{elapsed:16.1f}{len(page) / 1e3:12,.0f}")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, default=40, help="how often each way is timed (default: 40)")
    rounds = parser.parse_args().rounds
    print_costs("One API call", Work.calls, calls=2, rounds=rounds)
    print_costs("One governed step", Work.step, calls=1, rounds=rounds)
    print_series()


if __name__ == "__main__":
    asyncio.set_event_loop(None)
    main()
