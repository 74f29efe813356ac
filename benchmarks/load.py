"""How the cost of this package grows: with the length of a run, what is held, the values of labels, the steps done."""

from __future__ import annotations

import asyncio
import gc
import resource
import time
import tracemalloc
from typing import Any

from agents import RunConfig, Runner
from runcycles import Unit

from benchmarks.scenario import agent_of
from benchmarks.variants import config, recorder
from cycles_otel import CyclesRunHooks
from cycles_otel.assembly import observed_governor
from cycles_otel.budget.governor import Admission
from cycles_otel.budget.policy import Policy
from cycles_otel.budget.requests import Spend
from cycles_otel.budget.step import Action, Origin, Step
from cycles_otel.budget.subject import Subject

Figures = dict[str, Any]


def _hooks(url: str, *, telemetry: bool = True) -> CyclesRunHooks:
    return CyclesRunHooks(config=config(url), recorder=recorder(spans=telemetry, metrics=telemetry))


async def run_length(url: str, steps: int) -> Figures:
    """The CPU of a step in one run of ``steps`` of them, over that in runs of 21; the SDK's own is off."""
    tool_calls = steps // 2
    async with _hooks(url) as hooks:
        short = [await _cpu_of_run(hooks, 10) - await _cpu_of_run(None, 10) for _ in range(max(tool_calls // 50, 1))]
        long = await _cpu_of_run(hooks, tool_calls) - await _cpu_of_run(None, tool_calls)
    return {"ratio": long / (2 * tool_calls + 1) / (sum(short) / len(short) / 21)}


async def _cpu_of_run(hooks: CyclesRunHooks | None, tool_calls: int) -> float:
    agent, began = agent_of(tool_calls), time.process_time()
    await Runner.run(agent, "hello", hooks=hooks, max_turns=tool_calls + 2, run_config=RunConfig())
    return time.process_time() - began


async def open_reservations(url: str, count: int) -> Figures:
    """The bytes of one more reservation that is held, and the CPU of a step beside ``count`` of them over one alone."""
    # A lease that outlasts the measurement: what is held beats meanwhile otherwise, and that is what would be measured.
    policy, told = Policy(ttl_ms=3_600_000), recorder(spans=True, metrics=True)
    governor = observed_governor(config(url), policy, told, tenant="acme", mirror=None)
    try:
        alone = await _cpu_of_steps(governor)
        gc.collect()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        held = []
        for _ in range(max(count // 100, 1)):
            held += await asyncio.gather(*(governor.reserve(_step()) for _ in range(min(count, 100))))
        gc.collect()
        each = (tracemalloc.get_traced_memory()[0] - before) / len(held)
        tracemalloc.stop()
        beside = await _cpu_of_steps(governor)
        for first in range(0, len(held), 100):
            await asyncio.gather(*(_given_back(admission) for admission in held[first : first + 100]))
    finally:
        await governor.aclose()
    return {"bytes": each, "ratio": beside / alone}


async def _given_back(admission: Admission) -> None:
    released = admission.admitted.release("run_failed") if admission.admitted is not None else None
    if released is not None:
        await asyncio.wrap_future(released)


async def _cpu_of_steps(governor: Any, steps: int = 500) -> float:
    began = time.process_time()
    for _ in range(steps):
        admission = await governor.reserve(_step())
        await asyncio.wrap_future(admission.admitted.commit(Spend(1, "usage")))
    return time.process_time() - began


def _step() -> Step:
    action = Action("llm.completion", "gpt-4o")
    return Step(Subject(tenant="acme"), action, Unit.USD_MICROCENTS, 5, Origin(agent="helper", run_id="run"))


async def label_values(url: str, values: int) -> Figures:
    """The CPU of a run whose agent has one of so many names, over that of runs of one agent."""
    async with _hooks(url) as hooks:
        names = [f"agent-{number}" for number in range(values)]
        one = await _cpu_of_agents(hooks, ["helper"] * values)
        many = await _cpu_of_agents(hooks, names)
    return {"ratio": many / one}


async def _cpu_of_agents(hooks: CyclesRunHooks, names: list[str]) -> float:
    began = time.process_time()
    for name in names:
        await Runner.run(agent_of(name=name), "hello", hooks=hooks)
    return time.process_time() - began


async def memory(url: str, steps: int) -> Figures:
    """What a run keeps while it is going on, and what all of ``steps`` steps left behind after they were done."""
    async with _hooks(url) as hooks:
        await _finish(hooks, max(steps // 10, 30))
        gc.collect()
        objects, resident = len(gc.get_objects()), _resident()
        await _finish(hooks, steps)
        gc.collect()
        grown = {"objects": len(gc.get_objects()) / objects, "resident": _resident() / resident}
        return {"bytes_of_run": await _bytes_of_run(hooks), **grown}


async def _finish(hooks: CyclesRunHooks, steps: int) -> None:
    for _ in range(max(steps // 3 // 16, 1)):
        await asyncio.gather(*(Runner.run(agent_of(), "hello", hooks=hooks) for _ in range(16)))


async def _bytes_of_run(hooks: CyclesRunHooks, runs: int = 20) -> float:
    """The traced memory of governed runs in the middle of a model's call, less that of the same runs ungoverned."""
    return (await _traced(hooks, runs) - await _traced(None, runs)) / runs


async def _traced(hooks: CyclesRunHooks | None, runs: int) -> int:
    in_the_middle, go_on = asyncio.Semaphore(0), asyncio.Event()

    async def pause(_: Any, __: Any) -> str:
        in_the_middle.release()
        await go_on.wait()
        return "You are a helpful assistant."

    agent_of().clone()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    agents = [agent_of().clone(instructions=pause) for _ in range(runs)]
    going_on = [asyncio.create_task(Runner.run(agent, "hello", hooks=hooks)) for agent in agents]
    for _ in range(runs):
        await in_the_middle.acquire()
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    go_on.set()
    await asyncio.gather(*going_on)
    return used


def _resident() -> int:
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
