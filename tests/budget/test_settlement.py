"""Settlement: each reservation once, whatever is asked for at once, and whatever the server answers at first."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from runcycles import CommitOveragePolicy, Unit

from cycles_otel.budget.governor import Governor
from cycles_otel.budget.policy import Policy
from cycles_otel.local import Fault, LocalCycles
from tests.budget.conftest import MakeGovernor
from tests.budget.desk import ALLOCATED, HTML, REJECT, Diary, keys, outcome, reserve, sent, step, until, used


def files(folder: Path) -> list[Path]:
    return list(folder.rglob("*.json"))


JSON = {"content-type": "application/json"}
PASSING: dict[str, Callable[[str], Fault]] = {
    "connection closed": lambda operation: Fault(operation, drop="before", times=2),
    "lost reply": lambda operation: Fault(operation, drop="after", times=2),
    "500": lambda operation: Fault(operation, status=500, times=2),
    "500, though it was applied": lambda operation: Fault(operation, status=500, applied=True, times=2),
    "503 HTML": lambda operation: Fault(operation, status=503, body=HTML),
    "404 HTML of a proxy": lambda operation: Fault(operation, status=404, body=HTML),
    "200 HTML of a proxy": lambda operation: Fault(operation, status=200, body=HTML),
    "200 with an empty object": lambda operation: Fault(operation, status=200, body={}),
    "truncated JSON": lambda operation: Fault(operation, body='{"status": "COMM', headers=JSON),
    "a list": lambda operation: Fault(operation, body="[1]", headers=JSON),
    "401": lambda operation: Fault(operation, status=401),
    "401 with a list": lambda operation: Fault(operation, status=401, body="[1]", headers=JSON),
    "403 HTML": lambda operation: Fault(operation, status=403, body=HTML),
    "429": lambda operation: Fault(operation, status=429),
}
each_passing = pytest.mark.parametrize("passing", PASSING.values(), ids=PASSING.keys())


class TestCommit:
    async def test_it_charges_what_was_used_and_gives_back_the_rest(
        self, server: LocalCycles, governor: Governor, diary: Diary
    ) -> None:
        reservation = await reserve(governor)
        assert await outcome(reservation.commit(used(40))) == "committed"
        budget = server.ledger().budget("tenant:acme", "TOKENS")
        assert (budget.spent, budget.reserved, budget.remaining) == (40, 0, ALLOCATED - 40)
        (settled,) = diary.facts("settled")
        assert settled == {"actual": 40, "charged": 40, "released": 60, "source": "usage"}

    @each_passing
    async def test_a_failure_that_may_pass_is_tried_again_with_the_same_key_and_charged_once(
        self, server: LocalCycles, governor: Governor, passing: Callable[[str], Fault]
    ) -> None:
        reservation = await reserve(governor)
        server.inject(passing("commit"))
        assert await outcome(reservation.commit(used(40))) == "committed"
        commits = sent(server, "commit")
        assert len(commits) >= 2
        assert len(set(keys(commits))) == 1
        assert all(commit.body == commits[0].body for commit in commits)
        assert server.ledger().charged("TOKENS") == 40
        assert sent(server, "event") == []

    async def test_the_servers_retry_after_is_kept_to(self, server: LocalCycles, governor: Governor) -> None:
        reservation = await reserve(governor)
        server.inject(Fault("commit", status=429, headers={"Retry-After": "1"}))
        assert await outcome(reservation.commit(used(40))) == "committed"
        first, second = sent(server, "commit")
        assert second.received_at - first.received_at >= 1

    async def test_an_overage_within_the_policy_is_charged_by_the_commit(
        self, server: LocalCycles, governor: Governor
    ) -> None:
        reservation = await reserve(governor)
        assert await outcome(reservation.commit(used(140))) == "committed"
        assert server.ledger().charged("TOKENS") == 140
        assert sent(server, "event") == []

    async def test_a_refused_overage_is_charged_in_full_by_an_event_and_then_released(
        self, server: LocalCycles, make_governor: MakeGovernor, diary: Diary
    ) -> None:
        reservation = await reserve(make_governor(REJECT))
        assert await outcome(reservation.commit(used(140))) == "settled_by_event"
        ends = [request for request in server.requests if request.operation != "reserve"]
        assert [(request.operation, request.status) for request in ends] == [
            ("commit", 409),
            ("event", 201),
            ("release", 200),
        ]
        commit, event, release = keys(ends)
        assert commit == event != release
        ledger = server.ledger()
        assert ledger.charged("TOKENS") == 140
        assert ledger.active == ()
        (settled,) = diary.facts("settled")
        assert settled["charged"] == 140

    @pytest.mark.parametrize(("status", "code"), [(404, "NOT_FOUND"), (409, "BUDGET_FROZEN"), (422, "SOMETHING_NEW")])
    async def test_a_commit_that_is_refused_for_good_is_charged_by_an_event(
        self, server: LocalCycles, governor: Governor, status: int, code: str
    ) -> None:
        reservation = await reserve(governor)
        server.inject(Fault("commit", status=status, body={"error": code, "message": "no", "request_id": "r"}))
        assert await outcome(reservation.commit(used(40))) == "settled_by_event"
        assert server.ledger().charged("TOKENS") == 40
        assert server.ledger().active == ()

    async def test_what_is_finalized_is_not_charged_again(
        self, server: LocalCycles, governor: Governor, diary: Diary
    ) -> None:
        reservation = await reserve(governor)
        body = {"error": "RESERVATION_FINALIZED", "message": "it is over", "request_id": "r"}
        server.inject(Fault("commit", status=409, body=body, applied=True))
        assert await outcome(reservation.commit(used(40))) == "lost"
        assert server.ledger().charged("TOKENS") == 40
        assert sent(server, "event") == []
        assert diary.facts("settled")[0]["charged"] == 0


class TestWhatOnlyTheHoldCovers:
    """A spend of more than is left beside the hold that the refused commit leaves standing."""

    async def test_a_refused_overage_is_charged_in_full_after_the_hold_is_given_back(
        self, server: LocalCycles, make_governor: MakeGovernor, diary: Diary
    ) -> None:
        server.set_budget("tenant:acme", "TOKENS", allocated=150)
        reservation = await reserve(make_governor(REJECT))
        assert await outcome(reservation.commit(used(140))) == "settled_by_event"
        ends = [(request.operation, request.status) for request in server.requests if request.operation != "reserve"]
        assert ends == [("commit", 409), ("event", 409), ("release", 200), ("event", 201)]
        budget = server.ledger().budget("tenant:acme", "TOKENS")
        assert (budget.spent, budget.reserved, budget.remaining, budget.is_over_limit) == (140, 0, 10, False)
        assert diary.facts("settled")[0]["charged"] == 140

    async def test_beyond_the_overdraft_all_that_there_is_is_charged(
        self, server: LocalCycles, make_governor: MakeGovernor, diary: Diary
    ) -> None:
        server.set_budget("tenant:acme", "TOKENS", allocated=150, overdraft_limit=10)
        policy = Policy(overage_policy=CommitOveragePolicy.ALLOW_WITH_OVERDRAFT)
        reservation = await reserve(make_governor(policy))
        assert await outcome(reservation.commit(used(170))) == "settled_by_event"
        assert server.ledger().charged("TOKENS") == 150
        assert server.ledger().active == ()
        assert diary.facts("settled")[0]["charged"] == 150

    async def test_what_a_process_left_between_the_two_charges_is_charged_by_the_next(
        self, server: LocalCycles, make_governor: MakeGovernor, tmp_path: Path
    ) -> None:
        journal = {"journal_enabled": True, "journal_dir": str(tmp_path), "retry_flush_timeout": 0}
        server.set_budget("tenant:acme", "TOKENS", allocated=150)
        first = make_governor(REJECT, **journal)
        reservation = await reserve(first)
        with server.hold("release") as held:
            reservation.commit(used(140))
            await held.arrived()
            await first.aclose()
        await until(lambda: server.ledger().active == ())
        make_governor(REJECT, **journal)
        await until(lambda: server.ledger().charged("TOKENS") == 140)
        await until(lambda: files(tmp_path) == [])


class TestCutOff:
    async def test_a_release_that_is_cut_off_after_the_charge_does_not_make_that_a_queued_one(
        self, server: LocalCycles, make_governor: MakeGovernor, diary: Diary, tmp_path: Path
    ) -> None:
        journal = {"journal_enabled": True, "journal_dir": str(tmp_path), "retry_flush_timeout": 0}
        governor = make_governor(REJECT, **journal)
        reservation = await reserve(governor)
        with server.hold("release") as held:
            reservation.commit(used(140))
            await held.arrived()
            await governor.aclose()
            await until(lambda: bool(diary.outcomes))
        assert diary.outcomes == ["settled_by_event"]
        assert files(tmp_path) == []


class TestOrder:
    async def test_the_commits_of_a_run_are_sent_in_the_order_in_which_its_steps_ended(
        self, server: LocalCycles, governor: Governor
    ) -> None:
        admitted = [(await governor.reserve(step(run_id="run-1"))).admitted for _ in range(3)]
        of_another_run = (await governor.reserve(step(run_id="run-2"))).admitted
        with server.hold("commit") as held:
            settlements = [each.commit(used(10 + number)) for number, each in enumerate(admitted) if each is not None]
            await held.arrived()
            assert of_another_run is not None
            settlements.append(of_another_run.commit(used(99)))
            await until(lambda: len(sent(server, "commit")) == 2)
            await asyncio.sleep(0.1)  # Time enough for the others, if they did not wait for the first.
            assert [request.body["actual"]["amount"] for request in sent(server, "commit")] == [10, 99]
        for settlement in settlements:
            assert await outcome(settlement) == "committed"
        amounts = [request.body["actual"]["amount"] for request in sent(server, "commit")]
        assert [amount for amount in amounts if amount != 99] == [10, 11, 12]

    async def test_one_that_has_to_be_sent_again_does_not_keep_the_next(
        self, server: LocalCycles, make_governor: MakeGovernor
    ) -> None:
        governor = make_governor(retry_initial_delay=30)
        first, second = [(await governor.reserve(step(run_id="run-1"))).admitted for _ in range(2)]
        assert first is not None
        assert second is not None
        server.inject(Fault("commit", status=500))
        first.commit(used(10))
        assert await outcome(second.commit(used(11))) == "committed"


class TestChargesThatAreRefused:
    async def test_one_of_a_frozen_budget_is_sent_again_until_an_operator_has_mended_that(
        self, server: LocalCycles, governor: Governor
    ) -> None:
        reservation = await reserve(governor)
        body = {"error": "NOT_FOUND", "message": "gone", "request_id": "r"}
        server.inject(Fault("commit", status=404, body=body))
        server.set_budget("tenant:acme", "TOKENS", status="FROZEN")
        settlement = reservation.commit(used(40))
        await until(lambda: len(sent(server, "event")) >= 2)
        # The last one may be on its way still.
        assert {request.status for request in sent(server, "event")} - {None} == {409}
        server.set_budget("tenant:acme", "TOKENS", status="ACTIVE")
        assert await outcome(settlement) == "settled_by_event"
        assert len(set(keys(sent(server, "event")))) == 1
        assert server.ledger().charged("TOKENS") == 40

    @pytest.mark.parametrize(("limit", "charged", "debt"), [(500, 300, 200), (50, 100, 0)])
    async def test_one_that_expired_becomes_debt_within_the_overdraft_and_else_what_the_budget_covers(
        self, server: LocalCycles, make_governor: MakeGovernor, limit: int, charged: int, debt: int
    ) -> None:
        server.set_budget("tenant:acme", "TOKENS", allocated=100, overdraft_limit=limit)
        policy = Policy(overage_policy=CommitOveragePolicy.ALLOW_WITH_OVERDRAFT)
        reservation = await reserve(make_governor(policy), 60)
        server.inject(Fault("commit", status=410))
        server.set_budget("tenant:acme", "TOKENS", reserved=0)
        assert await outcome(reservation.commit(used(300))) == "settled_by_event"
        budget = server.ledger().budget("tenant:acme", "TOKENS")
        assert (budget.spent + budget.debt, budget.debt) == (charged, debt)

    async def test_one_without_any_budget_is_counted_and_not_kept(
        self, server: LocalCycles, make_governor: MakeGovernor, diary: Diary, tmp_path: Path
    ) -> None:
        governor = make_governor(journal_enabled=True, journal_dir=str(tmp_path))
        points = step(5, unit=Unit.RISK_POINTS)
        assert await outcome(governor.charge(points, used(5))) == "unbudgeted"
        assert diary.said("charged") == [("unbudgeted",)]
        assert files(tmp_path) == []

    async def test_one_that_is_refused_for_good_is_told_and_kept_for_whoever_mends_it(
        self, server: LocalCycles, make_governor: MakeGovernor, diary: Diary, tmp_path: Path
    ) -> None:
        governor = make_governor(journal_enabled=True, journal_dir=str(tmp_path))
        body = {"error": "INVALID_REQUEST", "message": "no", "request_id": "r"}
        server.inject(Fault("event", status=400, body=body))
        assert await outcome(governor.charge(step(), used(5))) == "lost"
        assert diary.said("charged") == [("lost",)]
        assert len(files(tmp_path)) == 1


class TestRelease:
    async def test_it_gives_everything_back(self, server: LocalCycles, governor: Governor, diary: Diary) -> None:
        reservation = await reserve(governor)
        assert await outcome(reservation.release("run_failed")) == "released"
        budget = server.ledger().budget("tenant:acme", "TOKENS")
        assert (budget.spent, budget.reserved) == (0, 0)
        assert server.ledger().released[0].release_reason == "run_failed"
        assert diary.facts("settled")[0] == {"released": 100}

    @each_passing
    async def test_a_failure_that_may_pass_is_tried_again_with_the_same_key(
        self, server: LocalCycles, governor: Governor, passing: Callable[[str], Fault]
    ) -> None:
        reservation = await reserve(governor)
        server.inject(passing("release"))
        assert await outcome(reservation.release("run_failed")) == "released"
        releases = sent(server, "release")
        assert len(releases) >= 2
        assert len(set(keys(releases))) == 1
        assert server.ledger().active == ()

    async def test_without_an_answer_for_a_whole_lease_it_is_left_to_expire(
        self, server: LocalCycles, make_governor: MakeGovernor
    ) -> None:
        reservation = await reserve(make_governor(Policy(ttl_ms=1_000)))
        server.inject(Fault("release", status=401, body="[1]", headers=JSON, times=None))
        assert await outcome(reservation.release("run_failed")) == "expired"


class TestOnce:
    async def test_of_many_threads_that_settle_at_once_only_one_does(
        self, server: LocalCycles, governor: Governor, diary: Diary
    ) -> None:
        reservations = [await reserve(governor, 10) for _ in range(20)]
        threads = 4
        ready, started = threading.Barrier(threads), []

        def settle(number: int) -> None:
            ready.wait()
            for reservation in reservations:
                started.append(reservation.commit(used(7)) if number % 2 else reservation.release("run_failed"))

        await asyncio.gather(*(asyncio.to_thread(settle, number) for number in range(threads)))
        outcomes = [await outcome(settlement) for settlement in started if settlement is not None]
        assert len(outcomes) == len(diary.named("settled")) == 20
        assert len(sent(server, "commit") + sent(server, "release")) == 20
        ledger = server.ledger()
        assert ledger.charged("TOKENS") == 7 * outcomes.count("committed")
        assert ledger.active == ()

    async def test_a_second_settlement_is_none(self, server: LocalCycles, governor: Governor) -> None:
        reservation = await reserve(governor)
        assert reservation.is_open
        first = reservation.commit(used(40))
        assert not reservation.is_open
        assert reservation.commit(used(50)) is None
        assert reservation.release("run_failed") is None
        await outcome(first)
        assert server.ledger().charged("TOKENS") == 40


class TestCharge:
    @each_passing
    async def test_a_step_without_a_reservation_is_charged_once_by_an_event(
        self, server: LocalCycles, governor: Governor, passing: Callable[[str], Fault]
    ) -> None:
        server.inject(passing("event"))
        assert await outcome(governor.charge(step(), used(30))) == "settled_by_event"
        assert len(sent(server, "event")) >= 2
        assert [event.charged for event in server.ledger().events] == [30]

    async def test_it_never_asks_for_a_refusal(self, server: LocalCycles, make_governor: MakeGovernor) -> None:
        governor = make_governor(REJECT)
        assert await outcome(governor.charge(step(), used(ALLOCATED + 5))) == "settled_by_event"
        assert server.ledger().charged("TOKENS") == ALLOCATED


class TestRecord:
    async def test_it_is_an_event_of_the_amount_of_the_step(self, server: LocalCycles, governor: Governor) -> None:
        assert await outcome(governor.record(step(0))) == "recorded"
        assert [event.actual for event in server.ledger().events] == [0]

    async def test_a_refusal_stops_nothing(self, server: LocalCycles, governor: Governor) -> None:
        server.inject(Fault("event", status=400))
        assert await outcome(governor.record(step(0))) == "refused"


class TestBacklog:
    async def test_it_is_told_until_nothing_is_pending(
        self, server: LocalCycles, governor: Governor, diary: Diary
    ) -> None:
        with server.hold("commit") as held:
            settlements = [(await reserve(governor)).commit(used(1)) for _ in range(2)]
            await held.arrived(2)
            assert len(governor.settlement.pending()) == 2
        for settlement in settlements:
            await outcome(settlement)
        await until(lambda: len(diary.named("backlog")) == 2)
        (first, age), last = diary.said("backlog")
        assert first == 1
        assert age > 0
        assert last == (0, None)
