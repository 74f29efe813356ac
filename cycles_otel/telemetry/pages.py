"""``/metrics`` inside of a program's own web application, ASGI or WSGI."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from cycles_otel.telemetry.processes import served_registry
from cycles_otel.telemetry.recorder import Recorder, default_recorder

Start = Callable[..., Any]
WsgiApp = Callable[[Mapping[str, Any], Start], Iterable[bytes]]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
AsgiApp = Callable[[Any, Receive, Send], Awaitable[None]]


def metrics_wsgi_app(recorder: Recorder | None = None) -> WsgiApp:
    """A WSGI application that answers with the metrics of ``recorder``, by default that of the process.

    The format (OpenMetrics or text, gzip or not) is what the scraper asks for; in the multiprocess mode of
    ``prometheus_client`` the metrics are those of all processes.
    """
    from prometheus_client import make_wsgi_app

    shown = recorder or default_recorder()

    def metrics(environ: Mapping[str, Any], start_response: Start) -> Iterable[bytes]:
        # The registry may be chosen, by setup_telemetry, after the application was put together.
        body: Iterable[bytes] = make_wsgi_app(served_registry(shown.registry))(environ, start_response)
        return body

    return metrics


def metrics_asgi_app(recorder: Recorder | None = None) -> AsgiApp:
    """The same as an ASGI application, to be mounted at ``/metrics``; a scrape never holds up the event loop."""
    wsgi = metrics_wsgi_app(recorder)

    async def metrics(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"the metrics are no answer to {scope['type']}")
        status, headers, body = await asyncio.to_thread(_answer, wsgi, scope)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return metrics


def _answer(wsgi: WsgiApp, scope: Mapping[str, Any]) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    started: list[tuple[str, list[tuple[str, str]]]] = []
    body = b"".join(wsgi(_environ(scope), lambda status, headers: started.append((status, headers))))
    ((status, headers),) = started
    shown = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    return int(status.split(" ", 1)[0]), shown, body


def _environ(scope: Mapping[str, Any]) -> dict[str, Any]:
    """What the page asks of a request."""
    asked: dict[str, list[str]] = {"accept": [], "accept-encoding": []}
    for name, value in scope["headers"]:
        asked.get(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
    return {
        "REQUEST_METHOD": scope["method"],
        "PATH_INFO": scope["path"],
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "HTTP_ACCEPT": ",".join(asked["accept"]),
        "HTTP_ACCEPT_ENCODING": ",".join(asked["accept-encoding"]),
    }
