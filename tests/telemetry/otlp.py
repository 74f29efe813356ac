"""Small OTLP receivers on loopback, by HTTP and by gRPC, that keep what they are sent."""

from __future__ import annotations

import gzip
import ssl
import threading
import zlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from cycles_otel.telemetry import semconv

_DECODED: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.decompress, "deflate": zlib.decompress}
_GRPC_METHODS = {
    "/opentelemetry.proto.collector.trace.v1.TraceService/Export": "/v1/traces",
    "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export": "/v1/metrics",
}


@dataclass
class Received:
    """One request: where it went, with which headers, what it said, and how long the sender waits, where it tells."""

    path: str
    headers: Mapping[str, str]
    content: bytes
    deadline: float | None = None


@dataclass
class Inbox:
    """What came, and how a test reads it."""

    requests: list[Received] = field(default_factory=list)

    @property
    def spans(self) -> list[tuple[str, str]]:
        """The name of the service and of the span, for each span."""
        return [
            (str(_attributes(resource).get("service.name", "")), span.name)
            for resource in self._resource_spans()
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    @property
    def resources(self) -> list[dict[str, Any]]:
        """What each batch of spans and of metrics says about its program."""
        return [_attributes(each) for each in [*self._resource_spans(), *self._resource_metrics()]]

    @property
    def metrics(self) -> set[str]:
        """The names of the metrics."""
        return {name for batch in self.metric_batches for name in batch}

    @property
    def metric_batches(self) -> list[dict[str, Any]]:
        """The metrics of each batch that holds any, by their names."""
        batches = [
            {metric.name: metric for scope in resource.scope_metrics for metric in scope.metrics}
            for resource in self._resource_metrics()
        ]
        return [batch for batch in batches if batch]

    def scopes(self, gauge: str) -> set[str]:
        """The scopes for which a gauge of budgets came; "" for a point that has none."""
        return {
            next((each.value.string_value for each in point.attributes if each.key == semconv.SCOPE_PATH), "")
            for batch in self.metric_batches
            if gauge in batch
            for point in batch[gauge].gauge.data_points
        }

    def last_sums(self, name: str) -> dict[str, float]:
        """What a counter says last, for each instance of the service."""
        return {
            str(_attributes(resource)["service.instance.id"]): sum(
                p.as_int or p.as_double for p in metric.sum.data_points
            )
            for resource in self._resource_metrics()
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
        }

    @property
    def span_requests(self) -> list[ExportTraceServiceRequest]:
        """All that was sent about spans."""
        return [ExportTraceServiceRequest.FromString(each.content) for each in self._sent_to("/v1/traces")]

    @property
    def metric_requests(self) -> list[ExportMetricsServiceRequest]:
        """All that was sent about metrics: each request says all that there is."""
        return [ExportMetricsServiceRequest.FromString(each.content) for each in self._sent_to("/v1/metrics")]

    def _sent_to(self, path: str) -> list[Received]:
        return [each for each in list(self.requests) if each.path.endswith(path)]

    def _resource_spans(self) -> list[Any]:
        return [resource for request in self.span_requests for resource in request.resource_spans]

    def _resource_metrics(self) -> list[Any]:
        return [resource for request in self.metric_requests for resource in request.resource_metrics]


class Receiver(Inbox):
    """By HTTP: ``with Receiver() as receiver:`` gives an address to send to; what came is read from it.

    Parameters
    ----------
    tls: makes it a receiver by HTTPS.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__()
        received = self.requests

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["Content-Length"]))
                decode = _DECODED.get(self.headers.get("Content-Encoding", ""))
                received.append(Received(self.path, dict(self.headers.items()), decode(content) if decode else content))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Keep the output of the tests quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Receiver:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class GrpcReceiver(Inbox):
    """By gRPC, without TLS."""

    def __init__(self) -> None:
        super().__init__()
        self._server = grpc.server(ThreadPoolExecutor(2))
        self._server.add_generic_rpc_handlers((_Services(self.requests),))
        self.url = f"http://127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"

    def __enter__(self) -> GrpcReceiver:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(None).wait()


class _Services(grpc.GenericRpcHandler):  # type: ignore[misc]
    def __init__(self, received: list[Received]) -> None:
        self._received = received

    def service(self, call: Any) -> Any:
        path, headers = _GRPC_METHODS[call.method], dict(call.invocation_metadata)

        def export(content: bytes, context: Any) -> bytes:
            self._received.append(Received(path, headers, content, context.time_remaining()))
            return b""

        return grpc.unary_unary_rpc_method_handler(export)


def _attributes(resource: Any) -> dict[str, Any]:
    return {item.key: item.value.string_value for item in resource.resource.attributes}
