"""Settlement: commits, releases and charges, in the background, until the server has answered each.

What is known to be spent is journaled before it is sent. A failure that may pass is tried again for as long as the
process lives, after that by the next process that opens the journal.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any

from runcycles import CommitOveragePolicy, CyclesResponse

from cycles_otel.budget.background import Outstanding
from cycles_otel.budget.charging import COMMITTED, QUEUED, Charged, Charging, Claim
from cycles_otel.budget.connection import Connection
from cycles_otel.budget.decision import body_of
from cycles_otel.budget.delivery import Delivery
from cycles_otel.budget.journal import KnownSpend
from cycles_otel.budget.observer import CallObserver, Observer, ReservationObserver
from cycles_otel.budget.requests import Spend, charge_body, commit_body, event_body, release_body, release_body_of
from cycles_otel.budget.reservation import Reservation
from cycles_otel.budget.step import Step

logger = logging.getLogger("cycles_otel")

RELEASED, EXPIRED = "released", "expired"
_AUDIT_TIMEOUT = 30.0
_REPORT_INTERVAL = 1.0


class Settlement:
    """Settles reservations and records events on the background loop, and knows what is still pending."""

    def __init__(self, connection: Connection, observer: Observer, overage_policy: CommitOveragePolicy) -> None:
        self._connection = connection
        self._overage_policy = overage_policy
        self._observer = observer
        self._delivery = Delivery(connection)
        self._charging = Charging(connection.journal, self._delivery)
        self._pending = Outstanding()
        self._reporting: asyncio.Task[None] | None = None

    def commit(self, reservation: Reservation, spend: Spend) -> Future[str]:
        """Charge a spend on a reservation; the result is the outcome."""
        return self._start(self._commit(reservation, spend))

    def release(self, reservation: Reservation, reason: str) -> Future[str]:
        """Give a reservation back; the result is the outcome."""
        return self._start(self._release(reservation, reason))

    def charge(self, step: Step, spend: Spend, observer: CallObserver | None = None) -> Future[str]:
        """Charge, by an event, a step that ran without a reservation; the result is the outcome."""
        return self._start(self._charge(step, spend, observer or self._observer.call(step)))

    def record(self, step: Step) -> Future[str]:
        """Record, by an event, something that happened; a failure is observed and forgotten."""
        return self._start(self._record(step, self._observer.call(step)))

    def reclaim(self, reserve: dict[str, Any], step: Step, observer: ReservationObserver, lease: float) -> None:
        """Give back what the server may have granted without its reply being seen; nobody waits for that.

        Parameters
        ----------
        reserve: the body of the reserve, whose key gives the same reservation again.
        lease: after so many seconds it has expired by itself.
        """
        self._connection.submit_unattended(self._reclaim(reserve, step, observer, lease))

    def recover(self) -> None:
        """Settle what processes that are gone left in the journal."""
        if self._connection.journal.has_records():
            self._start(self._take_over())

    def pending(self) -> list[Future[Any]]:
        """What is not settled yet."""
        return self._pending.all()

    def _start(self, work: Coroutine[Any, Any, str]) -> Future[str]:
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
        _stop_heartbeat(reservation)
        step, observer = reservation.step, reservation.observer
        instead = charge_body(step, spend, self._overage_policy)
        known = KnownSpend(reservation.id, commit_body(step, spend), instead, link=observer.link())
        release = release_body(step, "commit_refused")
        charged = await self._charged(Claim(known, observer, spend.source, release, lane=step.origin.run_id))
        otherwise_released = 0 if charged.outcome == COMMITTED else step.amount
        observer.settled(
            charged.outcome,
            actual=spend.amount,
            charged=_charged_amount(charged, spend.amount),
            released=charged.amount("released", otherwise_released) if charged.in_ledger else None,
            source=spend.source,
        )
        return charged.outcome

    async def _charge(self, step: Step, spend: Spend, observer: CallObserver) -> str:
        known = KnownSpend(step.key, None, charge_body(step, spend, self._overage_policy), link=observer.link())
        claim = Claim(known, observer, spend.source, lane=step.origin.run_id, budgeted=False)
        charged = await self._charged(claim)
        amount = _charged_amount(charged, spend.amount)
        observer.charged(charged.outcome, actual=spend.amount, charged=amount, source=spend.source)
        return charged.outcome

    async def _take_over(self) -> str:
        for known in self._connection.journal.take_over():
            self._start(self._recover(known))
        return "taken over"

    async def _recover(self, known: KnownSpend) -> str:
        body = known.charge or known.commit or {}
        observer = self._observer.recovered(body, known.link)
        release = release_body_of(known.commit, "commit_refused") if known.commit else None
        charged = await self._charged(Claim(known, observer, release=release))
        actual = _actual_amount(body)
        observer.charged(charged.outcome, actual=actual, charged=_charged_amount(charged, actual), source=None)
        return charged.outcome

    async def _charged(self, claim: Claim) -> Charged:
        self._report()
        return await self._charging.charge(claim)

    async def _release(self, reservation: Reservation, reason: str) -> str:
        _stop_heartbeat(reservation)
        body, observer = release_body(reservation.step, reason), reservation.observer
        try:
            response = await self._charging.give_back(reservation.id, body, observer, reservation.lease)
        except asyncio.CancelledError:
            response = None
        outcome = RELEASED if response is not None and response.is_success else EXPIRED
        observer.settled(outcome, released=Charged(outcome, response or CyclesResponse(status=0)).amount("released", 0))
        return outcome

    async def _reclaim(self, reserve: dict[str, Any], step: Step, observer: ReservationObserver, lease: float) -> str:
        response = await self._delivery.until_answered(
            "reserve", lambda client: client.create_reservation(reserve), observer, pause=1.0, timeout=lease
        )
        reservation_id = body_of(response).get("reservation_id") if response is not None else None
        if isinstance(reservation_id, str):
            await self._charging.give_back(reservation_id, release_body(step, "reply_lost"), observer, lease)
        return "reclaimed"

    async def _record(self, step: Step, observer: CallObserver) -> str:
        body = event_body(step)
        response = await self._delivery.until_answered(
            "event", lambda client: client.create_event(body), observer, timeout=_AUDIT_TIMEOUT
        )
        return "recorded" if response is not None and response.is_success else "refused"

    def _report(self) -> None:
        """Tell the age of the oldest settlement for as long as there is one."""
        reporting = self._reporting
        if reporting is None or reporting.done() or reporting.get_loop() is not asyncio.get_running_loop():
            self._reporting = asyncio.create_task(self._report_on_and_on())

    async def _report_on_and_on(self) -> None:
        while self.pending():
            await asyncio.sleep(_REPORT_INTERVAL)
            self._observer.backlog(*self._pending.backlog())


def _stop_heartbeat(reservation: Reservation) -> None:
    if reservation.heartbeat is not None:
        reservation.heartbeat.stop()


def _charged_amount(charged: Charged, actual: int) -> int | None:
    """What the ledger took; None where that is not known yet."""
    if charged.in_ledger:
        return charged.amount("charged", actual)
    return None if charged.outcome == QUEUED else 0


def _actual_amount(body: Any) -> int:
    actual = body.get("actual")
    amount = actual.get("amount") if isinstance(actual, dict) else None
    return amount if isinstance(amount, int) else 0
