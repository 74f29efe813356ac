"""Where the actual spend is unknown nothing is settled by guess, and somebody is told."""

from __future__ import annotations

import pytest
from agents import Runner

from cycles_otel import CyclesRunHooks
from cycles_otel.local import LocalCycles
from cycles_otel.telemetry import semconv
from tests.recovery.binding import scenario
from tests.run.desk import agent
from tests.telemetry.witness import Witness


@scenario("CR-BOUNDARY-001", faults=("guarded_action_does_not_return_actual",))
async def test_a_model_that_fails_is_surfaced_and_neither_committed_nor_charged(server: LocalCycles) -> None:
    witness = Witness()
    async with CyclesRunHooks(
        config=server.config(), llm_unit="TOKENS", llm_estimate=100, recorder=witness.recorder
    ) as hooks:
        with pytest.raises(ConnectionError, match="the model is gone"):
            await Runner.run(agent(ConnectionError("the model is gone")), "hello", hooks=hooks)
    assert {request.operation for request in server.requests} == {"reserve", "release"}
    assert [each.status for each in server.ledger().reservations] == ["RELEASED"]
    assert witness.total(semconv.SETTLEMENT_COUNT, cycles_reservation_outcome="released") == 1
    witness.close()
