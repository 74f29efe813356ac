"""A step without an answer: it is owed where it ran, and what the server may have granted for it is given back."""

from __future__ import annotations

from pathlib import Path

import pytest

from cycles_otel.budget.decision import Ruling
from cycles_otel.budget.governor import Governor
from cycles_otel.budget.policy import Policy
from cycles_otel.budget.reservation import Unreserved
from cycles_otel.local import Fault, LocalCycles
from tests.budget.conftest import MakeGovernor
from tests.budget.desk import Diary, outcome, sent, step, until, used


async def unenforced(governor: Governor, server: LocalCycles, fault: Fault) -> Unreserved:
    """A step that runs without an answer."""
    server.inject(fault)
    admission = await governor.reserve(step())
    assert admission.verdict.ruling is Ruling.GO_UNENFORCED
    assert isinstance(admission.admitted, Unreserved)
    return admission.admitted


class TestOwed:
    async def test_what_it_used_is_charged_by_an_event(
        self, server: LocalCycles, governor: Governor, diary: Diary
    ) -> None:
        ran = await unenforced(governor, server, Fault("reserve", status=503, times=2))
        assert await outcome(ran.commit(used(40))) == "settled_by_event"
        assert [(event.actual, event.charged) for event in server.ledger().events] == [(40, 40)]
        assert diary.said("charged") == [("settled_by_event",)]

    async def test_it_is_charged_once(self, server: LocalCycles, governor: Governor) -> None:
        ran = await unenforced(governor, server, Fault("reserve", status=503, times=2))
        server.inject(Fault("event", drop="after", times=1))
        await outcome(ran.commit(used(40)))
        assert ran.commit(used(40)) is None
        assert server.ledger().charged("TOKENS") == 40

    async def test_one_that_did_not_run_costs_nothing(self, server: LocalCycles, governor: Governor) -> None:
        ran = await unenforced(governor, server, Fault("reserve", status=503, times=2))
        assert ran.release("run_failed") is None
        assert ran.commit(used(40)) is None
        assert not sent(server, "event")

    async def test_it_is_charged_when_the_server_is_back(
        self, server: LocalCycles, make_governor: MakeGovernor
    ) -> None:
        governor = make_governor(retry_initial_delay=0.05, retry_max_delay=0.05)
        ran = await unenforced(governor, server, Fault(status=503, times=None))
        settlement = ran.commit(used(40))
        await until(lambda: len(sent(server, "event")) >= 2)
        server.clear_faults()
        assert await outcome(settlement) == "settled_by_event"
        assert server.ledger().charged("TOKENS") == 40

    async def test_it_waits_in_the_journal_for_the_next_process(
        self, server: LocalCycles, make_governor: MakeGovernor, tmp_path: Path
    ) -> None:
        governor = make_governor(journal_enabled=True, journal_dir=str(tmp_path), retry_flush_timeout=0)
        ran = await unenforced(governor, server, Fault(status=503, times=None))
        ran.commit(used(40))
        await until(lambda: bool(sent(server, "event")))
        await governor.aclose()
        server.clear_faults()
        make_governor(journal_enabled=True, journal_dir=str(tmp_path))
        await until(lambda: server.ledger().charged("TOKENS") == 40)
        assert len(server.ledger().events) == 1

    async def test_a_shadow_owes_nothing(self, server: LocalCycles, make_governor: MakeGovernor) -> None:
        server.inject(Fault("reserve", status=503, times=2))
        assert (await make_governor(Policy(dry_run=True)).reserve(step())).admitted is None


class TestOrphans:
    @pytest.mark.parametrize("fail_open", [True, False], ids=["open", "closed"])
    async def test_what_was_granted_without_a_reply_is_given_back(
        self, server: LocalCycles, make_governor: MakeGovernor, fail_open: bool
    ) -> None:
        server.inject(Fault("reserve", drop="after", times=2))
        admission = await make_governor(Policy(fail_open=fail_open)).reserve(step())
        assert admission.verdict.ruling in (Ruling.GO_UNENFORCED, Ruling.UNAVAILABLE)
        assert len(server.ledger().active) == 1
        await until(lambda: not server.ledger().active)
        assert [each.status for each in server.ledger().reservations] == ["RELEASED"]
        assert len({request.body["idempotency_key"] for request in sent(server, "reserve")}) == 1

    async def test_nobody_waits_for_it(self, server: LocalCycles, make_governor: MakeGovernor) -> None:
        governor = make_governor(retry_flush_timeout=30)
        server.inject(Fault("reserve", drop="after", times=None))
        await governor.reserve(step())
        assert governor.settlement.pending() == []
        await governor.aclose()

    async def test_a_request_that_cannot_have_arrived_is_not_asked_again(
        self, server: LocalCycles, governor: Governor
    ) -> None:
        server.stop()
        await governor.reserve(step())
        assert len(sent(server, "reserve")) == 0
        assert not governor._connection._unattended.all()
