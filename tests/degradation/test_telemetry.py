"""What a degraded step leaves behind: an event on its reservation, and one count for each denial, by what was done."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from agents import Agent
from opentelemetry.sdk.trace import ReadableSpan

from cycles_otel import CyclesConfigurationError, Defer, Disable, Downgrade, governed_tool
from cycles_otel.local import LocalCycles
from cycles_otel.telemetry import semconv
from tests.degradation.conftest import OpenDesk
from tests.degradation.desk import TENANT, NamedModel, Shelf, cap, denied_run, governed, reserves
from tests.degradation.test_defer import PATIENT
from tests.degradation.test_disable import RISKY
from tests.hooks.desk import CountingTool
from tests.run.desk import calls, cancelled, model, says, until
from tests.telemetry.witness import Witness, attributes, event_names

CLERK = Agent[Any](name="clerk", model="large")


def lives(witness: Witness, kind: str = "llm.completion") -> list[ReadableSpan]:
    """The spans of reservations of a kind, in the order of their beginnings."""
    found = [span for span in witness.spans if span.name == f"cycles.reservation {kind}"]
    return sorted(found, key=lambda span: span.start_time or 0)


def outcomes(witness: Witness, kind: str = "llm.completion") -> list[Any]:
    return [attributes(span)["cycles.reservation.outcome"] for span in lives(witness, kind)]


def degraded(span: ReadableSpan) -> list[dict[str, Any]]:
    """The attributes of the events which say that a step was degraded."""
    return [dict(event.attributes or {}) for event in span.events if event.name == "cycles.degraded"]


def denials(witness: Witness) -> dict[str, float]:
    """How many denials were answered by each policy."""
    counted: dict[str, float] = {}
    for labels, value in witness.series(semconv.DENIALS).items():
        policy = dict(labels)["cycles_denial_policy"]
        counted[policy] = counted.get(policy, 0) + value
    return counted


class TestTheSpan:
    async def test_of_a_downgraded_step_says_which_model_answers_instead(
        self, open_desk: OpenDesk, witness: Witness
    ) -> None:
        shelf = Shelf(NamedModel("large"), NamedModel("small", says(60)))
        async with open_desk(on_llm_denied=Downgrade("small", estimate=100)) as desk:
            await desk.run(CLERK, run_config=governed(shelf))
        first, second = lives(witness)
        assert outcomes(witness) == ["denied", "committed"]
        assert degraded(first) == [
            {
                "cycles.denial.policy": "downgrade",
                "cycles.reason_code": "BUDGET_EXCEEDED",
                "gen_ai.request.model": "small",
            }
        ]
        assert event_names(first) == ["cycles.degraded", "cycles.denied"]
        assert attributes(second)["gen_ai.request.model"] == "small"
        assert degraded(second) == []

    async def test_of_a_disabled_tool_is_the_one_of_its_denial(self, open_desk: OpenDesk, witness: Witness) -> None:
        wipe = governed_tool(CountingTool("wipe").tool)
        async with open_desk(on_tool_denied=Disable(), **RISKY) as desk:
            await desk.run(Agent(name="clerk", model=model(calls(30, "wipe"), says(40)), tools=[wipe]))
        (life,) = lives(witness, "tool.invoke")
        assert outcomes(witness, "tool.invoke") == ["denied"]
        assert [each["cycles.denial.policy"] for each in degraded(life)] == ["disable"]

    async def test_of_a_deferred_step_lasts_from_its_denial_to_its_settlement(
        self, open_desk: OpenDesk, server: LocalCycles, witness: Witness
    ) -> None:
        async with open_desk(on_llm_denied=PATIENT) as desk:
            run = asyncio.create_task(desk.run(Agent(name="clerk", model=NamedModel("large", says(120)))))
            await until(lambda: len(reserves(server)) >= 2, seconds=10)
            server.fund(TENANT, 10_000, "TOKENS")
            await run
        (life,) = lives(witness)
        assert outcomes(witness) == ["committed"]
        assert [each["cycles.denial.policy"] for each in degraded(life)] == ["defer"]
        asked = [span for span in witness.client_spans if span.name == "reserve llm.completion"]
        assert len(asked) == len(reserves(server))
        own = life.get_span_context()
        assert own is not None
        assert {span.parent.span_id for span in asked if span.parent} == {own.span_id}

    @pytest.mark.parametrize("pause", [0.01, 600.0])
    async def test_of_a_step_that_is_cancelled_while_it_waits_ends_as_denied(
        self, open_desk: OpenDesk, server: LocalCycles, witness: Witness, pause: float
    ) -> None:
        async with open_desk(on_llm_denied=Defer(600, first_pause=pause, longest_pause=pause)) as desk:
            run = asyncio.create_task(desk.run(Agent(name="clerk", model=NamedModel("large"))))
            await until(lambda: len(reserves(server)) >= 1, seconds=10)
            await cancelled(run)
            await until(lambda: outcomes(witness) == ["denied"], seconds=10)


class TestTheCounter:
    async def test_counts_each_denial_once_by_what_was_done_about_it(
        self, open_desk: OpenDesk, witness: Witness
    ) -> None:
        shelf = Shelf(NamedModel("large"), NamedModel("medium"), NamedModel("small"))
        chain = [
            Downgrade("medium", estimate=700),
            Downgrade("small", estimate=600),
            Defer(0.05, first_pause=0.01),
        ]
        async with open_desk(on_llm_denied=chain) as desk:
            await denied_run(desk, CLERK, run_config=governed(shelf))
        assert denials(witness) == {"downgrade": 2, "defer": 1, "raise": 1}
        assert outcomes(witness) == ["denied", "denied", "denied"]

    async def test_has_the_reason_the_tenant_and_the_agent_of_a_denial_on_both_routes(
        self, open_desk: OpenDesk, witness: Witness
    ) -> None:
        async with open_desk() as desk:
            await denied_run(desk, CLERK, run_config=governed(Shelf(NamedModel("large"))))
        labels = (
            ("cycles_action_kind", "llm.completion"),
            ("cycles_denial_policy", "raise"),
            ("cycles_reason_code", "BUDGET_EXCEEDED"),
            ("cycles_tenant", "acme"),
            ("gen_ai_agent_name", "clerk"),
        )
        assert witness.series(semconv.DENIALS) == {labels: 1} == witness.otel_series(semconv.DENIALS)

    async def test_counts_what_caps_deny_as_well(
        self, open_desk: OpenDesk, server: LocalCycles, witness: Witness
    ) -> None:
        cap(server, tool_denylist=["wipe"])
        wipe = governed_tool(CountingTool("wipe").tool)
        async with open_desk(on_tool_denied=Disable(), llm_estimate=100) as desk:
            await desk.run(Agent(name="clerk", model=model(calls(30, "wipe"), says(40)), tools=[wipe]))
        assert denials(witness) == {"disable": 1}
        assert witness.total(semconv.DENIALS, cycles_reason_code="TOOL_NOT_ALLOWED") == 1

    async def test_counts_a_policy_that_cannot_be_carried_out_as_raised(
        self, open_desk: OpenDesk, witness: Witness
    ) -> None:
        async with open_desk(on_llm_denied=lambda denial: Downgrade("small")) as desk:
            with pytest.raises(CyclesConfigurationError):
                await desk.run(Agent(name="clerk", model=NamedModel("large")))
        assert denials(witness) == {"raise": 1}
        assert outcomes(witness) == ["denied"]

    async def test_counts_nothing_of_a_shadow(self, open_desk: OpenDesk, witness: Witness) -> None:
        shelf = Shelf(NamedModel("large", says(60)), NamedModel("small"))
        async with open_desk(on_llm_denied=Downgrade("small"), dry_run=True) as desk:
            await desk.run(CLERK, run_config=governed(shelf))
        assert denials(witness) == {}
        assert outcomes(witness) == ["would_deny"]


async def test_a_run_that_was_degraded_is_completed(open_desk: OpenDesk, witness: Witness) -> None:
    shelf = Shelf(NamedModel("large"), NamedModel("small", says(60)))
    async with open_desk(on_llm_denied=Downgrade("small", estimate=100)) as desk:
        await desk.run(CLERK, run_config=governed(shelf))
    assert witness.total(semconv.RUNS, cycles_run_outcome="completed") == 1
