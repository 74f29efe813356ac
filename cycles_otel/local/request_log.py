"""The log of everything on the wire, in the order in which it came in."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

OPERATIONS = (
    ("reserve", re.compile("POST /v1/reservations")),
    ("list", re.compile("GET /v1/reservations")),
    ("get", re.compile("GET /v1/reservations/[^/]+")),
    ("commit", re.compile("POST /v1/reservations/[^/]+/commit")),
    ("release", re.compile("POST /v1/reservations/[^/]+/release")),
    ("extend", re.compile("POST /v1/reservations/[^/]+/extend")),
    ("decide", re.compile("POST /v1/decide")),
    ("event", re.compile("POST /v1/events")),
    ("balances", re.compile("GET /v1/balances")),
    ("health", re.compile("GET /actuator/health")),
    ("metrics", re.compile("GET /actuator/prometheus")),
)
OTHER = "other"
SECRET_HEADERS = ("x-cycles-api-key", "x-admin-api-key", "authorization", "cookie")


def operation_of(method: str, path: str) -> str:
    """What a request asks for: one of the names in `OPERATIONS`, or `other`."""
    asked = f"{method} {path}"
    return next((name for name, pattern in OPERATIONS if pattern.fullmatch(asked)), OTHER)


@dataclass(frozen=True)
class LoggedRequest:
    """A request as it came in, and what was answered.

    Attributes
    ----------
    operation: reserve, commit, release, extend, decide, event, balances, get, list, health, metrics or other.
    headers: the request's, names in lower case, keys blacked out.
    body: the request's JSON, its text where it is none, None where there is no body.
    received_at: monotonic time in seconds.
    status: of the answer; None while there is none, and for good when the connection was dropped.
    response_headers: of the answer, names in lower case.
    response_body: as `body`.
    applied: whether the server handled the request (a fault may have kept it from doing so).
    faulted: whether an injected fault touched it.
    dropped: whether the connection was closed without an answer.
    """

    number: int
    operation: str
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any
    received_at: float
    status: int | None = None
    response_headers: Mapping[str, str] = field(default_factory=dict)
    response_body: Any = None
    applied: bool = False
    faulted: bool = False
    dropped: bool = False


class RequestLog:
    """All requests since the start, or since it was cleared. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[int, LoggedRequest] = {}
        self._count = 0

    def open(
        self, method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes
    ) -> LoggedRequest:
        """Note a request that has come in."""
        shown = {name: "[redacted]" if name in SECRET_HEADERS else value for name, value in headers.items()}
        with self._lock:
            self._count += 1
            entry = LoggedRequest(
                self._count,
                operation_of(method, path),
                method,
                path,
                query,
                shown,
                readable(body),
                time.monotonic(),
            )
            self._entries[entry.number] = entry
        return entry

    def close(self, entry: LoggedRequest, **answer: Any) -> None:
        """Note what was answered; a request from before the log was cleared is not noted any more."""
        with self._lock:
            if entry.number in self._entries:
                self._entries[entry.number] = replace(entry, **answer)

    def entries(self) -> tuple[LoggedRequest, ...]:
        """The requests in the order in which they came in."""
        with self._lock:
            return tuple(self._entries.values())

    def clear(self) -> None:
        """Forget all requests."""
        with self._lock:
            self._entries.clear()


def readable(content: bytes) -> Any:
    """`content` as JSON if it is some, else as text, None if it is empty."""
    if not content:
        return None
    text = content.decode(errors="replace")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
