"""The process of one variant: `python -m benchmarks.worker VARIANT`; orders come in as lines of JSON, figures go out.

It lives as long as its standard input, so that variants take turns and each is warm when it is timed.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import sys
import time
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from typing import Any

import agents

from benchmarks import hot_path, load
from benchmarks.scenario import Play
from benchmarks.variants import ALONE, VARIANTS, Variant

Figures = dict[str, Any]


class Worker:
    """Carries out orders; the runs of one address share their hooks, as those of a program do."""

    def __init__(self, variant: Variant) -> None:
        self._variant = variant
        self._plays: dict[str, Play] = {}
        self._alarms = Alarms()
        self._orders: dict[str, Callable[..., Awaitable[Figures]]] = {
            "runs": self._runs,
            "version": self._version,
            "length": load.run_length,
            "open": load.open_reservations,
            "labels": load.label_values,
            "memory": load.memory,
            "profile": hot_path.profile,
            "floor": hot_path.floor,
        }

    async def carry_out(self, order: str, settings: dict[str, Any]) -> Figures:
        """One order; the collector of garbage is left alone, after a clean begin."""
        gc.collect()
        return await self._orders[order](**settings)

    async def _runs(self, url: str, runs: int, concurrency: int) -> Figures:
        play = self._plays.get(url) or self._plays.setdefault(url, self._variant.set_up(url))
        latencies: list[float] = []
        self._alarms.number = 0

        async def one_after_the_other(count: int) -> None:
            for _ in range(count):
                began = time.perf_counter()
                await play()
                latencies.append(time.perf_counter() - began)

        began, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*(one_after_the_other(runs // concurrency) for _ in range(concurrency)))
        await asyncio.to_thread(self._variant.settle)
        cpu, elapsed = time.process_time() - cpu, time.perf_counter() - began
        figures = {"latencies": latencies, "cpu": cpu / len(latencies), "rate": len(latencies) / elapsed}
        return {**figures, "alarms": self._alarms.number}

    async def _version(self, package: str) -> Figures:
        return {"version": version(package)}


class Alarms(logging.Handler):
    """Counts what is logged as a warning or worse: a step that ran ungoverned, a request without an answer."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.number = 0
        logging.getLogger().addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """One more."""
        self.number += 1


async def work(variant: Variant) -> None:
    """Answer each line, until there is none."""
    worker, loop = Worker(variant), asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        order, settings = json.loads(line)
        try:
            figures = await worker.carry_out(order, settings)
        except Exception as error:  # noqa: BLE001 - the parent tells it, with the name of the variant
            figures = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    # The SDK's own traces go to OpenAI: not from here.
    agents.set_trace_processors([])
    asyncio.run(work({**VARIANTS, **ALONE}[sys.argv[1]]))
