"""Assertions whose failures show what did happen: on the steps of agents, and on the money of the embedded server."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

from cycles_otel.budget.connection import settle_what_is_pending
from cycles_otel.errors import InvalidParameterError
from cycles_otel.testing.ledger import described

if TYPE_CHECKING:
    from cycles_otel.local import LocalCycles
    from cycles_otel.testing.steps import Step, Steps

_POLL = 0.02
_PATIENCE = 10.0


class CyclesAssertionError(AssertionError):
    """An assertion of this module does not hold; the message shows what happened instead."""


def settled(timeout: float = _PATIENCE) -> None:
    """Wait until all hooks of the process have settled what is known to be spent, ``timeout`` s at most.

    Commits run in the background. ``Runner.run`` waits for them, for two seconds at most; a run that is cancelled does
    not wait.
    """
    settle_what_is_pending(timeout)


def assert_denied(steps: Steps, *, at: int | None = None, reason: str | None = None) -> Step:
    """The budget did not allow one of these steps; the first such step is returned.

    Parameters
    ----------
    steps: such as ``cycles_spans.of(agent="helper").tool_calls``.
    at: which of them was the first to be denied, counted from 1.
    reason: the reason code of that denial, such as ``BUDGET_EXCEEDED``.

    Raises ``CyclesAssertionError`` with the tree of what happened.
    """
    __tracebackhide__ = True
    if at is not None and at < 1:
        raise InvalidParameterError("at", at, "the number of a step, counted from 1")
    position = next((number for number, step in enumerate(steps, start=1) if step.denied), None)
    if position is None:
        _fail(steps, f"none of {len(steps)} {steps.called} was denied")
    denied = steps[position - 1]
    if at is not None and at != position:
        _fail(steps, f"not the {_ordinal(at)}, but the {_ordinal(position)} of {len(steps)} {steps.called} was denied")
    if reason is not None and reason != denied.reason:
        _fail(steps, f"the denial has the reason {denied.reason}, not {reason}")
    return denied


def assert_allowed(steps: Steps) -> None:
    """There were such steps, and the budget allowed them all.

    Raises ``CyclesAssertionError`` with the tree of what happened.
    """
    __tracebackhide__ = True
    if not steps:
        _fail(steps, f"there were no {steps.called}")
    if steps.denied:
        _fail(steps, f"{len(steps.denied)} of {len(steps)} {steps.called} were denied")


def assert_spent(
    server: LocalCycles,
    *,
    tenant: str | None = None,
    USD_MICROCENTS: int | None = None,
    TOKENS: int | None = None,
    CREDITS: int | None = None,
    RISK_POINTS: int | None = None,
) -> None:
    """So much was charged, in each unit that is given, by all tenants together or by ``tenant``; it is waited for.

    Raises ``CyclesAssertionError`` with the ledger.
    """
    __tracebackhide__ = True
    units = {"USD_MICROCENTS": USD_MICROCENTS, "TOKENS": TOKENS, "CREDITS": CREDITS, "RISK_POINTS": RISK_POINTS}
    expected = {unit: amount for unit, amount in units.items() if amount is not None}
    if not expected:
        raise InvalidParameterError("amounts", None, "at least one, as in RISK_POINTS=50")

    settled()
    ledger = server.ledger()
    spent = {unit: ledger.charged(unit, tenant) for unit in expected}
    wrong = [
        f"{spent[unit]:,} {unit} were spent, not {expected[unit]:,}"
        for unit in expected
        if spent[unit] != expected[unit]
    ]
    if wrong:
        raise CyclesAssertionError(f"{'; '.join(wrong)}. The ledger:\n{described(ledger)}")


def assert_nothing_reserved(server: LocalCycles, *, timeout: float = _PATIENCE) -> None:
    """No reservation is open: what ended is settled, within ``timeout`` s.

    Raises ``CyclesAssertionError`` with the ledger.
    """
    __tracebackhide__ = True
    if not _soon(lambda: not server.ledger().active, timeout):
        ledger = server.ledger()
        count = len(ledger.active)
        raise CyclesAssertionError(f"{count} reservations are still open. The ledger:\n{described(ledger)}")


def _soon(condition: Callable[[], bool], timeout: float) -> bool:
    deadline = time.monotonic() + timeout
    settled(timeout)
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL)
    return True


def _fail(steps: Steps, what: str) -> NoReturn:
    __tracebackhide__ = True
    raise CyclesAssertionError(f"{what}. What happened:\n{steps.tree}")


def _ordinal(number: int) -> str:
    teens = 10 < number % 100 < 20
    return f"{number}{'th' if teens else _SUFFIXES.get(number % 10, 'th')}"


_SUFFIXES = {1: "st", 2: "nd", 3: "rd"}
