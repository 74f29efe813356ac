"""Streams that are not read to their end: nothing is held afterwards, and what was used is charged once."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator

import pytest
from agents import RunResultStreaming, function_tool

from cycles_otel import CyclesRunHooks
from cycles_otel.local import Hold, LocalCycles
from tests.run.desk import ESTIMATE, Desk, Gate, agent, calls, cancelled, hooks_of, says, until


@function_tool
def look_up() -> str:
    """Answers at once."""
    return "found"


@pytest.fixture
async def desk(server: LocalCycles, tracing: bool) -> AsyncIterator[Desk]:
    async with hooks_of(server, ttl_ms=1_000) as hooks:
        yield Desk(server, hooks, streamed=True, tracing=tracing)


async def _over(result: RunResultStreaming) -> None:
    assert result.run_loop_task is not None
    await asyncio.wait([result.run_loop_task], timeout=10)
    assert result.run_loop_task.done()


async def test_a_stream_that_is_read_to_its_end(desk: Desk) -> None:
    await desk.run(agent(calls(100, "look_up"), says(110), tools=[look_up]))
    assert await desk.charged() == (210, 1)


async def test_a_stream_that_nobody_reads(desk: Desk) -> None:
    await _over(desk.stream(agent(calls(100, "look_up"), says(110), tools=[look_up])))
    assert await desk.charged() == (210, 1)
    await desk.no_heartbeat_is_left()


async def test_a_stream_that_nobody_reads_and_that_fails(desk: Desk) -> None:
    await _over(desk.stream(agent(calls(100, "look_up"), ConnectionError("down"), tools=[look_up])))
    assert await desk.charged() == (100, 1)


async def test_a_stream_that_is_left_half_way_runs_on_to_its_end(desk: Desk) -> None:
    gate = Gate()
    result = desk.stream(agent(calls(100, "wait"), says(110), tools=[gate.tool()]))
    async for _ in result.stream_events():
        break
    await gate.reached.wait()
    gate.opened.set()
    await _over(result)
    assert await desk.charged() == (210, 1)
    await desk.no_heartbeat_is_left()


async def test_a_stream_whose_reader_is_cancelled_at_its_own_work_runs_on_to_its_end(desk: Desk) -> None:
    gate, at_work = Gate(), Gate()
    result = desk.stream(agent(calls(100, "wait"), says(110), tools=[gate.tool()]))

    async def read() -> None:
        async for _ in result.stream_events():
            await at_work.pass_through()

    reader = asyncio.create_task(read())
    await at_work.reached.wait()
    await cancelled(reader)
    gate.opened.set()
    await _over(result)
    assert await desk.charged() == (210, 1)


class TestCancel:
    """``result.cancel()``, of which the SDK has two modes."""

    async def test_before_anything_has_happened(self, desk: Desk) -> None:
        result = desk.stream(agent(says(100)))
        result.cancel()
        await _over(result)
        assert await desk.charged() == (0, 0)
        assert desk.sent("reserve") == 0

    async def test_at_once_in_a_model_call(self, desk: Desk) -> None:
        gate = Gate()
        result = desk.stream(agent(gate.before(says(100))))
        await gate.reached.wait()
        result.cancel()
        await _over(result)
        assert await desk.charged() == (0, 0)
        await desk.no_heartbeat_is_left()

    async def test_at_once_in_a_tool(self, desk: Desk) -> None:
        gate = Gate()
        result = desk.stream(agent(calls(100, "wait"), tools=[gate.tool()]))
        await gate.reached.wait()
        result.cancel()
        await _over(result)
        assert await desk.charged() == (100, 1)

    async def test_at_once_while_a_reserve_is_in_flight(self, desk: Desk) -> None:
        result = desk.stream(agent(says(100)))
        with desk.server.hold("reserve", applied=True) as hold:
            await hold.arrived()
            result.cancel()
            await _over(result)
        assert await desk.charged() == (0, 0)

    async def test_while_the_stream_is_read(self, desk: Desk) -> None:
        gate = Gate()
        result = desk.stream(agent(calls(100, "wait"), tools=[gate.tool()]))
        reader = asyncio.create_task(_read(result))
        await gate.reached.wait()
        result.cancel()
        await reader
        await _over(result)
        assert await desk.charged() == (100, 1)

    async def test_after_the_turn_in_a_model_call(self, desk: Desk) -> None:
        gate = Gate()
        result = desk.stream(agent(gate.before(calls(100, "look_up")), says(110), tools=[look_up]))
        await gate.reached.wait()
        result.cancel(mode="after_turn")
        gate.opened.set()
        await _read(result)
        assert await desk.charged() == (100, 1)

    async def test_after_the_turn_in_a_tool(self, desk: Desk) -> None:
        gate = Gate()
        result = desk.stream(agent(calls(100, "wait"), says(110), tools=[gate.tool()]))
        await gate.reached.wait()
        result.cancel(mode="after_turn")
        gate.opened.set()
        await _over(result)
        assert await desk.charged() == (100, 1)
        await desk.no_heartbeat_is_left()


class TestLoopThatEnds:
    """The program's event loop is over while a run still goes on."""

    @pytest.mark.parametrize(("at", "charged"), [("model", (0, 0)), ("tool", (100, 1))])
    def test_asyncio_run_returns_while_a_stream_goes_on(
        self, lasting_desk: Desk, at: str, charged: tuple[int, int]
    ) -> None:
        lasting_desk.streamed = True
        asyncio.run(_start_and_reach(lasting_desk, at))
        assert asyncio.run(lasting_desk.charged()) == charged
        asyncio.run(lasting_desk.no_heartbeat_is_left())

    def test_asyncio_run_returns_right_after_a_stream_was_read(self, lasting_desk: Desk) -> None:
        lasting_desk.streamed = True
        asyncio.run(_run_once(lasting_desk))
        assert asyncio.run(lasting_desk.charged()) == (210, 1)

    # The SDK's own coroutines complain when they are collected half way.
    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    @pytest.mark.parametrize(("at", "charged"), [("model", (0, 0)), ("tool", (100, 1))])
    @pytest.mark.parametrize("streamed", [False, True], ids=["awaited", "streamed"])
    def test_a_loop_is_closed_under_a_run(
        self, lasting_desk: Desk, at: str, charged: tuple[int, int], streamed: bool
    ) -> None:
        """Nobody cancels the run's task; the run is over when the task is collected."""
        lasting_desk.streamed = streamed
        loop = asyncio.new_event_loop()
        loop.set_exception_handler(lambda *_: None)  # It would log that a task was destroyed while pending.
        loop.run_until_complete(_start_and_reach(lasting_desk, at))
        loop.close()
        gc.collect()
        assert asyncio.run(lasting_desk.charged()) == charged
        asyncio.run(lasting_desk.no_heartbeat_is_left())

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    def test_a_loop_is_closed_under_a_reserve(self, server: LocalCycles, streamed: bool) -> None:
        hooks = CyclesRunHooks(config=server.config(), llm_unit="TOKENS", llm_estimate=ESTIMATE)
        lasting_desk = Desk(server, hooks, streamed)

        async def start(hold: Hold) -> None:
            clerk = agent(says(1))
            _kept_by_the_loop = lasting_desk.stream(clerk) if streamed else lasting_desk.start(clerk)
            await until(lambda: lasting_desk.sent("reserve") == 1, seconds=10)
            hold.wait()

        with lasting_desk.server.hold("reserve", applied=True) as hold:
            loop = asyncio.new_event_loop()
            loop.set_exception_handler(lambda *_: None)
            loop.run_until_complete(start(hold))
            loop.close()
        asyncio.run(until(lambda: gc.collect() >= 0 and bool(lasting_desk.ledger.released), seconds=20))
        asyncio.run(hooks.aclose())


async def _read(result: RunResultStreaming) -> None:
    async for _ in result.stream_events():
        pass


async def _run_once(desk: Desk) -> None:
    await desk.run(agent(calls(100, "look_up"), says(110), tools=[look_up]))


async def _start_and_reach(desk: Desk, at: str) -> None:
    """A run that is at work in its model or in its tool when the caller gets on; only its event loop refers to it."""
    gate = Gate()

    async def work() -> str:
        gate.reached.set()
        await asyncio.sleep(3_600)  # Not at the gate: the SDK keeps the tools of a run that it has not ended.
        return "never"

    in_model = agent(gate.before(says(1)))
    in_tool = agent(calls(100, "work"), tools=[function_tool(work)])
    clerk = in_model if at == "model" else in_tool
    _kept_by_the_loop = desk.stream(clerk) if desk.streamed else desk.start(clerk)
    await gate.reached.wait()
