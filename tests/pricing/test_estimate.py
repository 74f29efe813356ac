"""What is reserved for an LLM call before it is made."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import pytest
from agents import Agent, ModelSettings, function_tool
from hypothesis import given, settings
from hypothesis import strategies as st
from runcycles import Unit

from cycles_otel.errors import InvalidParameterTypeError
from cycles_otel.pricing import DEFAULT_ESTIMATE, ModelIdentity, PlannedCall, Pricing
from cycles_otel.pricing.counting import FLAT_TOKENS, input_tokens
from cycles_otel.pricing.estimate import DEFAULT_OUTPUT_TOKENS, FIRST_CALLS, Estimates, estimates
from tests.hooks.construction import hooks, refused

USD = Pricing(Unit.USD_MICROCENTS)
UNKNOWN = "nobody-knows-me"


def planned(
    *,
    agent: Agent[Any] | None = None,
    model: str = "gpt-4o",
    items: Sequence[Any] = (),
    prompt: str | None = None,
    **more: Any,
) -> PlannedCall:
    return PlannedCall(agent or Agent(name="desk"), model, prompt, list(items), ModelSettings(**more))


def estimate(kind: Any, call: PlannedCall, pricing: Pricing = USD) -> int:
    return ask(estimates(kind, pricing), call)


def ask(of: Estimates, call: PlannedCall) -> int:
    return of.of(call, ModelIdentity(call.model))


@function_tool
def look_up(name: str) -> str:
    """Find a customer by name."""
    return name


class TestCounting:
    def test_a_token_is_three_bytes_rounded_up_and_each_item_has_four_more(self) -> None:
        said = {"role": "user", "content": "x" * 10}
        # 10 bytes of text, and 11 of the names "role" and "content".
        assert input_tokens(None, [said], []) == 7 + 4
        assert input_tokens("y" * 5, [said], []) == 9 + 4

    def test_what_is_not_ascii_counts_by_its_bytes(self) -> None:
        assert input_tokens("日" * 100, [], []) == 100

    @pytest.mark.parametrize("kind", ["input_image", "input_file", "input_audio"])
    def test_what_is_no_text_has_a_flat_number(self, kind: str) -> None:
        content = [{"type": kind, "data": "A" * 1_000_000}]
        assert FLAT_TOKENS <= input_tokens(None, [{"role": "user", "content": content}], []) < FLAT_TOKENS + 20

    def test_tools_count_with_their_schemas(self) -> None:
        assert input_tokens(None, [], [look_up]) > 20

    @settings(deadline=None)
    @given(
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        )
    )
    def test_anything_can_be_counted(self, item: Any) -> None:
        assert input_tokens(None, [item], []) >= 4


class TestFixed:
    def test_it_is_the_same_for_each_call(self) -> None:
        assert estimate(70, planned()) == estimate(70, planned(prompt="x" * 10_000)) == 70

    @pytest.mark.parametrize("value", [1.5, True, None, [1], "dear", "PRICED"], ids=repr)
    def test_what_is_none_of_the_kinds_is_refused(self, value: Any) -> None:
        assert isinstance(refused(hooks, "llm_estimate", value), InvalidParameterTypeError)

    def test_a_negative_amount_is_refused(self) -> None:
        refused(hooks, "llm_estimate", -1)


class TestFunctions:
    def test_it_is_told_of_the_call(self) -> None:
        told: list[PlannedCall] = []

        def of(call: PlannedCall) -> int:
            told.append(call)
            return 12

        call = planned(items=[{"role": "user", "content": "hello"}], prompt="Be brief.", max_tokens=7)
        assert estimate(of, call) == 12
        assert told == [call]

    def test_an_async_one_is_refused(self) -> None:
        async def of(_: PlannedCall) -> int:
            return 1

        assert isinstance(refused(hooks, "llm_estimate", of), InvalidParameterTypeError)

    @pytest.mark.parametrize("answer", [-1, 1.5, None, True, "7", 2**63], ids=repr)
    def test_what_is_no_amount_is_replaced_by_the_default_and_logged_once(
        self, answer: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        of = estimates(lambda _: answer, USD)
        assert [ask(of, planned()) for _ in range(3)] == [DEFAULT_ESTIMATE] * 3
        assert [each.levelno for each in caplog.records] == [logging.ERROR]

    def test_so_is_what_it_raises(self, caplog: pytest.LogCaptureFixture) -> None:
        of = estimates(lambda call: call.no_such_thing, USD)
        assert [ask(of, planned()) for _ in range(3)] == [DEFAULT_ESTIMATE] * 3
        assert len(caplog.records) == 1


class TestPriced:
    def test_it_is_the_input_and_the_most_output_times_the_price(self) -> None:
        # 300 bytes are 100 tokens of 250 microcents; a token of the output is 1,000.
        assert estimate("priced", planned(prompt="x" * 300, max_tokens=50)) == 100 * 250 + 50 * 1_000

    def test_an_output_without_a_limit_counts_at_the_default(self) -> None:
        assert estimate("priced", planned(prompt="x" * 3)) == 250 + DEFAULT_OUTPUT_TOKENS * 1_000

    def test_the_callers_own_price_and_discount_count(self) -> None:
        own = Pricing(Unit.USD_MICROCENTS, {"gpt-4o": {"input": 1, "output": 2}}, 0.5)
        assert estimate("priced", planned(prompt="x" * 3, max_tokens=1), own) == (100 + 200) // 2

    def test_in_tokens_it_is_the_number_of_them(self) -> None:
        assert estimate("priced", planned(prompt="x" * 300, max_tokens=50), Pricing(Unit.TOKENS)) == 150

    def test_in_credits_it_is_what_the_callers_function_says(self) -> None:
        own = Pricing(Unit.CREDITS, lambda call: call.usage.input_tokens + 10 * call.usage.output_tokens)
        assert estimate("priced", planned(prompt="x" * 300, max_tokens=5), own) == 150

    @pytest.mark.parametrize("pricing", [USD, Pricing(Unit.CREDITS)])
    def test_without_a_price_it_is_the_default(self, pricing: Pricing) -> None:
        assert estimate("priced", planned(model=UNKNOWN), pricing) == DEFAULT_ESTIMATE

    def test_a_call_that_cannot_be_counted_has_the_default(self, caplog: pytest.LogCaptureFixture) -> None:
        endless: list[Any] = []
        endless.append(endless)
        of = estimates("priced", USD)
        assert [ask(of, planned(items=endless)) for _ in range(2)] == [DEFAULT_ESTIMATE] * 2
        assert len(caplog.records) == 1


class TestAdaptive:
    def test_until_enough_calls_are_known_it_is_the_price(self) -> None:
        of = estimates("adaptive", USD)
        call = planned(prompt="x" * 300, max_tokens=50)
        for _ in range(FIRST_CALLS - 1):
            of.learn("desk", "gpt-4o", 1)
            assert ask(of, call) == 75_000
        of.learn("desk", "gpt-4o", 1)
        assert ask(of, call) == 1

    def test_nine_of_ten_calls_cost_no_more(self) -> None:
        of = estimates("adaptive", USD)
        for cost in (30, 10, 100, 20, 50, 40, 90, 60, 70, 80):
            of.learn("desk", "gpt-4o", cost)
        assert ask(of, planned()) == 90

    def test_each_agent_and_model_has_its_own(self) -> None:
        of = estimates("adaptive", USD)
        for _ in range(FIRST_CALLS):
            of.learn("desk", "gpt-4o", 5)
            of.learn("desk", UNKNOWN, 6)
            of.learn("clerk", "gpt-4o", 7)
        found = [ask(of, planned()), ask(of, planned(model=UNKNOWN)), ask(of, planned(agent=Agent(name="clerk")))]
        assert found == [5, 6, 7]

    def test_what_was_long_ago_is_forgotten(self) -> None:
        of = estimates("adaptive", USD)
        for cost in [1_000] * 100 + [1] * 100:
            of.learn("desk", "gpt-4o", cost)
        assert ask(of, planned()) == 1

    def test_it_remembers_so_many_agents_and_no_more(self) -> None:
        of = estimates("adaptive", USD)
        for number in range(1_000):
            for _ in range(FIRST_CALLS):
                of.learn(f"agent {number}", "gpt-4o", 1)
        assert ask(of, planned(agent=Agent(name="agent 999"))) == 1
        assert ask(of, planned(agent=Agent(name="agent 0"))) > 1
