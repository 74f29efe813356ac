"""What must hold of the service: what its answers say, what its ledger holds and what `/metrics` shows are the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from cycles_otel.local import LedgerSnapshot
from cycles_otel.telemetry import semconv
from tests.chaos.figures import SUBJECT, Figures
from tests.service.customers import Reply
from tests.service.processes import scope_of
from tests.telemetry.readings import Readings

UNITS = ("USD_MICROCENTS", "RISK_POINTS")
_BY_CUSTOMER = (semconv.WORKSPACE, semconv.UNIT)
_MUST_BE_0 = (
    *(semconv.RESERVATIONS_ACTIVE, semconv.LEAKED, semconv.BACKLOG),
    *(semconv.TELEMETRY_DROPPED, semconv.UNBUDGETED_STEPS, semconv.JOURNAL_FAILURES, semconv.PRICE_UNKNOWN),
)


def wrong_money(replies: Sequence[Reply], ledger: LedgerSnapshot, page: Readings) -> list[str]:
    """Each sentence is one way in which the property does not hold."""
    return [*_wrong_ledger(replies, ledger, page), *_wrong_page(ledger, page)]


def used_by(replies: Sequence[Reply]) -> dict[str, Counter[str]]:
    """What the answers say was used, by customer and unit."""
    used: dict[str, Counter[str]] = {}
    for reply in replies:
        used.setdefault(reply.customer, Counter()).update(reply.used)
    return used


def _wrong_ledger(replies: Sequence[Reply], ledger: LedgerSnapshot, page: Readings) -> Iterator[str]:
    uncharged = page.by(semconv.AMOUNT_UNCHARGED_TOTAL, *_BY_CUSTOMER)
    for customer, used in used_by(replies).items():
        for unit in UNITS:
            budget = ledger.budget(scope_of(customer), unit)
            capped = uncharged[customer, unit]
            if used[unit] != budget.spent + budget.debt + capped:
                yield f"{customer} was told {used[unit]:,} {unit}, {budget.spent:,} are charged, {capped:,} capped"
            if budget.reserved:
                yield f"{budget.reserved:,} {unit} are still held of {customer}"


def _wrong_page(ledger: LedgerSnapshot, page: Readings) -> Iterator[str]:
    charged = Figures(ledger, (), (), (), ()).amounts[semconv.AMOUNT_COMMITTED_TOTAL]
    shown = page.by(semconv.AMOUNT_COMMITTED_TOTAL, *SUBJECT)
    for subject in charged.keys() | shown.keys():
        if charged[subject] != shown[subject]:
            yield f"/metrics says {shown[subject]:,} of {subject}, the ledger {charged[subject]:,}"
    by_customer = page.by(semconv.AMOUNT_COMMITTED_TOTAL, *_BY_CUSTOMER)
    for (scope, unit), budget in ledger.budgets.items():
        says = by_customer[scope.rpartition(":")[2], unit]
        if says != budget.spent + budget.debt:
            yield f"/metrics says {says:,} {unit} of {scope}, not {budget.spent:,}"
    for metric in _MUST_BE_0:
        if value := page.total(metric):
            yield f"{metric.name} is {value:g}"
    if lost := page.total(semconv.SETTLEMENT_COUNT, cycles_reservation_outcome="lost"):
        yield f"{lost:g} settlements are lost"
