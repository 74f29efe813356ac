from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from cycles_otel.budget.governor import Governor
from cycles_otel.budget.policy import Policy
from cycles_otel.local import LocalCycles
from tests.budget.desk import BUDGETS, Diary, unobserved

MakeGovernor = Callable[..., Governor]


@pytest.fixture
def server() -> Iterator[LocalCycles]:
    with LocalCycles(budgets=BUDGETS) as server:
        yield server


@pytest.fixture
def diary() -> Diary:
    return Diary()


@pytest.fixture
async def make_governor(server: LocalCycles, diary: Diary) -> AsyncIterator[MakeGovernor]:
    """Makes governors for the server, which are closed when the test is over; ``more`` goes into the config."""
    made: list[Governor] = []

    def make(policy: Policy = Policy(), **more: Any) -> Governor:  # noqa: B008 - it is frozen
        config = server.config(**{"retry_flush_timeout": 0.2, **more})
        made.append(Governor(config, policy, diary, unobserved))
        return made[-1]

    yield make
    for governor in made:
        await governor.aclose()


@pytest.fixture
def governor(make_governor: MakeGovernor) -> Governor:
    return make_governor()
