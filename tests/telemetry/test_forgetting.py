"""A series whose value is known no longer can disappear, and its place is free for another."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cycles_otel.telemetry import semconv
from tests.telemetry.witness import Witness

BUDGET_GAUGES = (*semconv.BUDGETS.values(), semconv.BUDGET_OVER_LIMIT, semconv.BUDGET_OBSERVED)
IN_SEVERAL_PROCESSES = """
from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector
from cycles_otel.telemetry import Recorder, semconv

registry, pages = CollectorRegistry(), CollectorRegistry()
MultiProcessCollector(pages)
recorder = Recorder(metrics="prometheus", registry=registry, max_values=1)
for scope in ("tenant:a", "tenant:b"):
    recorder.metrics.record(semconv.BUDGET_OBSERVED, 7, (scope, "", "TOKENS"))
    recorder.metrics.forget(semconv.BUDGET_OBSERVED, (scope, "", "TOKENS"))
for family in pages.collect():
    for sample in family.samples:
        if sample.name == semconv.BUDGET_OBSERVED.prometheus_name:
            print(sample.labels["cycles_scope_path"], sample.value)
"""


def balance(scope: str, remaining: int = 7, unit: str = "TOKENS", **more: Any) -> dict[str, Any]:
    return {"scope_path": scope, "remaining": {"unit": unit, "amount": remaining}, **more}


def see(witness: Witness, *balances: dict[str, Any]) -> None:
    witness.recorder.balances.seen({"balances": list(balances)})


def scopes(labels: Iterable[tuple[tuple[str, str], ...]]) -> set[str]:
    return {dict(each)["cycles_scope_path"] for each in labels}


class TestABudgetThatIsForgotten:
    def test_it_disappears_from_each_gauge_by_either_way_and_others_stay(self, witness: Witness) -> None:
        amounts = {name: {"unit": "TOKENS", "amount": 1} for name in semconv.BUDGETS}
        for scope in ("tenant:a", "tenant:b"):
            see(witness, {**balance(scope, is_over_limit=True), **amounts})
        witness.recorder.balances.forget("tenant:a", "TOKENS")
        for gauge in BUDGET_GAUGES:
            assert scopes(witness.series(gauge)) == scopes(witness.otel_series(gauge)) == {"tenant:b"}, gauge.name

    def test_its_budget_in_another_unit_stays(self, witness: Witness) -> None:
        see(witness, balance("tenant:a"), balance("tenant:a", unit="CREDITS"))
        witness.recorder.balances.forget("tenant:a", "TOKENS")
        for series in (witness.series(semconv.BUDGET_OBSERVED), witness.otel_series(semconv.BUDGET_OBSERVED)):
            assert [dict(labels)["cycles_unit"] for labels in series] == ["CREDITS"]

    def test_it_comes_back_when_it_is_seen_again(self, witness: Witness) -> None:
        see(witness, balance("tenant:a", 7))
        witness.recorder.balances.forget("tenant:a", "TOKENS")
        see(witness, balance("tenant:a", 5))
        for series in (witness.series(semconv.BUDGETS["remaining"]), witness.otel_series(semconv.BUDGETS["remaining"])):
            assert list(series.values()) == [5]

    def test_a_debt_that_it_had_before_is_unknown_when_it_comes_back(self, witness: Witness) -> None:
        see(witness, balance("tenant:a", debt={"unit": "TOKENS", "amount": 3}))
        witness.recorder.balances.forget("tenant:a", "TOKENS")
        see(witness, balance("tenant:a"))
        assert not witness.series(semconv.BUDGETS["debt"])

    def test_one_that_was_never_seen_is_passed_over(self, witness: Witness) -> None:
        see(witness, balance("tenant:a"))
        witness.recorder.balances.forget("tenant:b", "TOKENS")
        assert scopes(witness.series(semconv.BUDGET_OBSERVED)) == {"tenant:a"}


class TestThePlaceInTheGuard:
    def test_scopes_that_come_and_go_do_not_use_it_up(self) -> None:
        witness = Witness(max_values=2, max_series=2)
        for number in range(10):
            see(witness, balance(f"tenant:{number}"))
            assert scopes(witness.series(semconv.BUDGET_OBSERVED)) == {f"tenant:{number}"}
            witness.recorder.balances.forget(f"tenant:{number}", "TOKENS")
        assert witness.total(semconv.TELEMETRY_DROPPED) == 0
        witness.close()

    def test_a_value_that_another_series_has_keeps_its_place(self) -> None:
        witness = Witness(max_values=1)
        see(witness, balance("tenant:a"), balance("tenant:a", unit="CREDITS"))
        witness.recorder.balances.forget("tenant:a", "TOKENS")
        see(witness, balance("tenant:b"))
        assert scopes(witness.series(semconv.BUDGET_OBSERVED)) == {"tenant:a"}
        witness.close()

    def test_forgetting_a_series_that_was_folded_frees_nothing(self) -> None:
        witness = Witness(max_values=1)
        see(witness, balance("tenant:a"), balance("tenant:b"))
        witness.recorder.balances.forget("tenant:b", "TOKENS")
        see(witness, balance("tenant:c"))
        assert scopes(witness.series(semconv.BUDGET_OBSERVED)) == {"tenant:a"}
        witness.close()

    def test_a_label_set_that_found_no_place_leaves_its_values_none_either(self) -> None:
        witness = Witness(max_values=2, max_series=1)
        for agent in ("a", "b", "c"):
            witness.recorder.metrics.record(semconv.TOKENS, 1, ("input", agent, ""))
        witness.observer.run("run", "d").ended("completed", {}, leaked=0)
        assert witness.total(semconv.RUNS, gen_ai_agent_name="d") == 1
        witness.close()


class TestSeveralProcesses:
    def test_the_last_value_and_its_place_are_kept_where_prometheus_client_cannot_remove_it(
        self, tmp_path: Path
    ) -> None:
        environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
        command = [sys.executable, "-W", "error::UserWarning", "-c", IN_SEVERAL_PROCESSES]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=55, check=False)
        assert (done.stdout, done.stderr) == ("tenant:a 7.0\n", "")
