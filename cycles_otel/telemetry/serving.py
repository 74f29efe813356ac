"""The page ``/metrics``, served from a thread of its own, so that a scrape never holds up an event loop."""

from __future__ import annotations

import errno
from threading import Thread
from typing import TYPE_CHECKING

from cycles_otel.telemetry.errors import TelemetrySetupError
from cycles_otel.telemetry.processes import served_registry

if TYPE_CHECKING:
    from wsgiref.simple_server import WSGIServer

    from prometheus_client import CollectorRegistry

_PORT_ERRORS = (errno.EADDRINUSE, errno.EACCES)
_FREE_PORT = "a port that is free on {}; 0 picks one, next_free_port=True tries the next ones, None serves nothing"
_TRIED = 100


class MetricsServer:
    """Serves the metrics of a registry; the format (OpenMetrics or text) is what the scraper asks for.

    Parameters
    ----------
    registry: of ``prometheus_client``, by default its own default; in its multiprocess mode that of all processes.
    port: 0 picks a free one.
    next_free: whether the ports after one that is taken are tried, 100 at most.

    Raises
    ------
    TelemetrySetupError: for a port that is taken, or an address that this machine does not have.
    """

    def __init__(
        self, host: str, port: int, registry: CollectorRegistry | None = None, *, next_free: bool = False
    ) -> None:
        if isinstance(port, bool) or not isinstance(port, int) or not 0 <= port <= 65535:
            raise TelemetrySetupError("prometheus_port", port, "a number from 0 to 65535, or None")
        last = min(port + _TRIED, 65535) if next_free and port else port
        self._server, self._thread = _started(host, range(port, last + 1), served_registry(registry))
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self._server.server_port}/metrics"

    def close(self) -> None:
        """Stop serving, and free the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def after_fork(self) -> None:
        """In a forked child: the port is the parent's alone."""
        self._server.socket.close()


def _started(host: str, ports: range, registry: CollectorRegistry) -> tuple[WSGIServer, Thread]:
    from prometheus_client import start_http_server

    for port in ports:
        try:
            return start_http_server(port, host, registry)
        except OSError as error:
            if error.errno not in _PORT_ERRORS:
                raise TelemetrySetupError("prometheus_host", host, "an address of this machine") from error
            taken = error
    raise TelemetrySetupError("prometheus_port", ports[0], _FREE_PORT.format(host)) from taken
