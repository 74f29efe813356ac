"""Runs that are priced: what the ledger, the commit, the spans and the metrics say of it."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from agents import Agent, ModelSettings, RunConfig, Runner, Usage
from agents.exceptions import ModelBehaviorError
from agents.testing import ModelStep, function_call

from cycles_otel import CyclesRunHooks
from cycles_otel.local import LocalCycles
from cycles_otel.pricing import ModelIdentity, PlannedCall, PricedCall
from cycles_otel.pricing.data import PriceData
from cycles_otel.run import served_by
from cycles_otel.telemetry import semconv
from tests.hooks.conftest import MakeHooks
from tests.hooks.desk import COST, ESTIMATE, CountingTool, PricedModel, agent, calling, usage
from tests.pricing.answers import DONE, code_interpreter, completed, mcp_call, web_search
from tests.telemetry.witness import Witness, attributes, event_names

VERSION = PriceData().version
RESERVATION = "cycles.reservation llm.completion"


async def run(
    hooks: CyclesRunHooks, *output: Any, used: Usage | None = None, model: str = "gpt-4o", **more: Any
) -> None:
    """A run of one LLM call, which answers with these items."""
    answering = PricedModel([*output, DONE], model=model, used=used)
    await Runner.run(agent(answering), "hello", hooks=hooks, **more)


def bodies(server: LocalCycles, operation: str) -> list[dict[str, Any]]:
    return [dict(each.body) for each in server.requests if each.operation == operation]


def commit_of(server: LocalCycles) -> dict[str, Any]:
    (commit,) = bodies(server, "commit")
    return commit


class TestCommits:
    async def test_the_ledger_alone_can_answer_what_was_charged_and_why(
        self, server: LocalCycles, make_hooks: MakeHooks
    ) -> None:
        used = usage(1_000, 100, cached=400, reasoning=30)
        await run(make_hooks(price_multiplier=0.85), web_search(), used=used)
        commit = commit_of(server)
        latency = commit["metrics"].pop("latency_ms")
        assert isinstance(latency, int)
        assert commit["metrics"] == {
            "tokens_input": 1_000,
            "tokens_output": 100,
            "model_version": "gpt-4o",
            "custom": {"tokens_cached": 400, "tokens_reasoning": 30, "hosted_tools": {"web_search": 1}},
        }
        assert commit["metadata"] == {
            "amount_source": "price",
            "price_source": "data",
            "price_data_version": VERSION,
            "price_multiplier": 0.85,
        }
        # (600 x 250 + 400 x 125 + 100 x 1,000 + 1,000,000 for the search) x 0.85
        assert server.ledger().charged() == commit["actual"]["amount"] == 1_105_000

    async def test_the_span_of_the_commit_and_the_reservations_say_whose_price_it_is(
        self, make_hooks: MakeHooks, witness: Witness
    ) -> None:
        await run(make_hooks(price_multiplier=0.5))
        for name in ("commit llm.completion", RESERVATION):
            said = attributes(witness.span(name))
            assert said[semconv.PRICE_SOURCE] == "data"
            assert said[semconv.PRICE_DATA_VERSION] == VERSION
            assert said[semconv.PRICE_MULTIPLIER] == 0.5

    async def test_a_price_of_the_callers_own_has_no_version_of_the_public_data(
        self, server: LocalCycles, make_hooks: MakeHooks, witness: Witness
    ) -> None:
        await run(make_hooks(price={"our-own": {"input": 1, "output": 2}}), model="our-own")
        assert server.ledger().charged() == 1_000 * 100 + 100 * 200
        assert commit_of(server)["metadata"] == {
            "amount_source": "price",
            "price_source": "table",
            "price_multiplier": 1.0,
        }
        assert semconv.PRICE_DATA_VERSION not in attributes(witness.span("commit llm.completion"))

    async def test_tokens_are_input_and_output_and_hosted_tools_add_none(self, make_hooks: MakeHooks) -> None:
        with LocalCycles(budgets={"tenant:acme": {"TOKENS": 100_000, "RISK_POINTS": 10}}) as server:
            hooks = make_hooks(config=server.config("acme"), llm_unit="TOKENS", llm_estimate=2_000)
            await run(hooks, web_search(), used=usage(1_000, 100, cached=400, reasoning=50))
            assert server.ledger().charged("TOKENS") == 1_100
            assert commit_of(server)["metadata"] == {"amount_source": "usage"}

    @pytest.mark.parametrize(
        ("price", "charged"), [(lambda call: call.usage.output_tokens, 100), (None, 70)], ids=["function", "none"]
    )
    async def test_credits_are_what_the_callers_function_says_or_the_estimate(
        self, price: Any, charged: int, make_hooks: MakeHooks, witness: Witness
    ) -> None:
        with LocalCycles(budgets={"tenant:acme": {"CREDITS": 1_000}}) as server:
            await run(make_hooks(config=server.config("acme"), llm_unit="CREDITS", llm_estimate=70, price=price))
            assert server.ledger().charged("CREDITS") == charged
            assert witness.series(semconv.PRICE_UNKNOWN) == {}

    async def test_the_name_of_a_model_is_cut_as_the_server_counts_it(
        self, server: LocalCycles, make_hooks: MakeHooks
    ) -> None:
        """It allows 128 characters, and an emoji is two."""
        await run(make_hooks(), model="\N{ROBOT FACE}" * 200)
        assert commit_of(server)["metrics"]["model_version"] == "\N{ROBOT FACE}" * 64

    async def test_requests_of_a_retried_call_are_priced_one_by_one(self, make_hooks: MakeHooks) -> None:
        """Together they are longer than 200,000 tokens, from which on this model costs twice as much; neither is."""
        both = Usage()
        both.add(usage(150_000, 10))
        both.add(usage(100_000, 10))
        with LocalCycles(budgets={"tenant:acme": {"USD_MICROCENTS": 10**9}}) as server:
            await run(make_hooks(config=server.config("acme")), used=both, model="claude-sonnet-4-5")
            assert commit_of(server)["metrics"]["custom"]["requests"] == 2
            assert server.ledger().charged() == 250_000 * 300 + 20 * 1_500


class TestUnpriced:
    @pytest.mark.parametrize(
        ("options", "model"),
        [
            ({}, "nobody-knows-her"),
            ({"price": lambda _: None}, "gpt-4o"),
            ({"price": lambda call: call.no_such_thing}, "gpt-4o"),
            ({"price": lambda _: -5}, "gpt-4o"),
        ],
        ids=["unknown", "unknown to the function", "a function that raises", "a function that gives no amount"],
    )
    async def test_the_estimate_is_charged_and_counted(
        self, options: Any, model: str, server: LocalCycles, make_hooks: MakeHooks, witness: Witness
    ) -> None:
        await run(make_hooks(**options), model=model)
        assert server.ledger().charged() == ESTIMATE
        assert server.ledger().active == ()
        assert commit_of(server)["metadata"] == {"amount_source": "estimate"}
        assert witness.series(semconv.PRICE_UNKNOWN) == {(("gen_ai_request_model", model),): 1.0}
        assert semconv.EVENT_PRICE_UNKNOWN in event_names(witness.span(RESERVATION))

    async def test_it_is_warned_of_once_for_each_model(
        self, make_hooks: MakeHooks, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.WARNING, "cycles_otel"):
            for model in ("nobody-knows-it", "nobody-knows-it", "nobody-knows-them"):
                await run(make_hooks(), model=model)
        told = [each.getMessage() for each in caplog.records if "nobody-knows" in each.getMessage()]
        assert len(told) == 2

    @pytest.mark.parametrize("used", [Usage(), usage(10, 1, cached=20)], ids=["none", "more cached than there is"])
    async def test_a_usage_that_says_nothing_is_charged_at_the_estimate(
        self, used: Usage, server: LocalCycles, make_hooks: MakeHooks
    ) -> None:
        await run(make_hooks(), used=used)
        assert server.ledger().charged() == ESTIMATE


class ServedElsewhere(PricedModel):
    """A wrapper's model: it tells that another one answers."""

    async def get_response(self, *args: Any, **kwargs: Any) -> Any:
        response = await super().get_response(*args, **kwargs)
        served_by(ModelIdentity("gpt-4o-mini", "openai"))
        return response


class TestServed:
    async def test_the_model_that_answered_is_priced_where_a_wrapper_tells(
        self, server: LocalCycles, make_hooks: MakeHooks
    ) -> None:
        asked = ServedElsewhere([DONE])
        await Runner.run(agent(asked), "hello", hooks=make_hooks())
        assert server.ledger().charged() == 1_000 * 15 + 100 * 60
        assert commit_of(server)["metrics"]["model_version"] == "gpt-4o-mini"

    async def test_only_the_call_that_it_answered(self, server: LocalCycles, make_hooks: MakeHooks) -> None:
        class Once(PricedModel):
            async def get_response(self, *args: Any, **kwargs: Any) -> Any:
                if not self.calls:
                    served_by(ModelIdentity("gpt-4o-mini"))
                return await super().get_response(*args, **kwargs)

        tool = CountingTool()
        await Runner.run(agent(Once(calling("lookup"), [DONE]), tool), "hello", hooks=make_hooks())
        assert [each["actual"]["amount"] for each in bodies(server, "commit") if "metrics" in each] == [21_000, COST]

    def test_outside_of_a_run_it_does_nothing(self) -> None:
        served_by(ModelIdentity("gpt-4o"))


class TestHosted:
    async def test_their_risk_is_charged_by_an_event_for_each_tool(
        self, server: LocalCycles, make_hooks: MakeHooks, witness: Witness
    ) -> None:
        await run(make_hooks(tool_risk={"web_search": 3}), web_search(), web_search("open_page"), code_interpreter())
        search, code = bodies(server, "event")
        assert search["actual"] == {"unit": "RISK_POINTS", "amount": 6}
        assert search["action"] == {"kind": "tool.invoke", "name": "web_search"}
        assert search["subject"]["toolset"] == "web_search"
        assert search["metadata"] == {"hosted": True, "calls": 2}
        assert (code["subject"]["toolset"], code["actual"]["amount"]) == ("code_interpreter", 1)
        assert server.ledger().charged("RISK_POINTS") == 7
        assert server.ledger().charged() == COST + 1_000_000
        assert witness.total(semconv.AMOUNT_COMMITTED_TOTAL, cycles_unit="RISK_POINTS") == 7

    async def test_they_are_counted_by_tool_agent_and_model(self, make_hooks: MakeHooks, witness: Witness) -> None:
        await run(make_hooks(), web_search(), web_search(), mcp_call("search_docs"))
        labels = (("gen_ai_agent_name", "desk"), ("gen_ai_request_model", "gpt-4o"))
        expected = {
            (*labels, ("gen_ai_tool_name", "web_search")): 2.0,
            (*labels, ("gen_ai_tool_name", "hosted_mcp")): 1.0,
        }
        assert witness.series(semconv.HOSTED_CALLS) == witness.otel_series(semconv.HOSTED_CALLS) == expected

    async def test_a_risk_of_zero_makes_no_request_and_is_counted(
        self, server: LocalCycles, make_hooks: MakeHooks, witness: Witness
    ) -> None:
        await run(make_hooks(tool_risk={"web_search": 0}), web_search())
        assert bodies(server, "event") == []
        assert witness.total(semconv.HOSTED_CALLS) == 1

    async def test_a_tool_of_a_hosted_server_may_have_a_risk_of_its_own(
        self, server: LocalCycles, make_hooks: MakeHooks
    ) -> None:
        hooks = make_hooks(tool_risk={"delete_all": 50, "hosted_mcp": 2})
        await run(hooks, mcp_call("delete_all"), mcp_call("search_docs"), mcp_call("read_page"))
        charged = {each["subject"]["toolset"]: each["actual"]["amount"] for each in bodies(server, "event")}
        assert charged == {"delete_all": 50, "hosted_mcp": 4}

    async def test_they_are_charged_once_whatever_way_the_run_ends(
        self, server: LocalCycles, make_hooks: MakeHooks
    ) -> None:
        """The SDK tells no hook of an answer that it refuses; its tokens and tools were used all the same."""
        step = ModelStep(output=[web_search(), function_call("no_such_tool", {}, call_id="c1")], usage=usage())
        with pytest.raises(ModelBehaviorError):
            await Runner.run(agent(PricedModel(step)), "hello", hooks=make_hooks())
        assert server.ledger().charged("RISK_POINTS") == 1
        assert server.ledger().charged() == COST + 1_000_000

    async def test_they_are_part_of_what_the_run_committed(self, make_hooks: MakeHooks, witness: Witness) -> None:
        await run(make_hooks(), web_search(), code_interpreter())
        assert witness.total(semconv.RUN_AMOUNTS["RISK_POINTS"], "_sum") == 2

    async def test_they_are_charged_when_the_llm_call_has_no_budget_of_its_own(self, make_hooks: MakeHooks) -> None:
        with LocalCycles(budgets={"tenant:acme": {"RISK_POINTS": 10}}) as server:
            await run(make_hooks(config=server.config("acme"), unbudgeted="allow"), web_search())
            assert server.ledger().charged("RISK_POINTS") == 1

    async def test_a_shadow_counts_them_and_charges_nothing(
        self, server: LocalCycles, make_hooks: MakeHooks, witness: Witness
    ) -> None:
        await run(make_hooks(dry_run=True), web_search())
        assert bodies(server, "event") == []
        assert witness.total(semconv.HOSTED_CALLS) == 1

    async def test_a_streamed_answer_tells_of_them_too(self, server: LocalCycles, make_hooks: MakeHooks) -> None:
        hooks = make_hooks(config=server.config("acme"))
        step = ModelStep.stream([completed(web_search(), DONE)])
        async for _ in Runner.run_streamed(agent(PricedModel(step)), "hello", hooks=hooks).stream_events():
            pass
        await hooks.aclose()
        assert server.ledger().charged("RISK_POINTS") == 1
        assert server.ledger().charged() == COST + 1_000_000


class TestEstimates:
    def reserved(self, server: LocalCycles) -> list[int]:
        return [each["estimate"]["amount"] for each in bodies(server, "reserve")]

    async def test_a_function_is_told_of_the_call_with_the_settings_of_the_run(
        self, server: LocalCycles, make_hooks: MakeHooks
    ) -> None:
        told: list[PlannedCall] = []

        def estimate(call: PlannedCall) -> int:
            told.append(call)
            return 1_234

        desk: Agent[Any] = agent(PricedModel([DONE]), instructions="Be brief.", model_settings=ModelSettings(top_p=0.5))
        config = RunConfig(model_settings=ModelSettings(max_tokens=9))
        await Runner.run(desk, "hello", hooks=make_hooks(llm_estimate=estimate), run_config=config)
        (call,) = told
        assert (call.agent, call.model, call.system_prompt) == (desk, "gpt-4o", "Be brief.")
        assert list(call.input_items) == [{"content": "hello", "role": "user"}]
        assert (call.settings.max_tokens, call.settings.top_p) == (9, 0.5)
        assert self.reserved(server) == [1_234]

    async def test_a_function_that_fails_lets_no_step_run_unguarded(
        self, server: LocalCycles, make_hooks: MakeHooks
    ) -> None:
        await run(make_hooks(llm_estimate=lambda call: call.no_such_thing))
        assert self.reserved(server) == [ESTIMATE]
        assert server.ledger().charged() == COST

    async def test_priced_reserves_what_the_call_may_cost(self, server: LocalCycles, make_hooks: MakeHooks) -> None:
        settings = RunConfig(model_settings=ModelSettings(max_tokens=100))
        await run(make_hooks(llm_estimate="priced"), run_config=settings)
        # "hello", "user" is no text of its own, and the names of two fields: 16 bytes are 6 tokens, and 4 for the item.
        assert self.reserved(server) == [10 * 250 + 100 * 1_000]

    async def test_adaptive_follows_what_calls_really_cost(self, server: LocalCycles, make_hooks: MakeHooks) -> None:
        hooks = make_hooks(llm_estimate="adaptive")
        for _ in range(6):
            await run(hooks)
        *first, last = self.reserved(server)
        assert COST not in first
        assert last == COST

    async def test_what_was_charged_for_want_of_a_price_teaches_nothing(
        self, server: LocalCycles, make_hooks: MakeHooks
    ) -> None:
        def price_of_plans_alone(call: PricedCall) -> int | None:
            return None if call.usage.output_tokens == 100 else call.usage.input_tokens

        hooks = make_hooks(llm_estimate="adaptive", price=price_of_plans_alone)
        for instructions in ["x"] * 6 + ["x" * 30_000]:
            asked = agent(PricedModel([DONE]), instructions=instructions)
            await Runner.run(asked, "hello", hooks=hooks)
        *short, long = self.reserved(server)
        assert max(short) < 10_000 < long

    @pytest.mark.parametrize(
        "kind", [700_000, lambda _: 700_000, "priced", "adaptive"], ids=["int", "function", "priced", "adaptive"]
    )
    async def test_how_good_it_was_is_a_metric(
        self, kind: Any, server: LocalCycles, make_hooks: MakeHooks, witness: Witness
    ) -> None:
        await run(make_hooks(llm_estimate=kind))
        (reserved,) = self.reserved(server)
        assert witness.total(semconv.ESTIMATE_RATIO, "_count") == 1
        assert witness.total(semconv.ESTIMATE_RATIO, "_sum") == pytest.approx(COST / reserved)

    async def test_an_estimate_that_is_charged_itself_says_nothing_about_how_good_it_was(
        self, make_hooks: MakeHooks, witness: Witness
    ) -> None:
        await run(make_hooks(), model="nobody-knows-us")
        assert witness.total(semconv.ESTIMATE_RATIO, "_count") == 0


class TestViews:
    async def test_a_bound_view_has_the_same_prices_and_what_was_learned(
        self, server: LocalCycles, make_hooks: MakeHooks
    ) -> None:
        asked: list[PricedCall] = []

        def price(call: PricedCall) -> int:
            asked.append(call)
            return 5

        hooks = make_hooks(price=price, llm_estimate="adaptive")
        for _ in range(6):
            await run(hooks.bind(workflow="refunds"))
        assert server.ledger().charged() == 30
        assert [each["estimate"]["amount"] for each in bodies(server, "reserve")][-1] == 5
