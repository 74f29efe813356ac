"""Serving the customers: dozens at a time, each in a run of its own, whatever becomes of the others."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Coroutine, Iterable, Mapping
from typing import Any

from agents import Runner
from agents.exceptions import InputGuardrailTripwireTriggered
from runcycles import BudgetExceededError

from cycles_otel.cli.demo.accounts import Account
from cycles_otel.cli.demo.cases import Case
from cycles_otel.cli.demo.desk import front_desk
from cycles_otel.cli.demo.log import DeskLog

AT_A_TIME = 24


async def serve_customers(cases: Iterable[Case], accounts: Mapping[str, Account], log: DeskLog) -> None:
    """Serve all cases: tenants that are served one at a time have a lane each, the others share the rest."""
    lanes: dict[str, deque[Case]] = {}
    for case in cases:
        lanes.setdefault(case.tenant.name if case.tenant.one_at_a_time else "", deque()).append(case)
    shared = lanes.pop("", deque())
    queues = [*lanes.values(), *[shared] * max(AT_A_TIME - len(lanes), 1)]
    started = time.monotonic()
    await _all_of([_work_off(queue, accounts, log) for queue in queues])
    log.seconds += time.monotonic() - started


async def _work_off(queue: deque[Case], accounts: Mapping[str, Account], log: DeskLog) -> None:
    while queue:
        case = queue.popleft()
        await serve_customer(case, accounts[case.tenant.name], log)


async def serve_customer(case: Case, account: Account, log: DeskLog) -> None:
    """One run. A denial is no failure of the desk: a person goes on where the agents were stopped."""
    agent = front_desk(case.script(), account.guardrail, account.hooks)
    try:
        await Runner.run(agent, case.topic.question, hooks=account.hooks)
    except BudgetExceededError as denial:
        log.stopped(case, denial)
    except InputGuardrailTripwireTriggered as tripped:
        log.turned_away(case, tripped.guardrail_result.output.output_info)
    else:
        log.answered(case)


async def _all_of(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """All of it at once; a failure of one, or a cancellation, ends the others."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
