"""Wherever a run is cancelled: nothing is held afterwards, what was used is charged once, and nobody has to wait."""

from __future__ import annotations

import asyncio

import anyio
import pytest
from agents import function_tool

from cycles_otel.local import Budget, LocalCycles
from tests.run.cancellations import CANCELLATIONS
from tests.run.desk import ESTIMATE, Desk, Gate, agent, calls, cancelled, hooks_of, says, until
from tests.run.endings import Ending

every_cancellation = pytest.mark.parametrize("cancellation", CANCELLATIONS, ids=str)


@every_cancellation
async def test_nothing_is_held_and_what_was_used_is_charged_once(any_desk: Desk, cancellation: Ending) -> None:
    await cancellation.play(any_desk)
    assert await any_desk.charged() == (cancellation.tokens, cancellation.points)
    assert any_desk.ledger.budget("tenant:acme", "TOKENS").reserved == 0


async def test_no_heartbeat_outlives_a_cancelled_run(server: LocalCycles, streamed: bool) -> None:
    async with hooks_of(server, ttl_ms=1_000) as hooks:
        desk = Desk(server, hooks, streamed)
        for cancellation in CANCELLATIONS:
            await cancellation.play(desk)
        await desk.no_heartbeat_is_left()


async def test_a_cancelled_run_is_over_before_its_settlements(server: LocalCycles, streamed: bool) -> None:
    gate = Gate()
    async with hooks_of(server, settle_timeout=60.0) as hooks:
        desk = Desk(server, hooks, streamed)
        with server.hold("commit"):
            run = desk.start(agent(calls(100, "wait"), tools=[gate.tool()]))
            await gate.reached.wait()
            await cancelled(run)
            assert desk.ledger.charged("TOKENS") == 0
        assert await desk.charged() == (100, 1)


async def test_a_run_that_is_cancelled_while_it_settles_is_charged_once(desk: Desk) -> None:
    with desk.server.hold("commit", applied=True) as hold:
        run = desk.start(agent(says(100)))
        await hold.arrived()
        await cancelled(run)
    assert await desk.charged() == (100, 0)
    assert desk.sent("commit") == 1


async def test_a_run_under_wait_for_that_takes_too_long_holds_nothing(any_desk: Desk) -> None:
    gate = Gate()
    run = any_desk.start(agent(calls(100, "wait"), tools=[gate.tool()]))
    await gate.reached.wait()
    with pytest.raises((asyncio.TimeoutError, TimeoutError)):
        await asyncio.wait_for(run, 0.01)
    assert await any_desk.charged() == (100, 1)


async def test_a_run_in_a_scope_that_is_cancelled_holds_nothing(any_desk: Desk) -> None:
    with anyio.CancelScope() as scope:

        @function_tool
        async def wait() -> str:
            scope.cancel()
            await asyncio.sleep(3_600)
            return "never"

        await any_desk.run(agent(calls(100, "wait"), tools=[wait]))
    assert scope.cancelled_caught
    assert await any_desk.charged() == (100, 1)


class TestUnknownSpend:
    """What becomes of a model call that was cut off half way."""

    @pytest.mark.parametrize(("policy", "charged"), [("release", 0), ("commit_estimate", ESTIMATE)])
    async def test_is_settled_as_the_policy_says(
        self, server: LocalCycles, streamed: bool, policy: str, charged: int
    ) -> None:
        gate = Gate()
        async with hooks_of(server, unknown_spend=policy) as hooks:
            desk = Desk(server, hooks, streamed)
            run = desk.start(agent(gate.before(says(100))))
            await gate.reached.wait()
            await cancelled(run)
            assert await desk.charged() == (charged, 0)

    async def test_is_nothing_while_the_reserve_is_in_flight(self, server: LocalCycles, streamed: bool) -> None:
        async with hooks_of(server, unknown_spend="commit_estimate") as hooks:
            desk = Desk(server, hooks, streamed)
            with server.hold("reserve", applied=True) as hold:
                run = desk.start(agent(says(100)))
                await hold.arrived()
                await cancelled(run)
            assert await desk.charged() == (0, 0)

    async def test_is_nothing_before_the_cooldown_of_the_caps_is_over(self, streamed: bool) -> None:
        budget = Budget("tenant:acme/agent:clerk", "TOKENS", 10_000, caps={"cooldown_ms": 9_000})
        with LocalCycles(budgets=[budget]) as server:
            async with hooks_of(server, unknown_spend="commit_estimate") as hooks:
                desk = Desk(server, hooks, streamed)
                model_was_called = Gate()
                run = desk.start(agent(model_was_called.before(says(100))))
                await until(lambda: bool(desk.ledger.active))
                await asyncio.sleep(0.1)  # Until the hook has the reply, and waits.
                await cancelled(run)
                assert not model_was_called.reached.is_set()
                assert await desk.charged() == (0, 0)

    async def test_of_a_failed_model_is_nothing(self, server: LocalCycles, streamed: bool) -> None:
        async with hooks_of(server, unknown_spend="commit_estimate") as hooks:
            desk = Desk(server, hooks, streamed)
            with pytest.raises(ConnectionError):
                await desk.run(agent(ConnectionError("down")))
            assert await desk.charged() == (0, 0)


async def test_the_release_says_that_the_run_was_cancelled(any_desk: Desk) -> None:
    gate = Gate()
    run = any_desk.start(agent(gate.before(says(100))))
    await gate.reached.wait()
    await cancelled(run)
    await any_desk.all_settled()
    assert [each.release_reason for each in any_desk.ledger.released] == ["run_cancelled"]
