from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from cycles_otel.local import LocalCycles

BUDGETS = {"tenant:acme": {"USD_MICROCENTS": 10_000_000, "RISK_POINTS": 100}}


@pytest.fixture
def server() -> Iterator[LocalCycles]:
    with LocalCycles(budgets=BUDGETS) as server:
        yield server


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, server: LocalCycles) -> pytest.MonkeyPatch:
    """The environment of a program that is set up well."""
    for name, value in server.environ("acme").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("CYCLES_JOURNAL_ENABLED", "true")
    monkeypatch.setenv("CYCLES_JOURNAL_DIR", str(tmp_path / "journal"))
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "PROMETHEUS_MULTIPROC_DIR"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


Serve = Callable[..., str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serves the same page at each address, with a clock that may be wrong by so many seconds."""
    with contextlib.ExitStack() as stack:

        def serve(status: int, page: bytes, clock: float = 0.0) -> str:
            class Page(BaseHTTPRequestHandler):
                def do_GET(self) -> None:
                    self.send_response(status)
                    self.send_header("content-type", "application/json")
                    self.end_headers()
                    self.wfile.write(page)

                def date_time_string(self, timestamp: float | None = None) -> str:
                    return super().date_time_string(time.time() + clock)

                def log_message(self, *_: object) -> None:
                    pass

            http = HTTPServer(("127.0.0.1", 0), Page)
            thread = threading.Thread(target=http.serve_forever)
            thread.start()
            for end in (thread.join, http.server_close, http.shutdown):
                stack.callback(end)
            return f"http://127.0.0.1:{http.server_port}"

        yield serve


@pytest.fixture
def dripping() -> Iterator[str]:
    """The address of a server that sends a byte now and then, and never comes to an end."""
    with socket.socket() as listener, contextlib.ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        over = threading.Event()

        def drip(connection: socket.socket) -> None:
            with contextlib.suppress(OSError), connection:
                connection.recv(65_536)
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9999\r\n\r\n")
                while not over.wait(0.05):
                    connection.sendall(b" ")

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    thread = threading.Thread(target=drip, args=(listener.accept()[0],))
                    thread.start()
                    stack.callback(thread.join)

        accepting = threading.Thread(target=accept)
        accepting.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        over.set()
        listener.shutdown(socket.SHUT_RDWR)
        accepting.join()
