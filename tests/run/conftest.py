from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from cycles_otel import CyclesRunHooks
from cycles_otel.local import LocalCycles
from tests.run.desk import AMPLE, ESTIMATE, Desk, hooks_of


@pytest.fixture
def server() -> Iterator[LocalCycles]:
    with LocalCycles(budgets={"tenant:acme": AMPLE}) as server:
        yield server


@pytest.fixture
async def desk(server: LocalCycles) -> AsyncIterator[Desk]:
    """A desk whose runs are awaited, with the SDK's tracing on."""
    async with hooks_of(server) as hooks:
        yield Desk(server, hooks)


@pytest.fixture(params=["awaited", "streamed"])
def streamed(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "streamed")


@pytest.fixture(params=["traced", "untraced"])
def tracing(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "traced")


@pytest.fixture
async def any_desk(server: LocalCycles, streamed: bool, tracing: bool) -> AsyncIterator[Desk]:
    """A desk for each way of running an agent, with the SDK's tracing on and off."""
    async with hooks_of(server, ttl_ms=1_000) as hooks:
        yield Desk(server, hooks, streamed, tracing)


@pytest.fixture
def lasting_desk(server: LocalCycles) -> Iterator[Desk]:
    """A desk whose hooks outlive the event loops in which they are used."""
    hooks = CyclesRunHooks(config=server.config(), llm_unit="TOKENS", llm_estimate=ESTIMATE, ttl_ms=1_000)
    yield Desk(server, hooks)
    asyncio.run(hooks.aclose())
