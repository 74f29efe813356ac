"""Which schedules are played: ``SEED`` plays one, ``SEEDS`` so many from ``FIRST_SEED`` on; else a few hundred."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.telemetry.witness import Witness

DEFAULT_SEEDS = 250
BATCH = 10
"""Schedules that are played at once: most of their time they wait."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seeds" in metafunc.fixturenames:
        seeds = _seeds()
        batches = [seeds[first : first + BATCH] for first in range(0, len(seeds), BATCH)]
        metafunc.parametrize("seeds", batches, ids=lambda batch: f"{batch[0]}-{batch[-1]}")


def _seeds() -> list[int]:
    if only := os.environ.get("SEED"):
        return [int(only)]
    first, count = int(os.environ.get("FIRST_SEED") or 0), int(os.environ.get("SEEDS") or DEFAULT_SEEDS)
    return list(range(first, first + count))


@pytest.fixture
def witness() -> Iterator[Witness]:
    witness = Witness(metrics="prometheus", max_values=10**6, max_series=10**6)
    yield witness
    witness.close()
