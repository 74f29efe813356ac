"""Delivery: one request, sent until the server has answered it, with a growing pause between the tries."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from runcycles import AsyncCyclesClient, CyclesResponse

from cycles_otel.budget.connection import Connection
from cycles_otel.budget.decision import error_code, retry_after, unavailable_reason
from cycles_otel.budget.observer import CallObserver

Send = Callable[[AsyncCyclesClient], Awaitable[CyclesResponse]]

_MAY_BE_MENDED = (401, 403)
_MAY_BE_MENDED_IN_TIME = (404, 409)
_STAYS_REFUSED = ("IDEMPOTENCY_MISMATCH", "BUDGET_EXCEEDED", "OVERDRAFT_LIMIT_EXCEEDED")


class Delivery:
    """Delivers the requests of one connection, at the pace that its config sets for retries."""

    def __init__(self, connection: Connection) -> None:
        config = connection.config
        self._connection = connection
        self._retries = config.retry_enabled
        self._first_pause = config.retry_initial_delay
        self._multiplier = config.retry_multiplier
        self._longest_pause = config.retry_max_delay
        self._lanes: dict[str, tuple[asyncio.Lock, int]] = {}

    async def until_answered(
        self,
        operation: str,
        send: Send,
        observer: CallObserver,
        *,
        attributes: Mapping[str, Any] | None = None,
        pause: float = 0.0,
        timeout: float | None = None,
        hold_off: Callable[[float], None] | None = None,
        lane: str | None = None,
        patient: bool = False,
    ) -> CyclesResponse | None:
        """Send, and send again while the failure may pass; None where there was no answer in the end.

        Parameters
        ----------
        attributes: facts for the span of each request.
        pause: how long to wait before the first try, in s.
        timeout: for how long to try, in s; without it, for as long as the process lives.
        hold_off: told for how long the server does not want to be asked again, in s.
        lane: first tries in one lane are made one after the other, in the order in which they were asked for.
        patient: take a budget that is frozen, closed or gone for something that an operator may mend, too.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        if pause > 0:
            await asyncio.sleep(pause)
        async with self._in_lane(lane):
            response = await self._try(operation, send, observer, 0, attributes)
        attempt, pause = 0, self._first_pause
        while (lack := _passing_failure(operation, response, patient)) is not None:
            demanded = retry_after(response) or 0.0
            if demanded and hold_off is not None:
                hold_off(demanded)
            wait = max(pause, demanded)
            if not self._retries or (deadline is not None and time.monotonic() + wait > deadline):
                return None
            attempt += 1
            observer.retrying(operation, attempt, lack)
            await asyncio.sleep(wait)
            pause = min(pause * self._multiplier, self._longest_pause)
            response = await self._try(operation, send, observer, attempt, attributes)
        return response

    async def _try(
        self, operation: str, send: Send, observer: CallObserver, attempt: int, attributes: Mapping[str, Any] | None
    ) -> CyclesResponse:
        async with self._connection.turns:
            with self._connection.client() as client, observer.calling(operation, attempt, **(attributes or {})):
                return await send(client)

    @contextlib.asynccontextmanager
    async def _in_lane(self, lane: str | None) -> AsyncIterator[None]:
        if lane is None:
            yield
            return
        lock, users = self._lanes.get(lane) or (asyncio.Lock(), 0)
        self._lanes[lane] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            lock, users = self._lanes[lane]
            if users > 1:
                self._lanes[lane] = (lock, users - 1)
            else:
                del self._lanes[lane]


def _passing_failure(operation: str, response: CyclesResponse, patient: bool) -> str | None:
    """The reason for which it is worth asking again: no answer, or a refusal that an operator may mend."""
    code = error_code(response) or str(response.status)
    if response.status in _MAY_BE_MENDED:
        return code
    if patient and response.status in _MAY_BE_MENDED_IN_TIME and code not in _STAYS_REFUSED:
        return code
    return unavailable_reason(operation, response)
