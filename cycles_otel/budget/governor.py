"""The governor: asks the Cycles server before a step, and settles after it. It knows no agent framework."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from runcycles import AsyncCyclesClient, CyclesConfig, CyclesResponse

from cycles_otel.budget import background
from cycles_otel.budget.connection import Connection, Observe, Pending, end_with
from cycles_otel.budget.decision import Ruling, Verdict, judge, unavailable_reason
from cycles_otel.budget.heartbeat import Heartbeat
from cycles_otel.budget.observer import CallObserver, Observer, ReservationObserver
from cycles_otel.budget.policy import Policy
from cycles_otel.budget.requests import Spend, decide_body, reserve_body
from cycles_otel.budget.reservation import Reservation
from cycles_otel.budget.settlement import Settlement
from cycles_otel.budget.step import Step

_SHORT_RETRY_AFTER = 1.0
_CANNOT_HAVE_ARRIVED = ("ConnectError", "ConnectTimeout")


@dataclass(frozen=True)
class Admission:
    """The answer to a step: the verdict, and the reservation if one is held."""

    verdict: Verdict
    reservation: Reservation | None = None


class Governor:
    """Reserves, decides and records for one Cycles server and key; all of it on the background loop.

    Parameters
    ----------
    observe: wraps a new client so that its calls are seen by telemetry.
    """

    def __init__(
        self,
        config: CyclesConfig,
        policy: Policy,
        observer: Observer,
        observe: Observe,
    ) -> None:
        self.policy = policy
        self.observer = observer
        self._connection = connection = Connection(config, observe)
        self.settlement = settlement = Settlement(connection, observer)
        self._asking = asking = set[Future[Admission]]()
        # A closure over the parts: what the end of this object calls must not keep it alive.
        self._pending: Pending = lambda: [*asking, *settlement.pending()]
        end_with(self, connection, self._pending)

    async def reserve(self, step: Step) -> Admission:
        """Ask for budget before a step, on the caller's loop.

        A caller that is cancelled meanwhile, or collected with its event loop, gets no reservation: one that the
        server grants is given back.
        """
        observer = self.observer.reservation(step)
        asked = self._connection.submit(self._reserve(step, observer))
        left = threading.Event()

        def answered(_: Future[Admission]) -> None:
            # First given back, then no longer pending: whoever closes must see one or the other.
            if left.is_set():
                _give_back(asked)
            self._asking.discard(asked)

        self._asking.add(asked)
        asked.add_done_callback(answered)
        try:
            return await background.outcome_of(asked)
        except (asyncio.CancelledError, GeneratorExit):
            left.set()
            if asked.done():
                _give_back(asked)
            raise

    async def decide(self, step: Step) -> Verdict:
        """Ask whether a step would be allowed, and hold nothing: where the caller is cancelled, nobody asks on."""
        asked = self._connection.submit(self._decide(step, self.observer.call(step)))
        try:
            verdict = await background.outcome_of(asked)
        except asyncio.CancelledError:
            asked.cancel()
            raise
        if verdict.ruling is Ruling.GO_UNENFORCED:
            self.observer.unguarded(step.action, step.origin, verdict.reason)
        return verdict

    def record(self, step: Step) -> Future[str] | None:
        """Record an event in the background; a shadow records nothing."""
        return None if self.policy.dry_run else self.settlement.record(step)

    def charge(self, step: Step, spend: Spend) -> Future[str] | None:
        """Charge a step that ran without a reservation; a shadow charges nothing."""
        return None if self.policy.dry_run else self.settlement.charge(step, spend)

    async def aclose(self) -> None:
        """Wait for what is pending, within a bound, and stop."""
        deadline = time.monotonic() + self._connection.flush_timeout
        # A reserve that nobody waits for any more is pending as well, and then what gives it back.
        while pending := self._pending():
            if not await background.settle(pending, max(deadline - time.monotonic(), 0)):
                break
        await self._connection.aclose()

    async def _reserve(self, step: Step, observer: ReservationObserver) -> Admission:
        client = await self._connection.client()
        body = reserve_body(step, self.policy)
        response = await self._ask("reserve", lambda: client.create_reservation(body), observer)
        verdict = self._judge("reserve", response)
        if verdict.ruling is not Ruling.GO:
            return Admission(self._tell(verdict, observer))
        if self.policy.dry_run:
            observer.shadowed(capped=verdict.caps)
            return Admission(verdict)
        return Admission(verdict, self._grant(step, verdict, client, observer))

    def _grant(
        self, step: Step, verdict: Verdict, client: AsyncCyclesClient, observer: ReservationObserver
    ) -> Reservation:
        remaining_ms = verdict.body.get("remaining_ttl_ms")
        reservation = Reservation(
            str(verdict.body["reservation_id"]),
            step,
            amount=step.amount,
            lease=(remaining_ms if isinstance(remaining_ms, int) else self.policy.ttl_ms) / 1000,
            caps=verdict.caps,
            observer=observer,
            settlement=self.settlement,
        )
        observer.granted(reservation.id, reservation.amount, capped=verdict.caps)

        async def extend(body: dict[str, Any]) -> CyclesResponse:
            return await client.extend_reservation(reservation.id, body)

        reservation.heartbeat = Heartbeat(step, reservation.lease, extend, observer)
        return reservation

    async def _decide(self, step: Step, observer: CallObserver) -> Verdict:
        client, body = await self._connection.client(), decide_body(step)
        response = await self._ask("decide", lambda: client.decide(body), observer)
        return self._judge("decide", response)

    def _judge(self, operation: str, response: CyclesResponse) -> Verdict:
        policy = self.policy
        verdict = judge(
            operation, response, fail_open=policy.fail_open, unbudgeted=policy.unbudgeted, dry_run=policy.dry_run
        )
        return _shadow(verdict) if policy.dry_run else verdict

    def _tell(self, verdict: Verdict, observer: ReservationObserver) -> Verdict:
        """Say to telemetry how a step that holds no reservation ends its life."""
        if verdict.ruling is Ruling.DENIED:
            observer.denied(verdict.reason)
        elif verdict.ruling is Ruling.GO_SHADOWED:
            observer.would_deny(verdict.reason)
        elif verdict.ruling is Ruling.GO_UNENFORCED:
            observer.unenforced(verdict.reason)
        elif verdict.ruling is Ruling.GO_UNBUDGETED:
            observer.unbudgeted()
        else:
            observer.failed(verdict.reason)
        return verdict

    async def _ask(
        self, operation: str, send: Callable[[], Awaitable[CyclesResponse]], observer: CallObserver
    ) -> CyclesResponse:
        """Ask, and once more where that helps: after a short Retry-After, or when the reply may have been lost.

        A reserve whose reply is lost may have been granted; the same key gives the same reservation again.
        """
        with observer.calling(operation):
            response = await send()
        lack = unavailable_reason(operation, response)
        pause = _pause_before_asking_again(operation, response) if lack else None
        if lack is None or pause is None:
            return response
        observer.retrying(operation, 1, lack)
        await asyncio.sleep(pause)
        with observer.calling(operation, 1):
            return await send()


def _pause_before_asking_again(operation: str, response: CyclesResponse) -> float | None:
    if response.status == 429:
        retry_after = (response.retry_after_ms_header or 0) / 1000
        return retry_after if 0 < retry_after <= _SHORT_RETRY_AFTER else None
    if operation != "reserve" or type(response.transport_exception).__name__ in _CANNOT_HAVE_ARRIVED:
        return None
    return 0.0


def _shadow(verdict: Verdict) -> Verdict:
    """A shadow stops nothing: a denial is one that would have been, any other stop goes unenforced."""
    if verdict.ruling is Ruling.DENIED:
        return Verdict(Ruling.GO_SHADOWED, verdict.reason, verdict.message, response=verdict.response)
    if not verdict.ruling.goes:
        return Verdict(Ruling.GO_UNENFORCED, verdict.reason, verdict.message, response=verdict.response)
    return verdict


def _give_back(asked: Future[Admission]) -> None:
    """The step was cancelled before it could start."""
    if not asked.cancelled() and asked.exception() is None and (reservation := asked.result().reservation):
        reservation.release("tool_not_run" if reservation.step.origin.tool else "run_cancelled")
