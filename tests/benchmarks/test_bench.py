"""The benchmark still measures what it says; how much is not looked at."""

from __future__ import annotations

import pytest

from benchmarks.__main__ import EXTENTS, measured
from benchmarks.comparison import Rounds, goals
from benchmarks.figures import Spread, ratio
from benchmarks.variants import ALL_ON, ALONE, AT_ONCE, BARE, OURS, PEER, VARIANTS


@pytest.mark.timeout(300)
def test_it_measures_every_part_and_leaves_out_what_is_not_there() -> None:
    page = measured(EXTENTS["quick"], [name for name in (*VARIANTS, *ALONE) if name not in (BARE, OURS)])
    for part in ("## Goals", "## One run at a time", "## Many runs at a time", "## Growth", "## The hot path"):
        assert part in page
    assert "| SDK bare |" in page
    assert "| cycles_otel |" in page
    assert "| peer |" not in page
    assert "cycles_otel budget" in page


class TestFigures:
    def test_a_ratio_is_taken_round_by_round(self) -> None:
        assert ratio([3.0, 30.0], [2.0, 20.0], [1.0, 10.0]) == Spread(2.0, 2.0, 2.0)

    def test_a_spread_is_the_median_and_the_middle_half(self) -> None:
        assert Spread.of([1.0, 2.0, 3.0, 4.0, 100.0]) == Spread(3.0, 2.0, 4.0)
        assert Spread.of([0.0015]).text(1000) == "1.50 (1.50-1.50)"


class TestGoals:
    def rounds(self, round_trips: float, cpu: float, rate: float) -> Rounds:
        latency = {delay: [0.001 + round_trips * delay / 1000] for delay in (0, 5, 20)}
        return Rounds(latency, {0: [cpu]}, {16: [rate]})

    def test_they_hold_where_half_the_replies_are_waited_for_and_fail_where_all_are(self) -> None:
        bare, peer = self.rounds(0, 0.001, 1000.0), self.rounds(6, 0.003, 100.0)
        said = {BARE: bare, PEER: peer, OURS: self.rounds(6, 0.005, 100.0)}
        said |= {AT_ONCE: self.rounds(3, 0.002, 160.0), ALL_ON: self.rounds(3, 0.0029, 0.0)}
        held = {goal.what: goal.holds for goal in goals(said)}
        assert {
            what: holds
            for what, holds in held.items()
            if what.startswith("cycles_otel, no wait: ") and "alarms" not in what
        } == {
            "cycles_otel, no wait: replies that a run of 3 steps waits for, by its latency, rounded: 3": True,
            "cycles_otel, no wait: latency added to a run at 5 ms ≤ 0.55 × the peer's": True,
            "cycles_otel, no wait: latency added to a run at 20 ms ≤ 0.55 × the peer's": True,
        }
        assert not any(
            holds for what, holds in held.items() if what.startswith("cycles_otel: ") and "alarms" not in what
        )
        assert held["no wait: CPU added to a step with all telemetry on ≤ the peer's with none"]
        assert held["no wait: throughput of 16 runs at once at 5 ms ≥ 1.5 × the peer's"]
