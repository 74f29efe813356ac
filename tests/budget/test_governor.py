"""The governor: reserve, decide, what has no budget, shadows, cancellation and the end."""

from __future__ import annotations

import asyncio
from concurrent.futures import wait as wait_for

import pytest
from runcycles import Unit

from cycles_otel.budget.decision import Ruling
from cycles_otel.budget.governor import Governor
from cycles_otel.budget.policy import Policy
from cycles_otel.local import Fault, LocalCycles
from tests.budget.conftest import MakeGovernor
from tests.budget.desk import ALLOCATED, HTML, Diary, keys, outcome, reserve, sent, step, until, used


def wait_for_answers(governor: Governor) -> None:
    """Until all reserves are answered, while the event loop of the test, and so whoever asked, stands still."""
    wait_for(governor._asking.all(), timeout=20)


class TestReserve:
    async def test_it_holds_the_estimate_under_the_policys_terms(
        self, server: LocalCycles, make_governor: MakeGovernor
    ) -> None:
        reservation = await reserve(make_governor(Policy(ttl_ms=30_000)), 70)
        (held,) = server.ledger().active
        assert (held.id, held.reserved, held.overage_policy) == (reservation.id, 70, "ALLOW_IF_AVAILABLE")
        assert held.expires_ms - held.created_ms == 30_000
        assert reservation.step.amount == 70
        assert 29 < reservation.lease <= 30
        await outcome(reservation.release("requested"))

    @pytest.mark.parametrize(
        "fault",
        [
            Fault("reserve", drop="after"),
            Fault("reserve", status=500, applied=True),
            Fault("reserve", status=502, body=HTML, applied=True),
            Fault("reserve", status=200, body=HTML, applied=True),
        ],
        ids=["lost", "500", "502 HTML", "200 HTML"],
    )
    async def test_a_lost_reply_is_asked_for_again_with_the_same_key_and_leaves_no_orphan(
        self, server: LocalCycles, governor: Governor, diary: Diary, fault: Fault
    ) -> None:
        server.inject(fault)
        reservation = await reserve(governor)
        first, second = sent(server, "reserve")
        assert first.body == second.body
        assert [held.id for held in server.ledger().active] == [reservation.id]
        assert diary.said("calling") == [("reserve", 0), ("reserve", 1)]
        await outcome(reservation.release("requested"))
        assert server.ledger().active == ()

    async def test_a_reply_that_does_not_come_in_time_is_asked_for_again(
        self, server: LocalCycles, make_governor: MakeGovernor
    ) -> None:
        with server.hold("reserve", applied=True) as held:
            asked = asyncio.ensure_future(reserve(make_governor(read_timeout=0.3)))
            await held.arrived()
            held.release()
            reservation = await asked
        assert [active.id for active in server.ledger().active] == [reservation.id]
        assert len(set(keys(sent(server, "reserve")))) == 1
        await outcome(reservation.release("requested"))

    @pytest.mark.parametrize("retry_after", ["0", "1"])
    async def test_a_short_retry_after_is_waited_for(
        self, server: LocalCycles, governor: Governor, retry_after: str
    ) -> None:
        server.inject(Fault("reserve", status=429, headers={"Retry-After": retry_after}))
        await outcome((await reserve(governor)).release("requested"))
        first, second = sent(server, "reserve")
        assert second.received_at - first.received_at >= int(retry_after)

    @pytest.mark.parametrize("headers", [{"Retry-After": "2"}, {}], ids=["long", "none"])
    async def test_with_a_long_one_or_none_the_step_does_not_wait(
        self, server: LocalCycles, governor: Governor, headers: dict[str, str]
    ) -> None:
        server.inject(Fault("reserve", status=429, headers=headers))
        admission = await governor.reserve(step())
        assert admission.verdict.ruling is Ruling.GO_UNENFORCED
        assert len(sent(server, "reserve")) == 1

    async def test_a_server_that_cannot_be_reached_is_not_asked_twice(
        self, make_governor: MakeGovernor, diary: Diary
    ) -> None:
        governor = make_governor(Policy(fail_open=False), base_url="http://127.0.0.1:1")
        admission = await governor.reserve(step())
        assert (admission.verdict.ruling, admission.admitted) == (Ruling.UNAVAILABLE, None)
        assert diary.said("calling") == [("reserve", 0)]
        assert diary.said("failed") == [("connection_error",)]

    async def test_it_works_from_one_event_loop_after_the_other(self, server: LocalCycles, governor: Governor) -> None:
        def one_after_the_other() -> None:
            for _ in range(3):
                asyncio.run(asyncio.wait_for(self.settle_one(governor), 10))

        await asyncio.gather(*(asyncio.to_thread(one_after_the_other) for _ in range(2)))
        assert server.ledger().charged("TOKENS") == 6
        assert server.ledger().active == ()

    async def settle_one(self, governor: Governor) -> None:
        await outcome((await reserve(governor, 10)).commit(used(1)))


class TestCancelledReserve:
    @pytest.mark.parametrize(("tool", "reason"), [("", "run_cancelled"), ("search", "tool_not_run")])
    @pytest.mark.parametrize("is_applied", [True, False], ids=["granted", "not yet granted"])
    async def test_what_the_server_grants_is_given_back(
        self, server: LocalCycles, governor: Governor, is_applied: bool, tool: str, reason: str
    ) -> None:
        with server.hold("reserve", applied=is_applied) as held:
            asked = asyncio.ensure_future(governor.reserve(step(tool=tool)))
            await held.arrived()
            asked.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asked
        await until(lambda: bool(server.ledger().released))
        (released,) = server.ledger().released
        assert released.release_reason == reason
        assert server.ledger().active == ()

    async def test_one_that_is_cancelled_as_the_grant_comes_in_is_given_back_too(
        self, server: LocalCycles, governor: Governor
    ) -> None:
        with server.hold("reserve") as held:
            asked = asyncio.ensure_future(governor.reserve(step()))
            await held.arrived()
        wait_for_answers(governor)
        asked.cancel()
        await asyncio.wait([asked])
        assert asked.cancelled()
        await until(lambda: len(server.ledger().released) == 1)

    async def test_a_denial_leaves_nothing_to_give_back(self, server: LocalCycles, governor: Governor) -> None:
        with server.hold("reserve") as held:
            asked = asyncio.ensure_future(governor.reserve(step(ALLOCATED + 1)))
            await held.arrived()
            asked.cancel()
        await governor.aclose()
        assert [request.operation for request in server.requests] == ["reserve"]


class TestDecide:
    async def test_it_asks_and_holds_nothing(self, server: LocalCycles, governor: Governor) -> None:
        assert (await governor.decide(step())).ruling is Ruling.GO
        denied = await governor.decide(step(ALLOCATED + 1))
        assert (denied.ruling, denied.reason) == (Ruling.DENIED, "BUDGET_EXCEEDED")
        assert server.ledger().reservations == ()

    async def test_without_an_answer_the_admission_is_counted_as_unguarded(
        self, server: LocalCycles, governor: Governor, diary: Diary
    ) -> None:
        server.inject(Fault("decide", status=503, times=None))
        asked = step()
        assert (await governor.decide(asked)).ruling is Ruling.GO_UNENFORCED
        assert diary.said("unguarded") == [(asked.action, asked.origin, "INTERNAL_ERROR")]
        assert len(sent(server, "decide")) == 1


class TestUnbudgeted:
    async def test_a_step_in_a_unit_without_a_budget_runs_only_where_the_policy_allows_it(
        self, make_governor: MakeGovernor, diary: Diary
    ) -> None:
        strict, lenient = make_governor(), make_governor(Policy(unbudgeted="allow"))
        risky = step(unit=Unit.RISK_POINTS)
        assert (await strict.reserve(risky)).verdict.ruling is Ruling.MISCONFIGURED
        admission = await lenient.reserve(risky)
        assert (admission.verdict.ruling, admission.admitted) == (Ruling.GO_UNBUDGETED, None)
        assert (await lenient.decide(risky)).ruling is Ruling.GO_UNBUDGETED
        assert [name for name, _ in diary.named("failed", "unbudgeted")] == ["failed", "unbudgeted"]

    async def test_a_scope_without_any_budget_is_a_denial_otherwise(self, make_governor: MakeGovernor) -> None:
        with LocalCycles(tenants=["acme"]) as bare:
            where = {"base_url": bare.url, "api_key": bare.api_key_for("acme")}
            strict, lenient = make_governor(**where), make_governor(Policy(unbudgeted="allow"), **where)
            denied = (await strict.reserve(step())).verdict
            assert (denied.ruling, denied.reason) == (Ruling.DENIED, "BUDGET_NOT_FOUND")
            assert (await lenient.reserve(step())).verdict.ruling is Ruling.GO_UNBUDGETED


class TestShadow:
    async def test_it_asks_and_persists_nothing(
        self, server: LocalCycles, make_governor: MakeGovernor, diary: Diary
    ) -> None:
        shadow = make_governor(Policy(dry_run=True))
        before = server.ledger()
        allowed, denied = await shadow.reserve(step()), await shadow.reserve(step(ALLOCATED + 1))
        assert (allowed.verdict.ruling, allowed.admitted) == (Ruling.GO, None)
        assert (denied.verdict.ruling, denied.admitted) == (Ruling.GO_SHADOWED, None)
        assert shadow.charge(step(), used(5)) is None
        assert shadow.record(step()) is None
        await shadow.aclose()
        assert server.ledger() == before
        assert [request.body["dry_run"] for request in server.requests] == [True, True]
        assert diary.said("would_deny") == [("BUDGET_EXCEEDED",)]
        assert diary.facts("shadowed") == [{"capped": None}]

    async def test_it_stops_nothing_whatever_the_server_says(
        self, server: LocalCycles, make_governor: MakeGovernor
    ) -> None:
        shadow = make_governor(Policy(dry_run=True, fail_open=False))
        for status in (400, 401, 500):
            server.inject(Fault("reserve", status=status, times=2 if status == 500 else 1))
            assert (await shadow.reserve(step())).verdict.ruling is Ruling.GO_UNENFORCED


class TestClose:
    async def test_it_waits_for_what_is_pending(self, server: LocalCycles, make_governor: MakeGovernor) -> None:
        governor = make_governor(retry_flush_timeout=30)
        reservation = await reserve(governor)
        with server.hold("commit") as held:
            reservation.commit(used(40))
            await held.arrived()
            closing = asyncio.ensure_future(governor.aclose())
            await asyncio.sleep(0)
            assert not closing.done()
        await closing
        assert server.ledger().charged("TOKENS") == 40

    async def test_it_waits_for_a_reserve_in_flight_and_for_what_gives_it_back(
        self, server: LocalCycles, make_governor: MakeGovernor
    ) -> None:
        governor = make_governor(retry_flush_timeout=30)
        with server.hold("reserve", applied=True) as held:
            asked = asyncio.ensure_future(governor.reserve(step()))
            await held.arrived()
            asked.cancel()
            closing = asyncio.ensure_future(governor.aclose())
            await asyncio.sleep(0)
            assert not closing.done()
        await closing
        assert len(server.ledger().released) == 1

    async def test_it_waits_for_a_decision_in_flight(self, server: LocalCycles, make_governor: MakeGovernor) -> None:
        governor = make_governor(retry_flush_timeout=30)
        with server.hold("decide") as held:
            asked = asyncio.ensure_future(governor.decide(step()))
            await held.arrived()
            closing = asyncio.ensure_future(governor.aclose())
            await asyncio.sleep(0)
        await closing
        assert (await asked).ruling is Ruling.GO

    async def test_an_answer_that_its_step_has_not_seen_yet_does_not_keep_it_waiting(
        self, server: LocalCycles, governor: Governor
    ) -> None:
        with server.hold("reserve") as held:
            asked = asyncio.ensure_future(governor.reserve(step()))
            await held.arrived()
        wait_for_answers(governor)
        await governor.aclose()
        reservation = (await asked).admitted
        assert reservation is not None
        await outcome(reservation.release("requested"))
        assert server.ledger().active == ()

    async def test_the_flush_timeout_bounds_it(self, server: LocalCycles, make_governor: MakeGovernor) -> None:
        governor = make_governor(retry_flush_timeout=0.1, read_timeout=300)
        reservation = await reserve(governor)
        with server.hold("commit") as held:
            reservation.commit(used(40))
            await held.arrived()
            await asyncio.wait_for(governor.aclose(), 20)
            assert governor.settlement.pending() == []

    async def test_closed_twice_or_unused_it_does_nothing(
        self, server: LocalCycles, make_governor: MakeGovernor
    ) -> None:
        governor = make_governor()
        await governor.aclose()
        await governor.decide(step())
        await governor.aclose()
        await governor.aclose()
        assert len(server.requests) == 1

    async def test_a_step_that_is_still_running_is_charged_even_then(
        self, server: LocalCycles, make_governor: MakeGovernor
    ) -> None:
        governor = make_governor()
        reservation = await reserve(governor)
        await governor.aclose()
        assert await outcome(reservation.commit(used(40))) == "committed"
        assert server.ledger().charged("TOKENS") == 40
