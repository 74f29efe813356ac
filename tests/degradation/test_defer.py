"""Defer: a step that is denied waits for budget, up to a bound."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

from agents import Agent

from cycles_otel import Defer, Disable, governed_tool
from cycles_otel.local import Fault, LocalCycles
from tests.degradation.conftest import OpenDesk
from tests.degradation.desk import TENANT, NamedModel, asked, denied_run, reserves
from tests.degradation.test_disable import RISKY
from tests.hooks.desk import CountingTool
from tests.run.desk import calls, cancelled, model, says, until

PATIENT = Defer(60, first_pause=0.01, longest_pause=0.05)


class TestADeferredStep:
    async def test_goes_on_as_ever_once_there_is_budget(self, open_desk: OpenDesk, server: LocalCycles) -> None:
        large = NamedModel("large", says(120))
        async with open_desk(on_llm_denied=PATIENT) as desk:
            run = asyncio.create_task(desk.run(Agent(name="clerk", model=large)))
            await until(lambda: len(reserves(server)) >= 3, seconds=10)
            assert large.calls == ()
            server.fund(TENANT, 10_000, "TOKENS")
            await run
            assert len(large.calls) == 1
            assert await desk.charged() == (120, 0)

    async def test_asks_each_time_under_a_key_of_its_own(self, open_desk: OpenDesk, server: LocalCycles) -> None:
        large = NamedModel("large")
        async with open_desk(on_llm_denied=Defer(0.05, first_pause=0.01)) as desk:
            await denied_run(desk, Agent(name="clerk", model=large))
            keys = [each.body["idempotency_key"] for each in reserves(server)]
            assert len(keys) == len(set(keys)) >= 2

    async def test_gives_back_what_a_lost_reply_had_granted(self, open_desk: OpenDesk, server: LocalCycles) -> None:
        async with open_desk(on_llm_denied=PATIENT) as desk:
            run = asyncio.create_task(desk.run(Agent(name="clerk", model=NamedModel("large", says(120)))))
            await until(lambda: len(reserves(server)) >= 1, seconds=10)
            server.inject(Fault("reserve", drop="after", times=4))
            server.fund(TENANT, 10_000, "TOKENS")
            await run
            # What was lost is asked for again in the background, after growing pauses.
            await until(lambda: not desk.ledger.active, seconds=30)
            assert await desk.charged() == (120, 0)
            assert len(desk.ledger.committed) == 1
            assert desk.ledger.budget(TENANT, "TOKENS").reserved == 0

    async def test_raises_the_denial_when_the_time_is_over(self, open_desk: OpenDesk, server: LocalCycles) -> None:
        large = NamedModel("large")
        async with open_desk(on_llm_denied=Defer(0.05, first_pause=0.01)) as desk:
            error = await denied_run(desk, Agent(name="clerk", model=large))
            assert error.reason_code == "BUDGET_EXCEEDED"
            assert large.calls == ()
            assert desk.ledger.reservations == ()

    async def test_asks_once_at_the_end_of_a_time_that_is_shorter_than_the_first_pause(
        self, open_desk: OpenDesk, server: LocalCycles
    ) -> None:
        async with open_desk(on_llm_denied=Defer(0.01, first_pause=600)) as desk:
            await denied_run(desk, Agent(name="clerk", model=NamedModel("large")))
            assert len(reserves(server)) == 2

    async def test_does_not_take_silence_for_a_yes(self, open_desk: OpenDesk, server: LocalCycles) -> None:
        large = NamedModel("large")
        server.inject(Fault("reserve", status=503, after=1, times=None))
        async with open_desk(on_llm_denied=Defer(0.05, first_pause=0.01), fail_open=True) as desk:
            error = await denied_run(desk, Agent(name="clerk", model=large))
            assert error.reason_code == "BUDGET_EXCEEDED"
            assert large.calls == ()

    async def test_goes_on_waiting_when_the_server_was_silent_for_a_while(
        self, open_desk: OpenDesk, server: LocalCycles
    ) -> None:
        server.inject(Fault("reserve", status=503, after=1, times=2))
        async with open_desk(on_llm_denied=PATIENT, fail_open=False) as desk:
            run = asyncio.create_task(desk.run(Agent(name="clerk", model=NamedModel("large", says(120)))))
            await until(lambda: len(reserves(server)) >= 4, seconds=10)
            server.fund(TENANT, 10_000, "TOKENS")
            await run
            assert await desk.charged() == (120, 0)

    async def test_may_be_a_tool_whose_siblings_do_not_wait(self, open_desk: OpenDesk, server: LocalCycles) -> None:
        wipe, look = CountingTool("wipe"), CountingTool("look")
        clerk = Agent(name="clerk", model=model(calls(30, "wipe", "look"), says(40)), tools=[wipe.tool, look.tool])
        async with open_desk(on_tool_denied=PATIENT, **RISKY) as desk:
            run = asyncio.create_task(desk.run(clerk))
            await until(lambda: look.calls == 1 and len(asked(server, "tool.invoke")) > 3, seconds=10)
            assert wipe.calls == 0
            server.fund(TENANT, 100, "RISK_POINTS")
            await run
            assert wipe.calls == 1
            assert await desk.charged() == (70, 51)


class TestACancellationMeanwhile:
    async def test_of_a_run_that_waits_leaves_nothing_held(self, open_desk: OpenDesk, server: LocalCycles) -> None:
        async with open_desk(on_llm_denied=PATIENT) as desk:
            run = asyncio.create_task(desk.run(Agent(name="clerk", model=NamedModel("large"))))
            await until(lambda: len(reserves(server)) >= 2, seconds=10)
            await cancelled(run)
            asks = len(reserves(server))
            server.fund(TENANT, 10_000, "TOKENS")
            await desk.all_settled()
            assert [each.status for each in desk.ledger.reservations] in ([], ["RELEASED"])
            assert len(reserves(server)) <= asks + 1

    async def test_of_a_run_whose_question_is_just_granted_gives_the_grant_back(
        self, open_desk: OpenDesk, server: LocalCycles
    ) -> None:
        async with open_desk(on_llm_denied=PATIENT) as desk:
            run = asyncio.create_task(desk.run(Agent(name="clerk", model=NamedModel("large"))))
            with ExitStack() as granted:
                # While an answer that denies is held back, no question is on its way: the next one finds the budget.
                with server.hold("reserve", applied=True) as denied:
                    await denied.arrived()
                    server.fund(TENANT, 10_000, "TOKENS")
                    hold = granted.enter_context(server.hold("reserve", applied=True))
                await hold.arrived()
                await until(lambda: bool(desk.ledger.active), seconds=10)
                await cancelled(run)
            await until(lambda: not desk.ledger.active, seconds=10)
            (reservation,) = desk.ledger.reservations
            assert reservation.status == "RELEASED"

    async def test_of_a_stream_ends_the_waiting(self, open_desk: OpenDesk, server: LocalCycles) -> None:
        async with open_desk(on_llm_denied=PATIENT) as desk:
            stream = desk.stream(Agent(name="clerk", model=NamedModel("large")))
            await until(lambda: len(reserves(server)) >= 2, seconds=10)
            stream.cancel()
            assert stream.run_loop_task is not None
            await asyncio.wait([stream.run_loop_task])
            await desk.all_settled()
            assert desk.ledger.reservations == ()


async def test_a_step_that_may_wait_and_is_not_denied_does_not(open_desk: OpenDesk, server: LocalCycles) -> None:
    look = CountingTool("look")
    clerk = Agent(name="clerk", model=model(calls(30, "look"), says(40)), tools=[governed_tool(look.tool)])
    policies = [Defer(60), Disable()]
    async with open_desk(on_llm_denied=Defer(60), on_tool_denied=policies, llm_estimate=100) as desk:
        await desk.run(clerk)
        assert len(reserves(server)) == 2
        assert look.calls == 1
