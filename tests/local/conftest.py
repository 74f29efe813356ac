"""A running server and a client of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cycles_otel.local import LocalCycles, ManualClock
from tests.local.client import USD, Client


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def server(clock: ManualClock) -> Iterator[LocalCycles]:
    budgets = {"tenant:acme": {USD: 1_000}, "tenant:acme/agent:a1": {USD: 500}}
    with LocalCycles(budgets, clock=clock, sweep_interval=3600.0) as server:
        yield server


@pytest.fixture
def client(server: LocalCycles) -> Iterator[Client]:
    with Client(server) as client:
        yield client
