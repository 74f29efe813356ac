"""One span and one log line for each request, with its id; neither holds what the customer wrote."""

from __future__ import annotations

import logging
import re
import time
import uuid
from contextlib import AbstractContextManager, nullcontext

from opentelemetry import propagate, trace
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger("service")
_tracer = trace.get_tracer("service")
_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class RequestsSeen:
    """ASGI middleware: the id comes from ``X-Request-ID`` or is made, and goes back in the same header.

    The spans of the run, and so those of its reservations, are below the request's. A trace that a caller or a proxy
    has begun goes on here.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(("/health", "/metrics")):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if _ID.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        name, begun = f"{scope['method']} {scope['path']}", time.monotonic()
        status = 500

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            await send(message)

        with _span_of(name, headers) as span:
            span.set_attributes({"http.request.method": scope["method"], "url.path": scope["path"]})
            span.set_attribute("request.id", request_id)
            try:
                await self._app(scope, receive, answer)
            finally:
                span.set_attribute("http.response.status_code", status)
                took_ms = round((time.monotonic() - begun) * 1000)
                logger.info("%s %s in %d ms, request %s", name, status, took_ms, request_id)


def _span_of(name: str, headers: Headers) -> AbstractContextManager[trace.Span]:
    """The span that FastAPI, or an instrumentation of it, has begun for the request already; else one of our own."""
    begun = trace.get_current_span()
    if begun.get_span_context().is_valid:
        return nullcontext(begun)
    return _tracer.start_as_current_span(name, propagate.extract(headers), trace.SpanKind.SERVER)
