"""The property: when the troubles are over and settlement has drained, the money is right and telemetry says the same.

- Every step that really ran is charged once, for what it used: what the ledger charged plus what the overage policy
  capped. That holds for one that ran unenforced too (the life of its reservation says so): an event charges it later.
- Two charges are right although nothing was used: a tool that was let start and was cancelled before its first line is
  charged, and so is an LLM call that was cut off, at its estimate, where ``unknown_spend`` says so.
- No reservation is active once its lease and grace are over. One that nobody settled was granted by a reply that the
  wire lost, and charges nothing.
- The sums of the metrics equal the ledger, the settlements that they count equal the lives of the reservations, and
  every request on the wire has one CLIENT span; a span without a request belongs to one that could not be sent, or
  was given up before.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from prometheus_client.samples import Sample

from cycles_otel.local import LedgerSnapshot
from cycles_otel.telemetry import semconv
from cycles_otel.telemetry.schema import Metric
from tests.chaos.oracle import RISK_POINTS, TOKENS, Oracle
from tests.chaos.proxy import Passage
from tests.telemetry.witness import Witness, attributes, span_id

UNITS = (TOKENS, RISK_POINTS)


@dataclass(frozen=True)
class Charge:
    """What the ledger charged for one step."""

    unit: str
    amount: int


@dataclass(frozen=True)
class Accounts:
    """Everything that is known after a workload.

    Parameters
    ----------
    estimate: what an LLM call is charged that was cut off, where ``unknown_spend`` is ``commit_estimate``; else None.
    ample: whether the budgets cover everything, so that nothing may be capped.
    """

    oracle: Oracle
    ledger: LedgerSnapshot
    wire: list[Passage]
    witness: Witness
    risks: dict[str, int]
    ample: bool
    estimate: int | None = None

    def violations(self) -> list[str]:
        """Each sentence is one way in which the property does not hold."""
        return [
            *self._wrong_charges(),
            *self._wrong_reservations(),
            *self._wrong_amounts(),
            *self._wrong_settlements(),
            *self._wrong_spans(),
        ]

    # --- What was charged -------------------------------------------------------------------------------------------

    @cached_property
    def charges(self) -> dict[str, list[Charge]]:
        """What the ledger charged, by the step's name."""
        found: defaultdict[str, list[Charge]] = defaultdict(list)
        for reservation in self.ledger.committed:
            found[reservation.action["name"]].append(Charge(reservation.unit, reservation.charged or 0))
        for event in self.ledger.events:
            if event.action["kind"] != "agent.handoff":
                found[event.action["name"]].append(Charge(event.unit, event.charged))
        return found

    @cached_property
    def lives(self) -> dict[str, list[dict[str, Any]]]:
        """What the spans of reservations say, by the step's name."""
        found: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        for span in self.witness.spans:
            if span.name.startswith("cycles.reservation"):
                found[attributes(span)[semconv.ACTION_NAME]].append(attributes(span))
        return found

    def _wrong_charges(self) -> Iterator[str]:
        for name in sorted({*self.oracle.used, *self.charges, *self.lives}):
            if len(self.lives[name]) > 1:
                yield f"{name} has {len(self.lives[name])} lives"
            charges = self.charges[name]
            if len(charges) > 1:
                yield f"{name} was charged {len(charges)} times: {charges}"
            if not any(self._is_charged(name, right) for right in self._right_charges(name)):
                used, outcome = self.oracle.used.get(name), self._outcome(name)
                yield f"{name} used {used}, life {outcome}, was charged {charges}"

    def _is_charged(self, name: str, right: int) -> bool:
        """Whether the ledger was asked to charge this, and did, but for what a policy capped."""
        charges = self.charges[name]
        charged = sum(charge.amount for charge in charges)
        if self.ample or not right:
            return charged == right
        return self.asked[name] == {right} and len(charges) == 1 and charged <= right

    @cached_property
    def asked(self) -> dict[str, set[int]]:
        """What commits and events asked to charge, by the step's name."""
        names = {each.id: each.action["name"] for each in self.ledger.reservations}
        found: defaultdict[str, set[int]] = defaultdict(set)
        for passage in self.wire:
            if passage.operation == "commit":
                found[names[passage.path.split("/")[3]]].add(passage.body["actual"]["amount"])
            elif passage.operation == "event":
                found[passage.body["action"]["name"]].add(passage.body["actual"]["amount"])
        return found

    def _right_charges(self, name: str) -> set[int]:
        used, outcome = self.oracle.used.get(name), self._outcome(name)
        if used is None:
            return {0, *self._not_known(name)}
        if outcome is None and used.amount:
            return set()
        return {used.amount}

    def _not_known(self, name: str) -> set[int]:
        """What may be charged for a step that was let go, and of which nobody knows what it used."""
        points = self.risks.get(name)
        return {points} if points is not None else {self.estimate} if self.estimate is not None else set()

    def _outcome(self, name: str) -> str | None:
        lives = self.lives[name]
        return lives[0].get(semconv.RESERVATION_OUTCOME) if lives else None

    # --- What is held -----------------------------------------------------------------------------------------------

    def _wrong_reservations(self) -> Iterator[str]:
        tried = [
            attributes(span) for span in self.witness.client_spans if span.name.startswith(("commit ", "release "))
        ]
        settled = {said.get(semconv.RESERVATION_ID) for said in tried}
        in_trouble = {passage.key for passage in self.wire if not self._reached_the_client(passage)}
        for reservation in self.ledger.reservations:
            name = reservation.action["name"]
            if reservation.status == "ACTIVE":
                yield f"the reservation of {name} is active"
            if reservation.status == "COMMITTED" and reservation.id not in self.granted:
                yield f"the reservation of {name} was committed, and nobody was told that it was granted"
            if reservation.id not in settled and reservation.idempotency_key not in in_trouble:
                yield f"the reservation of {name} was granted and left to expire, its life is {self._outcome(name)}"

    def _reached_the_client(self, passage: Passage) -> bool:
        """Whether the client read the reply that the proxy sent; a slow machine may have made it give up."""
        span = self.spans.get(passage.span_id)
        return passage.is_understood and span is not None and semconv.HTTP_STATUS_CODE in attributes(span)

    @cached_property
    def spans(self) -> dict[str, ReadableSpan]:
        """The CLIENT spans by their ids, as hexadecimal digits."""
        return {f"{span_id(span):016x}": span for span in self.witness.client_spans}

    # --- What the metrics say ---------------------------------------------------------------------------------------

    def _wrong_amounts(self) -> Iterator[str]:
        for (scope, unit), budget in self.ledger.budgets.items():
            if budget.spent + budget.debt != self.ledger.charged(unit):
                yield f"{scope} has spent {budget.spent} and owes {budget.debt} {unit}: not what was charged"
            if budget.reserved:
                yield f"{scope} still holds {budget.reserved} {unit}"
        for unit in UNITS:
            held = [each for each in self.ledger.reservations if each.unit == unit and each.id in self.granted]
            given_back = sum(
                each.reserved - min(each.charged or 0, each.reserved)
                for each in held
                if each.status == "COMMITTED" or (each.status == "RELEASED" and each.id in self.released)
            )
            yield from self._differs(semconv.AMOUNT_COMMITTED_TOTAL, unit, self.ledger.charged(unit))
            yield from self._differs(semconv.AMOUNT_RESERVED_TOTAL, unit, sum(each.reserved for each in held))
            yield from self._differs(semconv.AMOUNT_RELEASED_TOTAL, unit, given_back)
            yield from self._differs(semconv.AMOUNT_UNCHARGED_TOTAL, unit, self._capped(unit))

    @cached_property
    def granted(self) -> set[str]:
        """The reservations whose grant reached the client, in time or too late for their step."""
        return self._answered_with_a_reservation("reserve")

    @cached_property
    def released(self) -> set[str]:
        """The reservations whose release reached the client; without an answer a release is given up in the end."""
        return self._answered_with_a_reservation("release")

    def _answered_with_a_reservation(self, operation: str) -> set[str]:
        spans = [attributes(span) for span in self.witness.client_spans if span.name.startswith(f"{operation} ")]
        worked = [
            said for said in spans if said.get(semconv.HTTP_STATUS_CODE) == 200 and semconv.ERROR_TYPE not in said
        ]
        return {said[semconv.RESERVATION_ID] for said in worked if semconv.RESERVATION_ID in said}

    def _capped(self, unit: str) -> int:
        """What was asked to be charged, each key once, and was not."""
        asked = {
            passage.key: passage.body["actual"]
            for passage in self.wire
            if passage.operation in ("commit", "event") and "actual" in passage.body
        }
        total = sum(actual["amount"] for actual in asked.values() if actual["unit"] == unit)
        return int(total) - self.ledger.charged(unit)

    @cached_property
    def samples(self) -> dict[str, list[Sample]]:
        """All that the metrics say, by the sample's name: read once, since that takes long."""
        found: defaultdict[str, list[Sample]] = defaultdict(list)
        for family in self.witness.registry.collect():
            for sample in family.samples:
                found[sample.name].append(sample)
        return found

    def _said(self, metric: Metric, suffix: str = "", **labels: str) -> float:
        samples = self.samples[metric.prometheus_name + suffix]
        return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())

    def _differs(self, metric: Metric, unit: str, ledger: int) -> Iterator[str]:
        said = self._said(metric, cycles_unit=unit)
        if said != ledger:
            yield f"{metric.name} says {said:g} {unit}, the ledger {ledger}"

    def _wrong_settlements(self) -> Iterator[str]:
        lives = [life for each in self.lives.values() for life in each]
        outcomes = Counter(str(life.get(semconv.RESERVATION_OUTCOME)) for life in lives)
        charged = [event for event in self.ledger.events if event.action["kind"] != "agent.handoff"]
        by_event = self._said(semconv.SETTLEMENT_COUNT, cycles_reservation_outcome="settled_by_event")
        if by_event != len(charged):
            yield f"{by_event:g} settlements are counted as settled_by_event, {len(charged)} events charged something"
        for outcome in ("committed", "released", "expired"):
            counted = self._said(semconv.SETTLEMENT_COUNT, cycles_reservation_outcome=outcome)
            if counted != outcomes[outcome]:
                yield f"{counted:g} settlements are counted as {outcome}, {outcomes[outcome]} lives ended so"
        if outcomes["committed"] != len(self.ledger.committed):
            yield f"{outcomes['committed']} lives ended committed, {len(self.ledger.committed)} reservations did"
        for outcome in ("lost", "queued"):
            if outcomes[outcome]:
                yield f"{outcomes[outcome]} lives ended {outcome}"
        unenforced = self._said(semconv.UNENFORCED_STEPS)
        if unenforced != outcomes["unenforced"]:
            yield f"{unenforced:g} unenforced steps are counted, {outcomes['unenforced']} lives ended so"
        for metric in (semconv.RESERVATIONS_ACTIVE, semconv.LEAKED, semconv.BACKLOG, semconv.TELEMETRY_DROPPED):
            if value := self._said(metric):
                yield f"{metric.name} is {value:g}"

    # --- What the spans say -----------------------------------------------------------------------------------------

    def _wrong_spans(self) -> Iterator[str]:
        observed = self._said(semconv.OPERATION_DURATION, "_count")
        if observed != len(self.witness.client_spans):
            yield f"{observed:g} calls are observed, {len(self.witness.client_spans)} have a span"
        on_the_wire = Counter(passage.span_id for passage in self.wire)
        for passage in self.wire:
            if on_the_wire[passage.span_id] > 1 or passage.span_id not in self.spans:
                yield f"{passage} has no span of its own"
        for each, span in self.spans.items():
            if each not in on_the_wire and not _was_not_sent(span):
                yield f"the span {span.name} {attributes(span)} was no request on the wire"


def _was_not_sent(span: ReadableSpan) -> bool:
    said = attributes(span)
    gave_up = said.get(semconv.ERROR_TYPE) in (None, "connection_error", "timeout")
    return said.get(semconv.HTTP_STATUS_CODE) is None and gave_up
