"""Runs, and what else is not about one reservation."""

from __future__ import annotations

import pytest
from opentelemetry import trace
from opentelemetry.trace import StatusCode
from runcycles import Unit

from cycles_otel._version import __version__
from cycles_otel.budget.step import Action, Origin
from cycles_otel.telemetry import TelemetryObserver, semconv
from tests.telemetry import requests
from tests.telemetry.witness import Witness, attributes, event_names, parent_id, span_id


class TestSpan:
    def test_a_run_without_a_span_around_it_has_its_own(self, witness: Witness) -> None:
        run = witness.observer.run("run-1", "Triage Agent")
        with run.attached():
            witness.observer.reservation(requests.step()).settled("released")
        run.ended("completed", {}, leaked=0)
        span = witness.span("cycles.run Triage Agent")
        assert parent_id(witness.span("cycles.reservation llm.completion")) == span_id(span)
        assert attributes(span) == {
            semconv.RUN_ID: "run-1",
            semconv.AGENT_NAME: "Triage Agent",
            semconv.RUN_OUTCOME: "completed",
        }

    def test_a_run_inside_of_a_span_has_none_of_its_own(self, witness: Witness) -> None:
        with witness.provider.get_tracer("program").start_as_current_span("program") as program:
            run = witness.observer.run("run-1", "Triage Agent")
            with run.attached():
                assert trace.get_current_span() is program
            run.ended("completed", {}, leaked=0)
        assert [span.name for span in witness.spans] == ["program"]
        assert witness.total(semconv.RUNS) == 1

    def test_a_nested_run_belongs_to_the_run_around_it(self, witness: Witness) -> None:
        outer = witness.observer.run("run-1", "outer")
        with outer.attached():
            inner = witness.observer.run("run-2", "inner")
            inner.ended("completed", {}, leaked=0)
        outer.ended("completed", {}, leaked=0)
        assert [span.name for span in witness.spans] == ["cycles.run outer"]

    def test_its_span_is_current_no_longer_than_the_run(self, witness: Witness) -> None:
        with witness.observer.run("run-1", "Triage Agent").attached():
            assert trace.get_current_span().get_span_context().is_valid
        assert not trace.get_current_span().get_span_context().is_valid

    @pytest.mark.parametrize("outcome", ["completed", "denied", "cancelled"])
    def test_a_run_that_was_denied_or_cancelled_is_no_error(self, witness: Witness, outcome: str) -> None:
        witness.observer.run("run-1", "agent").ended(outcome, {}, leaked=0)
        assert witness.spans[0].status.status_code is StatusCode.UNSET

    def test_a_run_that_failed_is_an_error(self, witness: Witness) -> None:
        witness.observer.run("run-1", "agent").ended("failed", {}, leaked=0)
        assert witness.spans[0].status.status_code is StatusCode.ERROR

    def test_the_text_of_an_exception_stays_off_the_span(self, witness: Witness) -> None:
        run = witness.observer.run("run-1", "agent")
        with pytest.raises(RuntimeError), run.attached():
            raise RuntimeError("secret")
        run.ended("failed", {}, leaked=0)
        assert event_names(witness.spans[0]) == []
        assert witness.spans[0].status.description is None


class TestMetrics:
    def test_a_run_is_counted_once_by_agent_and_outcome(self, witness: Witness) -> None:
        run = witness.observer.run("run-1", "Triage Agent")
        run.ended("denied", {Unit.USD_MICROCENTS: 250_000, Unit.RISK_POINTS: 10}, leaked=2)
        run.ended("completed", {Unit.USD_MICROCENTS: 1}, leaked=5)
        labels = {"gen_ai_agent_name": "Triage Agent", "cycles_run_outcome": "denied"}
        assert witness.total(semconv.RUNS) == witness.total(semconv.RUNS, **labels) == 1
        assert witness.total(semconv.RUN_AMOUNTS["USD_MICROCENTS"], "_sum", **labels) == 250_000
        assert witness.total(semconv.RUN_AMOUNTS["RISK_POINTS"], "_sum", **labels) == 10
        assert witness.total(semconv.LEAKED) == 2

    def test_an_admission_without_an_answer_is_unenforced(
        self, witness: Witness, caplog: pytest.LogCaptureFixture
    ) -> None:
        witness.observer.unguarded(Action("agent.run", "triage"), Origin(agent="Triage Agent"), "timeout")
        assert witness.total(semconv.UNENFORCED_STEPS, cycles_action_kind="agent.run", error_type="timeout") == 1
        assert [record.levelname for record in caplog.records] == ["WARNING"]

    def test_the_settings_stand_on_the_info_metric(self, witness: Witness) -> None:
        witness.observer.configured(fail_open=True, dry_run=False, run_bracketing=False)
        ((labels, value),) = witness.series(semconv.INFO).items()
        settings = dict(labels)
        assert settings.pop("cycles_price_data_version")
        assert (settings, value) == (
            {
                "cycles_version": __version__,
                "cycles_fail_open": "true",
                "cycles_dry_run": "false",
                "cycles_run_bracketing": "inactive",
            },
            1,
        )

    def test_the_backlog_and_the_age_of_its_oldest_settlement_are_shown(self, witness: Witness) -> None:
        witness.observer.backlog(3, 7.5)
        assert witness.total(semconv.BACKLOG) == 3
        assert witness.total(semconv.OLDEST) == pytest.approx(7.5)
        witness.observer.backlog(0, None)
        assert (witness.total(semconv.BACKLOG), witness.total(semconv.OLDEST)) == (0, 0)

    def test_the_backlogs_of_several_hooks_are_shown_together(self, witness: Witness) -> None:
        other = TelemetryObserver(witness.recorder)
        witness.observer.backlog(3, 60)
        other.backlog(2, 600)
        assert witness.total(semconv.BACKLOG) == 5
        other.backlog(1, 1)
        assert witness.total(semconv.BACKLOG) == 4
        assert 60 <= witness.total(semconv.OLDEST) < 600
        other.backlog(0, None)
        assert witness.total(semconv.BACKLOG) == 3
