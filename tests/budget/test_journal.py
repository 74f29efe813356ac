"""The journal: what is known to be spent outlives the process that knows it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import pytest
from runcycles.journal import PendingCommitRecord

from cycles_otel.budget.governor import Governor
from cycles_otel.local import Fault, LocalCycles, ManualClock
from tests.budget import child
from tests.budget.conftest import MakeGovernor
from tests.budget.desk import BUDGETS, REJECT, Diary, keys, outcome, reserve, sent, step, until, used


def files(folder: Path) -> list[Path]:
    return list(folder.rglob("*.json"))


def records(folder: Path) -> list[PendingCommitRecord]:
    return [PendingCommitRecord.from_json(file.read_text()) for file in files(folder)]


class TestRecord:
    async def test_a_spend_is_written_before_it_is_sent_and_forgotten_when_it_is_charged(
        self, server: LocalCycles, make_governor: MakeGovernor, tmp_path: Path
    ) -> None:
        governor = make_governor(journal_enabled=True, journal_dir=str(tmp_path))
        reservation = await reserve(governor)
        assert records(tmp_path) == []
        with server.hold("commit") as held:
            settlement = reservation.commit(used(40))
            await held.arrived()
            (record,) = records(tmp_path)
        assert (record.reservation_id, record.mode) == (reservation.id, "commit")
        assert record.commit_body == sent(server, "commit")[0].body
        assert record.event_fallback_body is not None
        assert [record.event_fallback_body["idempotency_key"]] == keys(sent(server, "commit"))
        assert await outcome(settlement) == "committed"
        assert records(tmp_path) == []

    async def test_a_charge_that_stands_in_for_a_commit_is_one_record(
        self, server: LocalCycles, make_governor: MakeGovernor, tmp_path: Path
    ) -> None:
        governor = make_governor(REJECT, journal_enabled=True, journal_dir=str(tmp_path))
        reservation = await reserve(governor)
        with server.hold("event") as held:
            settlement = reservation.commit(used(140))
            await held.arrived()
            (record,) = records(tmp_path)
        assert (record.reservation_id, record.mode) == (reservation.id, "event")
        assert record.event_fallback_body == sent(server, "event")[0].body
        assert await outcome(settlement) == "settled_by_event"
        assert records(tmp_path) == []

    async def test_a_charge_without_a_reservation_is_written_too(
        self, server: LocalCycles, make_governor: MakeGovernor, tmp_path: Path
    ) -> None:
        governor = make_governor(journal_enabled=True, journal_dir=str(tmp_path))
        with server.hold("event") as held:
            settlement = governor.charge(step(), used(30))
            await held.arrived()
            assert len(records(tmp_path)) == 1
        await outcome(settlement)
        assert records(tmp_path) == []

    async def test_a_release_is_not_written(
        self, server: LocalCycles, make_governor: MakeGovernor, tmp_path: Path
    ) -> None:
        governor = make_governor(journal_enabled=True, journal_dir=str(tmp_path))
        reservation = await reserve(governor)
        with server.hold("release") as held:
            settlement = reservation.release("run_failed")
            await held.arrived()
            assert records(tmp_path) == []
        await outcome(settlement)

    async def test_only_its_owner_reads_it_and_the_key_is_not_in_it(
        self, server: LocalCycles, make_governor: MakeGovernor, tmp_path: Path
    ) -> None:
        governor = make_governor(journal_enabled=True, journal_dir=str(tmp_path))
        reservation = await reserve(governor)
        with server.hold("commit") as held:
            settlement = reservation.commit(used(40))
            await held.arrived()
            (file,) = files(tmp_path)
            assert file.stat().st_mode & 0o077 == 0
            assert server.api_key not in file.read_text() + str(file)
        await outcome(settlement)

    async def test_a_journal_that_cannot_be_written_does_not_stop_the_settlement(
        self, server: LocalCycles, make_governor: MakeGovernor, tmp_path: Path
    ) -> None:
        in_the_way = tmp_path / "journal"
        in_the_way.write_text("a file where the folder should be")
        governor = make_governor(REJECT, journal_enabled=True, journal_dir=str(in_the_way))
        first, second = await reserve(governor), await reserve(governor)
        assert await outcome(first.commit(used(40))) == "committed"
        assert await outcome(second.commit(used(140))) == "settled_by_event"
        assert server.ledger().charged("TOKENS") == 180


class TestClose:
    @pytest.mark.parametrize("are_others", [False, True], ids=["alone", "beside another governor"])
    async def test_what_is_not_settled_in_time_stays_in_the_journal(
        self, server: LocalCycles, make_governor: MakeGovernor, tmp_path: Path, diary: Diary, are_others: bool
    ) -> None:
        if are_others:
            await make_governor().decide(step())
        governor = make_governor(journal_enabled=True, journal_dir=str(tmp_path))
        reservation = await reserve(governor)
        server.inject(Fault("commit", status=503, times=None))
        reservation.commit(used(40))
        await governor.aclose()
        assert len(records(tmp_path)) == 1
        await until(lambda: bool(diary.named("settled")))
        assert governor.settlement.pending() == []

    @pytest.mark.parametrize(("journal_enabled", "ends"), [(True, "queued"), (False, "lost")])
    async def test_what_is_not_settled_in_time_is_lost_where_there_is_no_journal(
        self,
        server: LocalCycles,
        make_governor: MakeGovernor,
        tmp_path: Path,
        diary: Diary,
        journal_enabled: bool,
        ends: str,
    ) -> None:
        governor = make_governor(journal_enabled=journal_enabled, journal_dir=str(tmp_path))
        reservation = await reserve(governor)
        server.inject(Fault("commit", status=503, times=None))
        reservation.commit(used(40))
        await governor.aclose()
        await until(lambda: bool(diary.outcomes))
        assert diary.outcomes == [ends]

    async def test_a_release_that_is_not_answered_in_time_is_left_to_expire(
        self, server: LocalCycles, governor: Governor, diary: Diary
    ) -> None:
        reservation = await reserve(governor)
        server.inject(Fault("release", status=503, times=None))
        reservation.release("run_failed")
        await governor.aclose()
        await until(lambda: bool(diary.outcomes))
        assert diary.outcomes == ["expired"]


def killed_with(server: LocalCycles, journal: Path, *commands: str, drop: Literal["before", "after"]) -> None:
    """A process that is killed while it tries a settlement, to which no reply comes."""
    operation = commands[-1].replace("charge", "event")
    server.inject(Fault(operation, drop=drop, times=None))
    process = child.start(server, *commands, journal=journal)
    try:
        child.until_sent(server, operation)
    finally:
        process.kill()
        process.communicate()
    server.clear_faults()


class TestNextProcess:
    @pytest.mark.parametrize("is_applied", [False, True], ids=["not applied", "applied"])
    def test_it_charges_once_what_a_killed_process_left(
        self, server: LocalCycles, tmp_path: Path, is_applied: bool
    ) -> None:
        killed_with(server, tmp_path, "reserve", "commit", drop="after" if is_applied else "before")
        assert len(records(tmp_path)) == 1
        child.run(server, "reserve", "wait-for-journal", journal=tmp_path)
        assert server.ledger().charged("TOKENS") == child.USED
        assert len(set(keys(sent(server, "commit")))) == 1

    def test_it_charges_by_an_event_what_has_expired_meanwhile(self, tmp_path: Path) -> None:
        clock = ManualClock()
        with LocalCycles(budgets=BUDGETS, clock=clock) as server:
            killed_with(server, tmp_path, "reserve", "commit", drop="before")
            clock.advance(120_000)
            server.sweep()
            child.run(server, "reserve", "wait-for-journal", journal=tmp_path)
            assert [event.charged for event in server.ledger().events] == [child.USED]
            assert server.ledger().charged("TOKENS") == child.USED

    def test_it_sends_an_event_that_a_killed_process_did_not(self, server: LocalCycles, tmp_path: Path) -> None:
        killed_with(server, tmp_path, "charge", drop="before")
        child.run(server, "reserve", "wait-for-journal", journal=tmp_path)
        assert [event.charged for event in server.ledger().events] == [child.USED]

    def test_garbage_in_the_journal_harms_nothing(self, server: LocalCycles, tmp_path: Path) -> None:
        killed_with(server, tmp_path, "reserve", "commit", drop="before")
        (file,) = files(tmp_path)
        (file.parent / "v2-garbage.json").write_text("{")
        (file.parent / "v2-other.json").write_text(json.dumps({"version": 99}))
        child.run(server, "reserve", "wait-for-journal", journal=tmp_path)
        assert server.ledger().charged("TOKENS") == child.USED
