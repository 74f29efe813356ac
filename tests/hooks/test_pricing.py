"""What a model call costs: exact amounts against prices worked out by hand, and the estimate where none is known."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from agents import ModelResponse, Runner, Usage
from runcycles import Unit

from cycles_otel import pricing
from cycles_otel.local import LocalCycles
from cycles_otel.pricing import llm_spend, price_microcents, tokens_of
from cycles_otel.telemetry import semconv
from tests.hooks.conftest import MakeHooks
from tests.hooks.desk import DONE, ESTIMATE, PricedModel, agent, usage
from tests.telemetry.witness import Witness, event_names

# Microcents for a million tokens: 2.50 USD are 250,000,000 microcents, so 250 for each token of the input.
GPT_4O_INPUT, GPT_4O_CACHED, GPT_4O_OUTPUT = 250, 125, 1_000
SONNET_INPUT, SONNET_CACHED, SONNET_CACHE_WRITE, SONNET_OUTPUT = 300, 30, 375, 1_500
MINI = "gpt-4o-mini"  # 15 microcents for a token of the input, 7.5 for a cached one, 60 for one of the output.
SONNET = "claude-3-5-sonnet-20241022"


def tokens(input: int, output: int, **more: int) -> dict[str, int]:
    return {"input": input, "output": output, **more}


def response(used: Usage) -> ModelResponse:
    return ModelResponse(output=[], usage=used, response_id=None)


class TestPrices:
    @pytest.mark.parametrize(
        ("model", "used", "microcents"),
        [
            ("gpt-4o", tokens(1_000, 100), 1_000 * GPT_4O_INPUT + 100 * GPT_4O_OUTPUT),
            ("gpt-4o", tokens(1_000, 0), 1_000 * GPT_4O_INPUT),
            ("gpt-4o", tokens(0, 1), GPT_4O_OUTPUT),
            ("gpt-4o", tokens(1_000, 100, cached=400), 600 * GPT_4O_INPUT + 400 * GPT_4O_CACHED + 100 * GPT_4O_OUTPUT),
            ("gpt-4o", tokens(1_000, 100, cached=1_000), 1_000 * GPT_4O_CACHED + 100 * GPT_4O_OUTPUT),
            ("gpt-4o", tokens(1_000, 100, reasoning=90), 1_000 * GPT_4O_INPUT + 100 * GPT_4O_OUTPUT),
            (
                SONNET,
                tokens(1_000, 10, cached=300, cache_write=500),
                200 * SONNET_INPUT + 300 * SONNET_CACHED + 500 * SONNET_CACHE_WRITE + 10 * SONNET_OUTPUT,
            ),
            (MINI, tokens(1_000_000, 1_000_000), 75_000_000),
        ],
        ids=str,
    )
    def test_each_kind_of_token_has_its_price(self, model: str, used: dict[str, int], microcents: int) -> None:
        assert price_microcents(model, used) == microcents

    @pytest.mark.parametrize(("cached", "microcents"), [(1, 8), (2, 15), (3, 23)])
    def test_a_part_of_a_microcent_is_rounded_up(self, cached: int, microcents: int) -> None:
        assert price_microcents(MINI, tokens(cached, 0, cached=cached)) == microcents

    @pytest.mark.parametrize(
        "routed",
        [
            "openai/gpt-4o",
            "litellm/gpt-4o",
            "litellm/openai/gpt-4o",
            "any-llm/openai/gpt-4o",
            "azure/gpt-4o",
            "somewhere/else/gpt-4o",
        ],
    )
    def test_a_name_may_say_how_it_is_routed(self, routed: str) -> None:
        assert price_microcents(routed, tokens(1_000, 100)) == 350_000

    @pytest.mark.parametrize(
        ("routed", "microcents"),
        [
            (f"litellm/anthropic/{SONNET}", 450_000),
            (f"litellm/bedrock/anthropic.{SONNET}-v2:0", 450_000),
            ("litellm/groq/llama-3.1-8b-instant", 5_800),
        ],
    )
    def test_the_provider_in_a_name_is_the_one_whose_price_counts(self, routed: str, microcents: int) -> None:
        assert price_microcents(routed, tokens(1_000, 100)) == microcents

    @pytest.mark.parametrize("model", ["ScriptedModel", "our-own", "our/own/model", "", "/", "gpt-4o/", "x" * 500])
    def test_a_model_that_nobody_knows_has_no_price(self, model: str) -> None:
        assert price_microcents(model, tokens(1_000, 100)) is None

    def test_a_usage_that_cannot_be_has_no_price(self) -> None:
        assert price_microcents("gpt-4o", tokens(10, 1, cached=20)) is None


class TestTokens:
    def test_they_are_counted_by_type(self) -> None:
        used = usage(1_000, 100, cached=400, reasoning=30)
        used.input_tokens_details.cache_write_tokens = 50
        assert tokens_of(used) == {
            "input": 1_000,
            "output": 100,
            "cached": 400,
            "cache_write": 50,
            "reasoning": 30,
        }

    def test_what_is_missing_or_negative_counts_as_none(self) -> None:
        broken = Usage()
        vars(broken).update(
            input_tokens=None, output_tokens=-5, input_tokens_details=None, output_tokens_details=object()
        )
        assert set(tokens_of(broken).values()) == {0}


class TestSpend:
    @pytest.mark.parametrize(
        ("unit", "amount", "source"),
        [
            (Unit.USD_MICROCENTS, 350_000, "price"),
            (Unit.TOKENS, 1_100, "usage"),
            (Unit.CREDITS, 7, "estimate"),
            (Unit.RISK_POINTS, 7, "estimate"),
        ],
    )
    def test_it_is_in_the_unit_of_the_budget(self, unit: Unit, amount: int, source: str) -> None:
        spend = llm_spend(unit, "gpt-4o", response(usage()), 7, 12)
        assert (spend.amount, spend.source) == (amount, source)

    @pytest.mark.parametrize("unit", list(Unit))
    def test_without_a_usage_it_is_the_estimate(self, unit: Unit) -> None:
        spend = llm_spend(unit, "gpt-4o", response(Usage()), 7, 12)
        assert (spend.amount, spend.source) == (7, "estimate")
        assert not pricing.is_unpriced(unit, spend)

    def test_the_metrics_of_the_commit_fit_the_protocol(self) -> None:
        spend = llm_spend(Unit.TOKENS, "\N{ROBOT FACE}" * 200, response(usage()), 7, 12)
        version = (spend.metrics or {}).pop("model_version")
        assert version == "\N{ROBOT FACE}" * 64  # The server counts an emoji as two.
        assert spend.metrics == {"tokens_input": 1_000, "tokens_output": 100, "latency_ms": 12}


class TestRuns:
    @pytest.mark.parametrize(
        ("used", "charged"),
        [(usage(), 350_000), (usage(1_000, 100, cached=400), 300_000), (usage(2_000, 200, reasoning=150), 700_000)],
        ids=["plain", "cached", "reasoning"],
    )
    async def test_what_a_call_cost_is_charged_exactly(
        self, used: Usage, charged: int, server: LocalCycles, make_hooks: MakeHooks
    ) -> None:
        await Runner.run(agent(PricedModel(DONE, used=used)), "hello", hooks=make_hooks())
        (commit,) = [each.body for each in server.requests if each.operation == "commit"]
        assert commit["actual"] == {"unit": "USD_MICROCENTS", "amount": charged}
        assert commit["metrics"]["tokens_input"] == used.input_tokens
        assert commit["metrics"]["model_version"] == "gpt-4o"
        assert server.ledger().charged() == charged

    async def test_an_unknown_model_is_charged_at_the_estimate_counted_and_warned_of_once(
        self, server: LocalCycles, make_hooks: MakeHooks, witness: Witness, caplog: pytest.LogCaptureFixture
    ) -> None:
        hooks = make_hooks()
        with caplog.at_level(logging.WARNING, "cycles_otel"):
            for _ in range(3):
                await Runner.run(agent(PricedModel(DONE, model="nobody-knows-me")), "hello", hooks=hooks)
        assert server.ledger().charged() == 3 * ESTIMATE
        assert witness.series(semconv.PRICE_UNKNOWN) == {(("gen_ai_request_model", "nobody-knows-me"),): 3.0}
        assert len([each for each in caplog.records if "nobody-knows-me" in each.getMessage()]) == 1
        life = next(span for span in witness.spans if span.name == "cycles.reservation llm.completion")
        assert "cycles.price_unknown" in event_names(life)

    @pytest.mark.parametrize(
        "used", [Usage(), usage(10, 1, cached=20)], ids=["no usage", "more from the cache than there is"]
    )
    async def test_a_usage_that_says_nothing_is_charged_at_the_estimate(
        self, used: Usage, server: LocalCycles, make_hooks: MakeHooks, witness: Witness
    ) -> None:
        await Runner.run(agent(PricedModel(DONE, used=used)), "hello", hooks=make_hooks())
        assert server.ledger().charged() == ESTIMATE
        assert server.ledger().active == ()

    async def test_tokens_are_input_and_output(self, make_hooks: MakeHooks) -> None:
        with LocalCycles(budgets={"tenant:acme": {"TOKENS": 100_000}}) as server:
            hooks: Any = make_hooks(config=server.config("acme"), llm_unit="TOKENS", llm_estimate=2_000)
            used = usage(1_000, 100, cached=400, reasoning=50)
            await Runner.run(agent(PricedModel(DONE, used=used)), "hello", hooks=hooks)
            assert server.ledger().charged("TOKENS") == 1_100
