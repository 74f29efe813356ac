"""A proxy between a client and its server that does to any request what a script says, and keeps a log of the wire.

It speaks just enough HTTP/1.1 for JSON requests with a known length, on a thread and a loopback port of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from cycles_otel.local.request_log import operation_of
from tests.chaos.troubles import Kind, Trouble

_HEAD_END = b"\r\n\r\n"
_RESET = struct.pack("ii", 1, 0)
_LOST = (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError)


@dataclass
class Passage:
    """One request that the client sent, and what became of it.

    Parameters
    ----------
    attempt: how often a request with this key had been sent before.
    span_id: the span in the request's ``traceparent``, as hexadecimal digits.
    status: what the client was told, None where it was told nothing.
    """

    number: int
    operation: str
    path: str
    key: str
    attempt: int
    span_id: str
    body: Any
    trouble: Trouble | None = None
    status: int | None = None

    @property
    def is_understood(self) -> bool:
        """Whether the client got a reply that it can read, and it says that the request was applied."""
        truncated = self.trouble is not None and self.trouble.kind is Kind.TRUNCATED
        return self.status is not None and self.status < 300 and not truncated

    def __str__(self) -> str:
        trouble = f" {self.trouble}" if self.trouble else ""
        return f"#{self.number} {self.operation} {self.key[:8]}/{self.attempt}{trouble} -> {self.status or 'nothing'}"


Script = Callable[[Passage], Trouble | None]
Watch = Callable[[str, Passage], None]


def calm(_: Passage) -> Trouble | None:
    """Nothing goes wrong."""
    return None


@dataclass(frozen=True)
class _Reply:
    status: int
    head: bytes
    body: bytes

    @property
    def whole(self) -> bytes:
        return self.head + self.body

    @property
    def truncated(self) -> _Reply:
        """Half of the content, framed as if that were all of it."""
        return _made_up(self.status, self.body[: len(self.body) // 2], "application/json")


class ChaosProxy:
    """Listens while it is entered: ``with ChaosProxy(lambda: server.url, script) as proxy: proxy.url``.

    Parameters
    ----------
    upstream: the address of the server, which may change when that is restarted.
    script: says for each request what goes wrong with it.
    restart: stops and starts the server, for the troubles that do that.
    expire: lets every lease at the server run out, for the trouble that does that.
    watch: told of each request when it has ``arrived``, is ``applied`` and is ``answered``.
    log_limit: how many of the last passages are kept; None for all.
    """

    def __init__(
        self,
        upstream: Callable[[], str],
        script: Script = calm,
        *,
        restart: Callable[[], None] = lambda: None,
        expire: Callable[[], None] = lambda: None,
        watch: Watch = lambda moment, passage: None,
        log_limit: int | None = None,
    ) -> None:
        self.script = script
        self.log: list[Passage] = []
        self._upstream = upstream
        self._restart = restart
        self._restarting = threading.Lock()
        self._expire = expire
        self._watch = watch
        self._log_limit = log_limit
        self._attempts: dict[tuple[str, str], int] = {}
        self.count = 0
        self._clients: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """Where clients reach the server through this proxy."""
        return f"http://127.0.0.1:{self._anchor.getsockname()[1]}"

    def calm_down(self) -> None:
        """From now on nothing goes wrong any more."""
        self.script = calm
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()

    def __enter__(self) -> ChaosProxy:
        # Bound and never listening: it keeps the port while nobody listens there, so that connections are refused.
        self._anchor = _bound(("127.0.0.1", 0))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="chaos-proxy", daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Listen no more; a restart of the server that is under way is waited for."""
        if self._loop.is_closed():
            return
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._anchor.close()

    async def _listen(self) -> None:
        if self._listener is None:
            listening = _bound(self._anchor.getsockname())
            self._listener = await asyncio.start_server(self._accepted, sock=listening)

    def _deafen(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for client in list(self._clients):
            _reset(client)

    async def _stop(self) -> None:
        self._deafen()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._loop.shutdown_default_executor()

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._clients.add(writer)
        upstream = _Upstream(self._upstream)
        try:
            # Cancelled only at the end, and before Python 3.12 asyncio logs a handler that is cancelled as a fault.
            with contextlib.suppress(*_LOST, asyncio.CancelledError):
                while await self._exchange(reader, writer, upstream):
                    pass
        finally:
            upstream.close()
            writer.close()
            self._clients.discard(writer)
            self._tasks.discard(task)

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, upstream: _Upstream) -> bool:
        """One request and its reply; False where the connection is over."""
        request = await _message(reader)
        passage = self._note(request)
        passage.trouble = self.script(passage)
        self._watch("arrived", passage)
        reply = await _Mischief(self, passage, request, reader, upstream).reply()
        if reply is None:
            _reset(writer)
            return False
        cut = passage.trouble is not None and passage.trouble.kind is Kind.CUT
        writer.write(reply.whole[: len(reply.head) + len(reply.body) // 2] if cut else reply.whole)
        await writer.drain()
        if cut:
            return False
        passage.status = reply.status
        self._watch("answered", passage)
        return True

    def _note(self, request: bytes) -> Passage:
        head, _, content = request.partition(_HEAD_END)
        method, path, *_ = head.split(b"\r\n", 1)[0].decode().split(" ")
        body = json.loads(content) if content else {}
        key = str(body.get("idempotency_key", ""))
        operation = operation_of(method, urlsplit(path).path)
        attempt = self._attempts.get((operation, key), 0)
        self.count += 1
        traceparent = _header(head, b"traceparent").decode()
        span_id = traceparent.split("-")[2] if traceparent else ""
        passage = Passage(self.count, operation, path, key, attempt, span_id, body)
        if self._log_limit is None:
            self._attempts[operation, key] = attempt + 1
        elif len(self.log) >= self._log_limit:
            del self.log[: self._log_limit // 2]
        self.log.append(passage)
        return passage

    async def restart_server(self) -> None:
        """Stop and start the server; what is on its way to it is lost."""
        await asyncio.to_thread(self._restart_alone)

    def _restart_alone(self) -> None:
        with self._restarting:
            self._restart()

    async def go_away(self, seconds: float) -> None:
        """Listen again only after a while; connections are refused meanwhile."""
        self._deafen()
        self._loop.call_later(seconds, lambda: self._tasks.add(self._loop.create_task(self._listen())))

    def deliver_later(self, request: bytes, seconds: float) -> None:
        """Let the server have a request after a while, whose reply nobody gets."""

        async def deliver() -> None:
            await asyncio.sleep(seconds)
            upstream = _Upstream(self._upstream)
            await upstream.ask(request)
            upstream.close()

        task = self._loop.create_task(deliver())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def expire_leases(self) -> None:
        """Let time pass at the server."""
        self._expire()

    def applied(self, passage: Passage) -> None:
        """The server has applied a request."""
        self._watch("applied", passage)


@dataclass
class _Mischief:
    """Does to one request what its trouble says."""

    proxy: ChaosProxy
    passage: Passage
    request: bytes
    client: asyncio.StreamReader
    upstream: _Upstream

    async def reply(self) -> _Reply | None:
        """What the client is told; None where its connection is reset instead."""
        trouble = self.passage.trouble
        if trouble is None:
            return await self._forward()
        made_up = _MADE_UP.get(trouble.kind)
        if made_up is not None:
            return made_up(trouble)
        act = _ACTIONS[trouble.kind]
        return await act(self, trouble)

    async def _forward(self) -> _Reply | None:
        reply = await self.upstream.ask(self.request)
        if reply is not None:
            self.proxy.applied(self.passage)
        return reply

    async def reset_before(self, _: Trouble) -> None:
        return None

    async def reset_after(self, _: Trouble) -> None:
        await self._forward()

    async def late(self, trouble: Trouble) -> None:
        self.proxy.deliver_later(self.request, trouble.seconds)

    async def pass_on(self, _: Trouble) -> _Reply | None:
        return await self._forward()

    async def truncate(self, _: Trouble) -> _Reply | None:
        reply = await self._forward()
        return reply and reply.truncated

    async def page_after(self, trouble: Trouble) -> _Reply | None:
        await self._forward()
        return _page(trouble)

    async def delay(self, trouble: Trouble) -> _Reply | None:
        reply = await self._forward()
        await asyncio.sleep(trouble.seconds)
        return reply

    async def stall_before(self, _: Trouble) -> None:
        await self.client.read(1)

    async def stall_after(self, _: Trouble) -> None:
        await self._forward()
        await self.client.read(1)

    async def duplicate(self, _: Trouble) -> _Reply | None:
        await self._forward()
        return await self._forward()

    async def duplicate_lost(self, _: Trouble) -> None:
        await self._forward()
        await self._forward()

    async def outage(self, trouble: Trouble) -> None:
        await self.proxy.go_away(trouble.seconds)

    async def restart_before(self, _: Trouble) -> _Reply | None:
        await self.proxy.restart_server()
        return await self._forward()

    async def restart_after(self, _: Trouble) -> None:
        await self._forward()
        await self.proxy.restart_server()

    async def expiry(self, _: Trouble) -> _Reply | None:
        self.proxy.expire_leases()
        return await self._forward()


_ACTIONS: dict[Kind, Callable[[_Mischief, Trouble], Awaitable[_Reply | None]]] = {
    Kind.RESET_BEFORE: _Mischief.reset_before,
    Kind.RESET_AFTER: _Mischief.reset_after,
    Kind.LATE: _Mischief.late,
    Kind.CUT: _Mischief.pass_on,
    Kind.TRUNCATED: _Mischief.truncate,
    Kind.PAGE_502_AFTER: _Mischief.page_after,
    Kind.DELAY: _Mischief.delay,
    Kind.STALL_BEFORE: _Mischief.stall_before,
    Kind.STALL_AFTER: _Mischief.stall_after,
    Kind.DUPLICATE: _Mischief.duplicate,
    Kind.DUPLICATE_LOST: _Mischief.duplicate_lost,
    Kind.OUTAGE: _Mischief.outage,
    Kind.RESTART_BEFORE: _Mischief.restart_before,
    Kind.RESTART_AFTER: _Mischief.restart_after,
    Kind.EXPIRY: _Mischief.expiry,
}


@dataclass
class _Upstream:
    """A connection to the server, opened when it is needed and again where the server is another."""

    address: Callable[[], str]
    url: str = ""
    reader: asyncio.StreamReader | None = None
    writer: asyncio.StreamWriter | None = field(default=None, repr=False)

    async def ask(self, request: bytes) -> _Reply | None:
        """The server's reply; None where there is none."""
        try:
            reader, writer = await self._connection()
            writer.write(request)
            await writer.drain()
            return _parsed(await _message(reader))
        except (*_LOST, RuntimeError):  # RuntimeError: the server is between a stop and a start.
            self.close()
            return None

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        url = self.address()
        if self.reader is None or self.writer is None or self.reader.at_eof() or url != self.url:
            self.close()
            self.url, parts = url, urlsplit(url)
            self.reader, self.writer = await asyncio.open_connection(parts.hostname, parts.port)
        return self.reader, self.writer

    def close(self) -> None:
        if self.writer is not None:
            self.writer.transport.abort()
        self.reader = self.writer = None


def _bound(address: tuple[str, int]) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    bound.bind(address)
    return bound


def _reset(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()


async def _message(reader: asyncio.StreamReader) -> bytes:
    """One request or one reply, head and content."""
    head = await reader.readuntil(_HEAD_END)
    length = int(_header(head, b"content-length") or 0)
    return head + await reader.readexactly(length)


def _header(head: bytes, name: bytes) -> bytes:
    for line in head.split(b"\r\n"):
        found, _, value = line.partition(b":")
        if found.lower() == name:
            return value.strip()
    return b""


def _parsed(message: bytes) -> _Reply:
    head, _, body = message.partition(_HEAD_END)
    return _Reply(int(head.split(b" ", 2)[1]), head + _HEAD_END, body)


def _made_up(status: int, body: bytes, content_type: str, *headers: str) -> _Reply:
    lines = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        f"content-type: {content_type}",
        f"content-length: {len(body)}",
        *headers,
    ]
    return _Reply(status, "\r\n".join(lines).encode() + _HEAD_END, body)


def _error(status: int, code: str, *headers: str) -> _Reply:
    body = {"error": code, "message": "made up by the proxy", "request_id": "chaos", "trace_id": "0" * 32}
    return _made_up(status, json.dumps(body).encode(), "application/json", *headers)


def _page(_: Trouble) -> _Reply:
    return _made_up(502, b"<html><h1>502 Bad Gateway</h1></html>", "text/html")


_MADE_UP: dict[Kind, Callable[[Trouble], _Reply]] = {
    Kind.ERROR_500: lambda _: _error(500, "INTERNAL_ERROR"),
    Kind.PAGE_502: _page,
    Kind.LIMITED: lambda trouble: _error(429, "LIMIT_EXCEEDED", f"retry-after: {trouble.seconds:g}"),
    Kind.UNAUTHORIZED: lambda _: _error(401, "UNAUTHORIZED"),
}
