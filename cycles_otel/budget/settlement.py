"""Settlement: commits, releases and charges, in the background, until the server has answered each.

What is known to be spent is journaled before it is sent. A failure that may pass is tried again for as long as the
process lives, after that by the next process that opens the journal. A commit whose reservation is gone, or that is
refused for good, is charged by an event under the commit's own key, so that the server takes it once at most.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any

from runcycles import CyclesResponse

from cycles_otel.budget.background import Outstanding
from cycles_otel.budget.connection import Connection
from cycles_otel.budget.decision import body_of, error_code, retry_after, unavailable_reason
from cycles_otel.budget.observer import CallObserver, Observer
from cycles_otel.budget.requests import Spend, charge_body, commit_body, event_body, release_body
from cycles_otel.budget.reservation import Reservation
from cycles_otel.budget.step import Step

logger = logging.getLogger("cycles_otel")

COMMITTED, RELEASED, EXPIRED, LOST = "committed", "released", "expired", "lost"
SETTLED_BY_EVENT, QUEUED = "settled_by_event", "queued"
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 30.0
_MAY_PASS = (401, 403)


class Settlement:
    """Settles reservations and records events on the background loop, and knows what is still pending."""

    def __init__(self, connection: Connection, observer: Observer) -> None:
        self._connection = connection
        self._journal = connection.journal
        self._observer = observer
        self._pending = Outstanding()

    def commit(self, reservation: Reservation, spend: Spend) -> Future[str]:
        """Charge a spend on a reservation; the result is the outcome."""
        return self._start(self._commit(reservation, spend))

    def release(self, reservation: Reservation, reason: str) -> Future[str]:
        """Give a reservation back; the result is the outcome."""
        return self._start(self._release(reservation, reason))

    def charge(self, step: Step, spend: Spend) -> Future[str]:
        """Charge, by an event, a step that ran without a reservation."""
        return self._start(self._charge_unreserved(step, spend))

    def record(self, step: Step) -> Future[str]:
        """Record, by an event, something that happened; a failure is observed and forgotten."""
        return self._start(self._record(step, self._observer.call(step)))

    def pending(self) -> list[Future[Any]]:
        """What is not settled yet."""
        return self._pending.all()

    def _start(self, work: Any) -> Future[str]:
        future: Future[str] = self._connection.submit(work)
        self._pending.add(future)
        future.add_done_callback(self._finished)
        return future

    def _finished(self, future: Future[Any]) -> None:
        self._pending.discard(future)
        self._observer.backlog(*self._pending.backlog())
        if not future.cancelled() and (error := future.exception()) is not None:
            logger.error("A settlement failed by an error of this package.", exc_info=error)

    async def _commit(self, reservation: Reservation, spend: Spend) -> str:
        try:
            return await self._commit_or_charge(reservation, spend)
        except asyncio.CancelledError:
            # The connection ends: the journal, if there is one, keeps the spend for the next process.
            outcome = QUEUED if self._journal.is_enabled else LOST
            reservation.observer.settled(outcome, actual=spend.amount, source=spend.source)
            raise

    async def _commit_or_charge(self, reservation: Reservation, spend: Spend) -> str:
        _stop_heartbeat(reservation)
        body = commit_body(reservation.step, spend)
        self._journal.record_commit(reservation.id, body, charge_body(reservation.step, spend))
        client = await self._connection.client()
        response = await self._until_answered(
            "commit", lambda: client.commit_reservation(reservation.id, body), reservation.observer, source=spend.source
        )
        outcome = COMMITTED if response.is_success else LOST
        if outcome == LOST and _code(response) != "RESERVATION_FINALIZED":
            outcome, response = await self._charge_instead(reservation, spend, expired=response.status == 410)
        self._journal.discard(reservation.id)
        _settled(reservation, outcome, spend, response)
        return outcome

    async def _charge_instead(
        self, reservation: Reservation, spend: Spend, *, expired: bool
    ) -> tuple[str, CyclesResponse]:
        """Charge by an event what the commit could not; a reservation that still stands is given back after it."""
        outcome, response = await self._charge(reservation.id, reservation.step, spend, reservation.observer)
        if not expired:
            await self._send_release(reservation, "commit_refused")
        return outcome, response

    async def _charge(
        self, record_id: str, step: Step, spend: Spend, observer: CallObserver
    ) -> tuple[str, CyclesResponse]:
        body = charge_body(step, spend)
        self._journal.record_charge(record_id, body)
        client = await self._connection.client()
        response = await self._until_answered("event", lambda: client.create_event(body), observer, source=spend.source)
        self._journal.discard(record_id)
        return SETTLED_BY_EVENT if response.is_success else LOST, response

    async def _charge_unreserved(self, step: Step, spend: Spend) -> str:
        outcome, _ = await self._charge(step.key, step, spend, self._observer.call(step))
        return outcome

    async def _release(self, reservation: Reservation, reason: str) -> str:
        _stop_heartbeat(reservation)
        try:
            response = await self._send_release(reservation, reason)
        except asyncio.CancelledError:
            reservation.observer.settled(EXPIRED)
            raise
        outcome = RELEASED if response.is_success else EXPIRED
        reservation.observer.settled(outcome, released=_amount(response, "released", 0))
        return outcome

    async def _send_release(self, reservation: Reservation, reason: str) -> CyclesResponse:
        """Without an answer for the length of a lease the reservation has expired by itself."""
        body = release_body(reservation.step, reason)
        client = await self._connection.client()
        return await self._until_answered(
            "release",
            lambda: client.release_reservation(reservation.id, body),
            reservation.observer,
            deadline=time.monotonic() + reservation.lease,
            reason=reason,
        )

    async def _record(self, step: Step, observer: CallObserver) -> str:
        client, body = await self._connection.client(), event_body(step)
        deadline = time.monotonic() + _LONGEST_PAUSE
        response = await self._until_answered("event", lambda: client.create_event(body), observer, deadline=deadline)
        return "recorded" if response.is_success else "refused"

    async def _until_answered(
        self,
        operation: str,
        send: Callable[[], Awaitable[CyclesResponse]],
        observer: CallObserver,
        *,
        deadline: float | None = None,
        source: str | None = None,
        reason: str | None = None,
    ) -> CyclesResponse:
        """Send until the answer is one, with a growing pause, or until ``deadline`` on the monotonic clock."""
        attributes = {"amount.source": source} if source else {"release.reason": reason} if reason else {}
        attempt, pause = 0, _FIRST_PAUSE
        while True:
            with observer.calling(operation, attempt, **attributes):
                response = await send()
            lack = _passing_failure(operation, response)
            pause = max(pause, retry_after(response) or 0.0)
            if lack is None or (deadline is not None and time.monotonic() + pause > deadline):
                return response
            attempt += 1
            observer.retrying(operation, attempt, lack)
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)


def _passing_failure(operation: str, response: CyclesResponse) -> str | None:
    """The reason for which it is worth asking again: no answer, or a key that an operator may mend."""
    if response.status in _MAY_PASS:
        return _code(response)
    return unavailable_reason(operation, response)


def _settled(reservation: Reservation, outcome: str, spend: Spend, response: CyclesResponse) -> None:
    reservation.observer.settled(
        outcome,
        actual=spend.amount,
        charged=0 if outcome == LOST else _amount(response, "charged", spend.amount),
        released=_amount(response, "released", 0 if outcome == COMMITTED else reservation.amount),
        source=spend.source,
    )
    if outcome == LOST:
        logger.error("A spend could not be charged: the server refused it with %s.", _code(response))


def _stop_heartbeat(reservation: Reservation) -> None:
    if reservation.heartbeat is not None:
        reservation.heartbeat.stop()


def _amount(response: CyclesResponse, name: str, otherwise: int) -> int:
    value = body_of(response).get(name)
    return int(value["amount"]) if isinstance(value, dict) and isinstance(value.get("amount"), int) else otherwise


def _code(response: CyclesResponse) -> str:
    return error_code(response) or str(response.status)
