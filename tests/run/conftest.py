from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from cycles_otel.local import LocalCycles
from tests.run.desk import AMPLE, Desk, hooks_of


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
