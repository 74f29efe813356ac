"""One run by three ways into one Prometheus: they say the same, and what they say is what the ledger holds.

The ways are a scrape of ``/metrics``, OTLP to a collector whose page is scraped, and OTLP to Prometheus' own receiver.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from cycles_otel.telemetry import semconv
from cycles_otel.telemetry.schema import Kind
from tests.chaos.programs import Played, played
from tests.chaos.schedule import Schedule
from tests.stack.servers import Collector, Prometheus, eventually
from tests.telemetry.readings import Example, Readings, of_page
from tests.telemetry.told import ToldSpan, of_otlp

SCHEDULE = Schedule.of(36)
"""With denials, an unenforced step, a heartbeat, charges by events, and charges that a policy capped."""
PAGE, COLLECTOR, RECEIVER = "page", "collector", ""
ROUTES = [PAGE, COLLECTOR, RECEIVER]
OPEN_METRICS = {"Accept": "application/openmetrics-text; version=1.0.0"}


@pytest.fixture(scope="module")
def play(prometheus: Prometheus, collector: Collector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    """A program that sends its metrics every way."""
    environment = {"CYCLES_OTEL_METRICS": "both"}
    endpoints: dict[str, Any] = {"otlp_endpoint": collector.otlp_url, "meters_endpoint": prometheus.otlp_url}
    folder = tmp_path_factory.mktemp("program")
    with played(SCHEDULE, folder, environment=environment, **endpoints) as play:
        prometheus.scrape(PAGE, str(play.done[0].metrics_url))
        prometheus.scrape(COLLECTOR, collector.page_url, honor_labels=True)
        yield play


@pytest.fixture(scope="module")
def shown(play: Played) -> Readings:
    """What the program's own page says."""
    return of_page(httpx.get(str(play.done[0].metrics_url), headers=OPEN_METRICS).text)


@pytest.fixture(scope="module")
def spans(play: Played, collector: Collector) -> list[ToldSpan]:
    """The spans that the collector wrote down."""
    return eventually(lambda: of_otlp(collector.span_requests()), lambda spans: len(spans) >= play.spans)


@pytest.mark.parametrize("route", ROUTES, ids=["page", "collector", "receiver"])
class TestEachRoute:
    def test_its_series_are_those_of_the_page_by_name_labels_and_value(
        self, prometheus: Prometheus, shown: Readings, route: str
    ) -> None:
        expected = shown.series()
        assert len(expected) > 100
        assert eventually(lambda: prometheus.readings(route).series(), lambda found: found == expected) == expected

    def test_it_equals_the_ledger(
        self, prometheus: Prometheus, play: Played, shown: Readings, spans: list[ToldSpan], route: str
    ) -> None:
        said = eventually(lambda: prometheus.readings(route), lambda said: said.series() == shown.series())
        violations = play.accounts(spans, {route: said}).violations()
        assert not violations, "\n".join(violations)

    def test_its_exemplars_name_spans_that_the_collector_has(
        self, prometheus: Prometheus, shown: Readings, spans: list[ToldSpan], route: str
    ) -> None:
        expected = _with_examples(shown, "_bucket")
        found = eventually(lambda: prometheus.examples(route), lambda found: expected <= found.keys())
        assert expected <= found.keys()
        assert {
            semconv.OPERATION_DURATION.prometheus_name + "_bucket",
            semconv.SETTLEMENT_COUNT.prometheus_name,
        } <= expected
        assert set.union(*found.values()) <= {Example(span.trace_id, span.span_id) for span in spans}


def _with_examples(shown: Readings, suffix: str) -> set[str]:
    """The series of which an exemplar is due: histograms and counters that the table says have them."""
    due = [metric for metric in semconv.METRICS if metric.exemplars]
    names = {m.prometheus_name + (suffix if m.kind is Kind.HISTOGRAM else "") for m in due}
    return {each.name for each in shown if each.name in names and each.value}
