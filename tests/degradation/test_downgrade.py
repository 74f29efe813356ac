"""Downgrade: another model answers an LLM call that is denied, on a reservation of its own."""

from __future__ import annotations

from dataclasses import replace

from agents import Agent, ItemHelpers, ModelSettings, ModelTracing, RunConfig, SQLiteSession, function_tool, handoff
from agents.testing import function_call

from cycles_otel import CyclesModelProvider, Defer, Downgrade, Raise, governed_model
from cycles_otel.local import Fault, LocalCycles
from tests.degradation.conftest import OpenDesk
from tests.degradation.desk import TENANT, NamedModel, Shelf, asked, denied_run, governed, reserves, tool_outputs
from tests.run.desk import calls, says

SMALL = Downgrade("small", estimate=100)


class TestADowngradedStep:
    async def test_is_answered_by_the_other_model_and_charged_what_that_used(
        self, open_desk: OpenDesk, server: LocalCycles
    ) -> None:
        shelf = Shelf(NamedModel("large"), NamedModel("small", says(60, "from the small one")))
        async with open_desk(on_llm_denied=SMALL) as desk:
            result = await desk.run(Agent(name="clerk", model="large"), run_config=governed(shelf))
            assert result.final_output == "from the small one"
            assert (shelf.calls("large"), shelf.calls("small")) == (0, 1)
            assert asked(server) == [("large", 1_000, 409), ("small", 100, 200)]
            assert await desk.charged() == (60, 0)

    async def test_has_a_reservation_with_a_key_of_its_own_that_names_the_model_it_stands_in_for(
        self, open_desk: OpenDesk, server: LocalCycles
    ) -> None:
        shelf = Shelf(NamedModel("large"), NamedModel("small", says(60)))
        async with open_desk(on_llm_denied=SMALL) as desk:
            await desk.run(Agent(name="clerk", model="large"), run_config=governed(shelf))
            first, second = reserves(server)
            assert first.body["idempotency_key"] != second.body["idempotency_key"]
            assert second.body["metadata"] == {"downgraded_from": "large"}
            await desk.all_settled()
            (committed,) = desk.ledger.committed
            assert committed.commit_metrics is not None
            assert committed.commit_metrics["model_version"] == "small"

    async def test_is_the_only_one_of_its_run_that_is(self, open_desk: OpenDesk, server: LocalCycles) -> None:
        shelf = Shelf(NamedModel("large", says(120)), NamedModel("small", calls(60, "top_up")))

        async def top_up() -> str:
            server.fund(TENANT, 10_000, "TOKENS")
            return "done"

        clerk = Agent[None](name="clerk", model="large", tools=[function_tool(top_up)])
        async with open_desk(on_llm_denied=SMALL) as desk:
            await desk.run(clerk, run_config=governed(shelf))
            assert (shelf.calls("large"), shelf.calls("small")) == (1, 1)
            assert await desk.charged() == (180, 1)

    async def test_asks_for_the_hooks_own_estimate_where_it_has_none(
        self, open_desk: OpenDesk, server: LocalCycles
    ) -> None:
        shelf = Shelf(NamedModel("large"), NamedModel("small"))
        async with open_desk(on_llm_denied=Downgrade("small")) as desk:
            await denied_run(desk, Agent(name="clerk", model="large"), run_config=governed(shelf))
            assert asked(server) == [("large", 1_000, 409), ("small", 1_000, 409)]

    async def test_goes_on_in_a_session_and_with_the_next_agent(self, open_desk: OpenDesk) -> None:
        shelf = Shelf(
            NamedModel("large"),
            NamedModel("small", [function_call("transfer_to_billing", {}, call_id="c1")], says(60, "billed"), says(70)),
        )
        billing = Agent(name="billing", model="large")
        clerk = Agent(name="clerk", model="large", handoffs=[handoff(billing)])
        session = SQLiteSession("session")
        async with open_desk(on_llm_denied=SMALL, llm_estimate=600) as desk:
            first = await desk.run(clerk, session=session, run_config=governed(shelf))
            await desk.run(billing, "again", session=session, run_config=governed(shelf))
            assert first.final_output == "billed"
            assert "billed" in str(shelf.models["small"].calls[-1].input)

    async def test_is_one_of_a_nested_agent_as_well_and_of_two_at_once(
        self, open_desk: OpenDesk, server: LocalCycles
    ) -> None:
        inner = Agent(name="inner", model="large")
        tools = [inner.as_tool("ask_one", "asks"), inner.as_tool("ask_another", "asks")]
        two_calls = calls(30, "ask_one", "ask_another", input="x")
        shelf = Shelf(NamedModel("large"), NamedModel("small", two_calls, says(40), says(40), says(50)))
        async with open_desk(on_llm_denied=SMALL) as desk:
            await desk.run(Agent(name="outer", model="large", tools=[*tools]), run_config=governed(shelf))
            assert (shelf.calls("large"), shelf.calls("small")) == (0, 4)
            assert await desk.charged() == (160, 2)

    async def test_goes_unenforced_when_the_server_falls_silent_after_the_denial(
        self, open_desk: OpenDesk, server: LocalCycles
    ) -> None:
        shelf = Shelf(NamedModel("large"), NamedModel("small", says(60)))
        server.inject(Fault("reserve", status=503, after=1, times=None))
        async with open_desk(on_llm_denied=SMALL) as desk:
            await desk.run(Agent(name="clerk", model="large"), run_config=governed(shelf))
            assert (shelf.calls("large"), shelf.calls("small")) == (0, 1)
            assert desk.ledger.reservations == ()


class TestAChain:
    async def test_is_climbed_down_until_a_model_is_allowed(self, open_desk: OpenDesk, server: LocalCycles) -> None:
        shelf = Shelf(NamedModel("large"), NamedModel("medium"), NamedModel("small", says(60)))
        chain = [Downgrade("medium", estimate=700), SMALL]
        async with open_desk(on_llm_denied=chain) as desk:
            await desk.run(Agent(name="clerk", model="large"), run_config=governed(shelf))
            assert asked(server) == [("large", 1_000, 409), ("medium", 700, 409), ("small", 100, 200)]
            assert await desk.charged() == (60, 0)

    async def test_ends_in_the_last_denial_which_tells_of_the_ones_before(
        self, open_desk: OpenDesk, server: LocalCycles
    ) -> None:
        shelf = Shelf(NamedModel("large"), NamedModel("small"))
        async with open_desk(on_llm_denied=[Downgrade("small", estimate=600)]) as desk:
            error = await denied_run(desk, Agent(name="clerk", model="large"), run_config=governed(shelf))
            assert "'small'" in str(error)
            assert "600 TOKENS" in str(error)
            assert "'large'" in str(error.__cause__)
            assert (shelf.calls("large"), shelf.calls("small")) == (0, 0)
            assert desk.ledger.reservations == ()

    async def test_ends_at_a_raise(self, open_desk: OpenDesk, server: LocalCycles) -> None:
        shelf = Shelf(NamedModel("large"), NamedModel("small"))
        async with open_desk(on_llm_denied=[Raise(), SMALL]) as desk:
            await denied_run(desk, Agent(name="clerk", model="large"), run_config=governed(shelf))
            assert asked(server) == [("large", 1_000, 409)]

    async def test_may_wait_for_the_cheaper_model(self, open_desk: OpenDesk, server: LocalCycles) -> None:
        shelf = Shelf(NamedModel("large"), NamedModel("small"))
        chain = [Downgrade("small", estimate=600), Defer(0.02, first_pause=0.01)]
        async with open_desk(on_llm_denied=chain) as desk:
            await denied_run(desk, Agent(name="clerk", model="large"), run_config=governed(shelf))
            names = [name for name, _, _ in asked(server)]
            assert names[:2] == ["large", "small"]
            assert set(names[2:]) == {"small"}


class TestWhereTheModelIsAnObject:
    async def test_a_governed_model_is_exchanged_for_another_object(self, open_desk: OpenDesk) -> None:
        large, small = NamedModel("large"), NamedModel("small", says(60))
        async with open_desk(on_llm_denied=Downgrade(small, estimate=100)) as desk:
            await desk.run(Agent(name="clerk", model=governed_model(large)))
            assert (len(large.calls), len(small.calls)) == (0, 1)

    async def test_a_governed_model_finds_another_by_its_name(self, open_desk: OpenDesk) -> None:
        large, shelf = NamedModel("large"), Shelf(NamedModel("small", says(60)))
        async with open_desk(on_llm_denied=SMALL) as desk:
            await desk.run(Agent(name="clerk", model=governed_model(large, shelf)))
            assert shelf.calls("small") == 1

    async def test_the_other_model_may_be_governed_as_well(self, open_desk: OpenDesk) -> None:
        small, shelf = NamedModel("small", says(60)), Shelf(NamedModel("small", says(60)))
        async with open_desk(on_llm_denied=Downgrade(governed_model(small), estimate=100)) as desk:
            await desk.run(Agent(name="clerk", model=governed_model(NamedModel("large"))))
        async with open_desk(on_llm_denied=SMALL) as desk:
            by_name = governed_model(NamedModel("large"), CyclesModelProvider(shelf))
            await desk.run(Agent(name="clerk", model=by_name))
        assert (len(small.calls), shelf.calls("small")) == (1, 1)

    async def test_a_tool_that_calls_a_governed_model_by_itself_gets_that_model(self, open_desk: OpenDesk) -> None:
        own = NamedModel("own", says(10, "from my own"))

        @function_tool
        async def think() -> str:
            response = await governed_model(own).get_response(
                None,
                "hello",
                ModelSettings(),
                [],
                None,
                [],
                ModelTracing.DISABLED,
                previous_response_id=None,
                conversation_id=None,
                prompt=None,
            )
            return ItemHelpers.extract_last_text(response.output[0]) or ""

        shelf = Shelf(NamedModel("large"), NamedModel("small", calls(60, "think"), says(70)))
        clerk = Agent[None](name="clerk", model="large", tools=[think])
        async with open_desk(on_llm_denied=SMALL) as desk:
            result = await desk.run(clerk, run_config=governed(shelf))
            assert tool_outputs(result) == ["from my own"]

    async def test_a_governed_model_of_the_run_config_stands_before_the_agents(self, open_desk: OpenDesk) -> None:
        large, small = NamedModel("large"), NamedModel("small", says(60))
        async with open_desk(on_llm_denied=Downgrade(small, estimate=100)) as desk:
            await desk.run(Agent(name="clerk", model="unknown"), run_config=RunConfig(model=governed_model(large)))
            assert len(small.calls) == 1


class TestWhatTheUserGave:
    async def test_is_never_changed(self, open_desk: OpenDesk) -> None:
        shelf = Shelf(NamedModel("large"), NamedModel("small", says(60)))
        settings = ModelSettings(temperature=0.5, max_tokens=900)
        clerk, config = Agent(name="clerk", model="large", model_settings=settings), governed(shelf)
        before = replace(clerk), replace(config), replace(settings)
        async with open_desk(on_llm_denied=SMALL) as desk:
            await desk.run(clerk, run_config=config)
        assert (clerk, config, settings) == before
        assert isinstance(config.model_provider, CyclesModelProvider)
        assert shelf.models["small"].calls[0].model_settings.temperature == 0.5

    async def test_stays_with_a_bound_view_of_the_hooks(self, open_desk: OpenDesk) -> None:
        shelf = Shelf(NamedModel("large"), NamedModel("small", says(60)))
        async with open_desk(on_llm_denied=SMALL) as desk:
            desk.hooks = desk.hooks.bind(workflow="order-4711")
            await desk.run(Agent(name="clerk", model="large"), run_config=governed(shelf))
            assert shelf.calls("small") == 1


class TestAShadow:
    async def test_degrades_nothing(self, open_desk: OpenDesk, server: LocalCycles) -> None:
        shelf = Shelf(NamedModel("large", says(120)), NamedModel("small"))
        async with open_desk(on_llm_denied=SMALL, dry_run=True) as desk:
            await desk.run(Agent(name="clerk", model="large"), run_config=governed(shelf))
            assert (shelf.calls("large"), shelf.calls("small")) == (1, 0)
            assert len(reserves(server)) == 1
