"""When a target is polled, told from a time that is given."""

from __future__ import annotations

import random

import pytest

from cycles_otel.exporter.pace import Pace
from cycles_otel.exporter.schedule import FIRST_POLLS_WITHIN, Schedule

PACE = Pace(interval=30.0, jitter=0.0, max_backoff=120.0)
BEGUN = 1_000.0


class Most(random.Random):
    """Draws the upper bound."""

    def uniform(self, a: float, b: float) -> float:
        return b


def schedule(phase: float = 0.0, pace: Pace = PACE, drawn: random.Random | None = None) -> Schedule:
    return Schedule(pace, phase, BEGUN, drawn)


class TestPollsThatWork:
    def test_they_stand_on_a_grid_however_long_each_takes(self) -> None:
        steady = schedule()
        assert steady.after_success(BEGUN + 0.1) == BEGUN + 30
        assert steady.after_success(BEGUN + 30 + 14.9) == BEGUN + 60

    def test_one_that_took_more_than_half_an_interval_is_not_followed_at_once(self) -> None:
        assert schedule().after_success(BEGUN + 29.0) == BEGUN + 60

    def test_the_phases_of_targets_are_spread_over_the_interval(self) -> None:
        assert [schedule(phase).after_success(BEGUN) - BEGUN for phase in (0.5, 0.75)] == [15.0, 22.5]

    def test_the_first_ones_come_soon_and_not_all_at_once(self) -> None:
        assert [schedule(phase).first - BEGUN for phase in (0.0, 0.5)] == [0.0, FIRST_POLLS_WITHIN / 2]

    def test_each_may_be_late_by_the_jitter(self) -> None:
        jittery = schedule(pace=Pace(interval=30.0, jitter=0.5), drawn=random.Random(7))
        late = [jittery.after_success(BEGUN) - BEGUN - 30 for _ in range(200)]
        assert 0 <= min(late) < 1
        assert 14 < max(late) <= 15


class TestPollsThatFail:
    def test_the_ceiling_of_the_wait_doubles_up_to_the_cap(self) -> None:
        failing = schedule(drawn=Most())
        waits = [failing.after_failure(BEGUN, refused=False, retry_after=None) - BEGUN for _ in range(9)]
        assert waits == [2, 4, 8, 16, 32, 64, 120, 120, 120]

    def test_the_wait_is_drawn_from_nothing_to_the_ceiling(self) -> None:
        waits = []
        for seed in range(300):
            failing = schedule(drawn=random.Random(seed))
            for _ in range(6):
                due = failing.after_failure(BEGUN, refused=False, retry_after=None)
            waits.append(due - BEGUN)
        assert min(waits) < 3
        assert 61 < max(waits) <= 64

    def test_a_refusal_is_not_repeated_in_haste(self) -> None:
        failing = schedule(drawn=Most())
        assert failing.after_failure(BEGUN, refused=True, retry_after=None) == BEGUN + 60

    def test_the_cap_is_never_below_the_interval(self) -> None:
        failing = schedule(pace=Pace(interval=30.0, max_backoff=1.0), drawn=Most())
        waits = [failing.after_failure(BEGUN, refused=False, retry_after=None) - BEGUN for _ in range(9)]
        assert max(waits) == 30

    def test_a_time_that_the_server_asks_for_is_kept_with_the_wait_on_top(self) -> None:
        failing = schedule(drawn=Most())
        assert failing.after_failure(BEGUN, refused=False, retry_after=100.0) == BEGUN + 102

    def test_one_success_resets_it(self) -> None:
        failing = schedule(drawn=Most())
        for _ in range(5):
            failing.after_failure(BEGUN, refused=False, retry_after=None)
        failing.after_success(BEGUN)
        assert failing.after_failure(BEGUN, refused=False, retry_after=None) == BEGUN + 2

    @pytest.mark.parametrize("failures", [40, 5_000])
    def test_a_long_outage_is_no_trouble(self, failures: int) -> None:
        failing = schedule(drawn=Most())
        for _ in range(failures):
            due = failing.after_failure(BEGUN, refused=False, retry_after=None)
        assert due == BEGUN + 120
