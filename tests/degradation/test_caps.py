"""Caps: what a governed model does with max_tokens, and which policies help where caps deny a step."""

from __future__ import annotations

from typing import Any

import pytest
from agents import Agent, ModelSettings

from cycles_otel import Defer, Disable, Downgrade, governed_model, governed_tool
from cycles_otel.degradation.policies import NOT_RUN
from cycles_otel.local import LocalCycles
from cycles_otel.telemetry import semconv
from tests.degradation.conftest import OpenDesk
from tests.degradation.desk import NamedModel, Shelf, cap, denied_run, governed, reserves, tool_outputs
from tests.hooks.desk import CountingTool
from tests.run.desk import calls, model, says
from tests.telemetry.witness import Witness


class TestMaxTokens:
    @pytest.mark.parametrize(("wanted", "sent"), [(None, 64), (900, 64), (64, 64), (10, 10)])
    async def test_bounds_what_the_call_asks_for(
        self, open_desk: OpenDesk, server: LocalCycles, wanted: int | None, sent: int
    ) -> None:
        cap(server, max_tokens=64)
        shelf, settings = Shelf(NamedModel("large", says(60))), ModelSettings(max_tokens=wanted, temperature=0.1)
        clerk = Agent(name="clerk", model="large", model_settings=settings)
        async with open_desk(llm_estimate=100) as desk:
            await desk.run(clerk, run_config=governed(shelf))
        (call,) = shelf.models["large"].calls
        assert (call.model_settings.max_tokens, call.model_settings.temperature) == (sent, 0.1)
        assert settings.max_tokens == wanted

    async def test_bounds_a_model_object(self, open_desk: OpenDesk, server: LocalCycles) -> None:
        cap(server, max_tokens=64)
        large = NamedModel("large", says(60))
        async with open_desk(llm_estimate=100) as desk:
            await desk.run(Agent(name="clerk", model=governed_model(large)))
        assert large.calls[0].model_settings.max_tokens == 64

    async def test_bounds_the_model_of_a_downgrade(self, open_desk: OpenDesk, server: LocalCycles) -> None:
        cap(server, max_tokens=64)
        shelf = Shelf(NamedModel("large"), NamedModel("small", says(60)))
        policy = Downgrade("small", estimate=100, settings=ModelSettings(max_tokens=500, top_p=0.3))
        async with open_desk(on_llm_denied=policy) as desk:
            await desk.run(Agent(name="clerk", model="large"), run_config=governed(shelf))
        (call,) = shelf.models["small"].calls
        assert (call.model_settings.max_tokens, call.model_settings.top_p) == (64, 0.3)

    async def test_is_of_its_own_call_only(self, open_desk: OpenDesk, server: LocalCycles) -> None:
        cap(server, max_tokens=64)
        look = CountingTool("look")
        shelf = Shelf(NamedModel("large", calls(30, "look"), says(60)))
        clerk = Agent(name="clerk", model="large", tools=[look.tool])
        look_and_lift = look.tool.on_invoke_tool

        async def lift(context: Any, arguments: str) -> Any:
            cap(server)
            return await look_and_lift(context, arguments)

        look.tool.on_invoke_tool = lift
        async with open_desk(llm_estimate=100) as desk:
            await desk.run(clerk, run_config=governed(shelf))
        assert [call.model_settings.max_tokens for call in shelf.models["large"].calls] == [64, None]

    async def test_is_only_reported_where_no_model_is_governed(self, open_desk: OpenDesk, server: LocalCycles) -> None:
        cap(server, max_tokens=64)
        large = NamedModel("large", says(60))
        async with open_desk(llm_estimate=100) as desk:
            await desk.run(Agent(name="clerk", model=large))
        assert large.calls[0].model_settings.max_tokens is None


class TestAForbiddenTool:
    async def test_is_left_out_where_the_caps_of_the_llm_call_forbid_it(
        self, open_desk: OpenDesk, server: LocalCycles
    ) -> None:
        cap(server, tool_denylist=["wipe"])
        await self._is_left_out(open_desk)

    async def test_is_left_out_where_its_own_caps_forbid_it(self, open_desk: OpenDesk, server: LocalCycles) -> None:
        cap(server, "RISK_POINTS", tool_allowlist=["look"])
        await self._is_left_out(open_desk)

    async def _is_left_out(self, open_desk: OpenDesk) -> None:
        wipe = CountingTool("wipe")
        clerk = Agent(name="clerk", model=model(calls(30, "wipe"), says(40)), tools=[governed_tool(wipe.tool)])
        async with open_desk(on_tool_denied=[Defer(600), Disable()], llm_estimate=100) as desk:
            assert tool_outputs(await desk.run(clerk)) == [NOT_RUN]
            assert wipe.calls == 0
            assert await desk.charged() == (70, 0)

    async def test_raises_where_no_policy_disables_it(self, open_desk: OpenDesk, server: LocalCycles) -> None:
        cap(server, tool_denylist=["wipe"])
        wipe = CountingTool("wipe")
        clerk = Agent(name="clerk", model=model(calls(30, "wipe")), tools=[wipe.tool])
        async with open_desk(on_tool_denied=Defer(600), llm_estimate=100) as desk:
            assert (await denied_run(desk, clerk)).reason_code == "TOOL_NOT_ALLOWED"


class TestALongCooldown:
    async def test_of_a_tool_leaves_it_out(self, open_desk: OpenDesk, server: LocalCycles, witness: Witness) -> None:
        cap(server, "RISK_POINTS", cooldown_ms=60_000)
        wipe = CountingTool("wipe")
        clerk = Agent(name="clerk", model=model(calls(30, "wipe"), says(40)), tools=[governed_tool(wipe.tool)])
        async with open_desk(on_tool_denied=Disable(), llm_estimate=100) as desk:
            assert tool_outputs(await desk.run(clerk)) == [NOT_RUN]
            assert wipe.calls == 0
            assert await desk.charged() == (70, 0)
        assert witness.total(semconv.RUN_AMOUNTS["TOKENS"], "_sum") == 70
        assert witness.total(semconv.RUN_AMOUNTS["RISK_POINTS"], "_count") == 0

    async def test_of_an_llm_call_raises_whatever_the_policy(self, open_desk: OpenDesk, server: LocalCycles) -> None:
        cap(server, cooldown_ms=60_000)
        shelf = Shelf(NamedModel("large"), NamedModel("small"))
        chain = [Downgrade("small", estimate=50), Defer(600)]
        async with open_desk(on_llm_denied=chain, llm_estimate=100) as desk:
            error = await denied_run(desk, Agent(name="clerk", model="large"), run_config=governed(shelf))
            assert error.reason_code == "COOLDOWN"
            assert len(reserves(server)) == 1
            await desk.all_settled()


class TestNoStepsLeft:
    async def test_raises_whatever_the_policies(self, open_desk: OpenDesk, server: LocalCycles) -> None:
        cap(server, max_steps_remaining=0)
        wipe, shelf = CountingTool("wipe"), Shelf(NamedModel("large", calls(30, "wipe")), NamedModel("small"))
        clerk = Agent(name="clerk", model="large", tools=[governed_tool(wipe.tool)])
        policies: dict[str, Any] = {"on_tool_denied": [Defer(600), Disable()], "on_llm_denied": Downgrade("small")}
        async with open_desk(llm_estimate=100, **policies) as desk:
            error = await denied_run(desk, clerk, run_config=governed(shelf))
            assert error.reason_code == "MAX_STEPS_REACHED"
            assert wipe.calls == 0

    async def test_counts_no_tool_that_was_left_out(self, open_desk: OpenDesk, server: LocalCycles) -> None:
        cap(server, max_steps_remaining=1)
        wipe = CountingTool("wipe")
        steps = calls(30, "wipe"), says(31)
        clerk = Agent(name="clerk", model=model(*steps), tools=[governed_tool(wipe.tool)])
        risk = {"tool_risk": {"wipe": 50}, "llm_estimate": 100}
        async with open_desk(on_tool_denied=Disable(), **risk) as desk:
            await desk.run(clerk)
            assert wipe.calls == 0
