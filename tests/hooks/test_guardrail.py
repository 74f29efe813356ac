"""The guardrail blocks: what is denied never reaches a model."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from agents import Agent, InputGuardrailTripwireTriggered, Runner

from cycles_otel import cycles_budget_guardrail
from cycles_otel.local import LocalCycles
from cycles_otel.telemetry import semconv
from tests.hooks.conftest import MakeHooks
from tests.hooks.desk import DONE, PricedModel, agent
from tests.run.desk import cancelled, until
from tests.telemetry.witness import Witness, attributes


def guarded(server: LocalCycles, model: PricedModel, name: str = "desk", **options: Any) -> Agent[Any]:
    guard = cycles_budget_guardrail(config=server.config("acme"), **options)
    return agent(model, name=name, input_guardrails=[guard])


async def run(starting: Agent[Any], streamed: bool, hooks: Any = None) -> None:
    if not streamed:
        await Runner.run(starting, "hello", hooks=hooks)
        return
    async for _ in Runner.run_streamed(starting, "hello", hooks=hooks).stream_events():
        pass


@pytest.mark.parametrize("streamed", [False, True], ids=["awaited", "streamed"])
class TestBlocking:
    async def test_a_denial_spends_no_token(self, streamed: bool, server: LocalCycles, make_hooks: MakeHooks) -> None:
        model = PricedModel(DONE)
        with pytest.raises(InputGuardrailTripwireTriggered) as caught:
            await run(guarded(server, model, estimate=10_000_001), streamed, make_hooks())
        info = caught.value.guardrail_result.output.output_info
        assert (info["decision"], info["reason_code"]) == ("DENY", "BUDGET_EXCEEDED")
        assert model.calls == ()
        assert [each.operation for each in server.requests] == ["decide"]

    async def test_what_is_allowed_starts_after_the_answer(self, streamed: bool, server: LocalCycles) -> None:
        model = PricedModel(DONE)
        await run(guarded(server, model, estimate=10_000_000), streamed)
        assert len(model.calls) == 1
        assert server.ledger().reservations == ()

    async def test_a_run_that_it_stops_counts_as_denied(
        self, streamed: bool, server: LocalCycles, make_hooks: MakeHooks, witness: Witness
    ) -> None:
        with pytest.raises(InputGuardrailTripwireTriggered):
            await run(guarded(server, PricedModel(), estimate=10_000_001), streamed, make_hooks())
        assert witness.total(semconv.RUNS, cycles_run_outcome="denied") == 1


class TestRequest:
    async def test_it_asks_for_the_run_of_the_agent_by_its_name(self, server: LocalCycles) -> None:
        await run(guarded(server, PricedModel(DONE), estimate=5_000_000, agent="parameter", app="a"), streamed=False)
        (request,) = server.requests
        assert request.body["action"] == {"kind": "agent.run", "name": "desk"}
        assert request.body["subject"] == {"tenant": "acme", "app": "a", "agent": "desk"}
        assert request.body["estimate"] == {"unit": "USD_MICROCENTS", "amount": 5_000_000}

    @pytest.mark.parametrize("unit", ["RISK_POINTS", "TOKENS"])
    async def test_it_asks_in_the_unit_given(self, unit: str, server: LocalCycles) -> None:
        starting = guarded(server, PricedModel(DONE), estimate=1, unit=unit, unbudgeted="allow")
        await run(starting, streamed=False)
        assert server.requests[0].body["estimate"] == {"unit": unit, "amount": 1}

    async def test_each_run_asks_anew(self, server: LocalCycles) -> None:
        guard = cycles_budget_guardrail(config=server.config("acme"))
        for _ in range(3):
            await run(agent(PricedModel(DONE), input_guardrails=[guard]), streamed=False)
        assert len({each.body["idempotency_key"] for each in server.requests}) == 3

    async def test_its_span_belongs_to_the_run(
        self, server: LocalCycles, make_hooks: MakeHooks, witness: Witness
    ) -> None:
        starting = guarded(server, PricedModel(DONE), recorder=witness.recorder)
        await run(starting, streamed=False, hooks=make_hooks())
        decide, whole = witness.span("decide agent.run"), witness.span("cycles.run desk")
        assert attributes(decide)["cycles.run.id"] == attributes(whole)["cycles.run.id"]
        assert decide.context.trace_id == whole.context.trace_id


class TestShadow:
    async def test_what_it_would_have_denied_is_told_from_what_it_denied(
        self, server: LocalCycles, witness: Witness
    ) -> None:
        model = PricedModel(DONE)
        await run(guarded(server, model, estimate=10_000_001, dry_run=True, recorder=witness.recorder), streamed=False)
        assert len(model.calls) == 1
        assert attributes(witness.span("decide agent.run"))["cycles.dry_run"] is True
        assert witness.total(semconv.DECISIONS, cycles_decision="DENY", cycles_dry_run="true") == 1
        assert "dry_run" not in server.requests[-1].body


class TestCancelled:
    async def test_a_run_that_is_cancelled_does_not_wait_and_its_request_is_still_one_span(
        self, server: LocalCycles, witness: Witness
    ) -> None:
        config = server.config("acme", read_timeout=60.0)
        guard = cycles_budget_guardrail(config=config, recorder=witness.recorder)
        starting = agent(PricedModel(), input_guardrails=[guard])
        with server.hold("decide") as held:
            running = asyncio.create_task(run(starting, streamed=False))
            await held.arrived()
            await cancelled(running)
        await until(lambda: [span.name for span in witness.client_spans] == ["decide agent.run"], seconds=10)
        assert len(server.requests) == 1
