"""Which model of which provider a call asks for."""

from __future__ import annotations

from typing import Any

import agents
import pytest
from agents import Agent, MultiProvider, OpenAIChatCompletionsModel, OpenAIProvider, OpenAIResponsesModel
from openai import AsyncAzureOpenAI, AsyncOpenAI

from cycles_otel.pricing import ModelIdentity
from cycles_otel.pricing.data import PriceData
from tests.hooks.desk import DONE, PricedModel

DATA = PriceData()
OPENROUTER = "https://openrouter.ai/api/v1"


def client(base_url: str | None = None) -> AsyncOpenAI:
    return AsyncOpenAI(api_key="sk-none", base_url=base_url)


def azure() -> AsyncAzureOpenAI:
    return AsyncAzureOpenAI(api_key="none", api_version="2024-10-21", azure_endpoint="https://gateway.example.org")


def asked(model: Any = None, *, override: Any = None, provider: Any = None) -> ModelIdentity:
    return ModelIdentity.asked_for(override, Agent(name="desk", model=model), provider)


class LitellmModel(PricedModel):
    """As the SDK's model of this name, which needs a package that is not installed: it routes by its name's prefix."""


class TestNames:
    def test_the_model_of_the_runs_config_stands_before_the_agents(self) -> None:
        assert asked("gpt-4o", override="gpt-4o-mini").name == "gpt-4o-mini"

    def test_the_agents_stands_before_the_default(self) -> None:
        assert asked("gpt-4o").name == "gpt-4o"
        assert asked().name == agents.models.get_default_model()

    def test_a_model_object_has_the_name_that_it_asks_for(self) -> None:
        assert asked(OpenAIResponsesModel("gpt-4o", client())).name == "gpt-4o"

    def test_a_model_object_without_a_name_is_known_by_its_class(self) -> None:
        assert asked(PricedModel(DONE, model="")).name == "PricedModel"


class TestProviders:
    @pytest.mark.parametrize("model", [OpenAIResponsesModel, OpenAIChatCompletionsModel])
    @pytest.mark.parametrize(
        ("of", "name", "provider"),
        [
            (client(), "gpt-4o", "openai"),
            (client(OPENROUTER), "openai/gpt-4o", "openrouter"),
            (client("https://our.openai.azure.com/openai/v1"), "gpt-4o", "azure"),
            (azure(), "gpt-4o", "azure"),
            (client("https://api.deepseek.com/v1"), "deepseek-chat", "deepseek"),
            (client("http://127.0.0.1:4000/v1"), "gpt-4o", "openai"),
        ],
        ids=["openai", "openrouter", "azure by address", "azure by class", "deepseek", "a gateway"],
    )
    def test_it_is_the_one_of_the_client(self, model: Any, of: AsyncOpenAI, name: str, provider: str) -> None:
        assert DATA.provider(asked(model(name, of))) == provider

    @pytest.mark.parametrize(
        ("name", "provider"),
        [
            ("litellm/anthropic/claude-sonnet-4-5", "anthropic"),
            ("litellm/openrouter/openai/gpt-4o", "openrouter"),
            ("any-llm/mistral/mistral-large-latest", "mistral"),
            ("openai/gpt-4o", "openai"),
            ("gpt-4o", "openai"),
            ("claude-sonnet-4-5", "anthropic"),
            ("nobody-knows-me", None),
        ],
    )
    def test_a_name_may_say_it(self, name: str, provider: str | None) -> None:
        assert DATA.provider(asked(name)) == provider

    def test_a_model_that_routes_by_itself_says_it_in_its_name(self) -> None:
        assert DATA.provider(asked(LitellmModel(DONE, model="anthropic/claude-sonnet-4-5"))) == "anthropic"

    @pytest.mark.parametrize(
        "provider",
        [
            OpenAIProvider(base_url=OPENROUTER, api_key="sk-none"),
            OpenAIProvider(openai_client=client(OPENROUTER)),
            MultiProvider(openai_base_url=OPENROUTER, openai_api_key="sk-none"),
        ],
        ids=["by address", "by client", "among several"],
    )
    def test_it_is_the_one_of_the_runs_model_provider(self, provider: Any) -> None:
        assert DATA.provider(asked("anthropic/claude-sonnet-4.5", provider=provider)) == "openrouter"
        assert asked("litellm/anthropic/claude-sonnet-4-5", provider=provider).api_url is None

    def test_it_is_the_one_of_the_programs_default_client(self) -> None:
        agents.set_default_openai_client(azure(), use_for_tracing=False)
        try:
            assert asked("gpt-4o").provider == "azure"
        finally:
            agents.models._openai_shared._default_openai_client = None

    def test_it_is_the_one_of_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OPENAI_BASE_URL", OPENROUTER)
        assert DATA.provider(asked("openai/gpt-4o")) == "openrouter"
