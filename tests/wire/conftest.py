from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from openai import AsyncOpenAI

from cycles_otel import CyclesRunHooks
from cycles_otel.local import LocalCycles
from tests.run.desk import hooks_of
from tests.telemetry.witness import Witness
from tests.wire.line import ESTIMATE, OPENAI_KEY, Line
from tests.wire.stub import Stub

BUDGETS = {"tenant:acme": {"USD_MICROCENTS": 10_000_000, "TOKENS": 100_000, "RISK_POINTS": 1_000}}


@pytest.fixture
def stub() -> Iterator[Stub]:
    with Stub() as stub:
        yield stub


@pytest.fixture
def server() -> Iterator[LocalCycles]:
    with LocalCycles(budgets=BUDGETS) as server:
        yield server


@pytest.fixture
def witness() -> Iterator[Witness]:
    witness = Witness()
    yield witness
    witness.close()


@pytest.fixture
async def client(stub: Stub) -> AsyncIterator[AsyncOpenAI]:
    """The real client; it asks once, so that a test which wants retries says so."""
    async with AsyncOpenAI(base_url=stub.url, api_key=OPENAI_KEY, max_retries=0) as client:
        yield client


@pytest.fixture
async def hooks(server: LocalCycles, witness: Witness) -> AsyncIterator[CyclesRunHooks]:
    async with hooks_of(
        server, llm_unit="USD_MICROCENTS", llm_estimate=ESTIMATE, recorder=witness.recorder, ttl_ms=1_000
    ) as hooks:
        yield hooks


@pytest.fixture(params=["responses", "chat"])
def api(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["awaited", "streamed"])
def streamed(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "streamed")


@pytest.fixture
def line(
    server: LocalCycles,
    hooks: CyclesRunHooks,
    stub: Stub,
    witness: Witness,
    client: AsyncOpenAI,
    api: str,
    streamed: bool,
) -> Line:
    """A line for each of the SDK's models, its runs awaited and streamed."""
    return Line(server, hooks, streamed, stub=stub, witness=witness, client=client, api=api)
