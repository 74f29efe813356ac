"""What a test reads from ``cycles_metrics``: what was counted in this test, by whatever recorder."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from agents import Runner
from prometheus_client import CollectorRegistry

from cycles_otel import InvalidParameterError, Recorder
from cycles_otel.local import LocalCycles
from cycles_otel.testing import CyclesMetrics
from tests.run.desk import agent, hooks_of, says
from tests.testing.desk import email_budget, run_pytest, runs_pytest, send_emails

DENIALS = "cycles_client_denials_total"


class TestValue:
    @email_budget
    async def test_it_is_the_sum_of_the_series_that_fit(
        self, local_cycles: LocalCycles, cycles_metrics: CyclesMetrics
    ) -> None:
        await send_emails(local_cycles, 2, agent="one")
        await send_emails(local_cycles, 1, agent="two")
        assert cycles_metrics.value(DENIALS) == 1
        assert cycles_metrics.value(DENIALS, agent="two", kind="tool.invoke", reason="BUDGET_EXCEEDED") == 1
        assert cycles_metrics.value(DENIALS, agent="one") == 0
        assert cycles_metrics.value("cycles_client_decisions_total", decision="ALLOW", dry_run=False) == 6
        assert (
            cycles_metrics.value("cycles_client_amount_committed_total", gen_ai_agent_name="one", target="send_email")
            == 100
        )

    @email_budget
    async def test_a_histogram_has_a_count_a_sum_and_buckets(
        self, local_cycles: LocalCycles, cycles_metrics: CyclesMetrics
    ) -> None:
        await send_emails(local_cycles, 2)
        name = "cycles_client_run_amount_risk_points"
        assert cycles_metrics.value(f"{name}_count", agent="helper") == 1
        assert cycles_metrics.value(f"{name}_sum", outcome="completed") == 100
        assert cycles_metrics.value(f"{name}_bucket", le="64.0") == 0
        assert cycles_metrics.value(f"{name}_bucket", le="256.0") == 1

    @email_budget
    async def test_a_gauge_has_no_sum(self, local_cycles: LocalCycles, cycles_metrics: CyclesMetrics) -> None:
        await send_emails(local_cycles, 1)
        assert cycles_metrics.value("cycles_budget_remaining", unit="RISK_POINTS") == 50
        with pytest.raises(LookupError, match=r"2 series of cycles_budget_remaining fit \{\}, and a gauge has no sum"):
            cycles_metrics.value("cycles_budget_remaining")
        with pytest.raises(LookupError, match="0 series of cycles_budget_remaining fit"):
            cycles_metrics.value("cycles_budget_remaining", unit="CREDITS")

    def test_a_name_that_does_not_exist_is_answered_with_those_like_it(self, cycles_metrics: CyclesMetrics) -> None:
        with pytest.raises(InvalidParameterError, match=r"name='cycles_denials_total' .*cycles_client_denials_total"):
            cycles_metrics.value("cycles_denials_total")

    def test_a_label_that_does_not_exist_is_answered_with_those_that_do(self, cycles_metrics: CyclesMetrics) -> None:
        with pytest.raises(
            InvalidParameterError, match=re.escape("='colour' is not accepted: one of cycles_action_kind")
        ):
            cycles_metrics.value(DENIALS, colour="red")
        with pytest.raises(InvalidParameterError, match="='cycles' is not accepted: one of cycles_action_kind"):
            cycles_metrics.value(DENIALS, cycles="red")


class TestIsolation:
    async def test_each_begins_at_zero_and_the_program_counts_on(self, local_cycles: LocalCycles) -> None:
        own, readings = CollectorRegistry(), []
        async with hooks_of(local_cycles, recorder=Recorder(registry=own)) as hooks:
            for _ in range(2):
                with CyclesMetrics().watching() as metrics:
                    await Runner.run(agent(says(10)), "hello", hooks=hooks)
                readings.append(metrics.value("cycles_client_runs_total"))
            await Runner.run(agent(says(10)), "hello", hooks=hooks)
        assert readings == [1, 1]
        labels = {"gen_ai_agent_name": "clerk", "cycles_run_outcome": "completed"}
        assert own.get_sample_value("cycles_client_runs_total", labels) == 3

    async def test_a_program_without_metrics_is_counted_too(
        self, local_cycles: LocalCycles, cycles_metrics: CyclesMetrics
    ) -> None:
        async with hooks_of(local_cycles, recorder=Recorder(metrics="none")) as hooks:
            await Runner.run(agent(says(10)), "hello", hooks=hooks)
        assert cycles_metrics.value("cycles_client_runs_total") == 1
        assert cycles_metrics.value("cycles_client_decisions_total") == 1

    async def test_names_are_told_apart_anew_in_each_test(self, local_cycles: LocalCycles) -> None:
        async with hooks_of(local_cycles, recorder=Recorder(metrics="none", max_values=1)) as hooks:
            for name in ("one", "two"):
                with CyclesMetrics().watching() as metrics:
                    await Runner.run(agent(says(10), name=name), "hello", hooks=hooks)
                assert metrics.value("cycles_client_runs_total", agent=name) == 1

    @runs_pytest
    def test_metrics_of_several_processes_are_refused(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
        run = run_pytest(tmp_path, "def test_it(cycles_metrics): ...")
        assert "PROMETHEUS_MULTIPROC_DIR is set" in run.stdout, run.stdout + run.stderr


class TestText:
    @email_budget
    async def test_it_lists_what_was_counted(self, local_cycles: LocalCycles, cycles_metrics: CyclesMetrics) -> None:
        assert str(cycles_metrics) == "nothing was counted"
        await send_emails(local_cycles, 1)
        lines = str(cycles_metrics).splitlines()
        assert 'cycles_client_runs_total{gen_ai_agent_name="helper", cycles_run_outcome="completed"} 1' in lines
        assert not [line for line in lines if "_created" in line or "_bucket" in line]
