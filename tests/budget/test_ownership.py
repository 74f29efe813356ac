"""Processes that share a journal: each leaves alone what a live one is at, and takes over what a dead one left."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from cycles_otel.budget.journal import Journal, KnownSpend
from cycles_otel.local import LocalCycles
from tests.budget import child
from tests.budget.conftest import MakeGovernor
from tests.budget.desk import Diary, reserve, sent, until, used

COMMIT = {"idempotency_key": "k-commit", "actual": {"unit": "TOKENS", "amount": 1}}


def journal(server: LocalCycles, folder: Path, failures: list[OSError] | None = None) -> Journal:
    config = server.config(journal_enabled=True, journal_dir=str(folder))
    return Journal(config, (failures if failures is not None else []).append)


def ids(spends: list[KnownSpend]) -> list[str]:
    return [spend.id for spend in spends]


class TestTakingOver:
    def test_what_a_live_owner_is_at_is_left_alone(self, server: LocalCycles, tmp_path: Path) -> None:
        mine, other = journal(server, tmp_path), journal(server, tmp_path)
        mine.record(KnownSpend("r1", COMMIT, None))
        assert other.take_over() == []
        assert other.take_over() == []

    def test_what_an_owner_left_belongs_to_whoever_comes_first(self, server: LocalCycles, tmp_path: Path) -> None:
        mine, other, third = (journal(server, tmp_path) for _ in range(3))
        mine.record(KnownSpend("r1", COMMIT, None, not_before=None, link="00-" + "1" * 32 + "-" + "2" * 16 + "-01"))
        mine.close()
        (taken,) = other.take_over()
        assert (taken.id, taken.commit, taken.link) == ("r1", COMMIT, "00-" + "1" * 32 + "-" + "2" * 16 + "-01")
        assert third.take_over() == []

    def test_a_record_of_the_client_library_is_taken_over(self, server: LocalCycles, tmp_path: Path) -> None:
        mine = journal(server, tmp_path)
        mine.record(KnownSpend("r1", COMMIT, None))
        (file,) = tmp_path.rglob("*.json")
        record: dict[str, Any] = json.loads(file.read_text())
        del record["cycles_otel"]
        file.write_text(json.dumps(record))
        assert ids(journal(server, tmp_path).take_over()) == ["r1"]

    @pytest.mark.parametrize("owner", ["../../etc/passwd", "owner-gone.lock", 5, None])
    def test_an_owner_that_never_was_is_no_owner(self, server: LocalCycles, tmp_path: Path, owner: object) -> None:
        mine = journal(server, tmp_path)
        mine.record(KnownSpend("r1", COMMIT, None))
        (file,) = tmp_path.rglob("*.json")
        record = json.loads(file.read_text())
        record["cycles_otel"]["owner"] = owner
        file.write_text(json.dumps(record))
        assert ids(journal(server, tmp_path).take_over()) == ["r1"]

    def test_a_floor_that_the_server_set_is_kept(self, server: LocalCycles, tmp_path: Path) -> None:
        mine = journal(server, tmp_path)
        mine.record(KnownSpend("r1", COMMIT, None, not_before=4_000_000_000.0))
        mine.close()
        (taken,) = journal(server, tmp_path).take_over()
        assert taken.not_before == 4_000_000_000.0
        assert taken.pause == 3600.0

    async def test_a_second_process_does_not_send_what_the_first_is_sending(
        self, server: LocalCycles, make_governor: MakeGovernor, tmp_path: Path
    ) -> None:
        governor = make_governor(
            journal_enabled=True, journal_dir=str(tmp_path), retry_flush_timeout=10, read_timeout=60.0
        )
        reservation = await reserve(governor)
        with server.hold("commit") as held:
            reservation.commit(used(40))
            await held.arrived()
            process = child.start(server, "reserve", "close", journal=tmp_path)
            await until(lambda: len(sent(server, "reserve")) == 2, seconds=30)
            child.ended(process)
            assert len(sent(server, "commit")) == 1
        await governor.aclose()
        assert server.ledger().charged("TOKENS") == 40

    def test_a_child_does_not_keep_its_parent_s_records_alive(self, server: LocalCycles, tmp_path: Path) -> None:
        mine = journal(server, tmp_path)
        reader, writer = os.pipe()
        intermediate = os.fork()
        if not intermediate:
            mine.record(KnownSpend("r1", COMMIT, None))
            if not os.fork():
                os.read(reader, 1)  # The grandchild lives on, with the lock's file inherited if it were not closed.
            os._exit(0)
        os.waitpid(intermediate, 0)
        try:
            assert ids(journal(server, tmp_path).take_over()) == ["r1"]
        finally:
            os.write(writer, b"x")
            os.close(reader)
            os.close(writer)


class TestFailures:
    async def test_a_journal_that_cannot_be_written_is_told(
        self, server: LocalCycles, make_governor: MakeGovernor, diary: Diary, tmp_path: Path
    ) -> None:
        (tmp_path / "file").write_text("in the way")
        governor = make_governor(journal_enabled=True, journal_dir=str(tmp_path / "file" / "journal"))
        reservation = await reserve(governor)
        reservation.commit(used(40))
        await until(lambda: server.ledger().charged("TOKENS") == 40)
        assert [type(error).__name__ for (error,) in diary.said("journal_failed")] == ["NotADirectoryError"]

    def test_nothing_half_written_is_left(self, server: LocalCycles, tmp_path: Path) -> None:
        failures: list[OSError] = []
        mine = journal(server, tmp_path, failures)
        mine.record(KnownSpend("r1", COMMIT, None))
        (file,) = tmp_path.rglob("*.json")
        file.unlink()
        file.mkdir()  # Whatever is written cannot take its place.
        assert not mine.record(KnownSpend("r1", COMMIT, None))
        assert len(failures) == 1
        assert not list(tmp_path.rglob("*.tmp"))
