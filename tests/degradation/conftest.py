from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from functools import partial

import pytest

from cycles_otel.local import LocalCycles
from tests.degradation.desk import BUDGETS, desk_of
from tests.run.desk import Desk
from tests.telemetry.witness import Witness

OpenDesk = Callable[..., AbstractAsyncContextManager[Desk]]


@pytest.fixture
def server() -> Iterator[LocalCycles]:
    with LocalCycles(budgets=BUDGETS) as server:
        yield server


@pytest.fixture
def witness() -> Iterator[Witness]:
    witness = Witness()
    yield witness
    witness.close()


@pytest.fixture(params=["awaited", "streamed"])
def streamed(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "streamed")


@pytest.fixture
def open_desk(server: LocalCycles, streamed: bool, witness: Witness) -> OpenDesk:
    """Opens a desk with hooks of the given parameters, once for each way of running an agent."""
    return partial(desk_of, server, streamed, witness)
