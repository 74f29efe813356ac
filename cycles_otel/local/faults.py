"""Faults to order: answers that are made up, late or missing, so that a client's bad days can be tested."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from cycles_otel.local.errors import InvalidParameter
from cycles_otel.local.request_log import OPERATIONS, OTHER

EVERY = "*"
FAULTABLE = (EVERY, *(name for name, _ in OPERATIONS), OTHER)

_ERROR_CODES = {
    400: "INVALID_REQUEST",
    401: "UNAUTHORIZED",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    409: "BUDGET_EXCEEDED",
    410: "RESERVATION_EXPIRED",
    429: "LIMIT_EXCEEDED",
}


@dataclass(frozen=True)
class Fault:
    """What goes wrong with which requests.

    With `status` or `body` the answer is made up and the ledger does not see the request, unless `applied` says so.
    With `delay` alone the ledger applies the request at once and the true answer comes late.

    Parameters
    ----------
    operation: reserve, commit, release, extend, decide, event, balances, get, list, health, metrics, other,
        or `*` for all.
    status: of a made-up answer; 200 where only a body is given.
    body: of a made-up answer; a mapping is sent as JSON, text as HTML. By default an error of the protocol.
    headers: more headers of a made-up answer, for example `{"Retry-After": "1"}`.
    delay: seconds that the answer is held back.
    drop: close the connection without an answer, `before` or `after` the ledger has applied the request.
    applied: let the ledger apply the request before the made-up answer is sent.
    times: how many requests it touches; None for all until `clear_faults`.
    after: how many requests of the operation pass untouched first.

    Raises
    ------
    InvalidParameter: a value is not allowed.
    """

    operation: str = EVERY
    status: int | None = None
    body: str | Mapping[str, Any] | None = None
    headers: Mapping[str, str] | None = None
    delay: float = 0.0
    drop: Literal["before", "after"] | None = None
    applied: bool = False
    times: int | None = 1
    after: int = 0

    def __post_init__(self) -> None:
        check_operation(self.operation)
        if self.status is not None and not 200 <= self.status <= 599:
            raise InvalidParameter("status", self.status, "an HTTP status from 200 to 599")
        if self.drop not in (None, "before", "after"):
            raise InvalidParameter("drop", self.drop, "'before', 'after' or None")
        if self.drop is not None and self.is_made_up:
            raise InvalidParameter("drop", self.drop, "None where a status or a body is given")
        if self.times is not None and self.times < 1:
            raise InvalidParameter("times", self.times, "1 or more, or None for all")
        if self.after < 0:
            raise InvalidParameter("after", self.after, "0 or more")
        if self.delay < 0:
            raise InvalidParameter("delay", self.delay, "0 or more seconds")

    @property
    def is_made_up(self) -> bool:
        """Whether another answer than the true one is sent."""
        return self.status is not None or self.body is not None

    @property
    def lets_through(self) -> bool:
        """Whether the ledger sees the request."""
        return self.applied or self.drop == "after" or not (self.is_made_up or self.drop)

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and content of the made-up answer."""
        status = self.status or 200
        body = self.body if self.body is not None else _error_body(status)
        is_text = isinstance(body, str)
        content = body.encode() if isinstance(body, str) else json.dumps(dict(body)).encode()
        headers = {"content-type": "text/html; charset=utf-8" if is_text else "application/json"}
        return status, headers | {name.lower(): value for name, value in (self.headers or {}).items()}, content


def _error_body(status: int) -> Mapping[str, Any]:
    if status < 400:
        return {}
    return {"error": _ERROR_CODES.get(status, "INTERNAL_ERROR"), "message": "Injected fault", "request_id": "fault"}


def check_operation(operation: str) -> None:
    """Refuse the name of an operation that does not exist."""
    if operation not in FAULTABLE:
        raise InvalidParameter("operation", operation, ", ".join(FAULTABLE))


class _Armed:
    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.skip = fault.after
        self.left = fault.times

    def fires(self) -> bool:
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.left is None:
            return True
        self.left -= 1
        return self.left >= 0


class Hold:
    """Requests that wait until they are let go.

    Parameters
    ----------
    operation: which requests wait; `*` for all.
    applied: whether the ledger applies them before they wait, so that only the answer is held back.
    """

    def __init__(self, operation: str, applied: bool) -> None:
        self.operation = operation
        self.applied = applied
        self._changed = threading.Condition()
        self._released = False
        self._arrived = 0
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    def wait(self, count: int = 1, timeout: float = 10.0) -> None:
        """Block until `count` requests are waiting.

        Raises
        ------
        TimeoutError: they did not come within `timeout` seconds.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._arrived >= count, timeout):
                raise TimeoutError(f"{self._arrived} of {count} {self.operation} requests came within {timeout} s")

    async def arrived(self, count: int = 1, timeout: float = 10.0) -> None:
        """As `wait`, without blocking the event loop."""
        await asyncio.to_thread(self.wait, count, timeout)

    def release(self) -> None:
        """Let go what waits, and let pass what comes later."""
        with self._changed:
            self._released = True
            waiting, self._waiting = self._waiting, []
        for loop, event in waiting:
            loop.call_soon_threadsafe(event.set)

    async def pass_through(self) -> None:
        """Wait here, on the server's loop, until released."""
        event = asyncio.Event()
        with self._changed:
            if self._released:
                return
            self._waiting.append((asyncio.get_running_loop(), event))
            self._arrived += 1
            self._changed.notify_all()
        await event.wait()


class Faults:
    """The faults and holds of one server. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._armed: list[_Armed] = []
        self._holds: list[Hold] = []

    def inject(self, fault: Fault) -> None:
        """Arm a fault; of several that fit a request the oldest one wins."""
        with self._lock:
            self._armed.append(_Armed(fault))

    def clear(self) -> None:
        """Disarm all faults."""
        with self._lock:
            self._armed.clear()

    def take(self, operation: str) -> Fault | None:
        """The fault that touches this request, if one does."""
        with self._lock:
            for armed in self._armed:
                if armed.fault.operation in (EVERY, operation) and armed.fires():
                    return armed.fault
        return None

    def hold(self, operation: str, applied: bool) -> Hold:
        """Make requests of `operation` wait from now on."""
        check_operation(operation)
        hold = Hold(operation, applied)
        with self._lock:
            self._holds.append(hold)
        return hold

    def unhold(self, hold: Hold) -> None:
        """Let go what waits in `hold`, for good."""
        with self._lock:
            if hold in self._holds:
                self._holds.remove(hold)
        hold.release()

    def holds_of(self, operation: str) -> list[Hold]:
        """The holds that requests of `operation` have to pass."""
        with self._lock:
            return [hold for hold in self._holds if hold.operation in (EVERY, operation)]

    def release_all(self) -> None:
        """Disarm all faults and let go all that waits."""
        self.clear()
        with self._lock:
            holds, self._holds = self._holds, []
        for hold in holds:
            hold.release()
