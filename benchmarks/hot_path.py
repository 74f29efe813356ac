"""What a governed step spends its time on, part by part, and the floor below it."""

from __future__ import annotations

import asyncio
import cProfile
import pstats
import re
import threading
import time
from collections import Counter as Tally
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
from agents import Runner
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from benchmarks.scenario import STEPS, agent_of
from benchmarks.variants import config, recorder, tracer_provider
from cycles_otel import CyclesRunHooks
from cycles_otel.budget import background

Figures = dict[str, Any]

PARTS = {
    "cycles_otel hooks, run scope, pricing": r"cycles_otel/[a-z_]+\.py|cycles_otel/(degradation|pricing)/",
    "cycles_otel budget: requests, settlement": r"cycles_otel/budget/(?!journal|ownership)",
    "cycles_otel journal": r"cycles_otel/budget/(journal|ownership)|posix\.|hashlib",
    "cycles_otel telemetry": r"cycles_otel/telemetry/",
    "OpenTelemetry SDK": r"/opentelemetry/",
    "prometheus_client": r"/prometheus_client/",
    "runcycles": r"/runcycles/",
    "httpx, httpcore, h11, anyio": r"/(httpx|httpcore|h11|anyio|sniffio)/|socket|ipaddress|cookiejar|urllib",
    "asyncio": r"/asyncio/|select\.|_contextvars|/selectors\.py|/concurrent/",
    "Agents SDK and its pydantic": r"/(agents|openai)/|pydantic|/copy\.py|/dataclasses\.py|/typing",
}


async def profile(url: str, runs: int) -> Figures:
    """The share of each part in the CPU of both threads, by cProfile, all telemetry on.

    A profiler makes calls of Python dearer than those of C: a share says where to look, the CPU beside it is exact.
    """
    async with CyclesRunHooks(
        config=config(url), recorder=recorder(spans=True, metrics=True), settle_timeout=0
    ) as hooks:

        async def play() -> None:
            for _ in range(runs):
                await Runner.run(agent_of(), "hello", hooks=hooks)

        await play()
        began = time.process_time()
        await play()
        cpu = (time.process_time() - began) / runs / STEPS
        # One thread after the other: newer Pythons have one profiler for all threads.
        times = await _profiled(play, here=True) + await _profiled(play, here=False)
    total = sum(times.values())
    return {"cpu_of_step": cpu, "shares": {part: spent / total for part, spent in times.most_common()}}


async def _profiled(play: Callable[[], Awaitable[None]], *, here: bool) -> Tally[str]:
    # Of the thread alone: whoever calls the system waits for the other thread, too, before it goes on.
    profiler = cProfile.Profile(time.thread_time)
    switch = _call_here if here else _call_in_background
    switch(profiler.enable)
    await play()
    switch(profiler.disable)
    times: Tally[str] = Tally()
    for function, (_, _, own, _, callers) in pstats.Stats(profiler).stats.items():  # type: ignore[attr-defined]
        if function[0] != "~":
            times[_part_of(function)] += own
            continue
        for caller, (_, _, part_of_own, _) in callers.items():
            times[_part_of(function, caller)] += part_of_own
    return times


def _call_here(function: Callable[[], object]) -> None:
    function()


def _call_in_background(function: Callable[[], object]) -> None:
    done = threading.Event()

    def call() -> None:
        function()
        done.set()

    background.shared().call(call)
    done.wait()


def _part_of(function: tuple[str, int, str], caller: tuple[str, int, str] | None = None) -> str:
    names = [f"{function[0]} {function[2]}"] + ([f"{caller[0]} {caller[2]}"] if caller is not None else [])
    for name in reversed(names):
        for part, pattern in PARTS.items():
            if re.search(pattern, name):
                return part
    return "the rest of Python"


async def floor(url: str, rounds: int) -> Figures:
    """The CPU of what a governed step cannot do without, in s: httpx's round trip, a span, three metrics."""
    body = {"idempotency_key": "k", "subject": {"tenant": "acme"}, "estimate": {"unit": "TOKENS", "amount": 1}}
    async with httpx.AsyncClient(base_url=url) as client:

        async def round_trip() -> None:
            (await client.post("/v1/reservations", json=body)).json()

        await asyncio.gather(*(round_trip() for _ in range(3)))
        return {
            "one round trip of httpx": await _cpu(round_trip, rounds),
            "one span of the OpenTelemetry SDK": await _cpu(_spanning(), rounds),
            "three metrics of prometheus_client": await _cpu(_counting(), rounds),
        }


async def _cpu(work: Callable[[], Awaitable[object]], rounds: int) -> float:
    began = time.process_time()
    for _ in range(rounds):
        await work()
    return (time.process_time() - began) / rounds


def _spanning() -> Callable[[], Awaitable[object]]:
    tracer = tracer_provider().get_tracer("floor")
    attributes = {f"cycles.attribute.{number}": "value" for number in range(8)}

    async def span() -> None:
        tracer.start_span("cycles.reserve", attributes=attributes).end()

    return span


def _counting() -> Callable[[], Awaitable[object]]:
    registry = CollectorRegistry()
    counter = Counter("steps", "Steps.", ["agent", "kind"], registry=registry).labels("helper", "llm")
    gauge = Gauge("held", "Held.", ["kind"], registry=registry).labels("llm")
    histogram = Histogram("seconds", "Seconds.", ["operation"], registry=registry).labels("reserve")

    async def count() -> None:
        counter.inc()
        gauge.inc()
        histogram.observe(0.005)

    return count
