"""The CLIENT span of each API call."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.trace import SpanKind, StatusCode
from runcycles import AsyncCyclesClient, CyclesClient, ReservationCreateRequest

from cycles_otel.local import Fault, LocalCycles
from cycles_otel.telemetry import observe_client, semconv
from tests.telemetry import requests
from tests.telemetry.witness import Witness, attributes, parent_id, span_id


async def reserved(client: AsyncCyclesClient, amount: int = 100) -> str:
    response = await client.create_reservation(requests.reserve(amount))
    return str((response.body or {})["reservation_id"])


class TestNamesAndKinds:
    async def test_each_operation_has_a_span_of_its_name_and_kind(
        self, client: AsyncCyclesClient, witness: Witness
    ) -> None:
        first, second = await reserved(client), await reserved(client)
        await client.extend_reservation(first, requests.extend())
        await client.commit_reservation(first, requests.commit(40))
        await client.release_reservation(second, requests.release())
        await client.decide(requests.reserve())
        await client.create_event(requests.event(5))
        await client.get_balances(tenant="acme")
        await client.get_reservation(first)
        await client.list_reservations(tenant="acme")
        assert [span.name for span in witness.spans] == [
            "reserve llm.completion",
            "reserve llm.completion",
            "extend llm.completion",
            "commit llm.completion",
            "release llm.completion",
            "decide llm.completion",
            "event llm.completion",
            "balances",
            "get",
            "list",
        ]
        assert {span.kind for span in witness.spans} == {SpanKind.CLIENT}
        assert {span.instrumentation_scope.name for span in witness.spans if span.instrumentation_scope} == {
            semconv.SCOPE
        }

    def test_the_blocking_client_is_observed_as_well(self, blocking_client: CyclesClient, witness: Witness) -> None:
        blocking_client.create_reservation(requests.reserve())
        assert [span.name for span in witness.spans] == ["reserve llm.completion"]

    async def test_a_client_that_is_observed_twice_makes_one_span_for_a_call(
        self, client: AsyncCyclesClient, witness: Witness
    ) -> None:
        assert observe_client(client, Witness().recorder) is client
        await client.decide(requests.reserve())
        assert len(witness.spans) == 1


class TestAttributes:
    async def test_a_reserve_says_what_was_asked_and_what_was_decided(
        self, client: AsyncCyclesClient, witness: Witness, server: LocalCycles
    ) -> None:
        body = requests.reserve(70, ttl_ms=30_000, overage_policy="REJECT")
        response = await client.create_reservation(body)
        port = int(server.url.rsplit(":", 1)[1])
        assert attributes(witness.spans[0]) == {
            semconv.OPERATION_NAME: "reserve",
            semconv.ACTION_KIND: "llm.completion",
            semconv.ACTION_NAME: requests.MODEL,
            semconv.TENANT: "acme",
            semconv.AGENT: "triage",
            semconv.UNIT: "USD_MICROCENTS",
            semconv.AMOUNT_ESTIMATED: 70,
            semconv.TTL: 30.0,
            semconv.OVERAGE_POLICY: "REJECT",
            semconv.IDEMPOTENCY_KEY: body["idempotency_key"],
            semconv.SERVER_ADDRESS: "127.0.0.1",
            semconv.SERVER_PORT: port,
            semconv.HTTP_STATUS_CODE: 200,
            semconv.REQUEST_ID: response.request_id,
            semconv.RESERVATION_ID: (response.body or {})["reservation_id"],
            semconv.SCOPE_PATH: "tenant:acme/agent:triage",
            semconv.DECISION: "ALLOW",
        }

    async def test_a_request_model_is_read_like_a_plain_body(self, client: AsyncCyclesClient, witness: Witness) -> None:
        await client.create_reservation(ReservationCreateRequest.model_validate(requests.reserve(70)))
        assert attributes(witness.spans[0])[semconv.AMOUNT_ESTIMATED] == 70
        assert witness.total(semconv.AMOUNT_RESERVED_TOTAL, cycles_target=requests.MODEL) == 70

    async def test_a_commit_says_what_was_charged_and_given_back(
        self, client: AsyncCyclesClient, witness: Witness
    ) -> None:
        reservation_id = await reserved(client, 100)
        await client.commit_reservation(reservation_id, requests.commit(40))
        said = attributes(witness.span("commit llm.completion"))
        assert said[semconv.RESERVATION_ID] == reservation_id
        amounts = (said[semconv.AMOUNT_ACTUAL], said[semconv.AMOUNT_CHARGED], said[semconv.AMOUNT_RELEASED])
        assert amounts == (40, 40, 60)
        assert said[semconv.TENANT] == "acme"

    async def test_a_heartbeat_says_how_much_of_the_lease_was_left(
        self, client: AsyncCyclesClient, witness: Witness
    ) -> None:
        response = await client.create_reservation(requests.reserve(ttl_ms=50_000))
        await client.extend_reservation((response.body or {})["reservation_id"], requests.extend())
        assert 0 < attributes(witness.span("extend llm.completion"))[semconv.HEARTBEAT_MARGIN] <= 50

    async def test_caps_stand_on_the_reserve(
        self, client: AsyncCyclesClient, witness: Witness, server: LocalCycles
    ) -> None:
        server.set_budget("tenant:acme", caps={"max_tokens": 9, "tool_denylist": ["shell"]})
        await client.create_reservation(requests.reserve(agent=None))
        said = attributes(witness.spans[0])
        assert said[semconv.DECISION] == "ALLOW_WITH_CAPS"
        assert (said[semconv.CAPS_MAX_TOKENS], said[semconv.CAPS_TOOL_DENYLIST]) == (9, ("shell",))

    async def test_a_retry_with_the_same_key_counts_its_resends(
        self, client: AsyncCyclesClient, witness: Witness, server: LocalCycles
    ) -> None:
        server.inject(Fault(operation="event", status=503))
        body = requests.event(5)
        await client.create_event(body)
        await client.create_event(body)
        assert [attributes(span).get(semconv.RESEND_COUNT) for span in witness.spans] == [None, 1]

    async def test_nothing_of_a_prompt_a_key_or_metadata_is_said(
        self, client: AsyncCyclesClient, witness: Witness, server: LocalCycles
    ) -> None:
        secret = "do-not-show"
        body = requests.reserve(metadata={"prompt": secret}, subject={"tenant": "acme", "dimensions": {"user": secret}})
        await client.create_reservation(body)
        shown = str([attributes(span) for span in witness.spans]) + str(list(witness.registry.collect()))
        assert secret not in shown
        assert server.api_key not in shown


class TestStatus:
    @pytest.mark.parametrize("dry_run", [False, True])
    async def test_a_denial_is_no_error(self, client: AsyncCyclesClient, witness: Witness, dry_run: bool) -> None:
        await client.create_reservation(requests.reserve(10**9, dry_run=dry_run))
        (span,) = witness.spans
        assert span.status.status_code is StatusCode.UNSET
        said = attributes(span)
        assert (said[semconv.DECISION], said[semconv.REASON_CODE]) == ("DENY", "BUDGET_EXCEEDED")
        assert semconv.ERROR_TYPE not in said

    async def test_a_scope_without_a_budget_is_a_denial(self, witness: Witness) -> None:
        with LocalCycles(budgets={"tenant:acme/agent:triage": {"USD_MICROCENTS": 10}}) as server:
            async with AsyncCyclesClient(server.config()) as client:
                await observe_client(client, witness.recorder).create_reservation(requests.reserve(agent=None))
        (span,) = witness.spans
        assert span.status.status_code is StatusCode.UNSET
        assert attributes(span)[semconv.REASON_CODE] == "BUDGET_NOT_FOUND"

    async def test_success_sets_no_status(self, client: AsyncCyclesClient, witness: Witness) -> None:
        await reserved(client)
        assert witness.spans[0].status.status_code is StatusCode.UNSET

    @pytest.mark.parametrize(
        ("fault", "error_type"),
        [
            (Fault(operation="reserve", status=503, body="busy"), "503"),
            (Fault(operation="reserve", status=429), "LIMIT_EXCEEDED"),
            (Fault(operation="reserve", status=200, body="<html>welcome</html>"), "_OTHER"),
            (Fault(operation="reserve", status=200, body={"decision": "ALLOW"}), "_OTHER"),
            (Fault(operation="reserve", drop="before"), "connection_error"),
            (Fault(operation="reserve", delay=1.0), "timeout"),
        ],
        ids=["unavailable", "rate limited", "a proxy's page", "no reservation", "dropped", "late"],
    )
    async def test_a_call_that_fails_is_an_error_with_its_type(
        self, server: LocalCycles, witness: Witness, fault: Fault, error_type: str
    ) -> None:
        server.inject(fault)
        async with AsyncCyclesClient(server.config(read_timeout=0.2)) as client:
            await observe_client(client, witness.recorder).create_reservation(requests.reserve())
        (span,) = witness.spans
        assert span.status.status_code is StatusCode.ERROR
        assert span.status.description is None
        assert attributes(span)[semconv.ERROR_TYPE] == error_type
        assert witness.total(semconv.OPERATION_DURATION, "_count", error_type=error_type) == 1

    async def test_a_protocol_error_keeps_its_code(self, client: AsyncCyclesClient, witness: Witness) -> None:
        reservation_id = await reserved(client)
        await client.commit_reservation(reservation_id, requests.commit(1, unit="TOKENS"))
        await client.release_reservation("unknown", requests.release())
        types = [attributes(span).get(semconv.ERROR_TYPE) for span in witness.spans]
        assert types == [None, "UNIT_MISMATCH", "NOT_FOUND"]

    async def test_a_cancelled_call_ends_its_span_without_an_error(
        self, client: AsyncCyclesClient, witness: Witness, server: LocalCycles
    ) -> None:
        with server.hold("decide") as hold:
            call = asyncio.create_task(client.decide(requests.reserve()))
            await hold.arrived()
            call.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await call
        assert call.cancelled()
        assert [span.status.status_code for span in witness.spans] == [StatusCode.UNSET]
        assert witness.total(semconv.OPERATION_DURATION, "_count") == 1


class TestTrace:
    async def test_the_request_carries_the_trace_of_its_span(
        self, client: AsyncCyclesClient, witness: Witness, server: LocalCycles
    ) -> None:
        await client.decide(requests.reserve())
        await client.get_balances(tenant="acme")
        sent = [entry.headers["traceparent"].split("-")[1:3] for entry in server.requests]
        made = [span.get_span_context() for span in witness.spans]
        assert sent == [[trace.format_trace_id(c.trace_id), trace.format_span_id(c.span_id)] for c in made if c]

    def test_the_blocking_client_sends_it_as_well(
        self, blocking_client: CyclesClient, witness: Witness, server: LocalCycles
    ) -> None:
        blocking_client.decide(requests.reserve())
        assert trace.format_span_id(span_id(witness.spans[0])) in server.requests[0].headers["traceparent"]

    async def test_the_span_is_below_the_current_one_and_current_no_longer_than_the_call(
        self, client: AsyncCyclesClient, witness: Witness
    ) -> None:
        with witness.provider.get_tracer("program").start_as_current_span("program") as program:
            await client.decide(requests.reserve())
            assert trace.get_current_span() is program
        assert parent_id(witness.span("decide llm.completion")) == program.get_span_context().span_id

    async def test_baggage_is_never_sent(self, client: AsyncCyclesClient, server: LocalCycles) -> None:
        token = context.attach(baggage.set_baggage("user", "someone"))
        try:
            await client.decide(requests.reserve())
        finally:
            context.detach(token)
        assert "baggage" not in server.requests[0].headers
