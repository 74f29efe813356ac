"""The governor: asks the Cycles server before a step, and settles after it. It knows no agent framework."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any

from runcycles import CyclesConfig, CyclesResponse

from cycles_otel.budget import background
from cycles_otel.budget.circuit import NOT_ASKED
from cycles_otel.budget.connection import Connection, Observe, end_with
from cycles_otel.budget.decision import Ruling, Verdict, judge, retry_after, unavailable_reason
from cycles_otel.budget.delivery import Send
from cycles_otel.budget.heartbeat import Heartbeat
from cycles_otel.budget.observer import CallObserver, Observer, ReservationObserver
from cycles_otel.budget.policy import Policy
from cycles_otel.budget.requests import Spend, decide_body, reserve_body
from cycles_otel.budget.reservation import Admitted, Reservation, Unreserved
from cycles_otel.budget.settlement import Settlement
from cycles_otel.budget.step import Step, new_key

_SHORT_RETRY_AFTER = 1.0
_NO_ANSWER = (Ruling.GO_UNENFORCED, Ruling.UNAVAILABLE)
_CANNOT_HAVE_ARRIVED = ("ConnectError", "ConnectTimeout", "CircuitOpenError")


@dataclass(frozen=True)
class Admission:
    """The answer to a step: the verdict, and what is to be settled after it, if anything is.

    Parameters
    ----------
    observer: looks on at the step's life. A denial leaves that open: who asked says ``denied``, or asks again.
    """

    verdict: Verdict
    observer: ReservationObserver
    admitted: Admitted | None = None


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
        self._connection = connection = Connection(config, observer, observe)
        self.settlement = settlement = Settlement(connection, observer, policy.overage_policy)
        self._asking = asking = background.Outstanding()
        # A closure over the parts: what the end of this object calls must not keep it alive.
        # A reserve that nobody waits for any more is pending as well, and then what gives it back.
        end_with(self, connection, lambda: [*asking.all(), *settlement.pending()])
        settlement.recover()

    async def reserve(self, step: Step) -> Admission:
        """Ask for budget before a step, on the caller's loop.

        A caller that is cancelled meanwhile, or collected with its event loop, gets no reservation: one that the
        server grants is given back.
        """
        return await self._answer(self._reserve(step, self.observer.reservation(step)))

    async def ask_again(self, step: Step, denied: Admission) -> Admission:
        """Ask once more for a step that was denied: only another answer changes that, the lack of one does not.

        It is asked under a key of its own: a lost reply of an earlier question is being looked after by that one's.
        """
        return await self._answer(self._reserve(replace(step, key=new_key()), denied.observer, denied))

    async def _answer(self, question: Coroutine[Any, Any, Admission]) -> Admission:
        asked, asking, left = self._connection.submit(question), self._asking, False

        # It does not hold the future, which holds it: a circle would be left to the collector of garbage.
        def answered(answer: Future[Admission]) -> None:
            # First given back, then no longer pending: whoever closes must see one or the other.
            if left:
                _give_back(answer)
            asking.discard(answer)

        asking.add(asked)
        asked.add_done_callback(answered)
        try:
            return await background.outcome_of(asked)
        except (asyncio.CancelledError, GeneratorExit):
            left = True
            if asked.done():
                _give_back(asked)
            raise

    async def decide(self, step: Step) -> Verdict:
        """Ask whether a step would be allowed, and hold nothing."""
        observer = self.observer.call(step)
        asked = self._connection.submit(self._decide(step, observer))
        self._asking.add(asked)
        asked.add_done_callback(self._asking.discard)
        verdict = await background.outcome_of(asked)
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
        await self._connection.aclose()

    async def _reserve(self, step: Step, observer: ReservationObserver, before: Admission | None = None) -> Admission:
        body = reserve_body(step, self.policy)
        response = await self._ask("reserve", lambda client: client.create_reservation(body), observer)
        verdict = self._judge("reserve", response)
        if verdict.ruling is not Ruling.GO:
            if unavailable_reason("reserve", response) and _may_have_arrived(response) and not self.policy.dry_run:
                self.settlement.reclaim(body, step, observer, self.policy.ttl_ms / 1000)
            if before is not None and verdict.ruling in _NO_ANSWER:
                return before
            self._tell(verdict, observer)
            owed = verdict.ruling is Ruling.GO_UNENFORCED and not self.policy.dry_run
            return Admission(verdict, observer, Unreserved(step, observer, self.settlement) if owed else None)
        if self.policy.dry_run:
            observer.shadowed(capped=verdict.caps)
            return Admission(verdict, observer)
        return Admission(verdict, observer, self._grant(step, verdict, observer))

    def _grant(self, step: Step, verdict: Verdict, observer: ReservationObserver) -> Reservation:
        connection, remaining_ms = self._connection, verdict.body.get("remaining_ttl_ms")
        reservation_id = str(verdict.body["reservation_id"])
        reservation = Reservation(
            reservation_id,
            step,
            lease=(remaining_ms if isinstance(remaining_ms, int) else self.policy.ttl_ms) / 1000,
            caps=verdict.caps,
            observer=observer,
            settlement=self.settlement,
        )
        observer.granted(reservation_id, step.amount, capped=verdict.caps)

        # Nor does this hold the reservation, which holds it.
        async def extend(body: dict[str, Any]) -> CyclesResponse:
            if not connection.is_open:
                return CyclesResponse.transport_error(ConnectionError("the connection is closed"))
            with connection.client() as client:
                return await client.extend_reservation(reservation_id, body)

        reservation.heartbeat = Heartbeat(step, reservation.lease, extend, observer)
        return reservation

    async def _decide(self, step: Step, observer: CallObserver) -> Verdict:
        body = decide_body(step)
        response = await self._ask("decide", lambda client: client.decide(body), observer)
        return self._judge("decide", response)

    def _judge(self, operation: str, response: CyclesResponse) -> Verdict:
        policy = self.policy
        verdict = judge(
            operation, response, fail_open=policy.fail_open, unbudgeted=policy.unbudgeted, dry_run=policy.dry_run
        )
        return _shadow(verdict) if policy.dry_run else verdict

    def _tell(self, verdict: Verdict, observer: ReservationObserver) -> None:
        """Say to telemetry how a step that holds no reservation ends its life."""
        if verdict.ruling is Ruling.GO_SHADOWED:
            observer.would_deny(verdict.reason)
        elif verdict.ruling is Ruling.GO_UNENFORCED:
            observer.unenforced(verdict.reason)
        elif verdict.ruling is Ruling.GO_UNBUDGETED:
            observer.unbudgeted()
        elif verdict.ruling is not Ruling.DENIED:
            observer.failed(verdict.reason)

    async def _ask(self, operation: str, send: Send, observer: CallObserver) -> CyclesResponse:
        """Ask, and once more where that helps: after a short Retry-After, or when the reply may have been lost.

        A reserve whose reply is lost may have been granted; the same key gives the same reservation again. While the
        circuit is open nothing is asked.
        """
        if self._connection.circuit.is_open:
            return NOT_ASKED
        # The body of a reserve says it to the server, a decide to nobody else.
        said = {"dry_run": True} if self.policy.dry_run else {}
        with self._connection.client() as client, observer.calling(operation, **said):
            response = await send(client)
        lack = unavailable_reason(operation, response)
        pause = _pause_before_asking_again(operation, response) if lack else None
        if lack is None or pause is None:
            return response
        observer.retrying(operation, 1, lack)
        await asyncio.sleep(pause)
        with self._connection.client() as client, observer.calling(operation, 1, **said):
            return await send(client)


def _pause_before_asking_again(operation: str, response: CyclesResponse) -> float | None:
    if response.status == 429:
        pause = retry_after(response)
        return pause if pause is not None and pause <= _SHORT_RETRY_AFTER else None
    return 0.0 if operation == "reserve" and _may_have_arrived(response) else None


def _may_have_arrived(response: CyclesResponse) -> bool:
    """Whether the server may have applied a request that it did not answer."""
    return response.status != 429 and type(response.transport_exception).__name__ not in _CANNOT_HAVE_ARRIVED


def _shadow(verdict: Verdict) -> Verdict:
    """A shadow stops nothing: a denial is one that would have been, any other stop goes unenforced."""
    if verdict.ruling is Ruling.DENIED:
        return Verdict(Ruling.GO_SHADOWED, verdict.reason, verdict.message, response=verdict.response)
    if not verdict.ruling.goes:
        return Verdict(Ruling.GO_UNENFORCED, verdict.reason, verdict.message, response=verdict.response)
    return verdict


def _give_back(asked: Future[Admission]) -> None:
    """The step was cancelled before it could start."""
    if asked.cancelled() or asked.exception() is not None:
        return
    admission = asked.result()
    if (admitted := admission.admitted) is not None:
        admitted.release("tool_not_run" if admitted.step.origin.tool else "run_cancelled")
    elif admission.verdict.ruling is Ruling.DENIED:
        admission.observer.denied(admission.verdict.reason)
