"""The life of a reservation: its span, its events, and what it counts."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest
from opentelemetry.trace import StatusCode
from runcycles import AsyncCyclesClient, Unit

from cycles_otel.budget.observer import ReservationObserver
from cycles_otel.local import Fault, LocalCycles
from cycles_otel.telemetry import semconv
from tests.telemetry import requests
from tests.telemetry.witness import Witness, attributes, event_names, parent_id, span_id

LIFE = "cycles.reservation llm.completion"


def begun(witness: Witness, amount: int = 100) -> ReservationObserver:
    return witness.observer.reservation(requests.step(amount))


def granted(witness: Witness, amount: int = 100) -> ReservationObserver:
    life = begun(witness, amount)
    life.granted("r-1", amount, capped=None)
    return life


class TestSpan:
    def test_it_lasts_from_before_the_reserve_until_the_settlement(self, witness: Witness) -> None:
        life = granted(witness)
        assert witness.spans == ()
        life.settled("committed", actual=40, charged=40, released=60, source="price")
        assert attributes(witness.span(LIFE)) == {
            semconv.ACTION_KIND: "llm.completion",
            semconv.ACTION_NAME: requests.MODEL,
            semconv.TENANT: "acme",
            semconv.AGENT: "triage",
            semconv.AGENT_NAME: "Triage Agent",
            semconv.MODEL: requests.MODEL,
            semconv.RUN_ID: "run-1",
            semconv.UNIT: "USD_MICROCENTS",
            semconv.AMOUNT_ESTIMATED: 100,
            semconv.RESERVATION_ID: "r-1",
            semconv.RESERVATION_OUTCOME: "committed",
            semconv.AMOUNT_ACTUAL: 40,
            semconv.AMOUNT_CHARGED: 40,
            semconv.AMOUNT_RELEASED: 60,
            semconv.AMOUNT_SOURCE: "price",
        }

    def test_it_is_below_the_span_that_is_current_when_the_step_begins(self, witness: Witness) -> None:
        with witness.provider.get_tracer("program").start_as_current_span("program") as program:
            life = granted(witness)
        life.settled("released")
        assert parent_id(witness.span(LIFE)) == program.get_span_context().span_id

    def test_without_a_current_span_it_is_a_root(self, witness: Witness) -> None:
        granted(witness).settled("released")
        assert witness.span(LIFE).parent is None

    async def test_the_calls_of_the_step_are_below_it_wherever_they_are_made(
        self, client: AsyncCyclesClient, witness: Witness
    ) -> None:
        step = requests.step()
        life = witness.observer.reservation(step)
        with witness.provider.get_tracer("other").start_as_current_span("other"), life.calling("reserve"):
            await client.create_reservation(requests.body_of(step))
        life.settled("released")
        reserve = witness.span("reserve llm.completion")
        assert parent_id(reserve) == span_id(witness.span(LIFE))
        assert attributes(reserve)[semconv.AGENT_NAME] == "Triage Agent"

    @pytest.mark.parametrize("end", ["settled", "denied", "unenforced", "failed"])
    def test_only_the_first_end_counts(self, witness: Witness, end: str) -> None:
        life = granted(witness)
        life.settled("committed", actual=1, charged=1, source="usage")
        getattr(life, end)("late")
        life.granted("r-2", 1, capped=None)
        life.price_unknown("late")
        assert attributes(witness.span(LIFE))[semconv.RESERVATION_OUTCOME] == "committed"
        assert witness.total(semconv.SETTLEMENT_COUNT) == 1
        assert witness.total(semconv.UNENFORCED_STEPS) == 0
        assert witness.total(semconv.RESERVATIONS_ACTIVE) == 0

    def test_ends_from_many_threads_make_one_end(self, witness: Witness) -> None:
        life = granted(witness)
        start = threading.Barrier(8)

        def settle() -> None:
            start.wait()
            life.settled("committed", actual=1, charged=1)

        threads = [threading.Thread(target=settle) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(witness.spans) == 1
        assert witness.total(semconv.SETTLEMENT_COUNT) == 1


class TestOutcomes:
    @pytest.mark.parametrize(
        ("end", "arguments", "outcome", "events"),
        [
            ("denied", ("BUDGET_EXCEEDED",), "denied", ["cycles.denied"]),
            ("would_deny", ("BUDGET_EXCEEDED",), "would_deny", ["cycles.would_deny"]),
            ("unenforced", ("timeout",), "unenforced", ["cycles.unenforced"]),
            ("unbudgeted", (), "unbudgeted", []),
        ],
    )
    def test_a_step_without_a_reservation_says_why(
        self, witness: Witness, end: str, arguments: Any, outcome: str, events: list[str]
    ) -> None:
        getattr(begun(witness), end)(*arguments)
        span = witness.span(LIFE)
        assert attributes(span)[semconv.RESERVATION_OUTCOME] == outcome
        assert event_names(span) == events
        assert span.status.status_code is StatusCode.UNSET
        assert witness.total(semconv.RESERVATION_DURATION, "_count") == witness.total(semconv.SETTLEMENT_COUNT) == 0

    def test_a_dry_run_that_is_allowed_shows_its_caps(self, witness: Witness) -> None:
        begun(witness).shadowed(capped={"max_tokens": 9})
        assert attributes(witness.span(LIFE))[semconv.RESERVATION_OUTCOME] == semconv.WOULD_ALLOW
        assert event_names(witness.span(LIFE)) == ["cycles.caps_applied"]

    def test_a_step_that_is_stopped_by_a_wrong_set_up_is_an_error(self, witness: Witness) -> None:
        begun(witness).failed("UNIT_MISMATCH")
        span = witness.span(LIFE)
        assert span.status.status_code is StatusCode.ERROR
        assert attributes(span)[semconv.ERROR_TYPE] == "UNIT_MISMATCH"

    def test_an_unenforced_step_is_counted_by_kind_and_cause(self, witness: Witness) -> None:
        begun(witness).unenforced("timeout")
        labels = (("cycles_action_kind", "llm.completion"), ("error_type", "timeout"))
        assert witness.series(semconv.UNENFORCED_STEPS) == {labels: 1}

    def test_an_unbudgeted_step_is_counted_by_kind_and_unit(self, witness: Witness) -> None:
        begun(witness).unbudgeted()
        labels = (("cycles_action_kind", "llm.completion"), ("cycles_unit", "USD_MICROCENTS"))
        assert witness.series(semconv.UNBUDGETED_STEPS) == {labels: 1}

    def test_a_denial_shows_what_was_left_where_that_is_known(self, witness: Witness) -> None:
        remaining = {"unit": "USD_MICROCENTS", "amount": 7}
        witness.recorder.balances.seen({"balances": [{"scope_path": "tenant:acme", "remaining": remaining}]})
        begun(witness).denied("BUDGET_EXCEEDED", scope="tenant:acme")
        (event,) = witness.span(LIFE).events
        assert dict(event.attributes or {}) == {
            semconv.REASON_CODE: "BUDGET_EXCEEDED",
            semconv.SCOPE_PATH: "tenant:acme",
            semconv.REMAINING: 7,
        }


class TestEvents:
    def test_what_happens_meanwhile_stands_on_the_span_in_its_order(self, witness: Witness) -> None:
        life = begun(witness)
        life.granted("r-1", 100, capped={"max_tokens": 9, "tool_denylist": ["shell"]})
        life.heartbeat_failed("timeout", "retry")
        life.price_unknown(requests.MODEL)
        life.retrying("commit", 1, "503")
        life.settlement_queued()
        life.settled("committed", actual=130, charged=110, source="estimate")
        assert [(event.name, dict(event.attributes or {})) for event in witness.span(LIFE).events] == [
            ("cycles.caps_applied", {semconv.CAPS_MAX_TOKENS: 9, semconv.CAPS_TOOL_DENYLIST: ("shell",)}),
            ("cycles.heartbeat_failed", {semconv.HEARTBEAT_DISPOSITION: "retry", semconv.ERROR_TYPE: "timeout"}),
            ("cycles.price_unknown", {semconv.MODEL: requests.MODEL}),
            (
                "cycles.retry",
                {semconv.OPERATION_NAME: "commit", semconv.RETRY_ATTEMPT: 1, semconv.ERROR_TYPE: "503"},
            ),
            ("cycles.settlement_queued", {}),
            ("cycles.overage", {semconv.AMOUNT_CHARGED: 110, semconv.AMOUNT_ESTIMATED: 100}),
        ]

    async def test_facts_of_a_call_and_the_usage_stand_on_its_span(
        self, client: AsyncCyclesClient, witness: Witness
    ) -> None:
        step = requests.step()
        life = witness.observer.reservation(step)
        life.usage({"input": 10, "output": 5, "cached": 4, "reasoning": 1})
        facts: dict[str, Any] = {"amount.source": "price", "prompt": "secret"}
        with life.calling("event", 2, **facts):
            await client.create_event(requests.event(5))
        said = attributes(witness.span("event llm.completion"))
        assert said[semconv.AMOUNT_SOURCE] == "price"
        assert [said[key] for key in semconv.USAGE.values()] == [10, 5, 4]
        assert said[semconv.RESEND_COUNT] == 2
        assert "secret" not in said.values()
        life.settled("committed")


class TestMetrics:
    def test_a_reservation_is_active_while_it_is_held(self, witness: Witness) -> None:
        lives = [granted(witness) for _ in range(3)]
        assert witness.total(semconv.RESERVATIONS_ACTIVE, cycles_action_kind="llm.completion") == 3
        lives[0].settled("committed", actual=1)
        lives[1].settled("lost")
        assert witness.total(semconv.RESERVATIONS_ACTIVE) == 1
        lives[2].settled("released")
        assert witness.total(semconv.RESERVATIONS_ACTIVE) == 0

    def test_a_settlement_is_counted_by_kind_outcome_and_source(self, witness: Witness) -> None:
        granted(witness).settled("committed", actual=40, source="price")
        labels = (
            ("cycles_action_kind", "llm.completion"),
            ("cycles_amount_source", "price"),
            ("cycles_reservation_outcome", "committed"),
        )
        assert witness.series(semconv.SETTLEMENT_COUNT) == {labels: 1}
        assert witness.total(semconv.RESERVATION_DURATION, "_count", cycles_reservation_outcome="committed") == 1

    def test_the_estimate_is_compared_with_the_actual_amount(self, witness: Witness) -> None:
        granted(witness).settled("committed", actual=40)
        granted(witness).settled("released")
        granted(witness, 0).settled("committed", actual=5)
        assert witness.total(semconv.ESTIMATE_RATIO, "_sum") == pytest.approx(0.4)
        assert witness.total(semconv.ESTIMATE_RATIO, "_count") == 1

    def test_tokens_are_counted_by_type_agent_and_model(self, witness: Witness) -> None:
        granted(witness).usage({"input": 10, "output": 5, "cached": 0})
        who = {"gen_ai_agent_name": "Triage Agent", "gen_ai_request_model": requests.MODEL}
        assert witness.total(semconv.TOKENS, gen_ai_token_type="input", **who) == 10
        assert witness.total(semconv.TOKENS, gen_ai_token_type="output", **who) == 5
        assert len(witness.series(semconv.TOKENS)) == 2

    def test_heartbeats_are_counted_by_margin_and_by_failure(self, witness: Witness) -> None:
        life = granted(witness)
        life.heartbeat(1, 12.5)
        life.heartbeat_failed("timeout", "retry")
        life.heartbeat_failed("MAX_EXTENSIONS_EXCEEDED", "stop")
        assert witness.total(semconv.HEARTBEAT_MARGIN_SECONDS, "_sum") == 12.5
        assert (
            witness.total(semconv.HEARTBEAT_FAILURES, cycles_heartbeat_disposition="retry", error_type="timeout") == 1
        )
        assert witness.total(semconv.HEARTBEAT_FAILURES, cycles_heartbeat_disposition="stop") == 1

    def test_an_unknown_price_is_counted_by_model(self, witness: Witness) -> None:
        granted(witness).price_unknown("mystery-1")
        assert witness.series(semconv.PRICE_UNKNOWN) == {(("gen_ai_request_model", "mystery-1"),): 1}

    async def test_a_life_and_its_calls_count_each_thing_once(
        self, client: AsyncCyclesClient, witness: Witness, server: LocalCycles
    ) -> None:
        step = requests.step()
        life = witness.observer.reservation(step)
        with life.calling("reserve"):
            response = await client.create_reservation(requests.body_of(step))
        held = str((response.body or {})["reservation_id"])
        life.granted(held, 100, capped=None)
        server.inject(Fault(operation="commit", status=503))
        commit = requests.commit(40)
        for attempt in range(2):
            with life.calling("commit", attempt):
                await client.commit_reservation(held, commit)
        life.settled("committed", actual=40, charged=40, released=60, source="usage")
        assert witness.total(semconv.AMOUNT_RESERVED_TOTAL, gen_ai_agent_name="Triage Agent") == 100
        assert witness.total(semconv.AMOUNT_COMMITTED_TOTAL, gen_ai_agent_name="Triage Agent") == 40
        assert witness.total(semconv.DECISIONS) == witness.total(semconv.SETTLEMENT_COUNT) == 1
        assert len(witness.client_spans) == len(server.requests) == 3


class TestLog:
    def test_a_denial_leaves_one_record_with_the_ids_of_its_trace(
        self, witness: Witness, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.INFO, "cycles_otel"):
            begun(witness).denied("BUDGET_EXCEEDED")
        (record,) = caplog.records
        assert (record.levelname, record.name) == ("INFO", "cycles_otel")
        assert vars(record)["span_id"] == f"{span_id(witness.span(LIFE)):016x}"
        assert len(vars(record)["trace_id"]) == 32
        assert vars(record)["agent"] == "Triage Agent"

    @pytest.mark.parametrize(("end", "argument"), [("unenforced", "timeout"), ("settled", "lost")])
    def test_an_unguarded_step_and_a_lost_settlement_leave_a_warning(
        self, witness: Witness, caplog: pytest.LogCaptureFixture, end: str, argument: str
    ) -> None:
        getattr(granted(witness), end)(argument)
        assert [record.levelname for record in caplog.records] == ["WARNING"]

    def test_a_step_that_goes_well_leaves_nothing(self, witness: Witness, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.INFO, "cycles_otel"):
            granted(witness).settled("committed", actual=1, charged=1)
        assert caplog.records == []


class TestCallsWithoutAReservation:
    async def test_they_are_below_the_span_that_was_current_where_the_step_began(
        self, client: AsyncCyclesClient, witness: Witness
    ) -> None:
        with witness.provider.get_tracer("program").start_as_current_span("program") as program:
            call = witness.observer.call(requests.step(unit=Unit.RISK_POINTS))
        with call.calling("decide"):
            await client.decide(requests.reserve(5, unit="RISK_POINTS"))
        assert parent_id(witness.span("decide llm.completion")) == program.get_span_context().span_id
