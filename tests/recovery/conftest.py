from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cycles_otel.budget.governor import Governor
from cycles_otel.budget.policy import Policy
from cycles_otel.local import LocalCycles, ManualClock
from tests.budget.desk import BUDGETS, Diary, unobserved

MakeGovernor = Callable[..., Governor]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--scenario", metavar="ID", help="run only the tests that are bound to this recovery scenario")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    wanted = config.getoption("--scenario")
    if wanted is not None:
        bound = [item for item in items if any(mark.args[0] == wanted for mark in item.iter_markers("scenario"))]
        config.hook.pytest_deselected(items=[item for item in items if item not in bound])
        items[:] = bound


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def server(clock: ManualClock) -> Iterator[LocalCycles]:
    with LocalCycles(budgets=BUDGETS, clock=clock) as server:
        yield server


@pytest.fixture
def diary() -> Diary:
    return Diary()


@pytest.fixture
async def make_governor(server: LocalCycles, diary: Diary, tmp_path: Path) -> AsyncIterator[MakeGovernor]:
    """Makes governors that keep a journal in ``tmp_path``; ``more`` goes into the config."""
    made: list[Governor] = []

    def make(policy: Policy = Policy(), **more: Any) -> Governor:  # noqa: B008 - it is frozen
        journal = {"journal_enabled": True, "journal_dir": str(tmp_path), "retry_initial_delay": 0.02}
        config = server.config(**{**journal, "retry_flush_timeout": 0.2, **more})
        made.append(Governor(config, policy, diary, unobserved))
        return made[-1]

    yield make
    for governor in made:
        await governor.aclose()
