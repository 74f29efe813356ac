"""A soak: `python -m tests.chaos.soak [--steps 50000] [--at-once 64]`.

Many governed steps, some at a time, while one request in a hundred goes wrong. The server and the proxy have a process
of their own, so that what is measured here is the program under budgets alone. Afterwards the ledger must equal what
was used, memory must be flat after the warm-up, and no task, thread, socket, file or reservation may be left.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import itertools
import logging
import multiprocessing
import os
import random
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import agents
from agents import Agent, Runner, Usage, function_tool
from agents.testing import ModelStep, ScriptedModel, assistant_message, function_call
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from prometheus_client import CollectorRegistry
from runcycles import CyclesConfig

from cycles_otel import CyclesRunHooks
from cycles_otel.budget.reservation import Reservation
from cycles_otel.local import LocalCycles
from cycles_otel.run import RunScope
from cycles_otel.telemetry import Recorder
from cycles_otel.telemetry.life import ReservationLife
from tests.chaos.clock import SteppedClock
from tests.chaos.proxy import ChaosProxy, Passage
from tests.chaos.schedule import any_trouble
from tests.chaos.troubles import Kind, Trouble
from tests.chaos.workload import ENDS

BUDGETS = {"tenant:acme": {"TOKENS": 10**12, "RISK_POINTS": 10**12}}
POINTS = 2
FAULT_SHARE = 0.01
LEASE_AND_GRACE_MS = 66_000
SAMPLES, FEW_SAMPLES = 25, 4
WARM_UP = 0.3
"""Of all steps: what is remembered of the last 10,000 requests of a kind fills up meanwhile."""
KEPT_NOT, A_FEW = (Reservation, ReservationLife, RunScope), 5
"""No more than a few of these may be left, however many there were: the last ones may hang on a thread's context."""
FLAT_OBJECTS, FLAT_RSS = 1.02, 1.05
_FLUSH_SECONDS = 60.0


# --- The server's process -------------------------------------------------------------------------------------------


def serve(pipe: Connection, seed: int, folder: str) -> None:
    """Serve until the pipe says that it is over, then tell what the ledger holds."""
    logging.disable(logging.CRITICAL)
    clock = SteppedClock()
    server = LocalCycles(BUDGETS, db=Path(folder) / "ledger.db", clock=clock)
    with server, ChaosProxy(lambda: server.url, Share(seed), log_limit=1_000) as proxy:
        pipe.send({"base_url": proxy.url, "api_key": server.api_key, "tenant": server.tenant})
        while not pipe.poll(1.0):
            server.clear_requests()
        pipe.recv()
        clock.step(LEASE_AND_GRACE_MS)
        server.sweep()
        ledger = server.ledger()
        pipe.send(
            {
                "tokens": ledger.charged("TOKENS"),
                "points": ledger.charged("RISK_POINTS"),
                "active": len(ledger.active),
                "statuses": dict(Counter(each.status for each in ledger.reservations)),
                "requests": proxy.count,
            }
        )


class Share:
    """Lets one request in a hundred go wrong; an outage, which hits all that are on their way, is none of that."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)

    def __call__(self, passage: Passage) -> Trouble | None:
        if self._chance.random() >= FAULT_SHARE:
            return None
        while (trouble := any_trouble(self._chance)).kind is Kind.OUTAGE:
            pass
        return trouble


# --- The program ----------------------------------------------------------------------------------------------------


@dataclass
class Work:
    """Runs agents, and counts what their models and tools use."""

    hooks: CyclesRunHooks
    steps: int = 0
    tokens: int = 0
    points: int = 0
    failed: int = 0
    numbers: Iterator[int] = field(default_factory=itertools.count)

    async def run(self) -> None:
        """Two LLM calls with two tools between them."""
        number = next(self.numbers)
        with contextlib.suppress(*ENDS):
            await Runner.run(self._agent(number), "hello", hooks=self.hooks)
            return
        self.failed += 1

    def _agent(self, number: int) -> Agent[Any]:
        async def look_up() -> str:
            self._ran()
            await asyncio.sleep(0)
            return "found"

        async def write_down() -> str:
            self._ran()
            return "written"

        called = [function_call(name, {}, call_id=f"{name}-{number}") for name in ("look_up", "write_down")]
        steps = [self._answer(called, 100 + number % 900), self._answer([assistant_message("done")], 50 + number % 70)]
        model = ScriptedModel([ModelStep.respond(step) for step in steps])
        tools = [function_tool(look_up), function_tool(write_down)]
        return Agent(name=f"agent {number % 20}", model=model, tools=list(tools))

    def _answer(self, output: Sequence[Any], tokens: int) -> Any:
        def answer(_: Any) -> ModelStep:
            self.steps += 1
            self.tokens += tokens
            usage = Usage(requests=1, input_tokens=tokens - 1, output_tokens=1, total_tokens=tokens)
            return ModelStep(output=list(output), usage=usage)

        return answer

    def _ran(self) -> None:
        self.steps += 1
        self.points += POINTS


@dataclass(frozen=True)
class Sample:
    """What the process holds at one moment."""

    steps: int
    seconds: float
    rss_kb: int
    objects: int
    tasks: int
    threads: int
    files: int

    @classmethod
    def taken(cls, steps: int, began: float) -> Sample:
        gc.collect()
        return cls(
            steps,
            time.monotonic() - began,
            int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024,
            len(gc.get_objects()),
            len(asyncio.all_tasks()),
            threading.active_count(),
            len(os.listdir("/proc/self/fd")),
        )

    def __str__(self) -> str:
        return (
            f"{self.steps:>8,} steps {self.seconds:>7.1f} s  RSS {self.rss_kb:>9,} kB  objects {self.objects:>9,}  "
            f"tasks {self.tasks:>4}  threads {self.threads:>3}  files {self.files:>4}"
        )


class _Nowhere(SpanExporter):
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.SUCCESS


async def soak(config: CyclesConfig, steps: int, at_once: int, sampled: int) -> tuple[Work, list[Sample], list[str]]:
    """Do the work, and say what was sampled meanwhile and what is left at the end."""
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(_Nowhere()))
    recorder = Recorder(metrics="prometheus", registry=CollectorRegistry(), tracer_provider=provider)
    before = Sample.taken(0, time.monotonic())
    began, samples, due = time.monotonic(), list[Sample](), itertools.count(steps // sampled, steps // sampled)
    async with CyclesRunHooks(
        config=config,
        llm_unit="TOKENS",
        llm_estimate=500,
        default_tool_risk=POINTS,
        fail_open=False,
        recorder=recorder,
    ) as hooks:
        work, next_sample = Work(hooks), next(due)

        async def worker() -> None:
            nonlocal next_sample
            while work.steps < steps:
                await work.run()
                if work.steps >= next_sample:
                    next_sample = next(due)
                    samples.append(Sample.taken(work.steps, began))
                    print(samples[-1], flush=True)

        await asyncio.gather(*(worker() for _ in range(at_once)))
    provider.shutdown()
    del hooks, work.hooks
    return work, samples, _left_over(before, Sample.taken(work.steps, began))


def _left_over(before: Sample, after: Sample) -> list[str]:
    print(f"before    {before}\nafter     {after}")
    found = [
        f"{getattr(after, what) - getattr(before, what)} {what} are left"
        for what in ("tasks", "threads", "files")
        if getattr(after, what) > getattr(before, what)
    ]
    kept = Counter(type(each).__name__ for each in gc.get_objects() if isinstance(each, KEPT_NOT))
    return found + [f"{count} objects of {name} are left" for name, count in kept.items() if count > A_FEW]


def not_flat(samples: list[Sample]) -> list[str]:
    """How memory grew from the end of the warm-up to the end, where it did."""
    settled = samples[int(len(samples) * WARM_UP) :]
    first, last = settled[: len(settled) // 4], settled[-(len(settled) // 4) :]
    found = []
    for what, bound in (("objects", FLAT_OBJECTS), ("rss_kb", FLAT_RSS)):
        was, became = (statistics.median(getattr(each, what) for each in part) for part in (first, last))
        print(f"{what} after the warm-up: {was:,.0f}, at the end: {became:,.0f} ({(became / was - 1) * 100:+.2f} %)")
        if became > was * bound:
            found.append(f"{what} grew from {was:,.0f} to {became:,.0f}")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Soak, print the figures, and say by the exit status whether all is as it must be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=50_000)
    parser.add_argument("--at-once", type=int, default=64)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--leaks-only", action="store_true", help="do not judge memory: a short soak never warms up")
    asked = parser.parse_args(arguments)
    logging.disable(logging.CRITICAL)
    agents.set_trace_processors([])
    with tempfile.TemporaryDirectory() as folder, _server(asked.seed, folder) as (pipe, connection):
        journal = Path(folder) / "journal"
        config = CyclesConfig(**connection, journal_dir=str(journal), retry_flush_timeout=_FLUSH_SECONDS)
        sampled = FEW_SAMPLES if asked.leaks_only else SAMPLES
        work, samples, wrong = asyncio.run(soak(config, asked.steps, asked.at_once, sampled))
        wrong += [f"{path.name} is left in the journal" for path in journal.rglob("*.json")]
        pipe.send("over")
        ledger = pipe.recv()
    wrong += [] if asked.leaks_only else not_flat(samples)
    for what, used in (("tokens", work.tokens), ("points", work.points)):
        print(f"{what}: used {used:,}, charged {ledger[what]:,}")
        wrong += [f"{used:,} {what} were used, {ledger[what]:,} charged"] if used != ledger[what] else []
    wrong += [f"{ledger['active']} reservations are active"] if ledger["active"] else []
    print(f"{ledger['requests']:,} requests, {work.failed:,} runs failed, reservations: {ledger['statuses']}")
    print("\n".join(f"WRONG: {each}" for each in wrong) or "The soak holds.")
    return 1 if wrong else 0


@contextlib.contextmanager
def _server(seed: int, folder: str) -> Iterator[tuple[Connection, dict[str, Any]]]:
    context = multiprocessing.get_context("spawn")
    pipe, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs, seed, folder), daemon=True)
    process.start()
    theirs.close()
    try:
        yield pipe, pipe.recv()
    finally:
        pipe.close()
        process.join(10)
        process.kill()


if __name__ == "__main__":
    sys.exit(main())
