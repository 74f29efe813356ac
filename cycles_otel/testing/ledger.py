"""The ledger of the embedded server as text, for whom looks for money that is not where it should be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cycles_otel.local import EventState, LedgerSnapshot, ReservationState


def described(ledger: LedgerSnapshot) -> str:
    """Each budget, then what was reserved and charged, in the order in which it came; a line each."""
    return "\n".join([*_budgets(ledger), *_entries(ledger)]) or "nothing"


def _budgets(ledger: LedgerSnapshot) -> Iterator[str]:
    for budget in ledger.budgets.values():
        debt = f", {budget.debt:,} owed" if budget.debt else ""
        yield (
            f"{budget.scope}: {budget.spent:,} spent{debt}, {budget.reserved:,} reserved, {budget.remaining:,} left"
            f" of {budget.allocated:,} {budget.unit}"
        )


def _entries(ledger: LedgerSnapshot) -> list[str]:
    entries = [*map(_reservation, ledger.reservations), *map(_event, ledger.events)]
    return [line for _, line in sorted(entries, key=lambda entry: entry[0])]


def _reservation(entry: ReservationState) -> tuple[int, str]:
    amount = _amount(entry.charged, entry.reserved, entry.unit)
    return entry.created_ms, f"  {entry.status.lower()} {_what(entry)}: {amount}"


def _event(entry: EventState) -> tuple[int, str]:
    return entry.created_ms, f"  event {_what(entry)}: {_amount(entry.charged, entry.actual, entry.unit)}"


def _what(entry: ReservationState | EventState) -> str:
    agent = f" by {entry.subject['agent']}" if "agent" in entry.subject else ""
    return f"{entry.action['kind']} {entry.action['name']}{agent}"


def _amount(charged: int | None, asked: int, unit: str) -> str:
    return f"{asked:,} {unit}" if charged is None else f"{charged:,} of {asked:,} {unit}"
