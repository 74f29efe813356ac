from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cycles_otel.local import LocalCycles
from tests.telemetry.witness import Witness

BUDGETS = {
    "tenant:acme": {"USD_MICROCENTS": 1_000_000, "RISK_POINTS": 100},
    "tenant:acme/agent:triage": {"TOKENS": 5_000},
    "tenant:globex": {"TOKENS": 700},
}


@pytest.fixture
def witness() -> Iterator[Witness]:
    witness = Witness()
    yield witness
    witness.close()


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def server(db: Path) -> Iterator[LocalCycles]:
    with LocalCycles(budgets=BUDGETS, db=db) as server:
        yield server
