"""What every SDK must get right: settlement happens once at most, and no failure of it goes unseen."""

from __future__ import annotations

import pytest

from cycles_otel.budget.policy import Policy
from cycles_otel.local import Fault, LocalCycles, ManualClock
from tests.budget.desk import HTML, Diary, keys, outcome, reserve, sent, until, used
from tests.recovery.binding import scenario
from tests.recovery.conftest import MakeGovernor


@scenario("CR-CORE-001", faults=("commit_response_lost",))
async def test_a_lost_reply_to_a_commit_is_asked_for_with_the_same_key(
    server: LocalCycles, make_governor: MakeGovernor
) -> None:
    reservation = await reserve(make_governor())
    server.inject(Fault("commit", drop="after", times=1))
    assert await outcome(reservation.commit(used(40))) == "committed"
    first, second = sent(server, "commit")
    assert first.body == second.body
    assert server.ledger().charged("TOKENS") == 40
    assert not server.ledger().events


@scenario("CR-CORE-002", faults=("commit_reservation_expired",))
async def test_an_expired_commit_becomes_an_event_of_the_same_spend(
    server: LocalCycles, clock: ManualClock, make_governor: MakeGovernor
) -> None:
    reservation = await reserve(make_governor(Policy(ttl_ms=1_000)))
    clock.advance(10_000)
    assert await outcome(reservation.commit(used(40))) == "settled_by_event"
    (commit,), (event,), (asked,) = (sent(server, name) for name in ("commit", "event", "reserve"))
    assert event.body["idempotency_key"] == commit.body["idempotency_key"]
    assert (event.body["subject"], event.body["action"]) == (asked.body["subject"], asked.body["action"])
    assert event.body["actual"] == commit.body["actual"]
    assert server.ledger().charged("TOKENS") == 40


@scenario("CR-CORE-003", faults=("extend_transport_error",))
async def test_a_heartbeat_that_fails_is_seen_and_stops_nothing(
    server: LocalCycles, diary: Diary, make_governor: MakeGovernor
) -> None:
    server.inject(Fault("extend", drop="before", times=1))
    reservation = await reserve(make_governor(Policy(ttl_ms=1_000)))
    await until(lambda: len(sent(server, "extend")) >= 2)
    assert diary.said("heartbeat_failed") == [("connection_error", "retry")]
    first, second = keys(sent(server, "extend"))[:2]
    assert first == second
    assert await outcome(reservation.commit(used(40))) == "committed"
    assert server.ledger().charged("TOKENS") == 40


@scenario("CR-CORE-004", faults=("commit_nonconformant_2xx_or_body",))
@pytest.mark.parametrize(
    "reply",
    [
        Fault("commit", status=200, body=HTML),
        Fault("commit", status=200, body={}),
        Fault("commit", status=200, body={"status": "COMMITTED"}),
        Fault("commit", status=200, body={"status": "RELEASED", "released": {"unit": "TOKENS", "amount": 100}}),
        Fault("commit", status=202, body={"status": "COMMITTED", "charged": {"unit": "TOKENS", "amount": 40}}),
        Fault("commit", status=204, body=""),
    ],
    ids=["a page", "nothing", "no amount", "another status", "202", "204"],
)
async def test_a_success_that_is_not_the_protocol_s_settles_nothing(
    server: LocalCycles, make_governor: MakeGovernor, reply: Fault
) -> None:
    reservation = await reserve(make_governor())
    server.inject(reply)
    assert await outcome(reservation.commit(used(40))) == "committed"
    first, second = sent(server, "commit")
    assert first.body == second.body
    assert server.ledger().charged("TOKENS") == 40
