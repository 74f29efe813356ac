"""An exporter at work inside the test, and what is read of it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

from cycles_otel.exporter.exporter import Exporter
from cycles_otel.exporter.keys import ApiKey
from cycles_otel.exporter.pace import Pace
from cycles_otel.exporter.targets import Target
from cycles_otel.local import LocalCycles
from cycles_otel.telemetry import semconv
from cycles_otel.telemetry.schema import Metric
from tests.run.desk import until
from tests.telemetry.witness import Witness

PACE = Pace(interval=0.05, jitter=0.0, timeout=5.0, stale_after=1_000, max_backoff=0.1)
"""Fast, and with values that stay for the time of a test."""

Series = dict[tuple[tuple[str, str], ...], float]


def target(server: LocalCycles, tenant: str = "acme", pace: Pace = PACE, **given: Any) -> Target:
    """All budgets of a tenant, with its key."""
    values = {"name": tenant, "key": ApiKey("key", server.api_key_for(tenant)), "levels": {"tenant": tenant}}
    return Target(**{**values, "base_url": server.url, "pace": pace, **given})


@asynccontextmanager
async def exporting(witness: Witness, *targets: Target, max_budgets: int = 10_000) -> AsyncIterator[None]:
    """An exporter that polls these targets while the block runs."""
    running = asyncio.create_task(Exporter(targets, witness.recorder, max_budgets).run())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.wait([running])
        assert running.cancelled(), running.exception()


async def polled(witness: Witness, name: str = "acme", times: int = 1, **labels: str) -> None:
    """So many polls of a target have ended from now on."""
    labels = {"cycles_exporter_target": name, **labels}
    before = witness.total(semconv.EXPORTER_POLLS, **labels)
    await until(lambda: witness.total(semconv.EXPORTER_POLLS, **labels) >= before + times)


async def is_up(witness: Witness, value: int = 1, name: str = "acme") -> None:
    """The target is up, or with 0 down."""
    await until(lambda: up(witness).get(name) == value)


def up(witness: Witness) -> dict[str, float]:
    """Which targets are up."""
    return {
        dict(labels)["cycles_exporter_target"]: value for labels, value in witness.series(semconv.EXPORTER_UP).items()
    }


def scopes(witness: Witness, metric: Metric = semconv.BUDGET_OBSERVED) -> set[str]:
    """The scopes that are shown."""
    return {dict(labels)["cycles_scope_path"] for labels in witness.series(metric)}


def by_budget(series: Series) -> dict[tuple[str, str], float]:
    """The values of a budget's gauge by scope and unit."""
    named = ((dict(labels), value) for labels, value in series.items())
    return {(labels["cycles_scope_path"], labels["cycles_unit"]): value for labels, value in named}


def delete_budgets(db: Path, scopes: Iterable[str]) -> None:
    """Delete budgets in the file that a server keeps its ledger in, as an operator's tool would."""
    with closing(sqlite3.connect(db, timeout=10)) as connection, connection:
        connection.executemany("DELETE FROM budgets WHERE scope = ?", [(scope,) for scope in scopes])
