"""The one table: names by their rules, in one place, and nothing emitted that it does not have."""

from __future__ import annotations

import io
import re
import tokenize
from pathlib import Path

import pytest
from runcycles import AsyncCyclesClient, Unit

import cycles_otel
from cycles_otel.telemetry import semconv
from cycles_otel.telemetry.reference import page
from cycles_otel.telemetry.schema import Kind, Metric
from tests.telemetry import requests
from tests.telemetry.witness import Witness, attributes

PACKAGE = Path(cycles_otel.__file__).parent
ROOT = PACKAGE.parent
KEYS = {value for name, value in vars(semconv).items() if name.isupper() and isinstance(value, str) and "." in value}
METRIC_NAMES = {metric.name for metric in semconv.METRICS} | {metric.prometheus_name for metric in semconv.METRICS}
NAMES = KEYS | METRIC_NAMES | set(semconv.EVENTS)
LOOKS_LIKE_A_NAME = re.compile(r"cycles\.[a-z_]+(\.[a-z_]+)*|cycles_(client|budget|exporter)_[a-z_]+")


def record_everything(witness: Witness) -> None:
    """Let each metric have one series."""
    for metric in semconv.METRICS:
        witness.recorder.metrics.record(metric, 1, tuple("x" for _ in metric.attributes))


def string_literals(source: str) -> list[str]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return [token.string.strip("rbfuRBFU\"'") for token in tokens if token.type == tokenize.STRING]


class TestNames:
    @pytest.mark.parametrize(
        ("metric", "name"),
        [
            (semconv.OPERATION_DURATION, "cycles_client_operation_duration_seconds"),
            (semconv.DECISIONS, "cycles_client_decisions_total"),
            (semconv.AMOUNT_COMMITTED_TOTAL, "cycles_client_amount_committed_total"),
            (semconv.RESERVATIONS_ACTIVE, "cycles_client_reservations_active"),
            (semconv.ESTIMATE_RATIO, "cycles_client_estimate_ratio"),
            (semconv.OLDEST, "cycles_client_settlement_oldest_seconds"),
            (semconv.RUN_AMOUNTS["USD_MICROCENTS"], "cycles_client_run_amount_usd_microcents"),
            (semconv.TELEMETRY_DROPPED, "cycles_client_telemetry_dropped_total"),
            (semconv.BUDGETS["overdraft_limit"], "cycles_budget_overdraft_limit"),
            (semconv.BUDGET_OBSERVED, "cycles_budget_observed_seconds"),
            (semconv.INFO, "cycles_client_info"),
            (semconv.EXPORTER_UP, "cycles_exporter_up"),
            (semconv.EXPORTER_LAST_SUCCESS, "cycles_exporter_last_success_timestamp_seconds"),
            (semconv.EXPORTER_POLLS, "cycles_exporter_polls_total"),
        ],
    )
    def test_prometheus_spells_a_name_by_one_rule(self, metric: Metric, name: str) -> None:
        assert metric.prometheus_name == name

    def test_every_metric_is_exposed_under_its_name_with_its_labels(self, witness: Witness) -> None:
        record_everything(witness)
        exposed: dict[str, set[str]] = {}
        for family in witness.registry.collect():
            for sample in family.samples:
                name = re.sub(r"_(bucket|count|sum|created)$", "", sample.name)
                exposed.setdefault(name, set()).update(set(sample.labels) - {"le"})
        created_by_counters = {metric.prometheus_name.removesuffix("_total") for metric in semconv.METRICS}
        assert {name for name in exposed if name not in created_by_counters} == {
            metric.prometheus_name for metric in semconv.METRICS if metric.kind is Kind.COUNTER
        }
        for metric in semconv.METRICS:
            assert exposed[metric.prometheus_name] == set(metric.labels), metric.name

    def test_every_metric_reaches_the_meter_under_its_name_with_its_unit(self, witness: Witness) -> None:
        record_everything(witness)
        data = witness.reader.get_metrics_data()
        assert data is not None
        found = {
            m.name: m for resource in data.resource_metrics for scope in resource.scope_metrics for m in scope.metrics
        }
        assert {name: (m.unit, m.description) for name, m in found.items()} == {
            metric.name: (metric.unit, metric.description) for metric in semconv.METRICS
        }

    def test_buckets_are_the_same_by_either_way(self, witness: Witness) -> None:
        record_everything(witness)
        for metric in (m for m in semconv.METRICS if m.kind is Kind.HISTOGRAM):
            bounds = [float(sample.labels["le"]) for sample in witness.samples(metric, "_bucket")]
            assert tuple(bounds[:-1]) == metric.buckets == witness.bounds(metric)

    def test_no_gauge_has_the_unit_1_whose_name_differs_by_route(self) -> None:
        assert [metric.name for metric in semconv.METRICS if metric.unit == "1"] == []

    def test_nothing_on_a_metric_identifies_a_single_call(self) -> None:
        ids = {semconv.RUN_ID, semconv.RESERVATION_ID, semconv.IDEMPOTENCY_KEY, semconv.REQUEST_ID}
        ids |= {semconv.TOOL_CALL_ID, semconv.SERVER_ADDRESS}
        assert [metric.name for metric in semconv.METRICS if ids & set(metric.attributes)] == []

    def test_there_is_a_histogram_of_runs_for_each_unit(self) -> None:
        assert set(semconv.RUN_AMOUNTS) == {unit.value for unit in Unit if unit.value != "UNKNOWN"}


class TestOnePlace:
    def test_no_other_module_spells_a_name(self) -> None:
        spelled = [
            (str(path.relative_to(PACKAGE)), literal)
            for path in sorted(PACKAGE.rglob("*.py"))
            if path.name != "semconv.py"
            for literal in string_literals(path.read_text(encoding="utf-8"))
            if literal not in cycles_otel.__all__
            if literal in NAMES or LOOKS_LIKE_A_NAME.fullmatch(literal)
        ]
        assert spelled == []

    async def test_spans_say_nothing_that_the_table_does_not_have(
        self, client: AsyncCyclesClient, witness: Witness
    ) -> None:
        held = await client.create_reservation(requests.reserve(100, ttl_ms=60_000))
        reservation_id = str((held.body or {})["reservation_id"])
        await client.extend_reservation(reservation_id, requests.extend())
        await client.commit_reservation(reservation_id, requests.commit(200))
        await client.create_event(requests.event(5))
        await client.decide(requests.reserve(10**9))
        life = witness.observer.reservation(requests.step())
        life.granted("r-1", 100, capped=None)
        life.settled("committed", actual=1, charged=1, released=99, source="price")
        witness.observer.run("run-1", "agent").ended("failed", {}, leaked=0)
        every_call = semconv.SPAN_ATTRIBUTES["every API call"]
        for span in witness.spans:
            name = span.name.split(" ")[0]
            known = semconv.SPAN_ATTRIBUTES[name] + (() if name.startswith("cycles.") else every_call)
            assert set(attributes(span)) <= set(known), span.name

    def test_a_cycles_span_is_never_taken_for_a_generation(self) -> None:
        keys = {key for keys in semconv.SPAN_ATTRIBUTES.values() for key in keys}
        assert not {key for key in keys if key.startswith("gen_ai.usage") or key == "gen_ai.operation.name"}


class TestReferencePage:
    def test_it_is_in_step_with_the_table(self) -> None:
        written = (ROOT / "docs" / "telemetry.md").read_text(encoding="utf-8")
        assert written == page(), "run: python -m cycles_otel.telemetry.reference > docs/telemetry.md"

    def test_it_names_everything(self) -> None:
        assert [name for name in sorted(METRIC_NAMES | set(semconv.EVENTS)) if f"`{name}`" not in page()] == []
