"""What a call costs: whose price counts, discounts, rounding, and what is done about a price that is not known."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from runcycles import Unit

from cycles_otel import InvalidParameterError
from cycles_otel.errors import InvalidParameterTypeError
from cycles_otel.pricing import ModelIdentity, PricedCall, PriceTable, Pricing, TokenUsage, public_price
from cycles_otel.pricing.data import PriceData
from tests.hooks.construction import hooks, refused

USD, CREDITS = Unit.USD_MICROCENTS, Unit.CREDITS
GPT_4O = ModelIdentity("gpt-4o")
OURS = ModelIdentity("our-own")
TABLE: PriceTable = {"our-own": {"input": 2, "output": Decimal("8.5"), "cached": 0.25}}
USED = TokenUsage(1_000, 100)
VERSION = PriceData().version

prices = st.decimals(0, 200, allow_nan=False, allow_infinity=False, places=7)
multipliers = st.one_of(st.decimals("0.0001", 10, places=4), st.floats(0.001, 10))
tokens = st.integers(0, 3_000_000)


def amount(pricing: Pricing, model: ModelIdentity = GPT_4O, used: TokenUsage = USED, **more: Any) -> int | None:
    price = pricing.price(model, used, "desk", **more)
    return None if price is None else price.amount


class TestRounding:
    @settings(deadline=None)
    @given(prices, prices, multipliers, tokens, tokens)
    def test_the_charge_is_never_less_than_the_cost_and_never_a_microcent_more(
        self, sent: Decimal, written: Decimal, multiplier: Any, inputs: int, outputs: int
    ) -> None:
        table = {"m": {"input": sent, "output": written}}
        charged = amount(Pricing(USD, table, multiplier), ModelIdentity("m"), TokenUsage(inputs, outputs))
        # A dollar for a million tokens is 100 microcents for a token.
        cost = 100 * (Fraction(sent) * inputs + Fraction(written) * outputs) * Fraction(str(multiplier))
        assert charged is not None
        assert 0 <= charged - cost < 1

    @settings(deadline=None)
    @given(tokens, st.floats(0.01, 2))
    def test_so_it_is_for_public_prices(self, cached: int, multiplier: float) -> None:
        used = TokenUsage(cached, 0, cached_tokens=cached)
        charged = amount(Pricing(USD, None, multiplier), ModelIdentity("gpt-4o-mini"), used)
        assert charged is not None
        assert 0 <= charged - Fraction(15, 2) * cached * Fraction(str(multiplier)) < 1

    @pytest.mark.parametrize(("cached", "microcents"), [(1, 8), (2, 15), (3, 23)])
    def test_a_part_of_a_microcent_is_rounded_up(self, cached: int, microcents: int) -> None:
        used = TokenUsage(cached, 0, cached_tokens=cached)
        assert amount(Pricing(USD), ModelIdentity("gpt-4o-mini"), used) == microcents

    def test_several_requests_are_rounded_up_together(self) -> None:
        part = TokenUsage(1, 0, cached_tokens=1)
        both = TokenUsage(2, 0, cached_tokens=2, requests=2, parts=(part, part))
        assert amount(Pricing(USD), ModelIdentity("gpt-4o-mini"), both) == 15

    def test_a_discount_is_taken_as_it_is_written(self) -> None:
        # 0.1 is no binary fraction: 350,000 x 0.1 must not become 35,001.
        assert amount(Pricing(USD, None, 0.1)) == 35_000


class TestSources:
    def test_the_callers_function_stands_before_all_others(self) -> None:
        asked: list[PricedCall] = []

        def price(call: PricedCall) -> int:
            asked.append(call)
            return 7

        found = Pricing(USD, price).price(GPT_4O, USED, "desk", hosted_tools={"web_search": 2})
        assert found is not None
        assert (found.amount, found.source, found.data_version) == (7, "function", None)
        assert asked == [PricedCall("gpt-4o", "openai", USED, "desk", {"web_search": 2})]

    def test_the_function_is_told_the_model_that_answered(self) -> None:
        asked: list[PricedCall] = []
        pricing = Pricing(CREDITS, lambda call: asked.append(call))
        pricing.price(GPT_4O, USED, "desk", served=ModelIdentity("claude-sonnet-4-5"))
        assert (asked[0].model, asked[0].provider) == ("claude-sonnet-4-5", "anthropic")

    def test_the_callers_table_is_in_dollars_for_a_million_tokens(self) -> None:
        found = Pricing(USD, TABLE).price(OURS, TokenUsage(1_000, 100, cached_tokens=400), "desk")
        assert found is not None
        assert found.amount == 600 * 200 + 400 * 25 + 100 * 850
        assert (found.source, found.data_version) == ("table", None)

    def test_what_a_table_leaves_out_costs_what_its_input_or_output_costs(self) -> None:
        used = TokenUsage(
            100, 10, cache_write_tokens=20, input_audio_tokens=30, reasoning_tokens=5, output_audio_tokens=1
        )
        assert amount(Pricing(USD, TABLE), OURS, used) == 100 * 200 + 10 * 850

    @pytest.mark.parametrize("name", ["litellm/our-own", "vllm/our-own"])
    def test_a_table_names_a_model_with_or_without_the_prefixes_that_route_it(self, name: str) -> None:
        assert amount(Pricing(USD, TABLE), ModelIdentity(name), TokenUsage(1, 0)) == 200

    def test_a_model_that_a_table_does_not_name_has_its_public_price(self) -> None:
        found = Pricing(USD, TABLE).price(GPT_4O, USED, "desk")
        assert found is not None
        assert (found.amount, found.source, found.data_version) == (350_000, "data", VERSION)

    def test_the_price_of_a_contract_stands_before_the_public_one_of_the_version_that_answered(self) -> None:
        pricing = Pricing(USD, {"gpt-4o": {"input": 1, "output": 1}})
        assert amount(pricing, used=TokenUsage(1, 0), served=ModelIdentity("gpt-4o-2024-08-06")) == 100

    def test_the_model_that_answered_is_the_one_that_is_paid(self) -> None:
        assert amount(Pricing(USD), used=TokenUsage(1, 0), served=ModelIdentity("gpt-4o-mini")) == 15

    def test_one_that_answered_without_a_price_costs_what_was_asked_for(self) -> None:
        assert amount(Pricing(USD), used=TokenUsage(1, 0), served=ModelIdentity("nobody-knows-me")) == 250

    def test_a_function_can_fall_back_on_public_prices(self) -> None:
        pricing = Pricing(USD, lambda call: 3 if call.model == "our-own" else public_price(call))
        assert (amount(pricing, OURS), amount(pricing), amount(pricing, ModelIdentity("no"))) == (3, 350_000, None)


class TestDiscounts:
    @pytest.mark.parametrize("own", [None, {"gpt-4o": {"input": 2.5, "output": 10}}, lambda _: 350_000])
    @pytest.mark.parametrize("multiplier", [0.85, Decimal("0.85")])
    def test_every_price_is_multiplied(self, own: Any, multiplier: Any) -> None:
        found = Pricing(USD, own, multiplier).price(GPT_4O, USED, "desk")
        assert found is not None
        assert (found.amount, found.multiplier) == (297_500, 0.85)

    def test_what_hosted_tools_cost_as_well(self) -> None:
        assert amount(Pricing(USD, None, 0.5), hosted_tools={"web_search": 1}) == (350_000 + 1_000_000) // 2


class TestFees:
    @pytest.mark.parametrize(
        ("model", "tools", "microcents"),
        [
            # $10 and $2.50 for a thousand calls.
            (GPT_4O, {"web_search": 3}, 3 * 1_000_000),
            (GPT_4O, {"file_search": 2}, 2 * 250_000),
            (GPT_4O, {"web_search": 1, "file_search": 1, "hosted_mcp": 4}, 1_250_000),
            (ModelIdentity("o3-mini", "openai"), {"web_search": 1}, 1_000_000),
            (GPT_4O, {"code_interpreter": 1, "image_generation": 1}, 0),
            (ModelIdentity("gpt-4o", "azure"), {"code_interpreter": 1}, 0),
        ],
        ids=str,
    )
    def test_they_are_added_where_they_are_known(
        self, model: ModelIdentity, tools: dict[str, int], microcents: int
    ) -> None:
        with_tools, without = (amount(Pricing(USD), model, hosted_tools=each) for each in (tools, {}))
        assert with_tools is not None
        assert without is not None
        assert with_tools - without == microcents

    def test_they_are_added_to_the_callers_table(self) -> None:
        pricing = Pricing(USD, {"gpt-4o": {"input": 1, "output": 1}})
        assert amount(pricing, used=TokenUsage(1, 0), hosted_tools={"web_search": 1}) == 100 + 1_000_000

    def test_a_private_model_at_a_known_address_has_the_fees_of_its_provider(self) -> None:
        here = ModelIdentity("our-own", api_url="https://api.openai.com/v1")
        assert amount(Pricing(USD, TABLE), here, TokenUsage(1, 0), hosted_tools={"file_search": 1}) == 200 + 250_000

    def test_they_are_not_added_to_what_the_callers_function_says(self) -> None:
        assert amount(Pricing(USD, lambda _: 7), hosted_tools={"web_search": 1}) == 7

    def test_one_that_is_not_known_is_warned_of_once(self, caplog: pytest.LogCaptureFixture) -> None:
        model = ModelIdentity("mistral-large-latest", "mistral")
        for _ in range(3):
            assert amount(Pricing(USD), model, hosted_tools={"image_generation": 1}) is not None
        assert [each.levelno for each in caplog.records if "image_generation" in each.getMessage()] == [logging.WARNING]


class TestUnknown:
    @pytest.mark.parametrize("pricing", [Pricing(USD), Pricing(USD, TABLE), Pricing(USD, lambda _: None)])
    def test_there_is_no_price(self, pricing: Pricing) -> None:
        assert amount(pricing, ModelIdentity("nobody-knows-me")) is None

    @pytest.mark.parametrize("unit", [Unit.CREDITS, Unit.RISK_POINTS])
    def test_other_units_have_none_but_by_a_function(self, unit: Unit) -> None:
        assert amount(Pricing(unit)) is None
        assert amount(Pricing(unit, lambda _: 3)) == 3

    @pytest.mark.parametrize("answer", [-1, 1.5, 350_000.0, True, "7", 2**63, Decimal(7), math.nan], ids=repr)
    def test_a_function_that_gives_no_amount_gives_no_price(
        self, answer: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        pricing = Pricing(USD, lambda _: answer)
        assert [amount(pricing) for _ in range(3)] == [None] * 3
        assert [each.levelno for each in caplog.records] == [logging.ERROR]

    def test_a_function_that_raises_gives_no_price_and_is_logged_once(self, caplog: pytest.LogCaptureFixture) -> None:
        known: dict[str, int] = {}
        pricing = Pricing(USD, lambda call: known[call.model])
        assert [amount(pricing) for _ in range(3)] == [None] * 3
        (record,) = caplog.records
        assert record.levelno == logging.ERROR
        assert record.exc_info is not None
        assert record.exc_info[0] is KeyError

    def test_an_amount_that_no_ledger_holds_is_the_largest_that_one_does(self) -> None:
        assert amount(Pricing(USD, lambda _: 2**63 - 1, 10)) == 2**63 - 1


class TestConstruction:
    @pytest.mark.parametrize("value", [0, 0.0, -1, math.nan, math.inf, Decimal("-0.5"), Decimal("NaN")], ids=repr)
    def test_a_multiplier_is_a_number_above_zero(self, value: Any) -> None:
        with pytest.raises(InvalidParameterError, match="price_multiplier="):
            hooks(price_multiplier=value)

    @pytest.mark.parametrize("value", ["1", None, True, [1]], ids=repr)
    def test_a_multiplier_is_a_number(self, value: Any) -> None:
        assert isinstance(refused(hooks, "price_multiplier", value), InvalidParameterTypeError)

    @pytest.mark.parametrize("value", ["cheap", 5, [("gpt-4o", 1)]], ids=repr)
    def test_a_price_is_a_function_or_a_table(self, value: Any) -> None:
        assert isinstance(refused(hooks, "price", value), InvalidParameterTypeError)

    def test_a_function_of_prices_is_no_async_one(self) -> None:
        async def price(_: PricedCall) -> int:
            return 1

        assert isinstance(refused(hooks, "price", price), InvalidParameterTypeError)

    @pytest.mark.parametrize(
        ("row", "parameter", "type_error"),
        [
            ({"input": 1}, "price['m']['output']", False),
            ({"output": 1}, "price['m']['input']", False),
            ({}, "price['m']['input']", False),
            ({"input": -1, "output": 1}, "price['m']['input']", False),
            ({"input": 1, "output": math.nan}, "price['m']['output']", False),
            ({"input": 1, "output": math.inf}, "price['m']['output']", False),
            ({"input": "1", "output": 1}, "price['m']['input']", True),
            ({"input": True, "output": 1}, "price['m']['input']", True),
            ({"input": None, "output": 1}, "price['m']['input']", True),
            ({"input": 1, "output": 1, "cahced": 1}, "price['m']", False),
            (3, "price['m']", True),
        ],
        ids=str,
    )
    def test_a_table_is_checked_and_the_place_is_named(self, row: Any, parameter: str, type_error: bool) -> None:
        with pytest.raises(InvalidParameterError) as caught:
            hooks(price={"m": row})
        assert caught.value.parameter == parameter
        assert isinstance(caught.value, InvalidParameterTypeError) is type_error

    @pytest.mark.parametrize("name", [1, None, ""], ids=repr)
    def test_a_table_names_its_models(self, name: Any) -> None:
        with pytest.raises(InvalidParameterTypeError, match="price="):
            hooks(price={name: {"input": 1, "output": 1}})

    @pytest.mark.parametrize("own", [TABLE, lambda _: 1], ids=["table", "function"])
    def test_tokens_have_no_price(self, own: Any) -> None:
        with pytest.raises(InvalidParameterError, match="TOKENS"):
            hooks(price=own, llm_unit="TOKENS")

    def test_a_table_is_in_dollars(self) -> None:
        with pytest.raises(InvalidParameterError, match="CREDITS"):
            hooks(price=TABLE, llm_unit="CREDITS")

    @pytest.mark.parametrize(
        "make",
        [
            lambda: hooks(price={}),
            lambda: hooks(price=TABLE),
            lambda: hooks(price=lambda _: 1, llm_unit="CREDITS"),
            lambda: hooks(price_multiplier=Decimal("1.2"), llm_unit="TOKENS"),
        ],
    )
    def test_what_makes_sense_is_accepted(self, make: Callable[[], object]) -> None:
        assert make() is not None
