"""What the metrics must say of a workload, whatever way they are read.

Amounts are the ledger's, by subject and unit; settlements are the lives of the reservations; every call that has a
span is observed; an exemplar names a span that there is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

from cycles_otel.local import LedgerSnapshot
from cycles_otel.local.snapshot import EventState, ReservationState
from cycles_otel.telemetry import semconv
from cycles_otel.telemetry.schema import Metric
from tests.chaos.proxy import Passage
from tests.telemetry.readings import Example, Readings
from tests.telemetry.told import ToldSpan

SUBJECT = (semconv.TENANT, semconv.AGENT_NAME, semconv.ACTION_KIND, semconv.TARGET, semconv.UNIT)
Amounts: TypeAlias = Counter[tuple[str, ...]]

_MUST_BE_0 = (semconv.RESERVATIONS_ACTIVE, semconv.LEAKED, semconv.BACKLOG, semconv.TELEMETRY_DROPPED)


@dataclass(frozen=True)
class Figures:
    """The figures as ledger, wire and spans have them.

    Parameters
    ----------
    granted, released: the reservations whose grant, and whose release, the client heard of.
    """

    ledger: LedgerSnapshot
    wire: Sequence[Passage]
    spans: Sequence[ToldSpan]
    granted: Collection[str]
    released: Collection[str]

    def violations(self, said: Readings) -> Iterator[str]:
        """Each sentence is one way in which what is said is not what happened."""
        yield from self._wrong_amounts(said)
        yield from self._wrong_settlements(said)
        yield from self._wrong_calls(said)
        yield from self._wrong_examples(said)

    # --- Amounts ----------------------------------------------------------------------------------------------------

    def _wrong_amounts(self, said: Readings) -> Iterator[str]:
        for metric, amounts in self.amounts.items():
            found = said.by(metric, *SUBJECT)
            for subject in found.keys() | amounts.keys():
                if found[subject] != amounts[subject]:
                    yield f"{metric.name} says {found[subject]} of {subject}, the ledger {amounts[subject]}"

    @cached_property
    def amounts(self) -> dict[Metric, Amounts]:
        """What was held, charged, given back and not charged, by subject and unit."""
        held = [each for each in self.ledger.reservations if each.id in self.granted]
        paid: list[ReservationState | EventState] = [*self.ledger.committed, *self.ledger.events]
        charged = _sums((each, each.charged or 0) for each in paid)
        return {
            semconv.AMOUNT_RESERVED_TOTAL: _sums((each, each.reserved) for each in held),
            semconv.AMOUNT_COMMITTED_TOTAL: charged,
            semconv.AMOUNT_RELEASED_TOTAL: _sums((each, self._given_back(each)) for each in held),
            semconv.AMOUNT_UNCHARGED_TOTAL: _without_zeros(self._asked, charged),
        }

    def _given_back(self, reservation: ReservationState) -> int:
        heard = reservation.status == "COMMITTED" or reservation.id in self.released
        return reservation.reserved - min(reservation.charged or 0, reservation.reserved) if heard else 0

    @cached_property
    def _asked(self) -> Amounts:
        """What was asked to be charged, each key once."""
        charges = {each.key: each for each in self.wire if each.operation in ("commit", "event")}
        asked: Amounts = Counter()
        for passage in charges.values():
            asked[self._subject(passage)] += passage.body["actual"]["amount"]
        return asked

    def _subject(self, passage: Passage) -> tuple[str, ...]:
        if passage.operation == "commit":
            return _subject(self.ledger.reservation(passage.path.split("/")[3]))
        subject, action = passage.body["subject"], passage.body["action"]
        unit = passage.body["actual"]["unit"]
        return (subject["tenant"], subject.get("agent", ""), action["kind"], action["name"], unit)

    # --- Settlements ------------------------------------------------------------------------------------------------

    def _wrong_settlements(self, said: Readings) -> Iterator[str]:
        lives = [span.attributes for span in self.spans if span.name.startswith("cycles.reservation")]
        ended = Counter((life[semconv.ACTION_KIND], life.get(semconv.RESERVATION_OUTCOME)) for life in lives)
        counted = said.by(semconv.SETTLEMENT_COUNT, semconv.ACTION_KIND, semconv.RESERVATION_OUTCOME)
        for kind, outcome in ended.keys() | counted.keys():
            if outcome in ("committed", "released", "expired") and counted[kind, outcome] != ended[kind, outcome]:
                yield f"{counted[kind, outcome]} {kind} are counted as {outcome}, {ended[kind, outcome]} lives ended so"
        events = Counter(each.action["kind"] for each in self.ledger.events)
        for kind in events.keys() - {"agent.handoff"}:
            if counted[kind, "settled_by_event"] != events[kind]:
                yield f"{counted[kind, 'settled_by_event']} {kind} are counted as settled_by_event, not {events[kind]}"
        unenforced = sum(count for (_, outcome), count in ended.items() if outcome == semconv.UNENFORCED)
        if said.total(semconv.UNENFORCED_STEPS) != unenforced:
            yield f"{said.total(semconv.UNENFORCED_STEPS):g} unenforced steps are counted, not {unenforced}"
        for metric in _MUST_BE_0:
            if value := said.total(metric):
                yield f"{metric.name} is {value:g}"

    # --- Calls ------------------------------------------------------------------------------------------------------

    def _wrong_calls(self, said: Readings) -> Iterator[str]:
        calls = Counter((str(span.attributes[semconv.OPERATION_NAME]),) for span in self.spans if span.is_client)
        observed = said.by(semconv.OPERATION_DURATION, semconv.OPERATION_NAME, suffix="_count")
        if observed != calls:
            yield f"{dict(observed)} calls are observed, {dict(calls)} have a span"

    def _wrong_examples(self, said: Readings) -> Iterator[str]:
        known = {Example(span.trace_id, span.span_id) for span in self.spans}
        for reading in said:
            if not known.issuperset(reading.examples):
                yield f"an exemplar of {reading.name} names {reading.examples}, which is no span"


def _subject(entry: ReservationState | EventState) -> tuple[str, ...]:
    return (entry.tenant, entry.subject.get("agent", ""), entry.action["kind"], entry.action["name"], entry.unit)


def _sums(entries: Iterable[tuple[ReservationState | EventState, int]]) -> Amounts:
    sums: Amounts = Counter()
    for entry, amount in entries:
        sums[_subject(entry)] += amount
    return sums


def _without_zeros(asked: Amounts, charged: Amounts) -> Amounts:
    return Counter({subject: amount - charged[subject] for subject, amount in asked.items()})
