"""When the heart beats, on a clock that is driven: hours of a lease in milliseconds."""

from __future__ import annotations

import asyncio

import pytest
from runcycles import CyclesResponse

from cycles_otel.budget.heartbeat import Heartbeat
from tests.budget.desk import HTML, Diary, step
from tests.budget.driven import Leases, answer, drive, granted, refused


def heart(leases: Leases, lease: float = 60.0, diary: Diary | None = None) -> Heartbeat:
    return Heartbeat(step(), lease, leases.extend, diary or Diary())


class TestSchedule:
    def test_it_beats_at_half_of_the_lease_and_tops_it_up_to_one_ttl(self) -> None:
        async def live() -> Leases:
            leases = Leases()
            heart(leases)
            await asyncio.sleep(155)
            return leases

        leases = drive(live())
        assert leases.times == [30, 60, 90, 120, 150]
        assert leases.extended_by == [30] * 5

    def test_it_goes_by_what_the_server_says_that_remains(self) -> None:
        """Here the server grants less than was asked for."""

        async def live() -> Leases:
            leases = Leases()
            leases.answers += [answer(granted(20)), answer(granted(60))]
            heart(leases)
            await asyncio.sleep(65)
            return leases

        leases = drive(live())
        assert leases.times == [30, 40]
        assert leases.extended_by == [30, 50]

    def test_from_the_sixth_beat_on_the_lease_doubles_and_ten_beats_cover_25_minutes(self) -> None:
        async def live() -> Leases:
            leases = Leases()
            heart(leases)
            await asyncio.sleep(10_000)
            return leases

        leases = drive(live())
        assert leases.times == [30, 60, 90, 120, 150, 180, 240, 360, 600, 900, 1200]
        assert leases.extended_by == [30, 30, 30, 30, 30, 90, 180, 360, 360, 300, 300]
        assert leases.expires == pytest.approx(25 * 60)

    def test_a_lease_of_more_than_ten_minutes_is_kept_as_it_is(self) -> None:
        async def live() -> Leases:
            leases = Leases(3_600)
            heart(leases, 3_600)
            await asyncio.sleep(1_800 * 8.5)
            return leases

        assert drive(live()).extended_by == [1_800] * 8

    def test_it_goes_on_for_as_long_as_a_server_without_a_maximum_lets_it(self) -> None:
        async def live() -> Leases:
            leases = Leases(1, most=10_000)
            heart(leases, 1)
            await asyncio.sleep(600_000)
            return leases

        leases = drive(live())
        assert len(leases.beats) > 1_500
        assert leases.expires > 600_000

    def test_each_beat_has_a_key_of_its_own(self) -> None:
        async def live() -> Leases:
            leases = Leases()
            heart(leases)
            await asyncio.sleep(10_000)
            return leases

        keys = [body["idempotency_key"] for body in drive(live()).bodies]
        assert len(set(keys)) == len(keys) == 11

    def test_a_server_that_leaves_no_time_is_not_flooded(self) -> None:
        async def live() -> Leases:
            leases = Leases()
            leases.answers += [answer(granted(0))] * 10_000
            heart(leases, 1)
            await asyncio.sleep(10)
            return leases

        assert 10 < len(drive(live()).beats) <= 200


FAILURES = {
    "500": refused(500, "INTERNAL_ERROR"),
    "502 HTML": CyclesResponse.http_error(502, HTML),
    "200 HTML": CyclesResponse.success(200, {}),
    "429": refused(429, "LIMIT_EXCEEDED"),
    "429 with a Retry-After beyond the lease": refused(429, "LIMIT_EXCEEDED", **{"retry-after": "3600"}),
    "a broken connection": CyclesResponse.transport_error(ConnectionError("reset")),
}
passing = pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES.keys())


class TestFailuresThatMayPass:
    @passing
    def test_the_beat_is_asked_again_with_its_key_and_body_before_the_lease_runs_out(
        self, failure: CyclesResponse
    ) -> None:
        async def live() -> tuple[Leases, Diary]:
            leases, diary = Leases(), Diary()
            leases.answers += [answer(failure)] * 2
            heart(leases, diary=diary)
            await asyncio.sleep(59)
            return leases, diary

        leases, diary = drive(live())
        first, second, third, *_ = leases.bodies
        assert first == second == third
        assert [disposition for _, disposition in diary.said("heartbeat_failed")] == ["retry", "retry"]
        assert diary.said("heartbeat")[0][0] == 1
        assert leases.expires > 60

    @passing
    def test_it_is_asked_again_until_the_lease_has_run_out_and_then_no_more(self, failure: CyclesResponse) -> None:
        async def live() -> tuple[Leases, Diary]:
            leases, diary = Leases(), Diary()
            leases.answers += [answer(failure)] * 1_000
            heart(leases, diary=diary)
            await asyncio.sleep(10_000)
            return leases, diary

        leases, diary = drive(live())
        assert 5 <= len(leases.beats) <= 40
        assert 59 < leases.times[-1] <= 60
        assert [disposition for _, disposition in diary.said("heartbeat_failed")][-1] == "stop"

    def test_a_short_retry_after_is_kept_to(self) -> None:
        async def live() -> Leases:
            leases = Leases()
            leases.answers += [answer(refused(429, "LIMIT_EXCEEDED", **{"retry-after": "9"}))]
            heart(leases)
            await asyncio.sleep(45)
            return leases

        assert drive(live()).times == [30, 39]

    def test_the_beats_go_on_after_one_that_had_to_be_repeated(self) -> None:
        async def live() -> Leases:
            leases = Leases()
            leases.answers += [answer(FAILURES["500"])]
            heart(leases)
            await asyncio.sleep(65)
            return leases

        leases = drive(live())
        assert leases.times == [30, 31, 60.5]
        assert leases.bodies[0] == leases.bodies[1] != leases.bodies[2]


PERMANENT = [
    (404, "NOT_FOUND"),
    (410, "RESERVATION_EXPIRED"),
    (409, "RESERVATION_FINALIZED"),
    (409, "MAX_EXTENSIONS_EXCEEDED"),
    (401, "UNAUTHORIZED"),
    (400, "INVALID_REQUEST"),
]


class TestEnd:
    @pytest.mark.parametrize(("status", "code"), PERMANENT)
    def test_a_permanent_error_stops_it_for_good(self, status: int, code: str) -> None:
        async def live() -> tuple[Leases, Diary]:
            leases, diary = Leases(), Diary()
            leases.answers += [answer(refused(status, code))]
            heart(leases, diary=diary)
            await asyncio.sleep(10_000)
            return leases, diary

        leases, diary = drive(live())
        assert leases.times == [30]
        assert diary.said("heartbeat_failed") == [(code, "stop")]

    def test_a_heart_that_is_stopped_does_not_beat(self) -> None:
        async def live() -> Leases:
            leases = Leases()
            beating = heart(leases)
            await asyncio.sleep(29)
            beating.stop()
            await asyncio.sleep(10_000)
            return leases

        assert drive(live()).beats == []

    def test_stopped_while_a_beat_waits_to_be_repeated_it_sends_nothing_and_leaves_no_task(self) -> None:
        async def live() -> tuple[Leases, int]:
            leases = Leases()
            leases.answers += [answer(refused(429, "LIMIT_EXCEEDED", **{"retry-after": "9"}))]
            beating = heart(leases)
            await asyncio.sleep(31)
            beating.stop()
            await asyncio.sleep(0.1)
            left = len(asyncio.all_tasks())
            await asyncio.sleep(10_000)
            return leases, left

        leases, left = drive(live())
        assert leases.times == [30]
        assert left == 1

    def test_stopped_while_a_beat_is_on_its_way_it_does_not_go_on(self) -> None:
        async def live() -> Leases:
            leases = Leases()
            beating = heart(leases)

            async def answered_late(_: Leases) -> CyclesResponse:
                beating.stop()
                return granted(60)

            leases.answers += [answered_late]
            await asyncio.sleep(10_000)
            return leases

        assert drive(live()).times == [30]
