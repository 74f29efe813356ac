"""What every reply carries: request id, trace id, tenant and rate-limit headers, and the shape of an error body."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cycles_otel.local.authentication import Authentication, Caller
from cycles_otel.local.errors import ProtocolError

_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")
_TRACE_ID = re.compile(r"[0-9a-f]{32}")


@dataclass
class Exchange:
    """One request and its reply: their ids, and who asks (None until that is known)."""

    request_id: str
    trace_id: str
    caller: Caller | None = None

    def headers(self) -> dict[str, str]:
        """The headers that the reply carries."""
        carried = {"X-Request-Id": self.request_id, "X-Cycles-Trace-Id": self.trace_id}
        if self.caller is not None:
            if self.caller.tenant is not None:
                carried["X-Cycles-Tenant"] = self.caller.tenant
            carried |= {"X-RateLimit-Remaining": "-1", "X-RateLimit-Reset": "0"}
        return carried

    def error(self, error: ProtocolError) -> JSONResponse:
        """The reply for a refusal."""
        body: dict[str, object] = {
            "error": error.code,
            "message": error.message,
            "request_id": self.request_id,
            "trace_id": self.trace_id,
        }
        if error.details is not None:
            body["details"] = error.details
        return JSONResponse(body, error.status)


def trace_id_of(headers: Mapping[str, str]) -> str:
    """The trace that a request belongs to: of `traceparent`, else of `X-Cycles-Trace-Id`, else a new one."""
    parent = _TRACEPARENT.fullmatch(headers.get("traceparent", "").strip().lower())
    if parent is not None and parent[1].strip("0") and parent[2].strip("0"):
        return parent[1]
    given = headers.get("x-cycles-trace-id", "").strip()
    if _TRACE_ID.fullmatch(given) and given.strip("0"):
        return given
    return secrets.token_hex(16)


class Envelope:
    """ASGI middleware that identifies the exchange and its caller, and puts the headers on the reply."""

    def __init__(self, app: ASGIApp, authentication: Authentication) -> None:
        self._app = app
        self._authentication = authentication

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        scope["cycles_exchange"] = exchange = Exchange(str(uuid4()), trace_id_of(headers))

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(exchange.headers())
            await send(message)

        try:
            exchange.caller = self._authentication.caller(scope["method"], scope["path"], headers)
        except ProtocolError as error:
            await exchange.error(error)(scope, receive, send_with_headers)
        else:
            await self._app(scope, receive, send_with_headers)
