"""One hooks object in event loops that come and go, and in several threads at once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import pytest
from agents import Runner, function_tool

from cycles_otel import CyclesRunHooks
from cycles_otel.local import LocalCycles
from tests.run.desk import ESTIMATE, Books, Desk, agent, calls, says

T = TypeVar("T")


@function_tool
def look_up() -> str:
    """Answers at once."""
    return "found"


def _in_a_thread(work: Callable[[], T]) -> T:
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(work).result(timeout=30)


def _run_sync(hooks: CyclesRunHooks, *agents: Any) -> list[Any]:
    """Runs in a thread of its own: the SDK leaves the thread's loop open, and here it is closed."""

    def work() -> list[Any]:
        try:
            return [Runner.run_sync(each, "hello", hooks=hooks).final_output for each in agents]
        finally:
            asyncio.get_event_loop_policy().get_event_loop().close()

    return _in_a_thread(work)


def test_run_sync_is_governed(lasting_desk: Desk) -> None:
    assert _run_sync(lasting_desk.hooks, agent(calls(100, "look_up"), says(110), tools=[look_up])) == ["done"]
    assert asyncio.run(lasting_desk.charged()) == (210, 1)


def test_run_sync_twice_in_one_thread_and_once_in_another(lasting_desk: Desk) -> None:
    _run_sync(lasting_desk.hooks, agent(says(100)), agent(says(110)))
    _run_sync(lasting_desk.hooks, agent(says(120)))
    assert asyncio.run(lasting_desk.charged()) == (330, 0)


def test_run_sync_that_fails_holds_nothing(lasting_desk: Desk) -> None:
    with pytest.raises(ConnectionError):
        _run_sync(lasting_desk.hooks, agent(calls(100, "look_up"), ConnectionError("down"), tools=[look_up]))
    assert asyncio.run(lasting_desk.charged()) == (100, 1)


def test_several_asyncio_runs_one_after_the_other(lasting_desk: Desk, streamed: bool) -> None:
    lasting_desk.streamed = streamed
    books = Books()
    for tokens in (100, 110, 120):
        asyncio.run(_run(lasting_desk, agent(books.noted(says(tokens)))))
    assert asyncio.run(lasting_desk.charged()) == (330, 0)
    books.agree_with(lasting_desk.ledger)


def test_two_threads_at_once_each_with_its_loop(lasting_desk: Desk, streamed: bool) -> None:
    lasting_desk.streamed = streamed
    books, both_are_in_their_tool = Books(), threading.Barrier(2, timeout=20)

    @function_tool
    async def meet() -> str:
        await asyncio.to_thread(both_are_in_their_tool.wait)
        return "met"

    def work(tokens: int) -> None:
        first, last = books.noted(calls(tokens, "meet")), books.noted(says(tokens + 1))
        asyncio.run(_run(lasting_desk, agent(first, last, tools=[meet])))

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(work, [100, 200], timeout=30))
    assert asyncio.run(lasting_desk.charged()) == (602, 2)
    books.agree_with(lasting_desk.ledger)


def test_hooks_that_are_made_in_one_loop_and_used_in_another(server: LocalCycles) -> None:
    async def make() -> CyclesRunHooks:
        hooks = CyclesRunHooks(config=server.config(), llm_unit="TOKENS", llm_estimate=ESTIMATE)
        await _run(Desk(server, hooks), agent(says(100)))
        return hooks

    desk = Desk(server, asyncio.run(make()))
    asyncio.run(_run(desk, agent(says(110))))
    _in_a_thread(lambda: asyncio.run(_run(desk, agent(says(120)))))
    asyncio.run(desk.hooks.aclose())
    assert asyncio.run(desk.charged()) == (330, 0)


async def _run(desk: Desk, clerk: Any) -> None:
    await desk.run(clerk)
