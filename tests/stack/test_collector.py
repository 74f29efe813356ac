"""A workload through agent and gateway as ``collector-config/`` has them: what is kept, and what is counted."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from opentelemetry.trace import set_span_in_context
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from cycles_otel.local import LocalCycles
from cycles_otel.telemetry import semconv
from tests.stack.servers import eventually
from tests.stack.travelling import BUDGETS, SLOW, Line, Workload, arrivals, arrived, line_of
from tests.telemetry.readings import Reading, Readings, of_page, of_registry
from tests.telemetry.told import ToldSpan

ORDINARY = 30
"""So many runs of which half are kept: that all are, or none, is once in a billion."""
UNENFORCED = 2
GOOD_ENDS = {"committed", "released", "settled_by_event", semconv.WOULD_ALLOW, semconv.UNBUDGETED}
TARGET_LABELS = {"job", "instance"}
# prometheus_client does not annotate this.
_parse: Callable[[str], Iterable[Family]] = text_string_to_metric_families


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    """A line that keeps no share of the rest, when a mixed workload has gone through it."""
    variables = {
        "COLLECTOR_SAMPLED_PERCENTAGE": "0",
        "COLLECTOR_SLOW_CALL": f"{SLOW}s",
        "COLLECTOR_SPAN_METRICS_INTERVAL": "200ms",
    }
    with LocalCycles(budgets=BUDGETS) as server, line_of(tmp_path_factory.mktemp("line"), **variables) as line:
        asyncio.run(_play(Workload(server, line.travelling.witness)))
        line.send()
        yield line


async def _play(workload: Workload) -> None:
    await workload.ordinary(3)
    await workload.denied(3)
    await workload.would_be_denied(2)
    await workload.slow()
    await workload.unenforced(UNENFORCED)


def is_denied(span: ToldSpan) -> bool:
    return span.attributes.get(semconv.DECISION) == semconv.DENY


def ended(outcome: str) -> Callable[[ToldSpan], bool]:
    return lambda span: span.attributes.get(semconv.RESERVATION_OUTCOME) == outcome


def has_failed(span: ToldSpan) -> bool:
    return semconv.ERROR_TYPE in span.attributes


KEPT = {
    "a denial": is_denied,
    "a step that was denied": ended(semconv.DENIED),
    "a step that would be denied": ended(semconv.WOULD_DENY),
    "an unenforced step": ended(semconv.UNENFORCED),
    "an error": has_failed,
}


def slow_traces(line: Line) -> set[str]:
    spans = line.travelling.witness.client_spans
    slow = [span for span in spans if (span.end_time or 0) - (span.start_time or 0) >= SLOW * 1e9]
    return {f"{span.context.trace_id:032x}" for span in slow}


@pytest.fixture(scope="module")
def expected(played: Line) -> set[str]:
    """The traces that must be kept."""
    kept = (played.travelling.traces(is_one) for is_one in KEPT.values())
    return set.union(slow_traces(played), *kept)


@pytest.fixture(scope="module")
def received(played: Line, expected: set[str]) -> list[ToldSpan]:
    """The spans at the back end, when the gateway has seen all and those of the expected traces have arrived."""
    traces = played.travelling.traces(lambda _: True)
    seen = "processor_tail_sampling_new_trace_id_received"
    assert eventually(lambda: played.gateway.says(seen), lambda said: said == len(traces)) == len(traces)
    played.send()
    return arrivals(played.back_end, (span for span in played.travelling.sent if span.trace_id in expected))


class TestWhatIsKept:
    @pytest.mark.parametrize("what", KEPT)
    def test_every_trace_with_it_arrives(self, played: Line, received: list[ToldSpan], what: str) -> None:
        traces = played.travelling.traces(KEPT[what])
        assert traces
        assert traces <= {span.trace_id for span in received}

    def test_every_trace_with_a_slow_call_arrives(self, played: Line, received: list[ToldSpan]) -> None:
        assert slow_traces(played)
        assert slow_traces(played) <= {span.trace_id for span in received}

    def test_nothing_else_arrives(self, played: Line, received: list[ToldSpan], expected: set[str]) -> None:
        assert played.travelling.traces(lambda span: span.trace_id not in expected)
        assert {span.trace_id for span in received} == expected

    def test_what_arrives_is_whole_and_as_it_was_sent(self, played: Line, received: list[ToldSpan]) -> None:
        traces = {span.trace_id for span in received}
        sent = {span.span_id: span for span in played.travelling.sent if span.trace_id in traces}
        assert Counter(span.span_id for span in received) == Counter(list(sent))
        for span in received:
            assert (span.name, span.attributes) == (sent[span.span_id].name, listed(sent[span.span_id]))


def listed(span: ToldSpan) -> dict[str, object]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in span.attributes.items()}


class TestWhatIsCounted:
    def test_the_gateways_page_has_the_series_of_the_programs_own(self, played: Line) -> None:
        series = of_registry(played.travelling.witness.registry).series()
        assert len(series) > 100
        assert eventually(lambda: untargeted(played).series(), lambda found: found == series) == series

    def test_denials_and_unenforced_steps_are_as_many_as_the_spans_that_arrive(
        self, played: Line, received: list[ToldSpan]
    ) -> None:
        denials, unenforced = sum(map(is_denied, received)), sum(map(ended(semconv.UNENFORCED), received))
        assert (denials, unenforced) == (5, UNENFORCED)
        page = untargeted(played)
        assert page.total(semconv.DECISIONS, cycles_decision=semconv.DENY) == denials
        assert page.total(semconv.UNENFORCED_STEPS) == unenforced

    def test_the_metrics_of_spans_count_those_too_that_are_not_kept(self, played: Line) -> None:
        sent = Counter(span.name for span in played.travelling.sent)
        assert eventually(lambda: span_counts(played.gateway.page()), lambda counts: counts == sent) == sent


def untargeted(line: Line) -> Readings:
    """The gateway's page without the labels that say where a series came from."""
    return Readings(
        Reading(each.name, {key: value for key, value in each.labels.items() if key not in TARGET_LABELS}, each.value)
        for each in of_page(line.gateway.page())
    )


def span_counts(page: str) -> Counter[str]:
    """The calls of each span, as the metrics of spans have them."""
    counts: Counter[str] = Counter()
    for family in _parse(page):
        for sample in family.samples:
            if sample.name == "traces_span_metrics_calls_total":
                counts[sample.labels["span_name"]] += int(sample.value)
    return counts


class TestOutcomes:
    def test_how_a_reservation_ended_is_enough_for_its_trace_to_be_kept(self, tmp_path: Path) -> None:
        outcomes = semconv.VALUES[semconv.RESERVATION_OUTCOME]
        with line_of(tmp_path, COLLECTOR_SAMPLED_PERCENTAGE="0") as line:
            tracer = line.travelling.witness.provider.get_tracer(semconv.SCOPE)
            for outcome in outcomes:
                tracer.start_span(outcome, attributes={semconv.RESERVATION_OUTCOME: outcome}).end()
            line.send()
            kept = [span for span in line.travelling.sent if span.name not in GOOD_ENDS]
            assert {span.name for span in arrivals(line.back_end, kept)} == set(outcomes) - GOOD_ENDS


class TestShare:
    def test_of_runs_of_which_there_is_nothing_to_say_a_share_arrives_whole(self, tmp_path: Path) -> None:
        with LocalCycles(budgets=BUDGETS) as server, line_of(tmp_path, COLLECTOR_SAMPLED_PERCENTAGE="50") as line:
            asyncio.run(Workload(server, line.travelling.witness).ordinary(ORDINARY))
            line.send()
            seen = "processor_tail_sampling_new_trace_id_received"
            assert eventually(lambda: line.gateway.says(seen), lambda said: said == ORDINARY) == ORDINARY
            line.send()
            received = eventually(lambda: arrived(line.back_end), lambda spans: is_whole(spans, line))
            assert is_whole(received, line)
            assert 0 < len({span.trace_id for span in received}) < ORDINARY


def is_whole(spans: list[ToldSpan], line: Line) -> bool:
    """Whether there are spans, and of each of their traces all that were sent."""
    traces = {span.trace_id for span in spans}
    sent = {span.span_id for span in line.travelling.sent if span.trace_id in traces}
    return bool(spans) and {span.span_id for span in spans} == sent


class TestLongRuns:
    def test_what_came_before_a_denial_is_held_and_arrives_with_it(self, tmp_path: Path) -> None:
        with line_of(tmp_path, COLLECTOR_SAMPLED_PERCENTAGE="0") as line:
            tracer = line.travelling.witness.provider.get_tracer(semconv.SCOPE)
            run = tracer.start_span("run")
            within = set_span_in_context(run)
            tracer.start_span("early", within).end()
            line.travelling.send()
            seen = "processor_tail_sampling_new_trace_id_received"
            assert eventually(lambda: line.gateway.says(seen), bool) == 1
            tracer.start_span("reserve", within, attributes={semconv.DECISION: semconv.DENY}).end()
            run.end()
            line.travelling.send()
            names = sorted(span.name for span in arrivals(line.back_end, line.travelling.sent))
            assert names == ["early", "reserve", "run"]

    def test_a_denial_that_comes_after_its_trace_was_given_up_is_kept_with_all_that_follows(
        self, tmp_path: Path
    ) -> None:
        variables = {"COLLECTOR_SAMPLED_PERCENTAGE": "0", "COLLECTOR_DECISION_WAIT": "1s"}
        with line_of(tmp_path, **variables) as line:
            tracer = line.travelling.witness.provider.get_tracer(semconv.SCOPE)
            run = tracer.start_span("run")
            within = set_span_in_context(run)
            tracer.start_span("early", within).end()
            line.travelling.send()
            given_up = "processor_tail_sampling_global_count_traces_sampled"
            assert eventually(lambda: line.gateway.says(given_up, sampled="false"), bool) == 1
            tracer.start_span("reserve", within, attributes={semconv.DECISION: semconv.DENY}).end()
            line.travelling.send()
            run.end()
            line.travelling.send()
            late = [span for span in line.travelling.sent if span.name != "early"]
            assert sorted(span.name for span in arrivals(line.back_end, late)) == ["reserve", "run"]
            assert len(arrived(line.back_end)) == 2
