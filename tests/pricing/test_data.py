"""Public prices: rates that are kept must say what ``genai_prices.calc_price`` says, for every model that it knows."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from fractions import Fraction
from importlib import metadata
from typing import Any

import pytest
from genai_prices import Usage, data_snapshot
from genai_prices.data_snapshot import DataSnapshot, get_snapshot, set_custom_snapshot
from genai_prices.types import (
    ClauseEquals,
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    Provider,
    StartDateConstraint,
    Tier,
    TieredPrices,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from cycles_otel.pricing import MICROCENTS_PER_USD, ModelIdentity, TokenUsage
from cycles_otel.pricing.data import PriceData, PricedModel

DATA = PriceData()
KNOWN = [(provider, model) for provider in get_snapshot().providers for model in provider.models]
LENGTHS = st.one_of(st.integers(0, 2_000_000), st.sampled_from([0, 1, 200_000, 200_001, 272_000, 272_001]))


def model_of(**prices: Any) -> PricedModel:
    model = ModelInfo("m", ClauseEquals("m"), prices=ModelPrice(**prices))
    return PricedModel("p", model)


@st.composite
def usages(draw: st.DrawFn) -> TokenUsage:
    sent, written = draw(LENGTHS), draw(st.integers(0, 100_000))
    cached = draw(st.integers(0, sent))
    return TokenUsage(
        sent,
        written,
        cached_tokens=cached,
        cache_write_tokens=draw(st.integers(0, sent - cached)),
        reasoning_tokens=draw(st.integers(0, written)),
    )


@pytest.fixture
def other_data() -> Iterator[None]:
    """The program has brought prices of its own, by which gpt-4o costs a dollar."""
    model = ModelInfo(
        "gpt-4o", ClauseEquals("gpt-4o"), prices=ModelPrice(input_mtok=Decimal(1), output_mtok=Decimal(1))
    )
    provider = Provider("openai", "OpenAI", "https://api", model_match=ClauseEquals("gpt-4o"), models=[model])
    set_custom_snapshot(DataSnapshot([provider], from_auto_update=True))
    yield
    set_custom_snapshot(None)


class TestRates:
    @settings(deadline=None)
    @given(st.sampled_from(KNOWN), usages())
    def test_they_say_what_the_data_says(self, known: tuple[Provider, ModelInfo], used: TokenUsage) -> None:
        provider, model = known
        cost = PricedModel(provider.id, model).cost(used)
        theirs = Usage(
            input_tokens=used.input_tokens,
            output_tokens=used.output_tokens,
            cache_read_tokens=used.cached_tokens,
            cache_write_tokens=used.cache_write_tokens,
            output_reasoning_tokens=used.reasoning_tokens,
        )
        if cost is not None:
            assert cost == Fraction(model.calc_price(theirs, provider).total_price) * MICROCENTS_PER_USD

    @pytest.mark.parametrize(
        ("name", "used", "microcents"),
        [
            # Dollars for a million tokens, times 100, are microcents for a token.
            ("gpt-4o", TokenUsage(1_000, 100), 1_000 * 250 + 100 * 1_000),
            ("gpt-4o", TokenUsage(1_000, 100, cached_tokens=400), 600 * 250 + 400 * 125 + 100 * 1_000),
            ("gpt-4o", TokenUsage(1_000, 100, reasoning_tokens=90), 1_000 * 250 + 100 * 1_000),
            (
                "claude-3-5-sonnet-20241022",
                TokenUsage(1_000, 10, cached_tokens=300, cache_write_tokens=500),
                200 * 300 + 300 * 30 + 500 * 375 + 10 * 1_500,
            ),
            ("gpt-4o-mini", TokenUsage(1, 0, cached_tokens=1), Fraction(15, 2)),
        ],
        ids=str,
    )
    def test_each_kind_of_token_has_its_price(self, name: str, used: TokenUsage, microcents: Fraction) -> None:
        model = DATA.model(ModelIdentity(name))
        assert model is not None
        assert model.cost(used) == microcents

    def test_audio_has_a_price_of_its_own(self) -> None:
        prices = {"input_mtok": 1, "cache_read_mtok": 0.5, "output_mtok": 2}
        audio = {"input_audio_mtok": 10, "cache_audio_read_mtok": 5, "output_audio_mtok": 20}
        model = model_of(**{name: Decimal(price) for name, price in (prices | audio).items()})
        used = TokenUsage(100, 10, cached_tokens=60, input_audio_tokens=70, output_audio_tokens=4)
        # 30 cached text, 40 audio, 30 cached audio; 6 text and 4 audio out.
        assert model.cost(used) == 30 * 50 + 40 * 1_000 + 30 * 500 + 6 * 200 + 4 * 2_000

    def test_the_length_of_the_input_sets_the_tier_of_all_tokens(self) -> None:
        tiers = TieredPrices(base=Decimal(1), tiers=[Tier(start=100, price=Decimal(3))])
        model = model_of(input_mtok=tiers, output_mtok=Decimal(2))
        assert model.cost(TokenUsage(100, 1)) == 100 * 100 + 200
        assert model.cost(TokenUsage(101, 1)) == 101 * 300 + 200
        assert model.cost(TokenUsage(100, 1)) == 100 * 100 + 200

    def test_each_request_of_a_call_has_the_tier_of_its_own_length(self) -> None:
        tiers = TieredPrices(base=Decimal(1), tiers=[Tier(start=100, price=Decimal(3))])
        model = model_of(input_mtok=tiers, output_mtok=Decimal(2))
        parts = (TokenUsage(90, 1), TokenUsage(110, 1))
        assert model.cost(TokenUsage(200, 2, requests=2, parts=parts)) == 90 * 100 + 110 * 300 + 400

    def test_a_fee_for_each_request_is_part_of_it(self) -> None:
        model = model_of(input_mtok=Decimal(1), output_mtok=Decimal(1), requests_kcount=Decimal(5))
        assert model.cost(TokenUsage(1, 0, requests=2)) == 100 + 2 * 500_000

    def test_a_price_holds_from_its_day_on(self) -> None:
        old, new = (ModelPrice(input_mtok=Decimal(n), output_mtok=Decimal(n)) for n in (1, 2))
        past, future = date(2020, 1, 1), date(9999, 1, 1)
        prices = [
            ConditionalPrice(prices=old),
            ConditionalPrice(StartDateConstraint(past), prices=new),
            ConditionalPrice(StartDateConstraint(future), prices=old),
        ]
        model = PricedModel("p", ModelInfo("m", ClauseEquals("m"), prices=prices))
        assert model.cost(TokenUsage(1, 0)) == 200

    @pytest.mark.parametrize(
        ("prices", "used"),
        [
            ({}, TokenUsage(1, 0)),
            ({"input_mtok": Decimal(1)}, TokenUsage(1, 1)),
            ({"output_mtok": Decimal(1)}, TokenUsage(1, 1)),
            ({"input_mtok": Decimal(1), "output_mtok": Decimal(1)}, TokenUsage(1, 1, cached_tokens=2)),
        ],
        ids=["no price", "none of the output", "none of the input", "a usage that cannot be"],
    )
    def test_what_has_no_price_is_unknown_and_not_free(self, prices: dict[str, Decimal], used: TokenUsage) -> None:
        assert model_of(**prices).cost(used) is None

    def test_a_price_of_zero_is_a_price(self) -> None:
        assert model_of(input_mtok=Decimal(0), output_mtok=Decimal(0)).cost(TokenUsage(1, 1)) == 0


class TestLookUp:
    @pytest.mark.parametrize("name", ["openai/gpt-4o", "litellm/openai/gpt-4o", "somewhere/else/gpt-4o", "GPT-4o"])
    def test_a_name_may_say_how_it_is_routed(self, name: str) -> None:
        model = DATA.model(ModelIdentity(name))
        assert model is not None
        assert model.cost(TokenUsage(1, 0)) == 250

    @pytest.mark.parametrize(
        ("name", "microcents"),
        [
            ("litellm/anthropic/claude-3-5-sonnet-20241022", 450_000),
            ("litellm/bedrock/anthropic.claude-3-5-sonnet-20241022-v2:0", 450_000),
            ("litellm/groq/llama-3.1-8b-instant", 5_800),
        ],
    )
    def test_the_provider_in_a_name_is_the_one_whose_price_counts(self, name: str, microcents: int) -> None:
        model = DATA.model(ModelIdentity(name))
        assert model is not None
        assert model.cost(TokenUsage(1_000, 100)) == microcents

    @pytest.mark.parametrize("name", ["ScriptedModel", "our-own", "our/own/model", "", "/", "gpt-4o/", "x" * 500])
    def test_a_model_that_nobody_knows_has_no_price(self, name: str) -> None:
        assert DATA.model(ModelIdentity(name)) is None

    def test_a_provider_that_is_certain_is_the_only_one_that_is_looked_at(self) -> None:
        assert DATA.model(ModelIdentity("claude-sonnet-4-5", "openai")) is None
        assert DATA.model(ModelIdentity("claude-sonnet-4-5", api_url="https://api.openai.com/v1/")) is None

    def test_the_same_model_has_another_price_elsewhere(self) -> None:
        here = DATA.model(ModelIdentity("gpt-4o", "openai"))
        there = DATA.model(ModelIdentity("openai/gpt-4o", api_url="https://openrouter.ai/api/v1"))
        assert here is not None
        assert there is not None
        assert (here.provider, there.provider) == ("openai", "openrouter")

    def test_it_is_looked_up_once(self) -> None:
        assert DATA.model(ModelIdentity("gpt-4o")) is DATA.model(ModelIdentity("gpt-4o"))

    @pytest.mark.usefixtures("other_data")
    def test_data_that_the_program_brings_replaces_what_was_kept(self) -> None:
        model = DATA.model(ModelIdentity("gpt-4o"))
        assert model is not None
        assert model.cost(TokenUsage(1, 0)) == 100
        assert DATA.model(ModelIdentity("gpt-4o-mini")) is None


class TestVersion:
    def test_it_is_the_version_of_the_package(self) -> None:
        assert DATA.version == metadata.version("genai-prices")

    @pytest.mark.usefixtures("other_data")
    def test_data_that_was_updated_since_has_its_date(self) -> None:
        day = data_snapshot.get_snapshot().timestamp.date().isoformat()
        assert DATA.version == f"{metadata.version('genai-prices')}+{day}"
