"""Free text cannot make the number of series grow without bound."""

from __future__ import annotations

from cycles_otel.telemetry import semconv
from tests.telemetry.witness import Witness


def run_of(witness: Witness, agent: str) -> None:
    witness.observer.run("run", agent).ended("completed", {}, leaked=0)


class TestValuesOfALabel:
    def test_ten_thousand_agents_make_a_hundred_series_and_one_for_all_others(self) -> None:
        witness = Witness(metrics="prometheus")
        for number in range(10_000):
            run_of(witness, f"agent-{number}")
        assert len(witness.series(semconv.RUNS)) == 101
        assert witness.total(semconv.RUNS) == 10_000
        assert witness.total(semconv.RUNS, gen_ai_agent_name=semconv.OTHER) == 9_900
        witness.close()

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
