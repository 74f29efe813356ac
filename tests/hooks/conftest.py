from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from cycles_otel import CyclesRunHooks
from cycles_otel.local import LocalCycles
from tests.hooks.desk import BUDGETS
from tests.telemetry.witness import Witness

MakeHooks = Callable[..., CyclesRunHooks]


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
async def make_hooks(server: LocalCycles, witness: Witness) -> AsyncIterator[MakeHooks]:
    """Makes hooks for the server, which are closed when the test is over."""
    made: list[CyclesRunHooks] = []

    def make(**options: Any) -> CyclesRunHooks:
        config = server.config("acme", retry_flush_timeout=0.2)
        made.append(CyclesRunHooks(**{"config": config, "recorder": witness.recorder, **options}))
        return made[-1]

    yield make
    for hooks in made:
        await hooks.aclose()
