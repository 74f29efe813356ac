"""The heartbeat at a real server: a step that lasts longer than its lease."""

from __future__ import annotations

import pytest

from cycles_otel.budget.policy import Policy
from cycles_otel.local import Fault, LocalCycles, ManualClock
from tests.budget.conftest import MakeGovernor
from tests.budget.desk import BUDGETS, HTML, Diary, keys, outcome, reserve, sent, until, used

SHORT = Policy(ttl_ms=1_000)
PAST_ALL_GRACE = 120_000

TRANSIENT = {
    "500": Fault("extend", status=500, times=2),
    "429": Fault("extend", status=429, headers={"Retry-After": "60"}),
    "HTML": Fault("extend", status=502, body=HTML),
    "refused": Fault("extend", drop="before"),
    "lost reply": Fault("extend", drop="after"),
}


class TestLongStep:
    async def test_it_keeps_its_reservation_and_is_charged_on_it(
        self, server: LocalCycles, make_governor: MakeGovernor
    ) -> None:
        reservation = await reserve(make_governor(SHORT))
        await until(lambda: len([beat for beat in sent(server, "extend") if beat.status == 200]) >= 4)
        assert await outcome(reservation.commit(used(40))) == "committed"
        beats = sent(server, "extend")
        assert len(set(keys(beats))) == len(beats)
        assert all(0 < beat.body["extend_by_ms"] <= 600 for beat in beats)
        assert server.ledger().charged("TOKENS") == 40

    @pytest.mark.parametrize("fault", TRANSIENT.values(), ids=TRANSIENT.keys())
    async def test_it_survives_a_failure_that_passes(
        self, server: LocalCycles, make_governor: MakeGovernor, fault: Fault
    ) -> None:
        server.inject(fault)
        reservation = await reserve(make_governor(SHORT))
        await until(lambda: len(set(keys(sent(server, "extend")))) >= 3)
        assert await outcome(reservation.commit(used(40))) == "committed"
        beats = sent(server, "extend")
        assert len(keys(beats)) > len(set(keys(beats)))
        assert beats[0].body == beats[1].body
        (committed,) = server.ledger().committed
        assert committed.extensions == len({key for beat, key in zip(beats, keys(beats), strict=True) if beat.applied})

    @pytest.mark.parametrize("settle", ["commit", "release"])
    async def test_the_heart_stops_at_the_settlement(
        self, server: LocalCycles, make_governor: MakeGovernor, settle: str
    ) -> None:
        governor = make_governor(SHORT)
        reservation, witness = await reserve(governor), await reserve(governor)
        await until(lambda: bool(sent(server, "extend")))
        await outcome(reservation.commit(used(1)) if settle == "commit" else reservation.release("run_failed"))
        at_most = self.beats_of(server, reservation.id)
        # Another reservation's heart shows that the time has passed in which this one would have beaten.
        enough = self.beats_of(server, witness.id) + 3
        await until(lambda: self.beats_of(server, witness.id) >= enough)
        assert self.beats_of(server, reservation.id) == at_most
        await outcome(witness.release("run_failed"))

    def beats_of(self, server: LocalCycles, reservation_id: str) -> int:
        return sum(reservation_id in beat.path for beat in sent(server, "extend"))


class TestOutlived:
    @pytest.mark.parametrize("is_swept", [True, False], ids=["swept", "not yet swept"])
    async def test_a_step_that_outlives_its_reservation_is_charged_once_by_an_event_with_the_commits_key(
        self, make_governor: MakeGovernor, diary: Diary, is_swept: bool
    ) -> None:
        clock = ManualClock()
        with LocalCycles(budgets=BUDGETS, clock=clock) as late:
            governor = make_governor(base_url=late.url, api_key=late.api_key)
            reservation = await reserve(governor)
            clock.advance(PAST_ALL_GRACE)
            if is_swept:
                assert late.sweep() == 1
            assert await outcome(reservation.commit(used(140))) == "settled_by_event"
            commit, event = sent(late, "commit"), sent(late, "event")
            assert [request.status for request in commit + event] == [410, 201]
            assert keys(commit) == keys(event)
            assert late.ledger().charged("TOKENS") == 140
            assert sent(late, "release") == []
        (settled,) = diary.facts("settled")
        assert settled == {"actual": 140, "charged": 140, "released": 100, "source": "usage"}

    async def test_its_event_is_repeated_with_the_same_key_until_the_server_answers(
        self, make_governor: MakeGovernor
    ) -> None:
        clock = ManualClock()
        with LocalCycles(budgets=BUDGETS, clock=clock) as late:
            reservation = await reserve(make_governor(base_url=late.url, api_key=late.api_key))
            clock.advance(PAST_ALL_GRACE)
            late.sweep()
            late.inject(Fault("event", drop="after"))
            late.inject(Fault("event", status=503))
            assert await outcome(reservation.commit(used(140))) == "settled_by_event"
            assert len(set(keys(sent(late, "event")))) == 1
            assert len(sent(late, "event")) == 3
            assert [event.charged for event in late.ledger().events] == [140]
