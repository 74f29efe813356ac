"""A governed model is the model that it wraps, but for what the policy and the caps of the step say."""

from __future__ import annotations

from typing import Any

import pytest
from agents import (
    Agent,
    Model,
    ModelProvider,
    ModelRetryBackoffSettings,
    ModelRetrySettings,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIProvider,
    OpenAIResponsesModel,
    RunConfig,
    Runner,
)
from agents.models import get_default_model_settings
from agents.testing import ScriptedModel
from openai import AsyncOpenAI

from cycles_otel import CyclesModelProvider, Downgrade, governed_model
from cycles_otel.local import LocalCycles
from cycles_otel.pricing import ModelIdentity
from tests.degradation.conftest import OpenDesk
from tests.degradation.desk import NamedModel, Shelf, asked, denied_run, governed
from tests.hooks.desk import COST, DONE, PricedModel
from tests.run.desk import says


class Cleaned(NamedModel):
    """Knows how often the end of a run was told to it, and how often it was closed."""

    def __init__(self, name: str, *steps: Any) -> None:
        super().__init__(name, *steps)
        self.cleaned = self.closed = 0

    async def _cleanup_on_run_end(self, owner: object) -> None:
        self.cleaned += 1

    async def close(self) -> None:
        self.closed += 1


class TestOutsideOfAGovernedRun:
    async def test_it_answers_as_the_model_that_it_wraps(self) -> None:
        large = NamedModel("large", says(60, "from the large one"))
        result = await Runner.run(Agent(name="clerk", model=governed_model(large)), "hello")
        assert result.final_output == "from the large one"

    async def test_its_provider_gives_out_the_models_of_the_one_that_it_wraps(self) -> None:
        shelf = Shelf(NamedModel("large", says(60, "from the shelf")))
        result = await Runner.run(Agent(name="clerk", model="large"), "hello", run_config=governed(shelf))
        assert result.final_output == "from the shelf"

    def test_it_is_known_as_what_it_wraps(self) -> None:
        chat = OpenAIChatCompletionsModel("gpt-4o", AsyncOpenAI(api_key="k"))
        wrapped = governed_model(chat)
        assert isinstance(wrapped, OpenAIChatCompletionsModel)
        assert wrapped.model == "gpt-4o"
        assert governed_model(wrapped) is wrapped

    async def test_it_and_its_provider_close_what_they_wrap(self) -> None:
        large, shelf = Cleaned("large"), Shelf()
        await governed_model(large).close()
        await CyclesModelProvider(shelf).aclose()
        assert large.closed == 1
        assert shelf.closed

    def test_its_provider_makes_the_models_of_the_sdk_by_default(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OPENAI_API_KEY", "k")
        made = CyclesModelProvider().get_model("gpt-4o")
        assert isinstance(made, OpenAIResponsesModel)
        assert made.model == "gpt-4o"

    def test_it_and_its_provider_show_whom_they_ask(self) -> None:
        provider = CyclesModelProvider(OpenAIProvider(base_url="https://models.example/v1", api_key="k"))
        clerk = Agent(name="clerk", model="gpt-4o")
        by_name = ModelIdentity.asked_for(None, clerk, provider)
        assert by_name == ModelIdentity("gpt-4o", None, "https://models.example/v1")
        object_of_it = clerk.clone(model=provider.get_model("gpt-4o"))
        assert str(ModelIdentity.asked_for(None, object_of_it).api_url).startswith("https://models.example/v1")
        assert ModelIdentity.of_model(governed_model(ScriptedModel())).name == "ScriptedModel"


class TestTheSettingsOfADowngrade:
    async def test_lose_what_the_sdk_sets_for_the_model_that_was_asked_for(self, open_desk: OpenDesk) -> None:
        assert get_default_model_settings("gpt-5").reasoning is not None
        shelf = Shelf(NamedModel("gpt-5"), NamedModel("gpt-4o-mini", says(60)))
        async with open_desk(on_llm_denied=Downgrade("gpt-4o-mini", estimate=100)) as desk:
            await desk.run(Agent(name="clerk", model="gpt-5"), run_config=governed(shelf))
        settings = shelf.models["gpt-4o-mini"].calls[0].model_settings
        assert (settings.reasoning, settings.verbosity) == (None, None)

    async def test_keep_what_the_agent_sets(self, open_desk: OpenDesk) -> None:
        shelf = Shelf(NamedModel("gpt-5"), NamedModel("gpt-4o-mini", says(60)))
        clerk = Agent(name="clerk", model="gpt-5", model_settings=ModelSettings(temperature=0.2, verbosity="high"))
        async with open_desk(on_llm_denied=Downgrade("gpt-4o-mini", estimate=100)) as desk:
            await desk.run(clerk, run_config=governed(shelf))
        settings = shelf.models["gpt-4o-mini"].calls[0].model_settings
        assert (settings.temperature, settings.verbosity) == (0.2, "high")


class TestTheModelThatAnswers:
    async def test_is_called_again_by_a_retry_and_asked_for_its_advice(self, open_desk: OpenDesk) -> None:
        shelf = Shelf(NamedModel("large"), NamedModel("small", ConnectionError("lost"), says(60)))
        retry = ModelRetrySettings(
            max_retries=1, policy=lambda _: True, backoff=ModelRetryBackoffSettings(initial_delay=0.0)
        )
        clerk = Agent(name="clerk", model="large", model_settings=ModelSettings(retry=retry))
        async with open_desk(on_llm_denied=Downgrade("small", estimate=100)) as desk:
            await desk.run(clerk, run_config=governed(shelf))
            assert (shelf.calls("large"), shelf.calls("small")) == (0, 2)
            assert await desk.charged() == (60, 0)

    async def test_is_told_the_end_of_the_run_and_so_is_the_other(self, open_desk: OpenDesk) -> None:
        large, small = Cleaned("large"), Cleaned("small", says(60))
        wrapped = governed_model(large, Shelf(small))
        async with open_desk(on_llm_denied=Downgrade("small", estimate=100)) as desk:
            await desk.run(Agent(name="clerk", model=wrapped))
        assert (large.cleaned, small.cleaned) == (1, 1)
        await wrapped.close()
        assert (large.closed, small.closed) == (1, 1)

    async def test_is_the_one_that_is_priced_where_a_name_is_an_alias(
        self, open_desk: OpenDesk, server: LocalCycles
    ) -> None:
        class Aliases(ModelProvider):
            def get_model(self, model_name: str | None) -> Model:
                return PricedModel(DONE, model="gpt-4o")

        self._budget(server, 10_000_000)
        config = RunConfig(model_provider=CyclesModelProvider(Aliases()))
        async with open_desk(llm_unit="USD_MICROCENTS", llm_estimate=500_000) as desk:
            await desk.run(Agent(name="clerk", model="our-best"), run_config=config)
            await desk.all_settled()
            assert desk.ledger.charged("USD_MICROCENTS") == COST
            assert asked(server)[0][0] == "our-best"

    async def test_asks_for_an_estimate_that_shrinks_as_the_price_does(
        self, open_desk: OpenDesk, server: LocalCycles
    ) -> None:
        self._budget(server, 100_000)
        shelf = Shelf(NamedModel("gpt-4o"), NamedModel("gpt-4o-mini", says(1_000)))
        async with open_desk(on_llm_denied=Downgrade("gpt-4o-mini"), **self._dollars()) as desk:
            await desk.run(Agent(name="clerk", model="gpt-4o"), run_config=governed(shelf))
            # 250 and 1,000 microcents a token become 15 and 60: six hundredths of the price.
            assert asked(server) == [("gpt-4o", 500_000, 409), ("gpt-4o-mini", 30_000, 200)]
            await desk.all_settled()
            assert desk.ledger.charged("USD_MICROCENTS") == 999 * 15 + 60

    async def test_asks_for_what_its_own_call_is_priced_at(self, open_desk: OpenDesk, server: LocalCycles) -> None:
        self._budget(server, 1_000_000)
        shelf = Shelf(NamedModel("gpt-4o"), NamedModel("gpt-4o-mini", says(1_000)))
        given = {**self._dollars(), "llm_estimate": "priced"}
        async with open_desk(on_llm_denied=Downgrade("gpt-4o-mini"), **given) as desk:
            await desk.run(Agent(name="clerk", model="gpt-4o"), run_config=governed(shelf))
            (_, dear, _), (_, cheap, _) = asked(server)
            # The same input, at 250 and at 15 microcents a token, and 2,048 tokens of output at 1,000 and at 60.
            assert (dear - 2_048 * 1_000) / 250 == (cheap - 2_048 * 60) / 15 > 0

    async def test_keeps_the_estimate_where_a_price_is_not_known(
        self, open_desk: OpenDesk, server: LocalCycles
    ) -> None:
        self._budget(server, 400_000)
        shelf = Shelf(NamedModel("gpt-4o"), NamedModel("our-own"))
        async with open_desk(on_llm_denied=Downgrade("our-own"), **self._dollars()) as desk:
            await denied_run(desk, Agent(name="clerk", model="gpt-4o"), run_config=governed(shelf))
            assert asked(server) == [("gpt-4o", 500_000, 409), ("our-own", 500_000, 409)]

    def _dollars(self) -> dict[str, Any]:
        return {"llm_unit": "USD_MICROCENTS", "llm_estimate": 500_000}

    def _budget(self, server: LocalCycles, amount: int) -> None:
        server.fund("tenant:acme", amount, "USD_MICROCENTS")
