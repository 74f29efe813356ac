from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from runcycles import AsyncCyclesClient, CyclesClient

from cycles_otel.local import LocalCycles
from cycles_otel.telemetry import observe_client
from tests.telemetry.witness import Witness

BUDGETS = {"tenant:acme": {"USD_MICROCENTS": 1_000_000, "RISK_POINTS": 100}, "tenant:acme/agent:poor": {"TOKENS": 5}}


@pytest.fixture
def witness() -> Iterator[Witness]:
    witness = Witness()
    yield witness
    witness.close()


@pytest.fixture
def server() -> Iterator[LocalCycles]:
    with LocalCycles(budgets=BUDGETS) as server:
        yield server


@pytest.fixture
async def client(server: LocalCycles, witness: Witness) -> AsyncIterator[AsyncCyclesClient]:
    async with AsyncCyclesClient(server.config()) as client:
        yield observe_client(client, witness.recorder)


@pytest.fixture
def blocking_client(server: LocalCycles, witness: Witness) -> Iterator[CyclesClient]:
    with CyclesClient(server.config()) as client:
        yield observe_client(client, witness.recorder)
