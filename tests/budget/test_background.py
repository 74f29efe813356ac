"""Waiting for background work: bounded, and a cancellation is never lost."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
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


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork")
class TestFork:
    def test_no_lock_of_the_background_loop_is_left_locked_in_a_child(self) -> None:
        program = """
import os, threading, time
from cycles_otel.budget import background
lock, held = threading.Lock(), threading.Event()
async def work():
    with lock:
        held.set()
        time.sleep(0.3)
background.shared().submit(work())
held.wait()
child = os.fork()
if child == 0:
    os._exit(0 if lock.acquire(timeout=0.1) else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
async def more():
    return 5
assert background.shared().submit(more()).result(10) == 5, "the parent's loop goes on"
"""
        subprocess.run([sys.executable, "-c", program], check=True, timeout=50)

    def test_a_fork_from_the_background_thread_itself_waits_for_nothing(self) -> None:
        program = """
import os
from cycles_otel.budget import background
async def work():
    child = os.fork()
    if child == 0:
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
assert background.shared().submit(work()).result(10) == 0
"""
        subprocess.run([sys.executable, "-c", program], check=True, timeout=50)
