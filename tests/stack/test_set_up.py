"""The set-up as a user makes it, one way at a time: ``setup_telemetry()``, and OpenTelemetry's standard variables."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cycles_otel.telemetry import semconv
from cycles_otel.telemetry.schema import Kind
from tests.chaos.programs import Played, played
from tests.chaos.schedule import Schedule
from tests.stack.servers import Collector, Prometheus, eventually
from tests.telemetry.readings import Readings
from tests.telemetry.told import ToldSpan, of_otlp

SCHEDULE = Schedule.of(38)
METRICS_ENDPOINT, TRACES_ENDPOINT = "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
CALLS = semconv.OPERATION_DURATION.prometheus_name


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[Collector]:
    with Collector(tmp_path / "collector") as collector:
        yield collector


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[Prometheus]:
    with Prometheus(tmp_path / "prometheus") as prometheus:
        yield prometheus


def spans_of(play: Played, collector: Collector) -> list[ToldSpan]:
    return eventually(lambda: of_otlp(collector.span_requests()), lambda spans: len(spans) >= play.spans)


def assert_it_equals_the_ledger(play: Played, prometheus: Prometheus, collector: Collector, route: str) -> None:
    spans = spans_of(play, collector)
    calls = sum(span.is_client for span in spans)

    def is_complete(said: Readings) -> bool:
        return said.total(semconv.OPERATION_DURATION, "_count") >= calls

    said = eventually(lambda: prometheus.readings(route), is_complete)
    violations = play.accounts(spans, {route: said}).violations()
    assert not violations, "\n".join(violations)


def straight(prometheus: Prometheus, collector: Collector) -> dict[str, str]:
    """Metrics to Prometheus itself, spans to the collector."""
    return {
        METRICS_ENDPOINT: prometheus.otlp_url,
        TRACES_ENDPOINT: f"{collector.otlp_url}/v1/traces",
        "CYCLES_OTEL_METRICS": "otlp",
    }


class TestOneWay:
    def test_a_page_that_is_scraped(self, prometheus: Prometheus, collector: Collector, tmp_path: Path) -> None:
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.otlp_url}
        with played(SCHEDULE, tmp_path, environment=environment) as play:
            prometheus.scrape("page", str(play.done[0].metrics_url))
            assert_it_equals_the_ledger(play, prometheus, collector, "page")

    def test_otlp_to_a_collector(self, prometheus: Prometheus, collector: Collector, tmp_path: Path) -> None:
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.otlp_url, "CYCLES_OTEL_METRICS": "otlp"}
        with played(SCHEDULE, tmp_path, environment=environment) as play:
            assert play.done[0].metrics_url is None
            prometheus.scrape("collector", collector.page_url, honor_labels=True)
            assert_it_equals_the_ledger(play, prometheus, collector, "collector")

    def test_otlp_to_prometheus(self, prometheus: Prometheus, collector: Collector, tmp_path: Path) -> None:
        with played(SCHEDULE, tmp_path, environment=straight(prometheus, collector)) as play:
            assert_it_equals_the_ledger(play, prometheus, collector, "")


class TestNativeHistograms:
    def test_the_standard_variable_makes_them_of_all_histograms_whatever_their_buckets(
        self, prometheus: Prometheus, collector: Collector, tmp_path: Path
    ) -> None:
        native = {"OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": "base2_exponential_bucket_histogram"}
        with played(SCHEDULE, tmp_path, environment=straight(prometheus, collector) | native) as play:
            calls = sum(span.is_client for span in spans_of(play, collector))
            counted = f"sum(histogram_count({CALLS}))"
            assert eventually(lambda: prometheus.value(counted), lambda value: value == calls) == calls
        assert prometheus.value(f"histogram_quantile(0.5, sum({CALLS}))")
        histograms = [m.prometheus_name for m in semconv.METRICS if m.kind is Kind.HISTOGRAM]
        assert prometheus.value(f'count({{__name__=~"({"|".join(histograms)})_bucket"}})') is None
