"""All targets, each polled by its own schedule, and the values that disappear."""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections.abc import Callable, Collection, Iterable, Sequence

from cycles_otel.exporter.freshness import Freshness
from cycles_otel.exporter.pace import Pace
from cycles_otel.exporter.poller import Poll, Poller
from cycles_otel.exporter.report import Report
from cycles_otel.exporter.schedule import Schedule
from cycles_otel.exporter.targets import Target
from cycles_otel.telemetry import semconv
from cycles_otel.telemetry.balances import Budget
from cycles_otel.telemetry.recorder import Recorder

logger = logging.getLogger("cycles_otel")

MAX_BUDGETS = 10_000
_SHORTEST_REST = 0.01
_SAID_AGAIN = 0.5


class Exporter:
    """Polls the balances of targets into the gauges of budgets.

    Parameters
    ----------
    recorder: records the metrics; its guard must have room for ``max_budgets``.
    max_budgets: past how many budgets the log says that not all are shown.
    """

    def __init__(self, targets: Sequence[Target], recorder: Recorder, max_budgets: int = MAX_BUDGETS) -> None:
        self._recorder = recorder
        self._max_budgets = max_budgets
        self._freshness = Freshness()
        self._watches = [_Watch(each, recorder, functools.partial(self._seen, each.pace)) for each in targets]
        self._shortest_lifetime = min(target.pace.lifetime for target in targets)

    async def run(self) -> None:
        """Poll until cancelled, or until a defect ends one of the tasks."""
        begun, count = time.monotonic(), len(self._watches)
        going_on = [watch.go_on(index / count, begun) for index, watch in enumerate(self._watches)]
        tasks = [asyncio.create_task(each) for each in (self._expire(), *going_on)]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            await _ended(tasks)
            await self._close()
        for task in tasks:
            if not task.cancelled():
                task.result()

    async def poll_once(self) -> bool:
        """Poll every target once, and say whether all are up."""
        try:
            polls = await asyncio.gather(*(watch.once() for watch in self._watches))
            return all(poll.worked for poll in polls)
        finally:
            await self._close()

    def _seen(self, pace: Pace, budgets: Iterable[Budget]) -> None:
        before = len(self._freshness)
        self._freshness.seen(budgets, time.monotonic() + pace.lifetime)
        if before <= self._max_budgets < len(self._freshness):
            logger.warning("There are more than %d budgets: not all are shown (max-budgets)", self._max_budgets)

    async def _expire(self) -> None:
        while True:
            now = time.monotonic()
            for budget in self._freshness.expired(now):
                self._forget(budget)
                # Thousands at once, when a server is gone, must not hold up the polls of the others.
                await asyncio.sleep(0)
            due = self._freshness.next_expiry()
            rest = self._shortest_lifetime if due is None else min(due - now, self._shortest_lifetime)
            await asyncio.sleep(max(rest, _SHORTEST_REST))

    def _forget(self, budget: Budget) -> None:
        if budget in self._freshness:
            return  # It was seen again meanwhile.
        with self._recorder.contained("metrics", "a balance that disappears"):
            self._recorder.balances.forget(*budget)
            self._recorder.metrics.record(semconv.EXPORTER_EXPIRED, 1)

    async def _close(self) -> None:
        await asyncio.gather(*(watch.aclose() for watch in self._watches), return_exceptions=True)


async def _ended(tasks: Collection[asyncio.Task[None]]) -> None:
    """End all tasks.

    ``asyncio.wait_for`` of Python before 3.12 loses a cancellation that meets its result: it is said until heard.
    """
    left = [task for task in tasks if not task.done()]
    while left:
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=_SAID_AGAIN)
        left = [task for task in left if not task.done()]


class _Watch:
    """One target: who polls it, and who tells of it."""

    def __init__(self, target: Target, recorder: Recorder, seen: Callable[[Iterable[Budget]], None]) -> None:
        self._pace = target.pace
        self._poller = Poller(target, recorder, seen)
        self._report = Report(target, recorder)
        self.aclose = self._poller.aclose

    async def once(self) -> Poll:
        poll = await self._poller.poll()
        self._report.polled(poll)
        return poll

    async def go_on(self, phase: float, begun: float) -> None:
        """Poll again and again, never two at a time."""
        schedule = Schedule(self._pace, phase, begun)
        due = schedule.first
        while True:
            await asyncio.sleep(max(due - time.monotonic(), 0))
            poll = await self.once()
            now = time.monotonic()
            if poll.worked:
                due = schedule.after_success(now)
            else:
                due = schedule.after_failure(now, refused=poll.refused, retry_after=poll.retry_after)
