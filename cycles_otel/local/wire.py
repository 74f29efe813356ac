"""Where requests come in from the wire: each is logged, may meet a fault, and is answered."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

from starlette.datastructures import Headers, QueryParams
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cycles_otel.local.faults import Fault, Faults
from cycles_otel.local.request_log import LoggedRequest, RequestLog, readable

logger = logging.getLogger(__name__)

Drop = Callable[[Scope], None]
"""Closes the connection that a request came in on."""


class _Answer:
    def __init__(self) -> None:
        self.status = 500
        self.headers: list[tuple[bytes, bytes]] = []
        self.content = b""

    async def collect(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], list(message["headers"])
        elif message["type"] == "http.response.body":
            self.content += message.get("body", b"")

    def replace(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.status, self.content = status, content
        self.headers = [(name.encode(), value.encode()) for name, value in headers.items()]
        if "content-length" not in headers:
            self.headers.append((b"content-length", str(len(content)).encode()))

    async def send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.content})


class Wire:
    """ASGI middleware at the very outside.

    Parameters
    ----------
    app: what handles the requests.
    log: gets all of them.
    faults: what goes wrong.
    drop: closes a request's connection.
    """

    def __init__(self, app: ASGIApp, log: RequestLog, faults: Faults, drop: Drop) -> None:
        self._app = app
        self._log = log
        self._faults = faults
        self._drop = drop
        self._stopping = asyncio.Event()

    def hurry(self) -> None:
        """Cut all delays short: the server stops."""
        self._stopping.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        content = await _read(receive)
        query = dict(QueryParams(scope["query_string"]))
        entry = self._log.open(scope["method"], scope["path"], query, dict(Headers(scope=scope)), content)
        fault = self._faults.take(entry.operation)
        answer = await self._handle(scope, content, entry, fault)
        if fault is not None and fault.drop is not None:
            self._log.close(entry, applied=fault.lets_through, faulted=True, dropped=True)
            self._drop(scope)
            await receive()
            return
        self._log.close(
            entry,
            status=answer.status,
            response_headers=dict(Headers(raw=answer.headers)),
            response_body=readable(answer.content),
            applied=fault is None or fault.lets_through,
            faulted=fault is not None,
        )
        await answer.send(send)

    async def _handle(self, scope: Scope, content: bytes, entry: LoggedRequest, fault: Fault | None) -> _Answer:
        answer = _Answer()
        holds = self._faults.holds_of(entry.operation)
        for hold in holds:
            if not hold.applied:
                await hold.pass_through()
        if fault is None or fault.lets_through:
            await self._apply(scope, content, answer)
        for hold in holds:
            if hold.applied:
                await hold.pass_through()
        if fault is not None:
            await self._delay(fault.delay)
            if fault.is_made_up:
                answer.replace(*fault.answer())
        return answer

    async def _apply(self, scope: Scope, content: bytes, answer: _Answer) -> None:
        async def receive_content() -> Message:
            return {"type": "http.request", "body": content, "more_body": False}

        try:
            await self._app(scope, receive_content, answer.collect)
        except Exception:
            # Whoever handles the request has answered already; what is left is to say what happened.
            logger.exception("%s %s failed", scope["method"], scope["path"])

    async def _delay(self, seconds: float) -> None:
        if seconds > 0:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), seconds)


async def _read(receive: Receive) -> bytes:
    content, more = b"", True
    while more:
        message = await receive()
        content += message.get("body", b"")
        more = message.get("more_body", False)
    return content
