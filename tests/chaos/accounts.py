"""The property: when the troubles are over and settlement has drained, the money is right and telemetry says the same.

- Every step that really ran is charged once, for what it used: what the ledger charged plus what the overage policy
  capped. That holds for one that ran unenforced too (the life of its reservation says so): an event charges it later.
- Two charges are right although nothing was used: a tool that was let start and was cancelled before its first line is
  charged, and so is an LLM call that was cut off, at its estimate, where ``unknown_spend`` says so.
- No reservation is active once its lease and grace are over. One that nobody settled was granted by a reply that the
  wire lost, and charges nothing.
- Every request on the wire has one CLIENT span; a span without a request belongs to one that could not be sent, or was
  given up before. Every span has ended, and every life says how.
- Whatever way the metrics are read, they say the same (``figures.py``).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from cycles_otel.local import LedgerSnapshot
from cycles_otel.telemetry import semconv
from tests.chaos.figures import Figures
from tests.chaos.oracle import Oracle
from tests.chaos.proxy import Passage
from tests.telemetry.readings import Readings, of_registry
from tests.telemetry.told import ToldSpan, of_sdk
from tests.telemetry.witness import Witness

_BAD_ENDS = {"lost", "queued"}


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
    spans: those that have ended.
    unended: the names of those that have not.
    metrics: what the metrics say, by the way that they were read.
    estimate: what an LLM call is charged that was cut off, where ``unknown_spend`` is ``commit_estimate``; else None.
    ample: whether the budgets cover everything, so that nothing may be capped.
    """

    oracle: Oracle
    ledger: LedgerSnapshot
    wire: list[Passage]
    spans: Sequence[ToldSpan]
    metrics: Mapping[str, Readings]
    risks: Mapping[str, int]
    ample: bool
    estimate: int | None = None
    unended: Sequence[str] = ()

    @classmethod
    def of_witness(
        cls,
        oracle: Oracle,
        ledger: LedgerSnapshot,
        wire: list[Passage],
        witness: Witness,
        risks: dict[str, int],
        *,
        ample: bool,
        estimate: int | None = None,
        metrics: Mapping[str, Readings] | None = None,
    ) -> Accounts:
        """The accounts of a workload in this process; ``metrics`` were read in other ways than from a page."""
        told = of_sdk(witness.spans)
        said = {"/metrics": of_registry(witness.registry), **(metrics or {})}
        return cls(oracle, ledger, wire, told, said, risks, ample, estimate, witness.open_spans.names)

    def violations(self) -> list[str]:
        """Each sentence is one way in which the property does not hold."""
        return [
            *self._wrong_charges(),
            *self._wrong_reservations(),
            *self._wrong_budgets(),
            *self._wrong_lives(),
            *self._wrong_spans(),
            *(f"{route}: {each}" for route, said in self.metrics.items() for each in self.figures.violations(said)),
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
    def lives(self) -> dict[str, list[Mapping[str, Any]]]:
        """What the spans of reservations say, by the step's name."""
        found: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
        for span in self.spans:
            if span.name.startswith("cycles.reservation"):
                found[span.attributes[semconv.ACTION_NAME]].append(span.attributes)
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
        tried = [span for span in self.calls.values() if span.name.startswith(("commit ", "release "))]
        settled = {span.attributes.get(semconv.RESERVATION_ID) for span in tried}
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
        span = self.calls.get(passage.span_id)
        return passage.is_understood and span is not None and semconv.HTTP_STATUS_CODE in span.attributes

    @cached_property
    def calls(self) -> dict[str, ToldSpan]:
        """The CLIENT spans by their ids."""
        return {span.span_id: span for span in self.spans if span.is_client}

    def _wrong_budgets(self) -> Iterator[str]:
        for (scope, unit), budget in self.ledger.budgets.items():
            if budget.spent + budget.debt != self.ledger.charged(unit):
                yield f"{scope} has spent {budget.spent} and owes {budget.debt} {unit}: not what was charged"
            if budget.reserved:
                yield f"{scope} still holds {budget.reserved} {unit}"

    @cached_property
    def granted(self) -> set[str]:
        """The reservations whose grant reached the client, in time or too late for their step."""
        return self._answered_with_a_reservation("reserve")

    @cached_property
    def released(self) -> set[str]:
        """The reservations whose release reached the client; without an answer a release is given up in the end."""
        return self._answered_with_a_reservation("release")

    def _answered_with_a_reservation(self, operation: str) -> set[str]:
        asked = [span.attributes for span in self.calls.values() if span.name.startswith(f"{operation} ")]
        worked = [
            said for said in asked if said.get(semconv.HTTP_STATUS_CODE) == 200 and semconv.ERROR_TYPE not in said
        ]
        return {said[semconv.RESERVATION_ID] for said in worked if semconv.RESERVATION_ID in said}

    @cached_property
    def figures(self) -> Figures:
        """What the metrics must say."""
        return Figures(self.ledger, self.wire, self.spans, self.granted, self.released)

    # --- What the spans say -----------------------------------------------------------------------------------------

    def _wrong_lives(self) -> Iterator[str]:
        lives = [life for each in self.lives.values() for life in each]
        outcomes = Counter(life.get(semconv.RESERVATION_OUTCOME) for life in lives)
        for outcome in outcomes.keys() - {*semconv.VALUES[semconv.RESERVATION_OUTCOME]} | outcomes.keys() & _BAD_ENDS:
            yield f"{outcomes[outcome]} lives ended {outcome}"
        if outcomes["committed"] != len(self.ledger.committed):
            yield f"{outcomes['committed']} lives ended committed, {len(self.ledger.committed)} reservations did"

    def _wrong_spans(self) -> Iterator[str]:
        if self.unended:
            yield f"not ended: {self.unended}"
        on_the_wire = Counter(passage.span_id for passage in self.wire)
        for passage in self.wire:
            if on_the_wire[passage.span_id] > 1 or passage.span_id not in self.calls:
                yield f"{passage} has no span of its own"
        for each, span in self.calls.items():
            if each not in on_the_wire and not _was_not_sent(span):
                yield f"the span {span.name} {span.attributes} was no request on the wire"


def _was_not_sent(span: ToldSpan) -> bool:
    gave_up = span.attributes.get(semconv.ERROR_TYPE) in (None, "connection_error", "timeout")
    return span.attributes.get(semconv.HTTP_STATUS_CODE) is None and gave_up
