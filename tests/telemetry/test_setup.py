"""The one call that sets up telemetry for a program."""

from __future__ import annotations

import os
import socket
import urllib.request
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import CollectorRegistry

from cycles_otel.telemetry import Recorder, Telemetry, TelemetryObserver, TelemetrySetupError, semconv, setup_telemetry
from cycles_otel.telemetry.exporting import export_metrics
from tests.telemetry import requests
from tests.telemetry.otlp import Receiver
from tests.telemetry.program import RUN, run_program

OPEN_METRICS = "application/openmetrics-text; version=1.0.0"


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("CYCLES_OTEL_METRICS", raising=False)


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    """A recorder with providers of its own, so that the ones of the process stay as they are."""
    tracers, meters = TracerProvider(shutdown_on_exit=False), MeterProvider(shutdown_on_exit=False)
    recorder = Recorder(registry=CollectorRegistry(), tracer_provider=tracers, meter_provider=meters)
    yield recorder
    setup_telemetry(recorder=recorder, prometheus_port=None).shutdown()


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An address at which nothing listens, and no long wait for it."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{unused.getsockname()[1]}"


def one_run(recorder: Recorder) -> None:
    observer = TelemetryObserver(recorder)
    run = observer.run("run-1", "agent")
    with run.attached():
        life = observer.reservation(requests.step())
        life.granted("r-1", 100, capped=None)
        life.settled("committed", actual=1, charged=1)
    run.ended("completed", {}, leaked=0)


def page(telemetry: Telemetry, accept: str = "text/plain") -> str:
    assert telemetry.metrics_url is not None
    request = urllib.request.Request(telemetry.metrics_url, headers={"Accept": accept})
    with urllib.request.urlopen(request) as reply:
        return str(reply.read().decode())


class TestMetricsPage:
    def test_it_serves_the_metrics_of_the_registry(self, recorder: Recorder) -> None:
        telemetry = setup_telemetry(recorder=recorder, prometheus_port=0)
        one_run(recorder)
        assert f'{semconv.RUNS.prometheus_name}{{cycles_run_outcome="completed"' in page(telemetry).replace(
            'gen_ai_agent_name="agent",', ""
        )

    def test_exemplars_name_the_trace_where_open_metrics_is_asked_for(self, recorder: Recorder) -> None:
        telemetry = setup_telemetry(recorder=recorder, prometheus_port=0)
        one_run(recorder)
        (line,) = [line for line in page(telemetry, OPEN_METRICS).splitlines() if "settlements_total{" in line]
        assert 'trace_id="' in line
        assert 'span_id="' in line

    def test_a_port_that_is_taken_is_an_error_that_names_the_parameter(self, recorder: Recorder) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            with pytest.raises(TelemetrySetupError, match=f"prometheus_port={port} "):
                setup_telemetry(recorder=recorder, prometheus_port=port)

    @pytest.mark.parametrize("port", [-1, 65536, "9464", True])
    def test_what_is_no_port_is_an_error(self, recorder: Recorder, port: int) -> None:
        with pytest.raises(TelemetrySetupError, match="prometheus_port"):
            setup_telemetry(recorder=recorder, prometheus_port=port)

    def test_an_address_of_another_machine_is_an_error(self, recorder: Recorder) -> None:
        with pytest.raises(TelemetrySetupError, match="prometheus_host"):
            setup_telemetry(recorder=recorder, prometheus_port=0, prometheus_host="192.0.2.1")

    def test_no_port_serves_nothing(self, recorder: Recorder) -> None:
        assert setup_telemetry(recorder=recorder, prometheus_port=None).metrics_url is None

    def test_the_port_is_free_again_after_the_shutdown(self, recorder: Recorder) -> None:
        telemetry = setup_telemetry(recorder=recorder, prometheus_port=0)
        port = int(str(telemetry.metrics_url).rsplit(":", 1)[1].removesuffix("/metrics"))
        telemetry.shutdown()
        telemetry.shutdown()
        with socket.create_server(("127.0.0.1", port), reuse_port=False):
            pass


class TestOtlp:
    def test_an_endpoint_gets_the_spans(self, recorder: Recorder) -> None:
        with Receiver() as receiver:
            telemetry = setup_telemetry(recorder=recorder, prometheus_port=None, otlp_endpoint=receiver.url + "/")
            one_run(recorder)
            assert telemetry.force_flush()
            assert [name for _, name in receiver.spans] == ["cycles.reservation llm.completion", "cycles.run agent"]
            telemetry.shutdown()

    def test_metrics_go_there_when_that_is_asked_for(self, recorder: Recorder) -> None:
        with Receiver() as receiver:
            telemetry = setup_telemetry(
                recorder=recorder, metrics="otlp", prometheus_port=0, otlp_endpoint=receiver.url
            )
            one_run(recorder)
            assert telemetry.force_flush()
            assert {semconv.RUNS.name, semconv.SETTLEMENT_COUNT.name} <= receiver.metrics
            assert telemetry.metrics_url is None
            assert list(recorder.registry.collect() if recorder.registry else ()) == []
            telemetry.shutdown()

    def test_metrics_stay_here_when_it_is_not(self, recorder: Recorder) -> None:
        with Receiver() as receiver:
            telemetry = setup_telemetry(recorder=recorder, prometheus_port=None, otlp_endpoint=receiver.url)
            one_run(recorder)
            telemetry.force_flush()
            assert receiver.metrics == set()
            telemetry.shutdown()

    def test_a_flush_says_that_nobody_took_the_spans(self, recorder: Recorder, nobody: str) -> None:
        telemetry = setup_telemetry(recorder=recorder, prometheus_port=None, otlp_endpoint=nobody)
        one_run(recorder)
        assert not telemetry.force_flush()
        assert telemetry.force_flush(), "nothing was waiting any more"
        telemetry.shutdown()

    def test_a_flush_says_that_nobody_took_the_metrics(self, nobody: str) -> None:
        meters = MeterProvider(shutdown_on_exit=False)
        (exporting,) = export_metrics(meters, {}, nobody)
        meters.get_meter("test").create_counter("steps").add(1)
        assert not exporting.force_flush()
        meters.shutdown()

    @pytest.mark.parametrize(
        "endpoint", ["localhost:4318", "ftp://localhost", "http://", " http://localhost", "http://[::1", 4318]
    )
    def test_what_is_no_address_is_an_error(self, recorder: Recorder, endpoint: str) -> None:
        with pytest.raises(TelemetrySetupError, match="otlp_endpoint"):
            setup_telemetry(recorder=recorder, prometheus_port=None, otlp_endpoint=endpoint)

    def test_both_ways_at_once_are_warned_of(self, recorder: Recorder, caplog: pytest.LogCaptureFixture) -> None:
        with Receiver() as receiver:
            setup_telemetry(
                recorder=recorder, metrics="both", prometheus_port=None, otlp_endpoint=receiver.url
            ).shutdown()
        assert "counts everything twice" in caplog.text


class TestTwice:
    def test_the_second_call_returns_the_same_handle(self, recorder: Recorder) -> None:
        first = setup_telemetry(recorder=recorder, prometheus_port=0)
        url = first.metrics_url
        second = setup_telemetry(recorder=recorder, prometheus_port=0)
        assert second is first
        assert second.metrics_url == url

    def test_the_second_call_adds_what_is_new(self, recorder: Recorder) -> None:
        with Receiver() as receiver:
            setup_telemetry(recorder=recorder, prometheus_port=None)
            for _ in range(2):
                telemetry = setup_telemetry(recorder=recorder, prometheus_port=0, otlp_endpoint=receiver.url)
            one_run(recorder)
            telemetry.force_flush()
            assert len(receiver.spans) == 2
            assert semconv.RUNS.prometheus_name in page(telemetry)
            telemetry.shutdown()


class TestWays:
    def test_the_environment_chooses_the_way_out_of_metrics(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CYCLES_OTEL_METRICS", "none")
        registry = CollectorRegistry()
        recorder = Recorder(registry=registry)
        one_run(recorder)
        assert list(registry.collect()) == []
        recorder.route("prometheus")
        one_run(recorder)
        assert list(registry.collect()) != []

    def test_another_way_is_an_error_that_names_where_it_was_asked_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(TelemetrySetupError, match="metrics='statsd'"):
            Recorder(metrics="statsd")
        monkeypatch.setenv("CYCLES_OTEL_METRICS", "statsd")
        with pytest.raises(TelemetrySetupError, match="CYCLES_OTEL_METRICS='statsd'"):
            Recorder()

    @pytest.mark.parametrize("labels", [("region",), "tenant"])
    def test_a_level_that_does_not_exist_is_an_error(self, recorder: Recorder, labels: tuple[str, ...]) -> None:
        with pytest.raises(TelemetrySetupError, match="subject_labels"):
            setup_telemetry(recorder=recorder, prometheus_port=None, subject_labels=labels)


class TestProcess:
    def test_without_a_set_up_metrics_go_to_the_default_registry(self) -> None:
        assert semconv.RUNS.prometheus_name in run_program(
            RUN + "import prometheus_client; print(prometheus_client.generate_latest().decode())"
        )

    def test_without_a_set_up_spans_go_to_the_provider_that_the_program_sets_later(self) -> None:
        output = run_program(
            "from cycles_otel.telemetry import default_observer; observer = default_observer()\n"
            "from opentelemetry import trace\n"
            "from opentelemetry.sdk.trace import TracerProvider\n"
            "from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor\n"
            "provider = TracerProvider(); provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter()))\n"
            "trace.set_tracer_provider(provider)\n" + RUN
        )
        assert '"name": "cycles.run agent"' in output

    def test_importing_the_telemetry_imports_neither_sdk_nor_exporter(self) -> None:
        output = run_program(
            "import sys, cycles_otel.telemetry\n"
            "print([name for name in sys.modules if name.startswith(('opentelemetry.sdk', 'opentelemetry.exporter'))])"
        )
        assert output.strip() == "[]"

    def test_a_provider_that_the_program_has_set_stays(self) -> None:
        output = run_program(
            "from opentelemetry import trace\n"
            "from opentelemetry.sdk.trace import TracerProvider\n"
            "provider = TracerProvider(); trace.set_tracer_provider(provider)\n"
            "from cycles_otel.telemetry import setup_telemetry\n"
            "telemetry = setup_telemetry('desk', prometheus_port=None)\n"
            "print(telemetry.tracer_provider is provider is trace.get_tracer_provider())"
        )
        assert output == "True\n"

    def test_what_waits_is_sent_when_the_program_ends(self) -> None:
        with Receiver() as receiver:
            run_program(
                "from cycles_otel.telemetry import setup_telemetry\n"
                f"setup_telemetry('desk', prometheus_port=None, otlp_endpoint={receiver.url!r})\n" + RUN
            )
            assert receiver.spans == [("desk", "cycles.run agent")]

    def test_the_standard_variables_name_the_service_and_the_endpoint(self) -> None:
        with Receiver() as receiver:
            run_program(
                "from cycles_otel.telemetry import setup_telemetry\nsetup_telemetry(prometheus_port=None)\n" + RUN,
                OTEL_SERVICE_NAME="from-environment",
                OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
                CYCLES_OTEL_METRICS="otlp",
            )
            assert receiver.spans == [("from-environment", "cycles.run agent")]
            assert semconv.RUNS.name in receiver.metrics

    @pytest.mark.parametrize("variable", ["OTEL_SDK_DISABLED=true", "OTEL_TRACES_SAMPLER=always_off"])
    def test_the_standard_variables_switch_traces_off(self, variable: str) -> None:
        name, _, value = variable.partition("=")
        with Receiver() as receiver:
            program = (
                "from cycles_otel.telemetry import setup_telemetry\n"
                f"setup_telemetry(prometheus_port=None, otlp_endpoint={receiver.url!r})\n"
            )
            run_program(program + RUN, **{name: value})
            assert receiver.spans == []
