"""How the program's tasks wait for what goes on in the background."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future

import pytest

from cycles_otel.budget import background


@pytest.mark.parametrize("turns", range(6))
async def test_a_cancellation_is_never_swallowed(turns: int) -> None:
    """However close it comes to the end of the work: a task that was not over when it was cancelled is cancelled."""
    work = Future[None]()
    waiting = asyncio.create_task(background.settle([work], timeout=10))
    await asyncio.sleep(0)
    work.set_result(None)
    for _ in range(turns):
        await asyncio.sleep(0)
    was_cancelled = waiting.cancel()
    await asyncio.wait([waiting])
    assert waiting.cancelled() == was_cancelled


async def test_a_wait_ends_at_its_bound() -> None:
    assert not await background.settle([Future[None]()], timeout=0.01)


async def test_a_wait_without_time_sees_what_is_over() -> None:
    work = Future[None]()
    work.set_result(None)
    assert await background.settle([work], timeout=0)
    assert not await background.settle([work, Future[None]()], timeout=0)
