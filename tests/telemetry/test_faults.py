"""A fault of the telemetry never reaches the program."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from prometheus_client import CollectorRegistry, Counter
from runcycles import AsyncCyclesClient, CyclesClient

from cycles_otel.local import LocalCycles
from cycles_otel.telemetry import Recorder, TelemetryObserver, observe_client, semconv
from tests.telemetry import requests
from tests.telemetry.witness import Witness


class BrokenProcessor(SpanProcessor):
    """Fails at the start of each span, or at its end."""

    def __init__(self, *, at_start: bool) -> None:
        self._at_start = at_start

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        if self._at_start:
            raise RuntimeError("broken at the start")

    def on_end(self, span: ReadableSpan) -> None:
        if not self._at_start:
            raise RuntimeError("broken at the end")


class BrokenTracing(Witness):
    def __init__(self, *, at_start: bool) -> None:
        provider = TracerProvider()
        provider.add_span_processor(BrokenProcessor(at_start=at_start))
        super().__init__(tracer_provider=provider)


@pytest.fixture(params=[True, False], ids=["at the start", "at the end"])
def broken(request: pytest.FixtureRequest) -> BrokenTracing:
    return BrokenTracing(at_start=request.param)


class TestSpans:
    async def test_a_call_is_made_once_and_counted_all_the_same(
        self, server: LocalCycles, broken: BrokenTracing
    ) -> None:
        async with AsyncCyclesClient(server.config()) as client:
            response = await observe_client(client, broken.recorder).create_event(requests.event(5))
        assert response.is_success
        assert len(server.requests) == 1
        assert broken.total(semconv.AMOUNT_COMMITTED_TOTAL) == 5
        assert broken.total(semconv.OPERATION_DURATION, "_count") == 1

    def test_lives_and_runs_go_on(self, broken: BrokenTracing) -> None:
        run = broken.observer.run("run-1", "agent")
        with run.attached():
            life = broken.observer.reservation(requests.step())
            life.granted("r-1", 100, capped=None)
            life.settled("committed", actual=1)
        run.ended("completed", {}, leaked=0)
        assert broken.total(semconv.SETTLEMENT_COUNT) == broken.total(semconv.RUNS) == 1

    def test_a_fault_is_counted_each_time_and_logged_once(
        self, broken: BrokenTracing, caplog: pytest.LogCaptureFixture
    ) -> None:
        for _ in range(3):
            broken.observer.reservation(requests.step()).unbudgeted()
        labels = {"cycles_telemetry_signal": "traces", "cycles_telemetry_cause": "RuntimeError"}
        assert broken.total(semconv.TELEMETRY_DROPPED, **labels) == 3
        assert [record.levelname for record in caplog.records] == ["WARNING"]


class TestMetrics:
    def test_a_metric_that_cannot_be_registered_stops_no_call(self, server: LocalCycles) -> None:
        registry = CollectorRegistry()
        Counter(semconv.DECISIONS.prometheus_name, "taken by somebody else", registry=registry)
        witness = Witness(registry=registry, metrics="prometheus")
        with CyclesClient(server.config()) as client:
            response = observe_client(client, witness.recorder).create_reservation(requests.reserve())
        assert response.is_success
        assert len(witness.client_spans) == 1
        witness.close()

    def test_two_recorders_share_the_metrics_of_one_registry(self) -> None:
        registry = CollectorRegistry()
        for _ in range(2):
            recorder = Recorder(metrics="prometheus", registry=registry)
            TelemetryObserver(recorder).run("run", "agent").ended("completed", {}, leaked=0)
        name, labels = semconv.RUNS.prometheus_name, {"gen_ai_agent_name": "agent", "cycles_run_outcome": "completed"}
        assert registry.get_sample_value(name, labels) == 2


class TestReplies:
    @pytest.mark.parametrize(
        "body",
        [
            {"balances": "none"},
            {"balances": [None, {}, {"scope_path": 5, "remaining": {"unit": "TOKENS", "amount": 1}}]},
            {"balances": [{"scope_path": "tenant:acme", "remaining": {"unit": "TOKENS", "amount": "lots"}}]},
        ],
    )
    def test_balances_of_another_shape_are_left_out(self, witness: Witness, body: Mapping[str, Any]) -> None:
        witness.recorder.balances.seen(body)
        assert witness.series(semconv.BUDGETS["remaining"]) == {}
        assert witness.total(semconv.TELEMETRY_DROPPED) == 0

    async def test_a_request_of_another_shape_gets_its_reply(self, client: AsyncCyclesClient, witness: Witness) -> None:
        response = await client.create_reservation({"subject": "acme", "action": None, "estimate": 5})
        assert response.status == 400
        assert [span.name for span in witness.client_spans] == ["reserve"]

    async def test_the_error_of_a_client_passes_as_it_is(self, client: AsyncCyclesClient, witness: Witness) -> None:
        with pytest.raises(ValueError, match="subject filter"):
            await client.get_balances()
        assert [span.events for span in witness.client_spans] == [()]
