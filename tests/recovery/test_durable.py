"""What an SDK with a journal must get right: a spend that is known outlives the process that knew it."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from pathlib import Path
from typing import Any

import pytest
from runcycles.journal import PendingCommitRecord

from cycles_otel.budget.journal import Journal, KnownSpend
from cycles_otel.local import Fault, LocalCycles, ManualClock
from tests.budget import child
from tests.budget.desk import keys, sent, until
from tests.recovery.binding import scenario

CHARGED = child.USED


def files(folder: Path) -> list[Path]:
    return list(folder.rglob("v2-*.json"))


def record(folder: Path) -> PendingCommitRecord:
    (file,) = files(folder)
    return PendingCommitRecord.from_json(file.read_text())


def killed_while_sending(server: LocalCycles, operation: str, folder: Path, *commands: str) -> PendingCommitRecord:
    """Kill a process when its request is on the wire, before the server has applied it; what it left."""
    server.inject(Fault(operation, drop="before", delay=child.LONG))
    process = child.start(server, *commands, journal=folder)
    try:
        child.until_sent(server, operation)
        left = record(folder)
    finally:
        process.kill()
        process.wait()
    server.clear_faults()
    return left


def restart(server: LocalCycles, folder: Path) -> None:
    """A fresh process that ends when the journal is empty."""
    child.run(server, "wait-for-journal", "close", journal=folder)


def charged(server: LocalCycles) -> int:
    return server.ledger().charged("TOKENS")


@scenario("CR-DURABLE-001", faults=("process_terminated_while_first_commit_is_in_flight", "process_restarted"))
def test_a_commit_is_journaled_before_it_leaves_the_process(server: LocalCycles, tmp_path: Path) -> None:
    left = killed_while_sending(server, "commit", tmp_path, "reserve", "commit", "pause")
    assert left.mode == "commit"
    restart(server, tmp_path)
    assert len(set(keys(sent(server, "commit")))) == 1
    assert files(tmp_path) == []
    assert charged(server) == CHARGED


@scenario(
    "CR-DURABLE-002",
    faults=(
        "process_restarted",
        "commit_reservation_expired",
        "process_terminated_after_mode_switch",
        "process_restarted",
    ),
)
def test_a_replayed_commit_that_expired_switches_to_an_event_for_good(
    server: LocalCycles, clock: ManualClock, tmp_path: Path
) -> None:
    killed_while_sending(server, "commit", tmp_path, "reserve", "commit", "pause")
    clock.advance(3_600_000)
    left = killed_while_sending(server, "event", tmp_path, "wait-for-journal")
    assert left.mode == "event"
    commits = len(sent(server, "commit"))
    restart(server, tmp_path)
    assert len(sent(server, "commit")) == commits
    assert len({*keys(sent(server, "commit")), *keys(sent(server, "event"))}) == 1
    assert files(tmp_path) == []
    assert charged(server) == CHARGED


@scenario(
    "CR-DURABLE-003",
    faults=(
        "commit_429_with_retry_after",
        "process_terminated_after_journal_write",
        "process_restarted_before_retry_after",
    ),
)
def test_the_time_that_the_server_set_outlives_the_process(server: LocalCycles, tmp_path: Path) -> None:
    server.inject(Fault("commit", status=429, headers={"Retry-After": "3"}))
    process = child.start(server, "reserve", "commit", "pause", journal=tmp_path)
    try:
        child.wait_until(lambda: bool(files(tmp_path)) and record(tmp_path).not_before_ms is not None)
        not_before_ms = record(tmp_path).not_before_ms
    finally:
        process.kill()
        process.wait()
    restart(server, tmp_path)
    assert len(sent(server, "commit")) == 2
    assert time.time() * 1000 >= (not_before_ms or 0)
    assert sent(server, "commit")[1].received_at - sent(server, "commit")[0].received_at >= 2.9
    assert len(set(keys(sent(server, "commit")))) == 1
    assert files(tmp_path) == []


@scenario("CR-DURABLE-004", faults=("api_key_rotated", "process_restarted"))
def test_the_journal_of_a_tenant_outlives_its_key(server: LocalCycles, tmp_path: Path) -> None:
    config = server.config(journal_enabled=True, journal_dir=str(tmp_path), api_key="cyc_old_" + "k" * 20)
    journal = Journal(config, _unexpected)
    assert journal.record(KnownSpend("r1", None, _event("k1")))
    journal.close()
    assert all("cyc_old_" not in path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file())
    assert all("cyc_old_" not in str(path) for path in tmp_path.rglob("*"))
    child.run(server, "wait-for-journal", "close", journal=tmp_path)
    assert charged(server) == 7


@scenario("CR-DURABLE-005", faults=("process_restarted",))
@pytest.mark.parametrize("bad", ["{not json", "[]", json.dumps({"version": 99, "reservation_id": "r0"})])
def test_a_record_that_cannot_be_read_is_put_aside_and_told(
    server: LocalCycles, tmp_path: Path, bad: str, caplog: pytest.LogCaptureFixture
) -> None:
    config = server.config(journal_enabled=True, journal_dir=str(tmp_path))
    journal = Journal(config, _unexpected)
    journal.record(KnownSpend("r1", None, _event("k1")))
    journal.close()
    (good,) = files(tmp_path)
    (good.parent / f"v2-{'0' * 64}.json").write_text(bad)
    with caplog.at_level(logging.WARNING):
        assert [spend.id for spend in Journal(config, _unexpected).take_over()] == ["r1"]
    assert len(list(tmp_path.rglob("*.corrupt"))) == 1
    assert files(tmp_path) == [good]
    assert any("corrupt" in message for message in caplog.messages)


@scenario("CR-DURABLE-006", faults=("two_independent_workers_replay_same_record",))
async def test_two_processes_that_replay_one_record_charge_it_once(server: LocalCycles, tmp_path: Path) -> None:
    killed_while_sending(server, "commit", tmp_path, "reserve", "commit", "pause")
    (file,) = files(tmp_path)
    text = file.read_text()
    with server.hold("commit") as held:
        first = child.start(server, "wait-for-journal", "close", journal=tmp_path)
        await held.arrived()
        _as_if_nobody_owned_it(file, text)
        second = child.start(server, "wait-for-journal", "close", journal=tmp_path)
        await until(lambda: len(sent(server, "commit")) == 3, seconds=30)
    child.ended(first)
    child.ended(second)
    assert len(set(keys(sent(server, "commit")))) == 1
    assert charged(server) == CHARGED
    assert files(tmp_path) == []


@scenario("CR-DURABLE-007", faults=("legacy_record_encountered",))
def test_file_names_tell_any_two_reservations_apart(server: LocalCycles, tmp_path: Path) -> None:
    config = server.config(journal_enabled=True, journal_dir=str(tmp_path))
    journal = Journal(config, _unexpected)
    colliding = ["a/b", "a?b", "a b", "ä", "a_b"]
    for spend_id in colliding:
        journal.record(KnownSpend(spend_id, None, _event(spend_id)))
    expected = {f"v2-{hashlib.sha256(spend_id.encode()).hexdigest()}.json" for spend_id in colliding}
    assert {file.name for file in files(tmp_path)} == expected
    journal.close()
    folder = files(tmp_path)[0].parent
    legacy = PendingCommitRecord("legacy/id", config.base_url, "event", None, _event("legacy"))
    (folder / "legacy_id.json").write_text(legacy.to_json())
    taken = {spend.id for spend in Journal(config, _unexpected).take_over()}
    assert taken == {*colliding, "legacy/id"}
    assert not (folder / "legacy_id.json").exists()


def _unexpected(error: OSError) -> None:
    raise error


def _event(key: str) -> dict[str, Any]:
    return {
        "idempotency_key": key,
        "subject": {"tenant": "acme"},
        "action": {"kind": "llm.completion", "name": "gpt-4o"},
        "actual": {"unit": "TOKENS", "amount": 7},
    }


def _as_if_nobody_owned_it(file: Path, text: str) -> None:
    """As the client library writes a record: it has no owner, and any process may replay it."""
    content = json.loads(text)
    del content["cycles_otel"]
    file.write_text(json.dumps(content))
