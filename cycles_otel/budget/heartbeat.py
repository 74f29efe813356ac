"""The heartbeat: keeps a reservation alive for as long as its step runs.

It beats at half of what the server said remains, and tops the lease up to one TTL. A server allows a limited number
of extensions (ten, at the reference server): from the sixth beat on the lease doubles, ten minutes at most, so that
a long step at the default TTL is covered for some 25 minutes. All of it runs on the background loop.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from runcycles import CyclesResponse

from cycles_otel.budget.decision import body_of, error_code, retry_after, unavailable_reason
from cycles_otel.budget.observer import ReservationObserver
from cycles_otel.budget.requests import extend_body
from cycles_otel.budget.step import Step

Extend = Callable[[dict[str, Any]], Awaitable[CyclesResponse]]

_CONSTANT_BEATS = 5
_LONGEST_LEASE = 600.0
_MOST_DOUBLINGS = 10
"""From a second to ten minutes."""
_LONGEST_FIRST_PAUSE, _SHORTEST_PAUSE = 1.0, 0.05


class Heartbeat:
    """The beats of one reservation, from its grant until ``stop``, or until the server refuses for good."""

    def __init__(self, step: Step, lease: float, extend: Extend, observer: ReservationObserver) -> None:
        self._loop = asyncio.get_running_loop()
        self._step = step
        self._lease = lease
        self._extend = extend
        self._observer = observer
        self._sequence = 0
        self._stopped = asyncio.Event()
        self._beating: asyncio.Task[None] | None = None
        self._renewed(lease)

    def stop(self) -> None:
        """No beat is sent from now on; one that is on its way is left to arrive."""
        self._stopped.set()
        self._timer.cancel()

    def _renewed(self, remaining: float) -> None:
        self._expires = self._loop.time() + remaining
        self._timer = self._loop.call_later(max(remaining / 2, _SHORTEST_PAUSE), self._beat)

    def _beat(self) -> None:
        self._sequence += 1
        self._beating = self._loop.create_task(self._send_beat())

    def _target(self) -> float:
        """The lease that this beat asks for, in seconds."""
        doublings = min(max(self._sequence - _CONSTANT_BEATS, 0), _MOST_DOUBLINGS)
        return max(min(self._lease * 2.0**doublings, _LONGEST_LEASE), self._lease)

    async def _send_beat(self) -> None:
        """One beat, asked again with the same key and body while the lease lasts and the failure may pass."""
        body = extend_body(self._step, self._sequence, max(round((self._target() - self._remaining()) * 1000), 1))
        attempt, pause = 0, min(_LONGEST_FIRST_PAUSE, self._remaining() / 8)
        while not self._stopped.is_set():
            with self._observer.calling("extend", attempt, **{"heartbeat.sequence": self._sequence}):
                response = await self._extend(body)
            if self._stopped.is_set():
                return
            lack = unavailable_reason("extend", response)
            if lack is None:
                self._answered(response)
                return
            remaining = self._remaining()
            is_late = remaining <= _SHORTEST_PAUSE
            self._observer.heartbeat_failed(lack, "stop" if is_late else "retry")
            if is_late:
                return
            # Whatever the server asks for: a lease that has run out cannot be extended any more.
            await self._rest(min(max(pause, retry_after(response) or 0.0, _SHORTEST_PAUSE), remaining / 2))
            attempt, pause = attempt + 1, pause * 2

    def _answered(self, response: CyclesResponse) -> None:
        if not response.is_success:
            self._observer.heartbeat_failed(error_code(response) or str(response.status), "stop")
            return
        self._observer.heartbeat(self._sequence, self._remaining())
        remaining_ms = body_of(response).get("remaining_ttl_ms")
        self._renewed(remaining_ms / 1000 if isinstance(remaining_ms, int) else self._target())

    async def _rest(self, seconds: float) -> None:
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._stopped.wait(), seconds)

    def _remaining(self) -> float:
        return max(self._expires - self._loop.time(), 0.0)
