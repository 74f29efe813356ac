"""A small OTLP receiver (HTTP, protobuf) on loopback, that keeps what it is sent."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from cycles_otel.telemetry import semconv


class Receiver:
    """``with Receiver() as receiver:`` gives an address to send to; what came is read from it."""

    def __init__(self) -> None:
        received: dict[str, list[bytes]] = {"/v1/traces": [], "/v1/metrics": []}

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                received[self.path].append(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Keep the output of the tests quiet."""

        self._received = received
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Receiver:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def spans(self) -> list[tuple[str, str]]:
        """The name of the service and of the span, for each span."""
        return [
            (_service(resource), span.name)
            for request in self.span_requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    @property
    def metrics(self) -> set[str]:
        """The names of the metrics."""
        return {metric.name for metric in self._metrics}

    def scopes(self, gauge: str) -> set[str]:
        """The scopes for which a gauge of budgets came; "" for a point that has none."""
        return {
            next((each.value.string_value for each in point.attributes if each.key == semconv.SCOPE_PATH), "")
            for metric in self._metrics
            if metric.name == gauge
            for point in metric.gauge.data_points
        }

    @property
    def _metrics(self) -> list[Any]:
        return [
            metric
            for request in self.metric_requests
            for resource in request.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        ]

    @property
    def span_requests(self) -> list[ExportTraceServiceRequest]:
        """All that was sent about spans."""
        return [ExportTraceServiceRequest.FromString(content) for content in self._received["/v1/traces"]]

    @property
    def metric_requests(self) -> list[ExportMetricsServiceRequest]:
        """All that was sent about metrics: each request says all that there is."""
        return [ExportMetricsServiceRequest.FromString(content) for content in self._received["/v1/metrics"]]


def _service(resource: Any) -> str:
    named: dict[str, str] = {item.key: item.value.string_value for item in resource.resource.attributes}
    return named.get("service.name", "")
