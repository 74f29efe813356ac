"""What the recordings do not show, by the same rules."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import pytest

from cycles_otel.local import Budget, LocalCycles, ManualClock
from tests.local.client import USD, Client

AGENT = {"tenant": "acme", "agent": "a1"}


def refusal(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]


class TestIdempotency:
    def test_a_dry_run_and_a_live_reserve_share_their_keys(self, client: Client) -> None:
        client.reserved(1, idempotency_key="k")
        assert refusal(client.reserve(1, idempotency_key="k", dry_run=True)) == (409, "IDEMPOTENCY_MISMATCH")

    def test_operations_do_not_share_their_keys(self, client: Client) -> None:
        reservation_id = client.reserved(1, idempotency_key="k")
        answers = [
            client.extend(reservation_id, idempotency_key="k"),
            client.commit(reservation_id, 1, idempotency_key="k"),
            client.decide(1, idempotency_key="k"),
            client.event(1, idempotency_key="k"),
        ]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 201]

    def test_tenants_do_not_share_their_keys(self) -> None:
        budgets = {"tenant:acme": {USD: 10}, "tenant:globex": {USD: 10}}
        with LocalCycles(budgets) as server, Client(server) as acme, Client(server, "globex") as globex:
            first, second = acme.reserved(1, idempotency_key="k"), globex.reserved(1, idempotency_key="k")
            assert first != second

    def test_reservations_do_not_share_the_keys_of_their_extensions(self, client: Client) -> None:
        one, other = client.reserved(1), client.reserved(1)
        assert client.extend(one, idempotency_key="k").status_code == 200
        assert client.extend(other, idempotency_key="k").status_code == 200

    def test_a_decision_asked_again_repeats_the_old_answer(self, server: LocalCycles, client: Client) -> None:
        before = client.decide(1, idempotency_key="k").json()
        server.set_budget("tenant:acme", status="FROZEN")
        assert client.decide(1, idempotency_key="k").json() == before

    def test_a_denied_decision_and_dry_run_are_remembered_too(self, server: LocalCycles, client: Client) -> None:
        server.set_budget("tenant:acme", status="FROZEN")
        denied = (
            client.decide(1, idempotency_key="k").json(),
            client.reserve(1, idempotency_key="k", dry_run=True).json(),
        )
        server.set_budget("tenant:acme", status="ACTIVE")
        again = (
            client.decide(1, idempotency_key="k").json(),
            client.reserve(1, idempotency_key="k", dry_run=True).json(),
        )
        assert again == denied

    def test_a_refused_commit_leaves_its_key_free(self, client: Client) -> None:
        reservation_id = client.reserved(10, overage_policy="REJECT")
        assert client.commit(reservation_id, 11, idempotency_key="k").status_code == 409
        assert client.commit(reservation_id, 10, idempotency_key="k").status_code == 200

    def test_a_key_is_forgotten_after_its_day(self, clock: ManualClock, client: Client) -> None:
        first = client.reserved(1, idempotency_key="k")
        clock.advance(86_400_000)
        assert client.reserve(1, idempotency_key="k").json()["reservation_id"] == first
        clock.advance(1)
        assert client.reserve(1, idempotency_key="k").json()["reservation_id"] != first

    def test_a_replayed_extension_of_a_settled_reservation_has_no_time_left(self, client: Client) -> None:
        reservation_id = client.reserved(1)
        first = client.extend(reservation_id, idempotency_key="k").json()
        client.commit(reservation_id, 1)
        again = client.extend(reservation_id, idempotency_key="k").json()
        assert again == {**first, "remaining_ttl_ms": 0}

    def test_a_grace_that_is_null_is_another_payload_than_the_default(self, client: Client) -> None:
        client.reserved(1, idempotency_key="k")
        assert client.reserve(1, idempotency_key="k", grace_period_ms=5000).status_code == 200
        assert refusal(client.reserve(1, idempotency_key="k", grace_period_ms=None)) == (409, "IDEMPOTENCY_MISMATCH")


@pytest.fixture
def overdraft() -> Iterator[LocalCycles]:
    budgets = [
        Budget("tenant:acme", USD, 100),
        Budget("tenant:acme/agent:a1", USD, 1_000, overdraft_limit=50),
    ]
    with LocalCycles(budgets) as server:
        yield server


class TestOverage:
    def test_only_the_scope_that_ran_out_is_over_its_limit(self, overdraft: LocalCycles) -> None:
        with Client(overdraft) as client:
            assert client.commit(client.reserved(60, subject=AGENT), 200).json()["charged"]["amount"] == 100
        ledger = overdraft.ledger()
        assert ledger.budget("tenant:acme").is_over_limit
        assert not ledger.budget("tenant:acme/agent:a1").is_over_limit

    def test_a_scope_without_overdraft_caps_what_the_others_owe(self, overdraft: LocalCycles) -> None:
        overdraft.set_budget("tenant:acme/agent:a1", allocated=70)
        with Client(overdraft) as client:
            reservation_id = client.reserved(60, overage_policy="ALLOW_WITH_OVERDRAFT", subject=AGENT)
            assert client.commit(reservation_id, 500).json()["charged"]["amount"] == 100
        agent = overdraft.ledger().budget("tenant:acme/agent:a1")
        assert (agent.spent, agent.debt, agent.remaining, agent.is_over_limit) == (70, 30, -30, False)

    def test_debt_beyond_the_limit_is_refused_and_changes_nothing(self, overdraft: LocalCycles) -> None:
        overdraft.set_budget("tenant:acme", allocated=1_000)
        overdraft.set_budget("tenant:acme/agent:a1", allocated=70)
        before = overdraft.ledger().budgets
        with Client(overdraft) as client:
            response = client.event(121, overage_policy="ALLOW_WITH_OVERDRAFT", subject=AGENT)
            assert refusal(response) == (409, "OVERDRAFT_LIMIT_EXCEEDED")
            assert overdraft.ledger().budgets == before
            assert client.event(120, overage_policy="ALLOW_WITH_OVERDRAFT", subject=AGENT).status_code == 201

    def test_an_event_on_an_exhausted_budget_is_charged_nothing_and_marks_it(
        self, server: LocalCycles, client: Client
    ) -> None:
        client.event(1_000)
        response = client.event(10)
        assert (response.status_code, response.json()["charged"]["amount"]) == (201, 0)
        assert server.ledger().budget("tenant:acme").is_over_limit

    def test_an_event_is_charged_what_there_is(self, server: LocalCycles, client: Client) -> None:
        response = client.event(1_500).json()
        assert response["charged"] == {"unit": USD, "amount": 1_000}
        assert (server.ledger().events[0].actual, server.ledger().events[0].charged) == (1_500, 1_000)


class TestTime:
    def test_commit_works_until_the_last_ms_of_grace(self, clock: ManualClock, client: Client) -> None:
        one, other = (client.reserved(1, ttl_ms=1_000, grace_period_ms=500) for _ in range(2))
        clock.advance(1_500)
        assert client.commit(one, 1).status_code == 200
        clock.advance(1)
        assert refusal(client.commit(other, 1)) == (410, "RESERVATION_EXPIRED")

    def test_extend_works_until_the_last_ms_before_expiry(self, clock: ManualClock, client: Client) -> None:
        reservation_id = client.reserved(1, ttl_ms=1_000)
        clock.advance(1_000)
        assert client.extend(reservation_id, 1).json()["remaining_ttl_ms"] == 1
        clock.advance(2)
        assert refusal(client.extend(reservation_id, 1)) == (410, "RESERVATION_EXPIRED")

    def test_the_sweep_takes_only_what_is_over(self, clock: ManualClock, server: LocalCycles, client: Client) -> None:
        client.reserved(10, ttl_ms=1_000, grace_period_ms=0)
        client.reserved(20, ttl_ms=5_000, grace_period_ms=0)
        clock.advance(1_001)
        assert server.sweep() == 1
        assert server.ledger().budget("tenant:acme").reserved == 20

    def test_the_sweep_waits_for_the_grace(self, clock: ManualClock, server: LocalCycles, client: Client) -> None:
        client.reserved(10, ttl_ms=1_000, grace_period_ms=500)
        clock.advance(1_500)
        assert server.sweep() == 0
        clock.advance(1)
        assert server.sweep() == 1

    def test_an_extension_keeps_the_sweep_away(self, clock: ManualClock, server: LocalCycles, client: Client) -> None:
        reservation_id = client.reserved(10, ttl_ms=1_000, grace_period_ms=0)
        client.extend(reservation_id, 5_000)
        clock.advance(3_000)
        assert server.sweep() == 0
        assert server.ledger().reservation(reservation_id).extensions == 1


class TestOrderOfChecks:
    def test_a_malformed_body_comes_before_a_violation(self, client: Client) -> None:
        response = client.reserve(-1, foo=1)
        assert response.json()["message"] == "Malformed request body"

    def test_a_violation_comes_before_the_header_and_the_tenant(self, client: Client) -> None:
        body = {"idempotency_key": "", "subject": {"tenant": "other"}}
        response = client.http.post("/v1/decide", json=body, headers={"X-Idempotency-Key": "k"})
        assert response.json()["message"].startswith("Validation failed: ")

    def test_the_header_comes_before_the_reservation(self, client: Client) -> None:
        body = {"idempotency_key": "a"}
        response = client.http.post("/v1/reservations/none/release", json=body, headers={"X-Idempotency-Key": "b"})
        assert response.status_code == 400

    def test_an_unknown_reservation_comes_before_its_owner(self, client: Client) -> None:
        assert refusal(client.release("none")) == (404, "NOT_FOUND")

    def test_several_violations_are_all_named(self, client: Client) -> None:
        message = client.post("decide", {}).json()["message"]
        parts = set(message.removeprefix("Validation failed: ").split(", "))
        assert parts == {"subject: must not be null", "action: must not be null", "estimate: must not be null"}


class TestValuesAsTheRealServerReadsThem:
    @pytest.mark.parametrize(
        ("amount", "read"),
        [("7", 7), (" 7 ", 7), (1.9, 1), (2e0, 2), ("9223372036854775807", 2**63 - 1)],
    )
    def test_an_amount_that_is_read(self, client: Client, amount: object, read: int) -> None:
        estimate = {"estimate": {"unit": USD, "amount": amount}}
        response = client.post("reservations", {**client.about(), **estimate, "dry_run": True})
        expected = read if read <= 1_000 else None
        assert response.json().get("reserved", {}).get("amount") == expected

    @pytest.mark.parametrize("amount", ["1.5", "x", True, [], {}, 2**63, 1e30, "0x1"])
    def test_an_amount_that_makes_the_body_malformed(self, client: Client, amount: object) -> None:
        response = client.post("decide", {**client.about(), "estimate": {"unit": USD, "amount": amount}})
        assert (response.status_code, response.json()["message"]) == (400, "Malformed request body")

    @pytest.mark.parametrize("content", [b'{"a": NaN}', b'{"a": "\\ud800"}', b"\xff", b"[" * 100_000, b"1", b'"x"'])
    def test_content_that_is_no_object(self, client: Client, content: bytes) -> None:
        response = client.http.post("/v1/decide", content=content, headers={"Content-Type": "application/json"})
        assert refusal(response) == (400, "INVALID_REQUEST")

    @pytest.mark.parametrize(("given", "read"), [(0, False), (2, True), ("true", True), ("False", False), ("", None)])
    def test_a_flag_that_is_read(self, client: Client, given: object, read: bool | None) -> None:
        assert ("reservation_id" in client.reserve(1, dry_run=given).json()) is not bool(read)

    def test_a_number_is_taken_as_text(self, server: LocalCycles, client: Client) -> None:
        client.reserved(1, action={"kind": 5, "name": True})
        assert server.ledger().reservations[0].action == {"kind": "5", "name": "true", "tags": None}

    def test_text_is_measured_as_utf_16(self, client: Client) -> None:
        assert client.reserve(1, action={"kind": "😀" * 32, "name": "n"}).status_code == 200
        response = client.reserve(1, action={"kind": "😀" * 33, "name": "n"})
        assert response.json()["message"] == "Validation failed: action.kind: size must be between 0 and 64"

    def test_bounds_of_an_extension(self, client: Client) -> None:
        reservation_id = client.reserved(1)
        messages = [
            client.extend(reservation_id, each).json().get("message", "") for each in (0, 86_400_001, 86_400_000)
        ]
        assert messages == [
            "Validation failed: extendByMs: must be greater than or equal to 1",
            "Validation failed: extendByMs: must be less than or equal to 86400000",
            "",
        ]


class TestPublicAndOperational:
    def test_health_needs_no_key(self, server: LocalCycles) -> None:
        assert httpx.get(f"{server.url}/actuator/health", trust_env=False).json() == {"status": "UP"}

    def test_prometheus_counts_what_was_done_and_refused(
        self, clock: ManualClock, server: LocalCycles, client: Client
    ) -> None:
        client.commit(client.reserved(10, overage_policy="REJECT"), 10)
        client.reserve(5_000)
        client.event(1)
        client.reserved(1, ttl_ms=1_000)
        clock.advance(60_000)
        server.sweep()
        lines = client.http.get("/actuator/prometheus").text.splitlines()
        labels = 'decision="{}",overage_policy="{}",reason="{}",tenant="acme"'
        assert {
            f"cycles_reservations_reserve_total{{{labels.format('ALLOW', 'REJECT', 'OK')}}} 1",
            f"cycles_reservations_reserve_total{{{labels.format('DENY', 'DEFAULT', 'BUDGET_EXCEEDED')}}} 1",
            'cycles_reservations_commit_total{decision="COMMITTED",reason="OK",tenant="acme"} 1',
            f"cycles_events_total{{{labels.format('APPLIED', 'DEFAULT', 'OK')}}} 1",
            'cycles_reservations_expired_total{tenant="acme"} 1',
            "cycles_maintenance_runs_total 1",
        } <= set(lines)

    def test_every_reply_carries_a_request_id_of_its_own(self, client: Client) -> None:
        ids = {client.get("balances", tenant="acme").headers["x-request-id"] for _ in range(3)}
        assert len(ids) == 3
        assert all(re.fullmatch(r"[0-9a-f-]{36}", each) for each in ids)


class TestSnapshot:
    def test_charged_counts_each_commit_and_event_once(self, server: LocalCycles, client: Client) -> None:
        client.commit(client.reserved(10, subject=AGENT), 7)
        client.event(5, subject=AGENT)
        client.release(client.reserved(3))
        client.reserved(2)
        ledger = server.ledger()
        assert (ledger.charged(USD), ledger.charged(USD, tenant="globex"), ledger.charged("TOKENS")) == (12, 0, 0)
        assert ledger.held(USD) == 2
        assert [len(each) for each in (ledger.active, ledger.committed, ledger.released)] == [1, 1, 1]

    def test_a_reservation_shows_what_was_sent(self, server: LocalCycles, client: Client) -> None:
        reservation_id = client.reserved(10, metadata={"a": 1}, idempotency_key="k", subject=AGENT)
        client.commit(reservation_id, 4, metadata={"b": 2}, metrics={"tokens_input": 3})
        reservation = server.ledger().reservation(reservation_id)
        assert (reservation.idempotency_key, reservation.metadata) == ("k", {"a": 1})
        assert (reservation.commit_metadata, reservation.charged) == ({"b": 2}, 4)
        assert reservation.commit_metrics is not None
        assert reservation.commit_metrics["tokens_input"] == 3

    def test_it_does_not_change_with_the_ledger(self, server: LocalCycles, client: Client) -> None:
        before = server.ledger()
        client.event(5)
        assert before.budget("tenant:acme").spent == 0
        assert before.events == ()
