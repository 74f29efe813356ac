"""An ASGI application served over HTTP from a thread of its own, which starts and stops quickly."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable

import uvicorn
from starlette.types import ASGIApp, Scope
from uvicorn.protocols.http.h11_impl import H11Protocol

from cycles_otel.local.one_packet import OnePacketProtocol

STOP_POLLS = 1_000
STOP_POLL_SECONDS = 0.002


class _Uvicorn(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.serving = threading.Event()
        self._stop = asyncio.Event()

    async def main_loop(self) -> None:
        self.serving.set()
        while not await self.on_tick(0):
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._stop.wait(), 1.0)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        for _ in range(STOP_POLLS):
            if not self.server_state.connections:
                break
            await asyncio.sleep(STOP_POLL_SECONDS)
        await self.lifespan.shutdown()

    def request_stop(self) -> None:
        self.should_exit = True
        self._stop.set()


class HttpServer:
    """Serves an application on one address.

    Parameters
    ----------
    app: what to serve.
    host: the address to listen on.
    port: the port, 0 for any that is free.
    """

    def __init__(self, app: ASGIApp, host: str, port: int) -> None:
        self._app = app
        self._host = host
        self._port = port
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: _Uvicorn | None = None

    def start(self) -> int:
        """Listen, and return the port.

        Raises
        ------
        OSError: the address cannot be listened on.
        """
        listener = _listen(self._host, self._port)
        port: int = listener.getsockname()[1]
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(listener, ready), name="local-cycles", daemon=True)
        self._thread.start()
        ready.wait()
        return port

    def _run(self, listener: socket.socket, ready: threading.Event) -> None:
        try:
            asyncio.run(self._serve(listener, ready))
        finally:
            ready.set()
            listener.close()

    async def _serve(self, listener: socket.socket, ready: threading.Event) -> None:
        config = uvicorn.Config(
            self._app,
            http=OnePacketProtocol,
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
        )
        self._loop = asyncio.get_running_loop()
        self._server = _Uvicorn(config)
        self._server.serving = ready
        await self._server.serve(sockets=[listener])

    def stop(self, hurry: Callable[[], None]) -> None:
        """Finish what is being answered, close all connections, and end the thread.

        Parameters
        ----------
        hurry: called on the server's loop, to cut short what would take long to answer.
        """
        if self._thread is None or self._loop is None or self._server is None:
            return
        with contextlib.suppress(RuntimeError):  # the loop has ended by itself
            self._loop.call_soon_threadsafe(hurry)
            self._loop.call_soon_threadsafe(self._server.request_stop)
        self._thread.join()
        self._thread = None

    def drop(self, scope: Scope) -> None:
        """Close the connection that a request came in on, at once and without a word."""
        if self._server is not None:
            for connection in list(self._server.server_state.connections):
                if isinstance(connection, H11Protocol) and connection.client == scope["client"]:
                    connection.transport.abort()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Only with the protocol named does asyncio switch Nagle's algorithm off, which costs 40 ms a reply.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise OSError(error.errno, f"cannot listen on {host}:{port}: {error.strerror}") from error
    return listener
