"""What the API calls count, compared with the ledger of the server that answered them."""

from __future__ import annotations

import random
import time

import pytest
from runcycles import AsyncCyclesClient, CyclesResponse

from cycles_otel.local import Fault, LocalCycles
from cycles_otel.telemetry import observe_client, semconv
from tests.telemetry import requests
from tests.telemetry.witness import Witness, attributes

AMOUNTS = (
    semconv.AMOUNT_RESERVED_TOTAL,
    semconv.AMOUNT_COMMITTED_TOTAL,
    semconv.AMOUNT_RELEASED_TOTAL,
    semconv.AMOUNT_DENIED_TOTAL,
    semconv.AMOUNT_UNCHARGED_TOTAL,
)


def reservation_id(response: CyclesResponse) -> str:
    return str((response.body or {})["reservation_id"])


def amounts(witness: Witness) -> tuple[float, ...]:
    """Reserved, committed, released, denied, uncharged."""
    return tuple(witness.total(metric) for metric in AMOUNTS)


class TestDuration:
    async def test_each_call_is_observed_once_by_operation_decision_and_error(
        self, client: AsyncCyclesClient, witness: Witness, server: LocalCycles
    ) -> None:
        server.inject(Fault(operation="balances", status=500))
        await client.create_reservation(requests.reserve())
        await client.create_reservation(requests.reserve(10**9))
        await client.get_balances(tenant="acme")
        assert witness.series(semconv.OPERATION_DURATION, "_count") == {
            (("cycles_decision", "ALLOW"), ("cycles_operation_name", "reserve")): 1,
            (("cycles_decision", "DENY"), ("cycles_operation_name", "reserve")): 1,
            (("cycles_operation_name", "balances"), ("error_type", "INTERNAL_ERROR")): 1,
        }


class TestDecisions:
    async def test_a_decision_is_counted_with_its_reason_kind_payer_and_agent(
        self, client: AsyncCyclesClient, witness: Witness
    ) -> None:
        await client.create_reservation(requests.reserve(10**9))
        assert witness.series(semconv.DECISIONS) == {
            (
                ("cycles_action_kind", "llm.completion"),
                ("cycles_decision", "DENY"),
                ("cycles_dry_run", "false"),
                ("cycles_operation_name", "reserve"),
                ("cycles_reason_code", "BUDGET_EXCEEDED"),
                ("cycles_tenant", "acme"),
                ("gen_ai_agent_name", "triage"),
            ): 1
        }

    async def test_a_shadow_of_a_denial_is_told_from_a_denial(
        self, client: AsyncCyclesClient, witness: Witness
    ) -> None:
        await client.create_reservation(requests.reserve(10**9, dry_run=True))
        assert witness.total(semconv.DECISIONS, cycles_dry_run="true", cycles_decision="DENY") == 1
        assert witness.total(semconv.AMOUNT_DENIED_TOTAL) == 0

    async def test_a_call_that_fails_decides_nothing(
        self, client: AsyncCyclesClient, witness: Witness, server: LocalCycles
    ) -> None:
        server.inject(Fault(operation="reserve", status=503))
        await client.create_reservation(requests.reserve())
        assert witness.total(semconv.DECISIONS) == 0

    async def test_a_denied_reserve_that_is_asked_again_is_a_decision_of_its_own(
        self, client: AsyncCyclesClient, witness: Witness
    ) -> None:
        body = requests.reserve(10**9)
        await client.create_reservation(body)
        await client.create_reservation(body)
        assert witness.total(semconv.DECISIONS) == 2

    async def test_a_decision_that_the_server_repeats_is_counted_once(
        self, client: AsyncCyclesClient, witness: Witness
    ) -> None:
        body = requests.reserve(10**9)
        await client.decide(body)
        await client.decide(body)
        assert witness.total(semconv.DECISIONS) == 1
        assert witness.total(semconv.OPERATION_DURATION, "_count") == 2


class TestAmounts:
    async def test_a_commit_below_the_estimate_gives_the_rest_back(
        self, client: AsyncCyclesClient, witness: Witness
    ) -> None:
        held = await client.create_reservation(requests.reserve(100))
        await client.commit_reservation(reservation_id(held), requests.commit(40))
        assert amounts(witness) == (100, 40, 60, 0, 0)

    async def test_a_release_gives_all_back(self, client: AsyncCyclesClient, witness: Witness) -> None:
        held = await client.create_reservation(requests.reserve(100))
        await client.release_reservation(reservation_id(held), requests.release())
        assert amounts(witness) == (100, 0, 100, 0, 0)

    async def test_a_refused_estimate_is_denied(self, client: AsyncCyclesClient, witness: Witness) -> None:
        await client.create_reservation(requests.reserve(10**9))
        assert amounts(witness) == (0, 0, 0, 10**9, 0)

    async def test_a_dry_run_holds_nothing(self, client: AsyncCyclesClient, witness: Witness) -> None:
        await client.create_reservation(requests.reserve(100, dry_run=True))
        assert amounts(witness) == (0, 0, 0, 0, 0)

    async def test_what_the_overage_policy_caps_is_uncharged(self, client: AsyncCyclesClient, witness: Witness) -> None:
        held = await client.create_reservation(requests.reserve(60, unit="RISK_POINTS"))
        await client.commit_reservation(reservation_id(held), requests.commit(130, unit="RISK_POINTS"))
        assert amounts(witness) == (60, 100, 0, 0, 30)

    async def test_an_event_charges_what_it_names_or_what_the_server_caps_it_to(
        self, client: AsyncCyclesClient, witness: Witness
    ) -> None:
        await client.create_event(requests.event(30, unit="RISK_POINTS"))
        await client.create_event(requests.event(100, unit="RISK_POINTS"))
        assert amounts(witness) == (0, 100, 0, 0, 30)

    async def test_a_commit_carries_the_labels_of_its_reserve(
        self, client: AsyncCyclesClient, witness: Witness
    ) -> None:
        held = await client.create_reservation(requests.reserve(100))
        await client.commit_reservation(reservation_id(held), requests.commit(40))
        labels = (
            ("cycles_action_kind", "llm.completion"),
            ("cycles_target", requests.MODEL),
            ("cycles_tenant", "acme"),
            ("cycles_unit", "USD_MICROCENTS"),
            ("gen_ai_agent_name", "triage"),
        )
        assert witness.series(semconv.AMOUNT_COMMITTED_TOTAL) == {labels: 40}

    @pytest.mark.parametrize(("shown", "labels"), [((), {}), (("workflow",), {"cycles_workflow": "nightly"})])
    async def test_the_levels_of_the_subject_on_amounts_are_chosen(
        self, server: LocalCycles, shown: tuple[str, ...], labels: dict[str, str]
    ) -> None:
        witness = Witness(subject_labels=shown)
        async with AsyncCyclesClient(server.config()) as client:
            subject = {"tenant": "acme", "workflow": "nightly"}
            await observe_client(client, witness.recorder).create_event(requests.event(5, subject=subject))
        (series,) = witness.series(semconv.AMOUNT_COMMITTED_TOTAL)
        assert {key: value for key, value in series if key in ("cycles_tenant", "cycles_workflow")} == labels
        witness.close()


class TestRetries:
    async def test_a_reply_that_the_server_repeats_is_counted_once(
        self, client: AsyncCyclesClient, witness: Witness
    ) -> None:
        reserve, commit = requests.reserve(100), requests.commit(40)
        held = [await client.create_reservation(reserve) for _ in range(2)]
        for _ in range(2):
            await client.commit_reservation(reservation_id(held[0]), commit)
        event = requests.event(5)
        for _ in range(2):
            await client.create_event(event)
        assert amounts(witness) == (100, 45, 60, 0, 0)
        assert len(witness.client_spans) == 6

    async def test_a_call_whose_first_reply_was_lost_is_counted_by_its_retry(
        self, client: AsyncCyclesClient, witness: Witness, server: LocalCycles
    ) -> None:
        server.inject(Fault(operation="event", drop="after"))
        body = requests.event(5)
        for _ in range(2):
            await client.create_event(body)
        assert witness.total(semconv.AMOUNT_COMMITTED_TOTAL) == 5 == server.ledger().charged()

    async def test_the_same_key_at_another_server_is_another_request(
        self, client: AsyncCyclesClient, witness: Witness
    ) -> None:
        body = requests.event(5)
        await client.create_event(body)
        with LocalCycles(budgets={"tenant:acme": {"USD_MICROCENTS": 100}}) as other:
            async with AsyncCyclesClient(other.config()) as second:
                await observe_client(second, witness.recorder).create_event(body)
        assert witness.total(semconv.AMOUNT_COMMITTED_TOTAL) == 10


class TestBalances:
    async def test_the_gauges_show_the_balance_last_seen(
        self, client: AsyncCyclesClient, witness: Witness, server: LocalCycles
    ) -> None:
        before = time.time()
        await client.create_reservation(requests.reserve(100))
        budget, labels = server.ledger().budget("tenant:acme"), {"cycles_scope_path": "tenant:acme"}
        shown = {name: witness.total(metric, **labels) for name, metric in semconv.BUDGETS.items()}
        known = {name: getattr(budget, name) for name in ("allocated", "remaining", "reserved", "spent")}
        assert shown == {**known, "debt": 0, "overdraft_limit": 0}
        assert witness.total(semconv.BUDGET_OBSERVED, cycles_tenant="acme", cycles_unit="USD_MICROCENTS") >= before

    async def test_what_is_unknown_is_absent_and_not_zero(self, client: AsyncCyclesClient, witness: Witness) -> None:
        await client.create_reservation(requests.reserve(100))
        for metric in (semconv.BUDGETS["debt"], semconv.BUDGETS["overdraft_limit"], semconv.BUDGET_OVER_LIMIT):
            assert witness.series(metric) == {}

    async def test_what_the_server_leaves_out_after_it_was_seen_has_become_zero(
        self, client: AsyncCyclesClient, witness: Witness, server: LocalCycles
    ) -> None:
        server.set_budget("tenant:acme", is_over_limit=True)
        await client.get_balances(tenant="acme")
        assert witness.total(semconv.BUDGET_OVER_LIMIT) == 1
        server.set_budget("tenant:acme", is_over_limit=False)
        await client.get_balances(tenant="acme")
        assert list(witness.series(semconv.BUDGET_OVER_LIMIT).values()) == [0]

    async def test_the_reply_that_the_server_repeats_does_not_bring_old_balances_back(
        self, client: AsyncCyclesClient, witness: Witness, server: LocalCycles
    ) -> None:
        event = requests.event(10)
        for body in (event, requests.event(20), event):
            await client.create_event(body)
        remaining = witness.total(semconv.BUDGETS["remaining"], cycles_scope_path="tenant:acme")
        assert remaining == server.ledger().budget("tenant:acme").remaining


class TestFidelity:
    """A seeded mix of calls, good and bad: telemetry equals the request log and the ledger."""

    async def test_spans_and_metrics_equal_the_log_and_the_ledger(
        self, client: AsyncCyclesClient, witness: Witness, server: LocalCycles
    ) -> None:
        chance = random.Random(4)
        server.inject(Fault(operation="commit", status=503, after=5, times=3))
        for _ in range(40):
            await self._one_step(client, chance)
        ledger, spans = server.ledger(), witness.client_spans
        assert len(spans) == len(server.requests) == witness.total(semconv.OPERATION_DURATION, "_count")
        assert [attributes(span)[semconv.OPERATION_NAME] for span in spans] == [r.operation for r in server.requests]
        assert witness.total(semconv.AMOUNT_COMMITTED_TOTAL) == ledger.charged() > 0
        assert witness.total(semconv.AMOUNT_RESERVED_TOTAL) == sum(r.reserved for r in ledger.reservations)
        settled = [r for r in ledger.reservations if r.status != "ACTIVE"]
        given_back = sum(max(r.reserved - (r.charged or 0), 0) for r in settled)
        assert witness.total(semconv.AMOUNT_RELEASED_TOTAL) == given_back > 0

    async def _one_step(self, client: AsyncCyclesClient, chance: random.Random) -> None:
        kind = chance.choice(("commit", "release", "event", "deny", "open", "decide"))
        if kind == "event":
            await client.create_event(requests.event(chance.randrange(100)))
        elif kind == "decide":
            await client.decide(requests.reserve())
        elif kind == "deny":
            await client.create_reservation(requests.reserve(10**9))
        else:
            held = reservation_id(await client.create_reservation(requests.reserve(100)))
            if kind == "commit":
                await client.commit_reservation(held, requests.commit(chance.randrange(200)))
            elif kind == "release":
                await client.release_reservation(held, requests.release())


class TestBothWays:
    async def test_the_same_calls_give_the_same_series_by_either_way(
        self, client: AsyncCyclesClient, witness: Witness
    ) -> None:
        held = await client.create_reservation(requests.reserve(100))
        await client.commit_reservation(reservation_id(held), requests.commit(40))
        await client.create_reservation(requests.reserve(10**9))
        for metric in (*AMOUNTS, semconv.DECISIONS, *semconv.BUDGETS.values()):
            assert witness.otel_series(metric) == witness.series(metric), metric.name
        assert witness.otel_series(semconv.OPERATION_DURATION) == witness.series(semconv.OPERATION_DURATION, "_count")
