"""A run that is cancelled at each of its await points, one after the other: what was used is charged, nothing is held.

Every step of every task that the run makes on the program's loop is such a point: its own, its hooks', its tools',
those of the agents that it uses as tools. They are enumerated until the run comes to its end before its turn.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from runcycles import CyclesConfig

from cycles_otel import CyclesRunHooks
from cycles_otel.local import LocalCycles
from tests.chaos.accounts import Accounts
from tests.chaos.oracle import Oracle
from tests.chaos.proxy import ChaosProxy
from tests.chaos.schedule import ESTIMATE
from tests.chaos.steps import Steps
from tests.chaos.workload import Casting, Governed, an_agent_as_a_tool, awaited
from tests.telemetry.witness import Witness

Cancel = Callable[[], object]
Moment = Callable[[Cancel], Cancel]

BUDGETS = {"tenant:acme": {"TOKENS": 10**9, "RISK_POINTS": 10**9}}
POINTS = 3
PARTS = 4
"""Every fourth await point is a test, so that they run side by side."""


def _at_once(cancel: Cancel) -> Cancel:
    """In the step itself: what it made ready is cancelled before it begins."""
    return cancel


def _a_turn_later(cancel: Cancel) -> Cancel:
    """When what the step made ready has begun."""
    return lambda: asyncio.get_running_loop().call_soon(cancel)


async def _awaited(run: Governed, at: int, moment: Moment) -> bool:
    """Cancel the task that awaits the run; whether the run was still on its way."""
    victims: list[asyncio.Task[Any]] = []
    with Steps(at, moment(lambda: victims[0].cancel())) as steps:
        victims.append(asyncio.get_running_loop().create_task(run.start()))
        await asyncio.wait(victims)
    return steps.reached


async def _stream(run: Governed, at: int, moment: Moment) -> bool:
    """Cancel the stream, which nobody reads."""
    results: list[Any] = []
    with Steps(at, moment(lambda: results[0].cancel())) as steps:
        results.append(run.stream())
        await asyncio.wait([results[0].run_loop_task])
    return steps.reached


async def _reader(run: Governed, at: int, moment: Moment) -> bool:
    """Cancel the task that reads the stream; the stream itself goes on to its end."""
    victims: list[asyncio.Task[Any]] = []
    result = None

    async def read() -> None:
        nonlocal result
        result = run.stream()
        async for _ in result.stream_events():
            pass

    with Steps(at, moment(lambda: victims[0].cancel())) as steps:
        victims.append(asyncio.get_running_loop().create_task(read()))
        await asyncio.wait(victims)
        if result is not None and result.run_loop_task is not None:
            await asyncio.wait([result.run_loop_task])
    return steps.reached


@pytest.mark.parametrize(
    ("way", "moment"),
    [
        (_awaited, _at_once),
        (_awaited, _a_turn_later),
        (_stream, _at_once),
        (_stream, _a_turn_later),
        (_reader, _at_once),
    ],
    ids=["awaited-at_once", "awaited-a_turn_later", "stream-at_once", "stream-a_turn_later", "reader-at_once"],
)
@pytest.mark.parametrize("part", range(PARTS))
async def test_a_run_cancelled_at_any_await_point_is_charged_for_what_it_used(
    way: Callable[[Governed, int, Moment], Awaitable[bool]], moment: Moment, part: int, witness: Witness
) -> None:
    oracle, risks, at = Oracle(), dict[str, int](), part + 1
    with LocalCycles(BUDGETS) as server, ChaosProxy(lambda: server.url) as proxy:
        async with _hooks(server.config(base_url=proxy.url), witness) as hooks:
            while await way(_run(f"at{at}", oracle, risks, hooks), at, moment):
                at += PARTS
        found = Accounts.of_witness(oracle, server.ledger(), proxy.log, witness, risks, ample=True).violations()
    assert not found, "\n".join(found)
    assert at > 50


def _hooks(config: CyclesConfig, witness: Witness) -> CyclesRunHooks:
    return CyclesRunHooks(
        config=config,
        llm_unit="TOKENS",
        llm_estimate=ESTIMATE,
        default_tool_risk=POINTS,
        recorder=witness.recorder,
        fail_open=False,
    )


def _run(name: str, oracle: Oracle, risks: dict[str, int], hooks: CyclesRunHooks) -> Governed:
    """The same run each time, but for its name."""
    cast = Casting(name, random.Random("the same"), oracle, risks, points=(POINTS,))
    return Governed(cast, an_agent_as_a_tool(cast), awaited, tracing=False, hooks=hooks)
