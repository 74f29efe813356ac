"""What the telemetry says equals what the server saw: not close, equal.

A mixed workload runs through real hooks: answers, tools, a handoff, an agent as a tool, failures, a cancellation,
denials, faults, heartbeats. Then spans and metrics are held against the server's request log and its ledger.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from agents import Agent, Runner, Usage, function_tool
from agents.testing import ModelStep, ScriptedModel, assistant_message, function_call
from runcycles import BudgetExceededError

from cycles_otel import CyclesRunHooks, cycles_budget_guardrail
from cycles_otel.local import Fault, LocalCycles
from cycles_otel.telemetry import semconv
from tests.telemetry.otlp import Receiver
from tests.telemetry.readings import of_otlp, of_registry
from tests.telemetry.witness import Witness, attributes, parent_id, span_id

UNITS = ("USD_MICROCENTS", "RISK_POINTS")
BUDGETS = {
    "tenant:acme": {"USD_MICROCENTS": 1_000_000_000, "RISK_POINTS": 10_000},
    "tenant:poor": {"USD_MICROCENTS": 600_000, "RISK_POINTS": 5},
}


@function_tool
def look_up(topic: str) -> str:
    """Look something up."""
    return f"all about {topic}"


@function_tool
async def wait_long() -> str:
    """Take longer than half a lease."""
    await asyncio.sleep(0.7)
    return "done"


@function_tool(failure_error_function=None)
def explode() -> str:
    """Fail, and let the run fail with it."""
    raise RuntimeError("broken tool")


def answering(*steps: Any, tokens: int = 1_000) -> ScriptedModel:
    model = ScriptedModel(steps, default_usage=Usage(requests=1, input_tokens=tokens, output_tokens=tokens // 7))
    vars(model)["model"] = "gpt-4o-mini"
    return model


def desk(tokens: int) -> Agent[Any]:
    """An agent that uses a tool and another agent as a tool, and hands over to a third."""
    nested = Agent(
        name="Über Helper",
        model=answering(
            [function_call("look_up", {"topic": "x"}, call_id="n1")], [assistant_message("found")], tokens=tokens + 11
        ),
        tools=[look_up],
    )
    closer = Agent(name="closer", model=answering([assistant_message("bye")], tokens=tokens + 23))
    first = [
        function_call("look_up", {"topic": "a"}, call_id="c1"),
        function_call("ask_helper", {"input": "b"}, call_id="c2"),
        function_call("wait_long", {}, call_id="c3"),
    ]
    return Agent(
        name="desk",
        model=answering(first, [function_call("transfer_to_closer", {}, call_id="c4")], tokens=tokens),
        tools=[look_up, wait_long, nested.as_tool("ask_helper", "Ask the helper.")],
        handoffs=[closer],
    )


@pytest.fixture(scope="module")
def server() -> Iterator[LocalCycles]:
    with LocalCycles(budgets=BUDGETS) as server:
        yield server


@pytest.fixture(scope="module")
def otlp() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def witness(server: LocalCycles, otlp: Receiver) -> Iterator[Witness]:
    witness = Witness(otlp=otlp.url)
    asyncio.run(_workload(server, witness))
    yield witness
    witness.close()


async def _workload(server: LocalCycles, witness: Witness) -> None:
    async for rich, poor in _hooks(server, witness):
        rich_runs = [Runner.run(desk(1_000 + 100 * number), "hi", hooks=rich) for number in range(6)]
        rich_runs.append(Runner.run(Agent(name="failing", model=answering(RuntimeError("no model"))), "x", hooks=rich))
        boom = answering([function_call("explode", {}, call_id="e1")])
        rich_runs.append(Runner.run(Agent(name="booming", model=boom, tools=[explode]), "x", hooks=rich))
        await asyncio.gather(*rich_runs, return_exceptions=True)
        await _cancelled(rich)
        await _faults(server, rich)
        for _ in range(3):
            guarded = Agent(
                name="greedy",
                model=answering([assistant_message("hm")], tokens=300_000),
                input_guardrails=[
                    cycles_budget_guardrail(config=server.config("poor"), estimate=1, recorder=witness.recorder)
                ],
            )
            await asyncio.gather(Runner.run(guarded, "x", hooks=poor), return_exceptions=True)
        with pytest.raises(BudgetExceededError):
            await Runner.run(Agent(name="greedy", model=answering()), "x", hooks=poor)


async def _hooks(server: LocalCycles, witness: Witness) -> AsyncIterator[tuple[CyclesRunHooks, CyclesRunHooks]]:
    shared: dict[str, Any] = {"recorder": witness.recorder, "ttl_ms": 1_000}
    async with (
        CyclesRunHooks(config=server.config("acme"), tool_risk={"wait_long": 7}, **shared) as rich,
        CyclesRunHooks(config=server.config("poor"), **shared) as poor,
    ):
        yield rich, poor


async def _cancelled(hooks: CyclesRunHooks) -> None:
    reached = asyncio.Event()

    async def never(_: object) -> ModelStep:
        reached.set()
        await asyncio.Event().wait()
        raise AssertionError

    run = asyncio.ensure_future(
        Runner.run(Agent(name="slow", model=answering(ModelStep.respond(never))), "x", hooks=hooks)
    )
    await reached.wait()
    run.cancel()
    await asyncio.wait([run])


async def _faults(server: LocalCycles, hooks: CyclesRunHooks) -> None:
    """Lost replies, refusals and a server that is away: each is asked again, or let go unenforced."""
    for fault in (
        Fault(operation="commit", drop="after"),
        Fault(operation="commit", status=502, body="<html>proxy</html>"),
        Fault(operation="reserve", drop="after"),
        Fault(operation="release", status=503),
        Fault(operation="reserve", status=500, times=2),
    ):
        server.inject(fault)
        agent = Agent(name="faulted", model=answering([assistant_message("ok")]))
        await Runner.run(agent, "x", hooks=hooks)
    server.clear_faults()


class TestRequests:
    def test_every_request_is_one_client_span_and_one_observation(self, server: LocalCycles, witness: Witness) -> None:
        on_the_wire = Counter(request.operation for request in server.requests)
        spans = Counter(attributes(span)[semconv.OPERATION_NAME] for span in witness.client_spans)
        observed = Counter(
            {
                operation: int(witness.total(semconv.OPERATION_DURATION, "_count", cycles_operation_name=operation))
                for operation in on_the_wire
            }
        )
        assert on_the_wire == spans == observed
        assert {"reserve", "commit", "release", "extend", "event", "decide"} <= set(on_the_wire)

    def test_every_request_carries_the_trace_of_its_span(self, server: LocalCycles, witness: Witness) -> None:
        sent = {request.headers["traceparent"].split("-")[2] for request in server.requests}
        assert sent == {f"{span_id(span):016x}" for span in witness.client_spans}

    def test_every_status_on_a_span_is_one_that_was_answered(self, server: LocalCycles, witness: Witness) -> None:
        answered = Counter(
            (request.operation, request.status) for request in server.requests if request.status is not None
        )
        told = Counter(
            (attributes(span)[semconv.OPERATION_NAME], attributes(span).get(semconv.HTTP_STATUS_CODE))
            for span in witness.client_spans
            if attributes(span).get(semconv.HTTP_STATUS_CODE) is not None
        )
        assert told == answered


class TestRoutes:
    def test_otlp_says_what_the_page_says(self, witness: Witness, otlp: Receiver) -> None:
        page = of_registry(witness.registry).series()
        witness.meters.force_flush()
        assert len(page) > 100
        assert of_otlp(otlp.metric_requests[-1]).series() == page


class TestMoney:
    @pytest.mark.parametrize("unit", UNITS)
    @pytest.mark.parametrize("tenant", ["acme", "poor"])
    def test_what_was_committed_is_what_the_ledger_charged(
        self, server: LocalCycles, witness: Witness, tenant: str, unit: str
    ) -> None:
        budget = server.ledger().budget(f"tenant:{tenant}", unit)
        committed = witness.total(semconv.AMOUNT_COMMITTED_TOTAL, cycles_tenant=tenant, cycles_unit=unit)
        assert committed == budget.spent + budget.debt == server.ledger().charged(unit, tenant)

    @pytest.mark.parametrize("unit", UNITS)
    def test_what_was_reserved_was_committed_released_or_never_told(
        self, server: LocalCycles, witness: Witness, unit: str
    ) -> None:
        ledger = server.ledger()
        reserved = sum(each.reserved for each in ledger.reservations if each.unit == unit)
        given_back = sum(
            each.reserved - min(each.charged or 0, each.reserved) for each in ledger.reservations if each.unit == unit
        )
        assert not ledger.active
        assert witness.total(semconv.AMOUNT_RESERVED_TOTAL, cycles_unit=unit) == reserved
        assert witness.total(semconv.AMOUNT_RELEASED_TOTAL, cycles_unit=unit) == given_back

    def test_the_gauges_of_the_budgets_are_the_ledger(self, server: LocalCycles, witness: Witness) -> None:
        ledger = server.ledger()
        touched = {(budgeted, each.unit) for each in ledger.reservations for budgeted in each.budgeted_scopes}
        for scope, unit in touched:
            budget = ledger.budget(scope, unit)
            for field in ("allocated", "remaining", "reserved", "spent"):
                seen = witness.total(semconv.BUDGETS[field], cycles_scope_path=scope, cycles_unit=unit)
                assert seen == getattr(budget, field), (scope, unit, field)

    def test_a_budget_that_nobody_touched_is_absent(self, witness: Witness) -> None:
        shown = [sample.labels for sample in witness.samples(semconv.BUDGETS["remaining"])]
        assert not [
            each for each in shown if each["cycles_scope_path"] == "tenant:poor" and "RISK" in each["cycles_unit"]
        ]

    def test_what_the_overage_policy_capped_is_counted_as_uncharged(
        self, server: LocalCycles, witness: Witness
    ) -> None:
        (capped,) = [each for each in server.ledger().committed if each.tenant == "poor"]
        used = next(
            r.body["actual"]["amount"] for r in server.requests if r.operation == "commit" and capped.id in r.path
        )
        assert used > (capped.charged or 0)
        assert witness.total(semconv.AMOUNT_UNCHARGED_TOTAL) == used - (capped.charged or 0)


def given_back_later(server: LocalCycles) -> int:
    """Reservations whose grant nobody received, twice, on a slow machine: no life of a step ended in their release."""
    return sum(each.release_reason == "reply_lost" for each in server.ledger().reservations)


class TestLives:
    def test_every_reservation_has_one_life_that_ended_in_one_settlement(
        self, server: LocalCycles, witness: Witness
    ) -> None:
        lives = [span for span in witness.spans if span.name.startswith("cycles.reservation")]
        outcomes = Counter(attributes(span)[semconv.RESERVATION_OUTCOME] for span in lives)
        statuses = Counter(each.status for each in server.ledger().reservations)
        assert outcomes["committed"] == statuses["COMMITTED"]
        assert outcomes["released"] == statuses["RELEASED"] - given_back_later(server)
        assert outcomes["unenforced"] == witness.total(semconv.UNENFORCED_STEPS) >= 1
        assert outcomes["denied"] >= 1
        assert witness.total(semconv.RESERVATIONS_ACTIVE) == 0
        assert witness.total(semconv.LEAKED) == 0

    def test_every_settlement_is_counted_once(self, server: LocalCycles, witness: Witness) -> None:
        ended = {"committed": len(server.ledger().with_status("COMMITTED"))}
        ended["released"] = len(server.ledger().with_status("RELEASED")) - given_back_later(server)
        for outcome, count in ended.items():
            assert witness.total(semconv.SETTLEMENT_COUNT, cycles_reservation_outcome=outcome) == count

    def test_reserve_commit_release_and_extend_lie_below_their_reservation(self, witness: Witness) -> None:
        lives = {span_id(span) for span in witness.spans if span.name.startswith("cycles.reservation")}
        for span in witness.client_spans:
            if attributes(span)[semconv.OPERATION_NAME] in ("reserve", "commit", "release", "extend"):
                assert parent_id(span) in lives, span.name

    def test_an_agent_s_original_name_stands_on_the_span(self, witness: Witness) -> None:
        named = {attributes(span).get(semconv.AGENT_NAME) for span in witness.spans}
        assert "Über Helper" in named
