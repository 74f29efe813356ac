"""The figures of the demo: read from the metrics, and held against the server's ledger."""

from __future__ import annotations

import httpx
import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram

from cycles_otel.cli.demo import tenants
from cycles_otel.cli.demo.amounts import POINTS, USD, amount, dollars, points
from cycles_otel.cli.demo.cases import cases
from cycles_otel.cli.demo.progress import Budget, Watch
from cycles_otel.cli.demo.readings import Readings
from cycles_otel.cli.demo.workload import DeskLog
from cycles_otel.local import LocalCycles
from cycles_otel.telemetry import semconv
from tests.cli.desk import CUSTOMERS, SEED, Desk, open_desk


class TestReadings:
    @pytest.fixture
    def readings(self) -> Readings:
        registry = CollectorRegistry()
        runs = Counter("cycles_client_runs", "", ["gen_ai_agent_name", "cycles_run_outcome"], registry=registry)
        runs.labels("triage", "completed").inc(3)
        runs.labels("triage", "denied").inc(2)
        runs.labels("billing", "completed").inc(5)
        margin = Histogram("cycles_client_heartbeat_margin_seconds", "", registry=registry)
        for seconds in (1.0, 2.0):
            margin.observe(seconds)
        return Readings(registry)

    def test_a_counter_is_summed_over_its_series(self, readings: Readings) -> None:
        assert readings.total(semconv.RUNS) == 10

    def test_only_series_with_the_wanted_attributes_count(self, readings: Readings) -> None:
        assert readings.total(semconv.RUNS, {semconv.RUN_OUTCOME: "completed"}) == 8

    def test_sums_are_told_apart_by_attributes(self, readings: Readings) -> None:
        assert readings.by(semconv.RUNS, [semconv.AGENT_NAME]) == {("triage",): 5, ("billing",): 5}

    def test_a_histogram_counts_its_observations(self, readings: Readings) -> None:
        assert readings.total(semconv.HEARTBEAT_MARGIN_SECONDS) == 2

    def test_a_metric_without_series_is_nothing(self, readings: Readings) -> None:
        assert readings.total(semconv.LEAKED) == 0


class TestAmounts:
    def test_microcents_are_dollars_to_the_hundredth_of_a_cent(self) -> None:
        assert dollars(148_122_540) == "$1.4812"
        assert amount(700_000, USD) == "$0.0070"

    def test_points_are_whole_and_nothing_is_blank_in_a_table(self) -> None:
        assert (points(1_234), points(0), amount(0, POINTS)) == ("1,234 pt", "", "0 pt")


class TestBudgets:
    def test_each_tenant_has_them_for_its_share_of_the_customers(self) -> None:
        given = tenants.budgets(8)
        assert given["tenant:acme"] == {USD: 3 * 3_000_000, POINTS: 3 * 120}
        assert given["tenant:initech"] == {USD: 300_000, POINTS: 120}

    def test_a_narrow_one_stays_below_the_price_of_an_email(self) -> None:
        assert tenants.budgets(80)["tenant:hooli/agent:billing/toolset:send_email"] == {POINTS: 40}

    def test_every_tenant_takes_its_turn_early(self) -> None:
        assert set(tenants.turns(4)) == set(tenants.TENANTS)

    def test_the_part_that_is_gone_is_spent_or_held(self) -> None:
        budget = Budget("tenant:acme/agent:billing", USD, allocated=100, spent=20, held=5)
        assert (budget.gone, budget.tenant) == (0.25, "acme")

    def test_a_budget_of_nothing_is_no_division_by_zero(self) -> None:
        assert Budget("tenant:acme", USD, 0, 0, 0).gone == 0


class TestProgress:
    def test_before_any_step_all_budgets_are_untouched(self) -> None:
        seen = Watch(CollectorRegistry(), DeskLog(), CUSTOMERS).look()
        assert {each.scope: each.allocated for each in seen.budgets if each.unit == USD} == {
            f"tenant:{tenant.name}": tenant.microcents for tenant in tenants.TENANTS
        }
        assert (seen.steps, seen.rate, seen.denied, seen.served, seen.at_the_desk) == (0, 0.0, 0, 0, 0)

    def test_budgets_and_spend_are_those_of_the_ledger(self, worked: Desk) -> None:
        seen, ledger = Watch(worked.registry, worked.log, CUSTOMERS).look(), worked.server.ledger()
        assert [(each.scope, each.unit, each.allocated, each.spent, each.held) for each in seen.budgets] == [
            (each.scope, each.unit, each.allocated, each.spent, each.reserved)
            for scope, units in tenants.budgets(CUSTOMERS).items()
            for each in [ledger.budget(scope, unit) for unit in units]
        ]
        assert sum(microcents for microcents, _ in seen.spend.values()) == ledger.charged(USD)
        assert sum(risk for _, risk in seen.spend.values()) == ledger.charged(POINTS)

    def test_steps_heartbeats_and_denials_are_those_on_the_wire(self, worked: Desk) -> None:
        seen = Watch(worked.registry, worked.log, CUSTOMERS).look()
        answers = [(request.operation, request.status) for request in worked.server.requests]
        assert seen.steps == answers.count(("reserve", 200)) > 0
        assert seen.heartbeats == answers.count(("extend", 200)) > 0
        assert seen.denials == {"hooli": 1, "initech": 1}
        assert (seen.served, seen.at_the_desk, seen.unenforced) == (CUSTOMERS, 0, 0)
        assert len(seen.stories) == 2


class TestReconciliation:
    def test_telemetry_and_ledger_are_equal(self, worked: Desk) -> None:
        result = worked.reconciled()
        assert result.differences == []
        ledger = worked.server.ledger()
        assert [(each.telemetry, each.server) for each in result.sums] == [
            (ledger.charged(USD),) * 2,
            (ledger.charged(POINTS),) * 2,
        ]
        assert result.calls[0].server == len(worked.server.requests)

    async def test_a_charge_behind_the_back_of_the_telemetry_is_a_difference(self) -> None:
        async with open_desk() as desk:
            await desk.serve([case for case in cases(CUSTOMERS, SEED) if case.tenant.name == "hooli"])
            assert desk.reconciled().differences == []
            charge(desk.server, "hooli", 7)
            told = [str(each) for each in desk.reconciled().differences]
            spent = desk.server.ledger().charged(USD)
        assert told[:2] == [
            f"microcents {spent - 7:,} ≠ {spent:,}",
            f"hooli USD_MICROCENTS {spent - 7:,} ≠ {spent:,}",
        ]
        assert len(told) == 4, "the request of that charge has neither a span nor an observation"


def charge(server: LocalCycles, tenant: str, microcents: int) -> None:
    """Charge a tenant by an event of which the telemetry knows nothing."""
    body = {
        "idempotency_key": "behind-the-back",
        "subject": {"tenant": tenant},
        "action": {"kind": "llm.completion", "name": "gpt-4.1"},
        "actual": {"unit": USD, "amount": microcents},
    }
    headers = {"X-Cycles-API-Key": server.config(tenant).api_key}
    assert httpx.post(f"{server.url}/v1/events", json=body, headers=headers, trust_env=False).status_code == 201
