"""The heartbeat: keeps a reservation alive for as long as its step runs.

It beats at half of what the server said remains, and tops the lease up to one TTL. A server allows a limited number
of extensions (ten, at the reference server): from the sixth beat on the lease doubles, ten minutes at most, so that
a long step at the default TTL is covered for some 25 minutes. All of it runs on the background loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from runcycles import CyclesResponse

from cycles_otel.budget.decision import unavailable_reason
from cycles_otel.budget.observer import ReservationObserver
from cycles_otel.budget.requests import extend_body
from cycles_otel.budget.step import Step

Extend = Callable[[dict[str, Any]], Awaitable[CyclesResponse]]

_CONSTANT_BEATS = 5
_LONGEST_LEASE = 600.0
_SHORTEST_PAUSE = 0.05


class Heartbeat:
    """The beats of one reservation, from its grant until ``stop``, or until the server refuses for good."""

    def __init__(self, step: Step, lease: float, extend: Extend, observer: ReservationObserver) -> None:
        self._loop = asyncio.get_running_loop()
        self._step = step
        self._lease = lease
        self._extend = extend
        self._observer = observer
        self._sequence = 0
        self._stopped = False
        self._beating: asyncio.Task[None] | None = None
        self._renewed(lease)

    def stop(self) -> None:
        """No beat is sent from now on; one that is on its way is left to arrive."""
        self._stopped = True
        self._timer.cancel()

    def _renewed(self, remaining: float) -> None:
        self._expires = self._loop.time() + remaining
        self._timer = self._loop.call_later(remaining / 2, self._beat)

    def _beat(self) -> None:
        self._sequence += 1
        self._beating = self._loop.create_task(self._send_beat())

    def _target(self) -> float:
        """The lease that this beat asks for, in seconds."""
        doublings = max(self._sequence - _CONSTANT_BEATS, 0)
        return max(min(self._lease * float(2**doublings), _LONGEST_LEASE), self._lease)

    async def _send_beat(self) -> None:
        """One beat, asked again with the same key and body while the lease lasts and the failure may pass."""
        body = extend_body(self._step, self._sequence, max(round((self._target() - self._remaining()) * 1000), 1))
        attempt, pause = 0, max(min(1.0, self._remaining() / 8), _SHORTEST_PAUSE)
        while not self._stopped:
            with self._observer.calling("extend", attempt, **{"heartbeat.sequence": self._sequence}):
                response = await self._extend(body)
            if self._stopped:
                return None
            lack = unavailable_reason("extend", response)
            if lack is None:
                return self._answered(response)
            pause = max(pause, (response.retry_after_ms_header or 0) / 1000)
            may_retry = self._remaining() > pause
            self._observer.heartbeat_failed(lack, "retry" if may_retry else "stop")
            if not may_retry:
                return None
            await asyncio.sleep(pause)
            attempt, pause = attempt + 1, pause * 2
        return None

    def _answered(self, response: CyclesResponse) -> None:
        body = response.body or {}
        if not response.is_success:
            self._observer.heartbeat_failed(str(body.get("error") or response.status), "stop")
            return
        self._observer.heartbeat(self._sequence, self._remaining())
        remaining_ms = body.get("remaining_ttl_ms")
        self._renewed(remaining_ms / 1000 if isinstance(remaining_ms, int) else self._target())

    def _remaining(self) -> float:
        return max(self._expires - self._loop.time(), 0.0)
