"""Waiting for background work: bounded, and a cancellation is never lost."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future

import pytest

from cycles_otel.budget.background import Outstanding, outcome_of, settle, settle_blocking


class TestSettle:
    async def test_it_ends_when_all_is_over(self) -> None:
        one, other = Future[int](), Future[int]()
        waiting = asyncio.ensure_future(settle([one, other], timeout=30))
        one.set_result(1)
        await asyncio.sleep(0.01)
        assert not waiting.done()
        other.set_exception(ValueError())
        assert await waiting is True

    async def test_it_gives_up_after_the_timeout(self) -> None:
        work = Future[int]()
        assert await settle([work], timeout=0.01) is False
        assert settle_blocking([work], timeout=0.01) is False

    async def test_what_is_over_is_not_waited_for(self) -> None:
        work = Future[int]()
        work.set_result(1)
        assert await settle([work], timeout=0) is True
        assert settle_blocking([work], timeout=0) is True

    @pytest.mark.parametrize("turns", range(6))
    async def test_a_cancellation_that_comes_together_with_the_result_is_not_lost(self, turns: int) -> None:
        work = Future[int]()
        waiting = asyncio.ensure_future(settle([work], timeout=30))
        await asyncio.sleep(0)
        work.set_result(1)
        for _ in range(turns):
            await asyncio.sleep(0)
        is_accepted = waiting.cancel()
        await asyncio.wait([waiting])
        assert waiting.cancelled() == is_accepted

    async def test_a_cancelled_wait_leaves_the_work_alone(self) -> None:
        work = Future[int]()
        waiting = asyncio.ensure_future(outcome_of(work))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert waiting.cancelled()
        assert not work.done()

    def test_work_that_ends_after_the_loop_of_its_waiter_disturbs_nobody(self) -> None:
        work = Future[int]()
        assert asyncio.run(settle([work], timeout=0.01)) is False
        work.set_result(1)


class TestOutstanding:
    def test_it_knows_how_much_is_left_and_since_when(self) -> None:
        outstanding, first, second = Outstanding(), Future[int](), Future[int]()
        assert outstanding.backlog() == (0, None)
        outstanding.add(first)
        outstanding.add(second)
        outstanding.discard(first)
        outstanding.discard(first)
        left, age = outstanding.backlog()
        assert outstanding.all() == [second]
        assert left == 1
        assert age is not None
        assert age >= 0
