"""A program that calls ``setup_telemetry``, and what the ``OTEL_*`` variables around it change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cycles_otel.local import LocalCycles
from cycles_otel.telemetry import semconv
from tests.run.desk import until
from tests.telemetry.otlp import GrpcReceiver, Receiver
from tests.telemetry.program import RUN, ended, run_program, start_program

SET_UP = "from cycles_otel.telemetry import setup_telemetry\ntelemetry = setup_telemetry({})\n"
NO_PAGE = SET_UP.format("prometheus_port=None")


def run_with(receiver: Any, source: str = NO_PAGE + RUN, **environment: str) -> str:
    return run_program(source, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url, **environment)


@contextmanager
def running(receiver: Receiver, **environment: str) -> Iterator[None]:
    """A program that lives on after its run."""
    source = NO_PAGE + RUN + "import sys; sys.stdin.read()"
    program = start_program(source, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url, **environment)
    try:
        yield
    finally:
        ended(program)


class TestResource:
    def test_arguments_come_first_then_the_variables_and_the_detectors(self) -> None:
        source = SET_UP.format("'desk', service_version='1.2.3', metrics='otlp', prometheus_port=None")
        with Receiver() as receiver:
            run_with(
                receiver,
                source + RUN,
                OTEL_SERVICE_NAME="other",
                OTEL_RESOURCE_ATTRIBUTES="service.version=0,service.namespace=shop,deployment.environment.name=test",
                OTEL_EXPERIMENTAL_RESOURCE_DETECTORS="os",
            )
            spans, metrics = receiver.resources
            assert spans == metrics
            given = {"service.name": "desk", "service.version": "1.2.3", "service.namespace": "shop"}
            assert given.items() <= spans.items()
            assert spans["deployment.environment.name"] == "test"
            assert spans["os.type"]

    def test_an_instance_can_be_named_by_the_environment(self) -> None:
        with Receiver() as receiver:
            run_with(receiver, OTEL_RESOURCE_ATTRIBUTES="service.instance.id=pod-7")
            assert receiver.resources[0]["service.instance.id"] == "pod-7"


class TestExporters:
    def test_spans_and_metrics_go_by_grpc_where_that_is_asked_for(self) -> None:
        with GrpcReceiver() as receiver:
            run_with(receiver, OTEL_EXPORTER_OTLP_PROTOCOL="grpc", CYCLES_OTEL_METRICS="otlp")
            assert [name for _, name in receiver.spans] == ["cycles.run agent"]
            assert semconv.RUNS.name in receiver.metrics

    def test_several_exporters_get_the_same(self) -> None:
        with Receiver() as receiver:
            output = run_with(
                receiver,
                OTEL_TRACES_EXPORTER="console,otlp",
                OTEL_METRICS_EXPORTER="console",
                CYCLES_OTEL_METRICS="otlp",
            )
            assert '"name": "cycles.run agent"' in output
            assert f'"name": "{semconv.RUNS.name}"' in output
            assert [name for _, name in receiver.spans] == ["cycles.run agent"]
            assert receiver.metrics == set()

    def test_none_sends_nothing(self) -> None:
        with Receiver() as receiver:
            run_with(receiver, OTEL_TRACES_EXPORTER="none", OTEL_METRICS_EXPORTER="none", CYCLES_OTEL_METRICS="otlp")
            assert receiver.requests == []

    def test_an_exporter_that_does_not_exist_is_an_error_before_anything_is_set(self) -> None:
        output = run_program(
            "from opentelemetry import trace\nfrom cycles_otel.telemetry import setup_telemetry\n"
            "try:\n    setup_telemetry(prometheus_port=None)\nexcept ValueError as error:\n    print(error)\n"
            "print(type(trace.get_tracer_provider()).__name__)",
            OTEL_TRACES_EXPORTER="zipkin",
        )
        assert "OTEL_TRACES_EXPORTER='zipkin'" in output
        assert "ProxyTracerProvider" in output


class TestTiming:
    """A program that neither ends nor flushes until its telemetry has arrived."""

    async def test_the_size_of_a_batch_is_as_the_environment_says(self) -> None:
        with (
            Receiver() as receiver,
            running(receiver, OTEL_BSP_MAX_EXPORT_BATCH_SIZE="1", OTEL_BSP_SCHEDULE_DELAY="600000"),
        ):
            await until(lambda: bool(receiver.spans), seconds=30)

    async def test_how_often_metrics_are_sent_is_as_the_environment_says(self) -> None:
        with Receiver() as receiver, running(receiver, CYCLES_OTEL_METRICS="otlp", OTEL_METRIC_EXPORT_INTERVAL="20"):
            await until(lambda: semconv.RUNS.name in receiver.metrics, seconds=30)


class TestTraces:
    def test_a_disabled_sdk_leaves_the_page(self) -> None:
        with Receiver() as receiver:
            source = SET_UP.format("prometheus_port=0")
            read = "\nimport urllib.request; print(urllib.request.urlopen(telemetry.metrics_url).read().decode())"
            output = run_with(receiver, source + RUN + read, OTEL_SDK_DISABLED="true")
            assert receiver.requests == []
            assert semconv.RUNS.prometheus_name in output

    def test_a_call_carries_its_trace_whatever_the_propagators_are(self) -> None:
        with LocalCycles(budgets={"tenant:acme": {"TOKENS": 10}}) as server, Receiver() as receiver:
            run_with(
                receiver,
                NO_PAGE + CALL_WITH_TRACE_STATE,
                OTEL_PROPAGATORS="none",
                CYCLES_BASE_URL=server.url,
                CYCLES_API_KEY=server.api_key,
                CYCLES_TENANT=server.tenant,
            )
            (request,) = server.requests
            assert request.headers["traceparent"].split("-")[1] == "1" * 32
            assert request.headers["tracestate"] == "vendor=value"


CALL_WITH_TRACE_STATE = """
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState
from runcycles import CyclesClient, CyclesConfig
from cycles_otel.telemetry import observe_client
parent = SpanContext(int("1" * 32, 16), 2, True, TraceFlags(1), TraceState([("vendor", "value")]))
with trace.use_span(NonRecordingSpan(parent)), CyclesClient(CyclesConfig.from_env()) as client:
    observe_client(client).get_balances(tenant="acme")
"""
