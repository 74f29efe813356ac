"""Downgrades and caps under the SDK's own models and the real openai client, against a stub of both APIs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from agents import Agent, ModelSettings, OpenAIProvider, RunConfig
from openai import AsyncOpenAI

from cycles_otel import CyclesModelProvider, Downgrade
from cycles_otel.local import LocalCycles
from tests.degradation.conftest import OpenDesk
from tests.degradation.desk import cap
from tests.wire.answers import Answer, Tokens
from tests.wire.line import OPENAI_KEY
from tests.wire.stub import Stub

MAX_TOKENS = {"responses": "max_output_tokens", "chat": "max_tokens"}


@pytest.fixture
def stub() -> Iterator[Stub]:
    with Stub() as stub:
        stub.will(Answer(usage=Tokens(input=50, output=10)))
        yield stub


@pytest.fixture
async def client(stub: Stub) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=stub.url, api_key=OPENAI_KEY, max_retries=0) as client:
        yield client


@pytest.mark.parametrize("api", MAX_TOKENS)
async def test_the_request_asks_for_the_other_model_within_the_cap(
    open_desk: OpenDesk, server: LocalCycles, stub: Stub, client: AsyncOpenAI, api: str
) -> None:
    cap(server, max_tokens=64)
    provider = CyclesModelProvider(OpenAIProvider(openai_client=client, use_responses=api == "responses"))
    settings = ModelSettings(max_tokens=500, temperature=0.3, include_usage=True)
    clerk = Agent(name="clerk", model="gpt-4o", model_settings=settings)
    async with open_desk(on_llm_denied=Downgrade("gpt-4o-mini", estimate=100)) as desk:
        await desk.run(clerk, run_config=RunConfig(model_provider=provider))
        assert await desk.charged() == (60, 0)
    (asked,) = stub.requests
    assert (asked.body["model"], asked.body["temperature"], asked.body[MAX_TOKENS[api]]) == ("gpt-4o-mini", 0.3, 64)
