"""Exporters are what ``OTEL_*`` say, seen by what a real receiver gets."""

from __future__ import annotations

import os
import ssl
import sys
from pathlib import Path

import pytest
import trustme
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import ConsoleMetricExporter, PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

from cycles_otel.telemetry import TelemetrySetupError
from cycles_otel.telemetry.exporters import id_generator, make_exporter, names_asked_for, sampler
from tests.telemetry.otlp import GrpcReceiver, Receiver


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)


def send_a_span(endpoint: str | None = None) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(make_exporter("traces", endpoint=endpoint)))
    provider.get_tracer("test").start_span("step").end()
    provider.shutdown()


def send_a_metric(endpoint: str | None = None) -> None:
    reader = PeriodicExportingMetricReader(make_exporter("metrics", endpoint=endpoint))
    meters = MeterProvider([reader], shutdown_on_exit=False)
    meters.get_meter("test").create_counter("steps").add(1)
    meters.shutdown()


class TestEndpoint:
    def test_the_base_address_gets_the_path_of_each_signal(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with Receiver() as receiver:
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url + "/base")
            send_a_span()
            send_a_metric()
            assert [each.path for each in receiver.requests] == ["/base/v1/traces", "/base/v1/metrics"]

    def test_the_address_of_a_signal_is_taken_as_it_is_and_comes_first(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with Receiver() as common, Receiver() as own:
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", common.url)
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", own.url + "/my/v1/traces")
            send_a_span()
            send_a_metric()
            assert [each.path for each in own.requests] == ["/my/v1/traces"]
            assert [each.path for each in common.requests] == ["/v1/metrics"]

    def test_an_address_that_is_given_comes_before_that_of_the_environment(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with Receiver() as given, Receiver() as other:
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", other.url)
            send_a_span(given.url)
            assert [name for _, name in given.spans] == ["step"]
            assert other.requests == []


class TestSettings:
    def test_headers_go_along_those_of_a_signal_first(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with Receiver() as receiver:
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=acme")
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "x-tenant=metrics")
            send_a_span()
            send_a_metric()
            assert [each.headers["x-tenant"] for each in receiver.requests] == ["acme", "metrics"]

    @pytest.mark.parametrize("compression", ["gzip", "deflate"])
    def test_compression_is_as_asked_for(self, monkeypatch: pytest.MonkeyPatch, compression: str) -> None:
        with Receiver() as receiver:
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", compression)
            send_a_span(receiver.url)
            assert receiver.requests[0].headers["Content-Encoding"] == compression
            assert [name for _, name in receiver.spans] == ["step"]

    def test_a_certificate_is_trusted_and_an_unknown_one_is_not(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        authority, tls = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(tls)
        authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
        for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):  # The exporter's HTTP library puts these first.
            monkeypatch.delenv(variable, raising=False)
        with Receiver(tls) as receiver:
            send_a_span(receiver.url)
            assert receiver.spans == []
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(tmp_path / "ca.pem"))
            send_a_span(receiver.url)
            assert [name for _, name in receiver.spans] == ["step"]


class TestProtocol:
    @pytest.mark.parametrize("variable", ["OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"])
    def test_grpc_is_spoken_where_it_is_asked_for(self, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
        with GrpcReceiver() as receiver:
            monkeypatch.setenv(variable, "grpc")
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=acme")
            send_a_span(receiver.url)
            assert [name for _, name in receiver.spans] == ["step"]
            assert receiver.requests[0].headers["x-tenant"] == "acme"

    def test_metrics_go_by_grpc_too(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with GrpcReceiver() as receiver:
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
            send_a_metric()
            assert receiver.metrics == {"steps"}

    def test_a_timeout_is_how_long_an_answer_is_waited_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "300")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "100")
        with GrpcReceiver() as receiver:
            send_a_span(receiver.url)
            send_a_metric(receiver.url)
            spans, metrics = [each.deadline or 0 for each in receiver.requests]
            # gRPC sends what is left in few digits, and rounds up: neither is just what was asked for.
            assert 50 < metrics < 200 < spans < 400

    def test_an_endpoint_that_the_exporter_refuses_is_an_error_that_says_why(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "zip")
        with pytest.raises(TelemetrySetupError, match="zip"):
            make_exporter("traces")

    def test_without_the_package_for_grpc_the_error_says_what_to_install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
        monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.grpc.trace_exporter", None)
        with pytest.raises(TelemetrySetupError, match=r"OTEL_EXPORTER_OTLP_PROTOCOL=.grpc.*cycles-otel\[grpc\]"):
            make_exporter("traces")

    def test_another_protocol_is_an_error_that_names_the_variable(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/json")
        with pytest.raises(TelemetrySetupError, match="OTEL_EXPORTER_OTLP_METRICS_PROTOCOL='http/json'"):
            make_exporter("metrics")


class TestNames:
    @pytest.mark.parametrize(
        ("value", "names"), [("none", []), ("", None), ("otlp, console", ["otlp", "console"]), ("None", [])]
    )
    def test_the_environment_names_exporters(
        self, monkeypatch: pytest.MonkeyPatch, value: str, names: list[str] | None
    ) -> None:
        monkeypatch.setenv("OTEL_TRACES_EXPORTER", value)
        assert names_asked_for("traces") == names

    def test_any_exporter_that_is_installed_can_be_named(self) -> None:
        assert isinstance(make_exporter("traces", "console"), ConsoleSpanExporter)
        assert isinstance(make_exporter("metrics", "console"), ConsoleMetricExporter)

    def test_a_name_that_nothing_goes_by_is_an_error(self) -> None:
        with pytest.raises(TelemetrySetupError, match="OTEL_TRACES_EXPORTER='zipkin'"):
            make_exporter("traces", "zipkin")


class TestTracing:
    def test_the_samplers_of_the_sdk_are_left_to_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert sampler() is None
        monkeypatch.setenv("OTEL_TRACES_SAMPLER", "traceidratio")
        assert sampler() is None

    def test_a_sampler_that_is_installed_is_made_with_its_argument(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        install(
            tmp_path,
            monkeypatch,
            "[opentelemetry_traces_sampler]\nmine = cycles_sampler:make\n",
            "from opentelemetry.sdk.trace.sampling import TraceIdRatioBased\n"
            "def make(argument): return TraceIdRatioBased(float(argument))\n",
        )
        monkeypatch.setenv("OTEL_TRACES_SAMPLER", "mine")
        monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.25")
        assert getattr(sampler(), "rate", None) == 0.25

    def test_a_part_that_cannot_be_made_is_warned_of_and_left_to_the_sdk(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        broken = "[opentelemetry_id_generator]\nbroken = cycles_sampler:Broken\n"
        install(tmp_path, monkeypatch, broken, "def Broken(): raise RuntimeError('broken')\n")
        monkeypatch.setenv("OTEL_PYTHON_ID_GENERATOR", "broken")
        assert id_generator() is None
        assert "'broken' cannot be made" in caplog.text

    def test_the_generator_of_ids_can_be_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert id_generator() is None
        monkeypatch.setenv("OTEL_PYTHON_ID_GENERATOR", "random")
        assert type(id_generator()).__name__ == "RandomIdGenerator"


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, entry_points: str, source: str) -> None:
    """A package with entry points, as pip would lay it down, for the time of a test."""
    information = folder / "cycles_sampler-1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: cycles-sampler\nVersion: 1\n")
    (information / "entry_points.txt").write_text(entry_points)
    (folder / "cycles_sampler.py").write_text(source)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "cycles_sampler", raising=False)
