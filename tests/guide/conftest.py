from __future__ import annotations

import ast
import inspect
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from agents import Agent, Model, ModelProvider, RunConfig, Runner
from agents.run import AgentRunner, get_default_agent_runner, set_default_agent_runner

import cycles_otel
from cycles_otel import CyclesRunHooks
from cycles_otel.local import LocalCycles
from tests.guide.snippets import PACKAGE_OF_THE_GUIDE
from tests.hooks.desk import DONE, PricedModel


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalCycles]:
    """A server to which the environment leads, as the guide sets it."""
    with LocalCycles(budgets={"tenant:acme": {"USD_MICROCENTS": 10_000_000, "RISK_POINTS": 1_000}}) as server:
        monkeypatch.setenv("CYCLES_BASE_URL", server.url)
        monkeypatch.setenv("CYCLES_API_KEY", server.api_key)
        monkeypatch.setenv("CYCLES_JOURNAL_ENABLED", "false")
        yield server


class Models(ModelProvider):
    """Stands for OpenAI: whatever model is asked for, the scripted one answers."""

    def __init__(self) -> None:
        self.asked: list[str | None] = []
        self.model = PricedModel(DONE)

    def answer(self, *steps: Any) -> None:
        """The script of the next run."""
        self.model = PricedModel(*steps)

    def get_model(self, model_name: str | None) -> Model:
        self.asked.append(model_name)
        return self.model


class ScriptedRunner(AgentRunner):
    """The SDK's own runner, for whose runs the scripted models are the default."""

    def __init__(self, models: Models) -> None:
        self._models = models

    async def run(self, starting_agent: Agent[Any], input: Any, **kwargs: Any) -> Any:
        kwargs["run_config"] = RunConfig(model_provider=self._models)
        return await super().run(starting_agent, input, **kwargs)


@pytest.fixture
def models() -> Iterator[Models]:
    """What answers where a snippet names no model."""
    models, own = Models(), get_default_agent_runner()
    set_default_agent_runner(ScriptedRunner(models))
    yield models
    set_default_agent_runner(own)


class Guide:
    """A reader who types one snippet after the other into the same program."""

    def __init__(self) -> None:
        self.names: dict[str, Any] = {"Runner": Runner, "CyclesRunHooks": CyclesRunHooks}

    async def types(self, snippet: str, **names: Any) -> None:
        """Run a snippet as it is written, with only the package's name changed."""
        self.names.update(names)
        source = snippet.replace(PACKAGE_OF_THE_GUIDE, cycles_otel.__name__)
        code = compile(source, "<guide>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        done = eval(code, self.names)
        if inspect.isawaitable(done):
            await done

    @property
    def hooks(self) -> CyclesRunHooks:
        hooks = self.names["hooks"]
        assert isinstance(hooks, CyclesRunHooks)
        return hooks


@pytest.fixture
async def guide() -> AsyncIterator[Guide]:
    guide = Guide()
    yield guide
    if "hooks" in guide.names:
        await guide.hooks.aclose()
