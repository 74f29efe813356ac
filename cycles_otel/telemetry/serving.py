"""The page ``/metrics``, served from a thread of its own, so that a scrape never holds up an event loop."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from cycles_otel.telemetry.errors import TelemetrySetupError

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

_PORT_ERRORS = (errno.EADDRINUSE, errno.EACCES)
_FREE_PORT = "a port that is free on {}; 0 picks one, None serves nothing"


class MetricsServer:
    """Serves the metrics of a registry; the format (OpenMetrics or text) is what the scraper asks for.

    Parameters
    ----------
    registry: of ``prometheus_client``, by default its own default; in its multiprocess mode that of all processes.
    port: 0 picks a free one.

    Raises
    ------
    TelemetrySetupError: for a port that is taken, or an address that this machine does not have.
    """

    def __init__(self, host: str, port: int, registry: CollectorRegistry | None = None) -> None:
        from prometheus_client import start_http_server

        if isinstance(port, bool) or not isinstance(port, int) or not 0 <= port <= 65535:
            raise TelemetrySetupError("prometheus_port", port, "a number from 0 to 65535, or None")
        try:
            self._server, self._thread = start_http_server(port, host, _served(registry))
        except OSError as error:
            if error.errno in _PORT_ERRORS:
                raise TelemetrySetupError("prometheus_port", port, _FREE_PORT.format(host)) from error
            raise TelemetrySetupError("prometheus_host", host, "an address of this machine") from error
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self._server.server_port}/metrics"

    def close(self) -> None:
        """Stop serving, and free the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _served(registry: CollectorRegistry | None) -> CollectorRegistry:
    from prometheus_client import REGISTRY, CollectorRegistry
    from prometheus_client.multiprocess import MultiProcessCollector

    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        every_process = CollectorRegistry()
        collect_from: Callable[[CollectorRegistry], object] = MultiProcessCollector
        collect_from(every_process)
        return every_process
    return REGISTRY if registry is None else registry
