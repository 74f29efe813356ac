"""The doctor finds what keeps spans and metrics from arriving."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, start_http_server

from cycles_otel.doctor.finding import Status
from cycles_otel.local import LocalCycles
from cycles_otel.telemetry import Recorder, semconv
from tests.doctor.conftest import Serve
from tests.doctor.looking import found, unused_port, wrong
from tests.telemetry.otlp import GrpcReceiver, Receiver


class TestOtlp:
    def test_a_receiver_that_takes_traces_is_well(self, environ: pytest.MonkeyPatch) -> None:
        with Receiver() as receiver:
            environ.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
            assert found(timeout=20.0)["OTLP"].status is Status.WELL
            assert receiver.spans == []

    @pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
    def test_a_receiver_that_is_not_there_is_found(self, environ: pytest.MonkeyPatch, protocol: str) -> None:
        environ.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
        environ.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{unused_port()}")
        assert "Start the collector" in wrong(timeout=20.0)["OTLP"].mend

    def test_a_receiver_by_grpc_that_takes_traces_is_well(self, environ: pytest.MonkeyPatch) -> None:
        with GrpcReceiver() as receiver:
            environ.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
            environ.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
            assert found(timeout=20.0)["OTLP"].status is Status.WELL

    def test_the_protocol_that_the_receiver_does_not_speak_is_found(self, environ: pytest.MonkeyPatch) -> None:
        with GrpcReceiver() as grpc, Receiver() as http:
            for protocol, receiver in (("http/protobuf", grpc), ("grpc", http)):
                environ.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
                environ.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
                assert "no OTLP by this protocol" in wrong(timeout=20.0)["OTLP"].mend, protocol

    def test_a_receiver_that_never_comes_to_an_end_is_found(self, environ: pytest.MonkeyPatch, dripping: str) -> None:
        environ.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", dripping)
        assert "no reply within 2 s" in wrong(timeout=2.0)["OTLP"].found

    @pytest.mark.parametrize(
        ("variable", "value", "mend"),
        [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", "Correct OTEL_EXPORTER_OTLP_PROTOCOL"),
            ("OTEL_TRACES_EXPORTER", "zipkin-of-nobody", "Correct OTEL_TRACES_EXPORTER"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4318", "with http:// or https://"),
        ],
    )
    def test_a_variable_that_no_exporter_takes_is_named(
        self, environ: pytest.MonkeyPatch, variable: str, value: str, mend: str
    ) -> None:
        environ.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{unused_port()}")
        environ.setenv(variable, value)
        assert mend in wrong(timeout=20.0)["OTLP"].mend

    @pytest.mark.parametrize(
        ("variable", "value", "status"),
        [("OTEL_SDK_DISABLED", "true", Status.NOTE), ("OTEL_TRACES_EXPORTER", "none", Status.SKIPPED)],
    )
    def test_what_is_switched_off_is_not_asked(
        self, environ: pytest.MonkeyPatch, variable: str, value: str, status: Status
    ) -> None:
        environ.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{unused_port()}")
        environ.setenv(variable, value)
        assert found()["OTLP"].status is status
        assert variable in found()["OTLP"].found

    def test_another_exporter_is_well_where_it_is_installed(self, environ: pytest.MonkeyPatch) -> None:
        environ.setenv("OTEL_TRACES_EXPORTER", "console")
        assert "console is installed" in found()["OTLP"].found

    def test_metrics_are_asked_for_where_they_are_sent(self, environ: pytest.MonkeyPatch) -> None:
        environ.setenv("CYCLES_OTEL_METRICS", "otlp")
        environ.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", f"http://127.0.0.1:{unused_port()}/v1/metrics")
        assert list(wrong()) == ["OTLP metrics"]
        assert "serves none" in found()["/metrics"].found
        with Receiver() as receiver:
            environ.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", f"{receiver.url}/v1/metrics")
            assert found(timeout=20.0)["OTLP metrics"].status is Status.WELL
            assert receiver.metrics == set()

    def test_a_login_in_an_address_is_not_shown(self, environ: pytest.MonkeyPatch) -> None:
        address = f"http://user:hunter2@127.0.0.1:{unused_port()}"
        environ.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
        findings = wrong(metrics_url=f"{address}/metrics")
        assert set(findings) == {"OTLP", "/metrics"}
        assert "hunter2" not in str(findings)

    def test_it_leaves_the_loggers_as_they_were(
        self, environ: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        environ.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{unused_port()}")
        found()
        assert caplog.records == []
        logging.getLogger("opentelemetry.anything").warning("after it")
        assert caplog.messages == ["after it"]

    def test_something_else_at_its_address_is_found(self, environ: pytest.MonkeyPatch, server: LocalCycles) -> None:
        environ.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.url)
        assert "4318" in wrong(timeout=20.0)["OTLP"].mend


class TestMetrics:
    @pytest.mark.parametrize("variable", ["CYCLES_OTEL_METRICS", "CYCLES_OTEL_MAX_VALUES"])
    def test_a_variable_that_is_not_accepted_is_named(self, environ: pytest.MonkeyPatch, variable: str) -> None:
        environ.setenv(variable, "many")
        assert f"Correct {variable}" in wrong()["/metrics"].mend

    def test_where_nobody_said_that_a_program_runs_none_is_missed(self, environ: pytest.MonkeyPatch) -> None:
        environ.setattr("cycles_otel.doctor.metrics._USUAL_URL", f"http://127.0.0.1:{unused_port()}/metrics")
        assert found()["/metrics"].status is Status.SKIPPED
        assert "--metrics-url" in found()["/metrics"].found

    @pytest.mark.parametrize("status", [200, 404])
    def test_a_port_that_another_program_has_is_noted(
        self, environ: pytest.MonkeyPatch, serve: Serve, status: int
    ) -> None:
        environ.setattr("cycles_otel.doctor.metrics._USUAL_URL", f"{serve(status, b'up 1')}/metrics")
        assert found()["/metrics"].status is Status.NOTE
        assert "prometheus_port" in found()["/metrics"].mend

    def test_a_page_that_never_comes_to_an_end_is_found(self, environ: pytest.MonkeyPatch, dripping: str) -> None:
        assert "no whole page within 2 s" in wrong(timeout=2.0, metrics_url=f"{dripping}/metrics")["/metrics"].found

    def test_a_page_that_is_not_there_is_found(self, environ: pytest.MonkeyPatch, serve: Serve) -> None:
        assert "answers 404" in wrong(metrics_url=f"{serve(404, b'')}/other")["/metrics"].found

    def test_nobody_at_the_address_is_found(self, environ: pytest.MonkeyPatch) -> None:
        url = f"http://127.0.0.1:{unused_port()}/metrics"
        assert "Start the program with setup_telemetry()" in wrong(metrics_url=url)["/metrics"].mend

    def test_a_page_of_metrics_is_well_where_it_has_ours(self, environ: pytest.MonkeyPatch) -> None:
        registry = CollectorRegistry()
        Recorder(metrics="prometheus", registry=registry).metrics.record(semconv.RESERVATIONS_ACTIVE, 1, ("llm",))
        httpd, thread = start_http_server(0, "127.0.0.1", registry)
        url = f"http://127.0.0.1:{httpd.server_port}/metrics"
        assert found(metrics_url=url)["/metrics"].status is Status.WELL
        httpd.shutdown()
        httpd.server_close()
        thread.join()
        assert "setup_telemetry()" in wrong(metrics_url=url)["/metrics"].mend

    def test_a_page_of_another_program_is_found(self, environ: pytest.MonkeyPatch, serve: Serve) -> None:
        another_page = f"{serve(200, b'up 1')}/metrics"
        assert "the port was taken?" in wrong(metrics_url=another_page)["/metrics"].mend

    def test_a_folder_of_metrics_that_is_missing_or_not_empty_is_found(
        self, environ: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        environ.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path / "metrics"))
        assert "before the program starts" in wrong()["metrics folder"].mend
        (tmp_path / "metrics").mkdir()
        assert found()["metrics folder"].status is Status.WELL
        (tmp_path / "metrics" / "counter_1.db").write_text("")
        assert found()["metrics folder"].status is Status.NOTE
