from __future__ import annotations

import asyncio

import pytest

from cycles_otel.cli.demo.cases import cases
from tests.cli.desk import CUSTOMERS, SEED, Desk, open_desk
from tests.cli.program import Ended, Traced, cycles_otel
from tests.telemetry.otlp import Receiver


@pytest.fixture(scope="session")
def demo() -> Ended:
    """The demo with a few customers, to its end."""
    return cycles_otel("demo", "--customers", str(CUSTOMERS), "--seed", str(SEED))


@pytest.fixture(scope="session")
def traced() -> Traced:
    """The same, which sends its traces to a receiver."""
    with Receiver() as receiver:
        done = cycles_otel("demo", "--customers", str(CUSTOMERS), "--seed", str(SEED), "--otlp", receiver.url)
        return Traced(done, receiver.url, receiver.spans)


@pytest.fixture(scope="session")
def worked() -> Desk:
    """A desk that has served the same customers, and is closed: what was seen of it can be read."""

    async def work() -> Desk:
        async with open_desk() as desk:
            await desk.serve(cases(CUSTOMERS, SEED))
        return desk

    return asyncio.run(work())
