"""Charging: a known spend becomes a commit, or the event that stands in for it, and leaves the journal after that.

An event stands in where the reservation is gone, and where the commit is refused for good: only after the server has
said that it did not take the commit. It has the commit's own key, so that the server takes it once however often it is
sent. A reservation that still stands is given back after it, or before it where the budget has too little left beside.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import dataclass, replace
from typing import Any

from runcycles import AsyncCyclesClient, CyclesResponse

from cycles_otel.budget.decision import body_of, error_code
from cycles_otel.budget.delivery import Delivery
from cycles_otel.budget.journal import Journal, KnownSpend
from cycles_otel.budget.observer import CallObserver
from cycles_otel.budget.requests import as_covered, in_full

logger = logging.getLogger("cycles_otel")

COMMITTED, SETTLED_BY_EVENT, QUEUED, LOST = "committed", "settled_by_event", "queued", "lost"
UNBUDGETED = "unbudgeted"
RELEASE_TIMEOUT = 30.0
_NO_BUDGET = ("NOT_FOUND", "UNIT_MISMATCH")
_NOT_COVERED = ("BUDGET_EXCEEDED", "OVERDRAFT_LIMIT_EXCEEDED")
_NEXT_QUESTION = 0.002
"""How long a run takes to come to its next step, in s: nobody waits for a charge, but that step for its question."""


@dataclass(frozen=True)
class Claim:
    """A spend on its way to the ledger.

    Parameters
    ----------
    source: where its amount is from.
    release: the body of the release that follows where an event charges it, if there is a reservation to release.
    lane: claims of one lane are first sent in the order in which they came.
    budgeted: whether a budget is known to exist, since something was reserved from it.
    """

    spend: KnownSpend
    observer: CallObserver
    source: str | None = None
    release: dict[str, Any] | None = None
    lane: str | None = None
    budgeted: bool = True


@dataclass(frozen=True)
class Charged:
    """How a claim ended, and what the server said last; the reply of no request has the status 0."""

    outcome: str
    response: CyclesResponse

    def amount(self, name: str, otherwise: int) -> int:
        """An amount of the reply, ``otherwise`` where it names none."""
        value = body_of(self.response).get(name)
        return int(value["amount"]) if isinstance(value, dict) and isinstance(value.get("amount"), int) else otherwise

    @property
    def in_ledger(self) -> bool:
        """Whether the server has it."""
        return self.outcome in (COMMITTED, SETTLED_BY_EVENT)


class Charging:
    """Charges claims, and journals them before anything is sent."""

    def __init__(self, journal: Journal, delivery: Delivery) -> None:
        self._journal = journal
        self._delivery = delivery

    async def charge(self, claim: Claim) -> Charged:
        """Journal a claim, and deliver it; whatever happens, it ends with an outcome."""
        journaled = self._journal.record(claim.spend)
        try:
            if claim.lane is not None:
                await asyncio.sleep(_NEXT_QUESTION)
            charged = await self._deliver(claim)
        except asyncio.CancelledError:
            # The connection is closed, or the loop ends: the journal keeps the spend for the next process.
            charged = None
        if charged is not None:
            return charged
        return _without_answer(QUEUED if journaled else _lost(claim, "no answer, and no journal"))

    async def _deliver(self, claim: Claim) -> Charged | None:
        """Send until it is charged; None where it has to wait for another process."""
        if claim.spend.commit is None:
            return await self._send_event(claim)
        response = await self._send(claim, "commit")
        if response is None:
            return None
        if response.is_success:
            return self._over(claim, Charged(COMMITTED, response))
        if _code(response) == "RESERVATION_FINALIZED":
            return self._over(claim, Charged(_lost(claim, _code(response)), response))
        if claim.spend.charge is None:
            # A record of the client library may name no event: it stays, as that library keeps it.
            return Charged(_lost(claim, _code(response)), response)
        return await self._charge_instead(claim, reservation_stands=response.status != 410)

    async def _charge_instead(self, claim: Claim, *, reservation_stands: bool) -> Charged | None:
        claim = replace(claim, spend=replace(claim.spend, commit=None))
        if reservation_stands and claim.release is not None:
            return await self._charge_beside_the_hold(claim, claim.release)
        self._journal.record(claim.spend)
        return await self._send_event(claim)

    async def _charge_beside_the_hold(self, claim: Claim, release: dict[str, Any]) -> Charged | None:
        """All of it, or nothing: an event that takes what is left there is would leave uncharged what the hold has."""
        whole = replace(claim, spend=replace(claim.spend, charge=in_full(claim.spend.charge)))
        self._journal.record(whole.spend)
        response = await self._send(whole, "event")
        if response is None:
            return None
        if response.is_success:
            charged = self._over(whole, Charged(SETTLED_BY_EVENT, response))
            # The spend is charged: a release that is cut off leaves the hold to its lease, and changes nothing of that.
            with contextlib.suppress(asyncio.CancelledError):
                await self.give_back(claim.spend.id, release, claim.observer)
            return charged
        if _code(response) not in _NOT_COVERED:
            return Charged(_lost(claim, _code(response)), response)
        await self.give_back(claim.spend.id, release, claim.observer)
        self._journal.record(claim.spend)
        return await self._send_event(claim)

    async def _send_event(self, claim: Claim) -> Charged | None:
        response = await self._send(claim, "event")
        if response is None:
            return None
        if response.is_success:
            return self._over(claim, Charged(SETTLED_BY_EVENT, response))
        if _code(response) in _NOT_COVERED and (capped := as_covered(claim.spend.charge)):
            spend = replace(claim.spend, charge=capped)
            self._journal.record(spend)
            return await self._send_event(replace(claim, spend=spend))
        if not claim.budgeted and _code(response) in _NO_BUDGET:
            return self._over(claim, Charged(UNBUDGETED, response))
        # The record stays: what the server does not accept somebody may mend, and the next process tries again.
        return Charged(_lost(claim, _code(response)), response)

    async def give_back(
        self, reservation_id: str, body: dict[str, Any], observer: CallObserver, timeout: float = RELEASE_TIMEOUT
    ) -> CyclesResponse | None:
        """Release a reservation; without an answer for the length of its lease it has expired by itself."""
        return await self._delivery.until_answered(
            "release",
            lambda client: client.release_reservation(reservation_id, body),
            observer,
            attributes={"release.reason": str(body["reason"])},
            timeout=timeout,
        )

    async def _send(self, claim: Claim, operation: str) -> CyclesResponse | None:
        """Send a commit or an event until it is answered; a floor that the server sets is journaled, too."""
        spend = claim.spend

        async def send(client: AsyncCyclesClient) -> CyclesResponse:
            if operation == "commit":
                return await client.commit_reservation(spend.id, dict(spend.commit or {}))
            return await client.create_event(dict(spend.charge or {}))

        def hold_off(seconds: float) -> None:
            self._journal.record(replace(spend, not_before=time.time() + seconds))

        return await self._delivery.until_answered(
            operation,
            send,
            claim.observer,
            attributes={"amount.source": claim.source} if claim.source else {},
            pause=spend.pause,
            hold_off=hold_off,
            lane=claim.lane,
            patient=operation == "event" and claim.budgeted,
        )

    def _over(self, claim: Claim, charged: Charged) -> Charged:
        self._journal.discard(claim.spend.id)
        return charged


def _without_answer(outcome: str) -> Charged:
    return Charged(outcome, CyclesResponse(status=0))


def _lost(claim: Claim, why: str) -> str:
    # The observer tells the operator, with the trace; this names the record that the journal may still have.
    logger.debug("The spend of %s could not be charged: %s", claim.spend.id, why)
    return LOST


def _code(response: CyclesResponse) -> str:
    return error_code(response) or str(response.status)
