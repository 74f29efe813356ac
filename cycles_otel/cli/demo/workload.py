"""Serving the customers: dozens at a time, each in a run of its own, whatever becomes of the others."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from agents import Runner
from agents.exceptions import InputGuardrailTripwireTriggered

from cycles_otel.cli.demo.accounts import LLM_ESTIMATE, Account
from cycles_otel.cli.demo.amounts import USD, amount
from cycles_otel.cli.demo.cases import Case
from cycles_otel.cli.demo.desk import front_desk
from cycles_otel.errors import StepDeniedError

AT_A_TIME = 24
ARRIVALS = 11.5
"""How many customers come in a second."""


@dataclass
class DeskLog:
    """Counts the customers by what became of them, and tells of each denial.

    Parameters
    ----------
    seconds: how long the desk has worked.
    stories: one line for each denial, in the order in which they came.
    """

    seconds: float = 0.0
    came: int = 0
    answers: int = 0
    stops: int = 0
    refusals: int = 0
    stories: list[str] = field(default_factory=list)

    @property
    def served(self) -> int:
        """The customers that were dealt with, in whichever way."""
        return self.answers + self.stops + self.refusals

    def stopped(self, case: Case, denial: StepDeniedError) -> None:
        """A step was denied in the middle of a run."""
        scope = dict(level.split(":", 1) for level in (denial.scope or "").split("/"))
        what = scope.get("toolset", "an LLM call")
        self.stops += 1
        cost = _about(denial.amount or 0, denial.unit or "")
        self._tell(case, f"{scope.get('agent')} denied {what}, would have cost {cost} ({denial.reason_code})")

    def turned_away(self, case: Case, reason_code: str | None) -> None:
        """The guardrail saw that the budget is gone, before anything was spent."""
        self.refusals += 1
        self._tell(case, f"turned away, would have cost {_about(LLM_ESTIMATE, USD)} ({reason_code})")

    def _tell(self, case: Case, what: str) -> None:
        self.stories.append(f"{case.tenant.name} #{case.number}: {what}")


def _about(estimate: int, unit: str) -> str:
    """Risk points are known before; dollars are estimated."""
    return ("about " if unit == USD else "") + amount(estimate, unit)


async def serve_customers(cases: Iterable[Case], accounts: Mapping[str, Account], log: DeskLog) -> None:
    """Serve all cases as they come: a tenant that is served one at a time has a lane, the others share the rest."""
    started = time.monotonic()
    lanes: dict[str, deque[tuple[float, Case]]] = {}
    for index, case in enumerate(cases):
        lane = case.tenant.name if case.tenant.one_at_a_time else ""
        lanes.setdefault(lane, deque()).append((started + index / ARRIVALS, case))
    shared = lanes.pop("", deque())
    queues = [*lanes.values(), *[shared] * max(AT_A_TIME - len(lanes), 1)]
    await _all_of([_work_off(queue, accounts, log) for queue in queues])
    log.seconds += time.monotonic() - started


async def _work_off(queue: deque[tuple[float, Case]], accounts: Mapping[str, Account], log: DeskLog) -> None:
    while queue:
        arrival, case = queue.popleft()
        await asyncio.sleep(arrival - time.monotonic())
        log.came += 1
        await serve_customer(case, accounts[case.tenant.name], log)


async def serve_customer(case: Case, account: Account, log: DeskLog) -> None:
    """One run. A denial is no failure of the desk: a person goes on where the agents were stopped."""
    agent = front_desk(case.script(), account.guardrail, account.hooks)
    try:
        await Runner.run(agent, case.topic.question, hooks=account.hooks)
    except StepDeniedError as denial:
        log.stopped(case, denial)
    except InputGuardrailTripwireTriggered as tripped:
        log.turned_away(case, tripped.guardrail_result.output.output_info["reason_code"])
    else:
        log.answers += 1


async def _all_of(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """All of it at once; a failure of one, or a cancellation, ends the others."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
