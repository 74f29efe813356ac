"""Free text cannot make the number of series grow without bound."""

from __future__ import annotations

import asyncio

import pytest
from runcycles import AsyncCyclesClient

from cycles_otel.local import LocalCycles
from cycles_otel.telemetry import Recorder, TelemetrySetupError, semconv, setup_telemetry
from tests.telemetry import requests
from tests.telemetry.witness import Witness


def run_of(witness: Witness, agent: str) -> None:
    witness.observer.run("run", agent).ended("completed", {}, leaked=0)


class TestValuesOfALabel:
    def test_ten_thousand_agents_make_a_hundred_series_and_one_for_all_others(self) -> None:
        witness = Witness()
        for number in range(10_000):
            run_of(witness, f"agent-{number}")
        assert len(witness.series(semconv.RUNS)) == 101
        assert witness.total(semconv.RUNS) == 10_000
        assert witness.otel_series(semconv.RUNS) == witness.series(semconv.RUNS)
        assert witness.total(semconv.RUNS, gen_ai_agent_name=semconv.OTHER) == 9_900
        witness.close()

    async def test_what_many_agents_spent_is_what_the_ledger_charged(
        self, server: LocalCycles, client: AsyncCyclesClient, witness: Witness
    ) -> None:
        names = [f"agent-{number}" for number in range(300)]
        await asyncio.gather(*(client.create_event(requests.event(7, agent=name)) for name in names))
        committed = semconv.AMOUNT_COMMITTED_TOTAL
        assert len(witness.series(committed)) == 101
        assert witness.total(committed) == server.ledger().charged("USD_MICROCENTS") == 2_100
        assert witness.total(committed, gen_ai_agent_name=semconv.OTHER) == 1_400
        assert witness.otel_series(committed) == witness.series(committed)

    def test_each_folded_measurement_is_counted(self) -> None:
        witness = Witness(max_values=2)
        for agent in ("a", "b", "c", "c", "a"):
            run_of(witness, agent)
        assert witness.total(semconv.TELEMETRY_DROPPED, cycles_telemetry_cause="cardinality") == 2
        assert witness.total(semconv.RUNS, gen_ai_agent_name="a") == 2
        witness.close()

    def test_a_value_is_folded_on_every_metric_alike(self) -> None:
        witness = Witness(max_values=1)
        run_of(witness, "first")
        witness.recorder.metrics.record(semconv.TOKENS, 5, ("input", "second", "m"))
        assert witness.total(semconv.TOKENS, gen_ai_agent_name=semconv.OTHER) == 5
        witness.close()

    def test_values_of_a_closed_set_are_never_folded(self) -> None:
        witness = Witness(max_values=1)
        for kind in ("input", "output", "cached"):
            witness.recorder.metrics.record(semconv.TOKENS, 1, (kind, "a", "m"))
        assert len(witness.series(semconv.TOKENS)) == 3
        witness.close()

    def test_the_balance_of_a_folded_scope_is_left_out_rather_than_mixed_with_others(self) -> None:
        witness = Witness(max_values=2)
        for name in ("a", "b", "c", "d"):
            remaining = {"unit": "TOKENS", "amount": 7}
            witness.recorder.balances.seen({"balances": [{"scope_path": f"agent:{name}", "remaining": remaining}]})
        assert len(witness.series(semconv.BUDGETS["remaining"])) == 2
        assert witness.total(semconv.TELEMETRY_DROPPED) > 0
        witness.close()


class TestBound:
    def test_it_is_what_the_environment_says(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CYCLES_OTEL_MAX_VALUES", "3")
        assert agents_told_apart(Witness()) == 3

    def test_an_argument_comes_before_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CYCLES_OTEL_MAX_VALUES", "3")
        witness = Witness()
        setup_telemetry(recorder=witness.recorder, prometheus_port=None, max_values=5).shutdown()
        assert agents_told_apart(witness) == 5

    @pytest.mark.parametrize("bound", [0, -1, 2.5, "100", True])
    def test_what_is_no_bound_is_an_error(self, bound: int) -> None:
        with pytest.raises(TelemetrySetupError, match="max_values="):
            Recorder(max_values=bound)

    @pytest.mark.parametrize("bound", ["0", "-1", "many"])
    def test_so_it_is_in_the_environment(self, monkeypatch: pytest.MonkeyPatch, bound: str) -> None:
        monkeypatch.setenv("CYCLES_OTEL_MAX_VALUES", bound)
        with pytest.raises(TelemetrySetupError, match=f"CYCLES_OTEL_MAX_VALUES='{bound}'"):
            Recorder()


def agents_told_apart(witness: Witness) -> int:
    for number in range(10):
        run_of(witness, f"agent-{number}")
    witness.close()
    return len(witness.series(semconv.RUNS)) - 1


class TestSeriesOfAMetric:
    def test_past_the_bound_new_label_sets_share_one_series(self) -> None:
        witness = Witness(max_series=10)
        for agent in range(5):
            for model in range(5):
                witness.recorder.metrics.record(semconv.TOKENS, 1, ("input", f"a{agent}", f"m{model}"))
        assert len(witness.series(semconv.TOKENS)) == 11
        assert witness.total(semconv.TOKENS) == 25
        others = {"gen_ai_agent_name": semconv.OTHER, "gen_ai_request_model": semconv.OTHER}
        assert witness.total(semconv.TOKENS, **others) == 15
        witness.close()
