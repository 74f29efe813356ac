"""What telemetry tells of money that takes the long way: unenforced, journaled, left to another process, held off."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan

from cycles_otel.assembly import observed_governor
from cycles_otel.budget.governor import Governor
from cycles_otel.budget.policy import Policy
from cycles_otel.budget.requests import Spend
from cycles_otel.local import Fault, LocalCycles
from cycles_otel.telemetry import semconv
from tests.run.desk import until
from tests.telemetry import requests
from tests.telemetry.witness import Witness, attributes, event_names, parent_id, span_id

MakeGovernor = Callable[..., Governor]
LIFE = "cycles.reservation llm.completion"


@pytest.fixture
async def make_governor(server: LocalCycles, witness: Witness) -> AsyncIterator[MakeGovernor]:
    made: list[Governor] = []

    def make(seen_by: Witness = witness, **more: Any) -> Governor:
        config = server.config(**{"retry_initial_delay": 0.02, "retry_flush_timeout": 0.0, **more})
        made.append(observed_governor(config, Policy(), seen_by.recorder, tenant="acme"))
        return made[-1]

    yield make
    for governor in made:
        await governor.aclose()


def named(witness: Witness, name: str) -> list[ReadableSpan]:
    return [span for span in witness.spans if span.name == name]


async def test_what_ran_unenforced_is_charged_below_its_reservation_and_counted(
    server: LocalCycles, witness: Witness, make_governor: MakeGovernor
) -> None:
    server.inject(Fault("reserve", status=503, times=2))
    ran = (await make_governor(retry_flush_timeout=5.0).reserve(requests.step(100))).admitted
    assert ran is not None
    ran.commit(Spend(40, "price"))
    await until(lambda: bool(named(witness, "event llm.completion")))
    (event,), (life,) = named(witness, "event llm.completion"), named(witness, LIFE)
    assert parent_id(event) == span_id(life)
    assert attributes(event)[semconv.AMOUNT_ACTUAL] == 40
    assert attributes(life)[semconv.RESERVATION_OUTCOME] == "unenforced"
    await until(lambda: witness.total(semconv.SETTLEMENT_COUNT, cycles_reservation_outcome="settled_by_event") == 1)
    assert witness.total(semconv.AMOUNT_COMMITTED_TOTAL) == server.ledger().charged("USD_MICROCENTS") == 40
    assert witness.total(semconv.UNENFORCED_STEPS) == 1


async def test_what_another_process_left_is_settled_in_a_trace_of_its_own_with_a_link(
    server: LocalCycles, witness: Witness, make_governor: MakeGovernor, tmp_path: Path
) -> None:
    journal = {"journal_enabled": True, "journal_dir": str(tmp_path)}
    governor = make_governor(**journal)
    reservation = (await governor.reserve(requests.step(100))).admitted
    assert reservation is not None
    server.inject(Fault("commit", status=503, times=None))
    reservation.commit(Spend(40, "price"))
    await until(lambda: bool(named(witness, "commit llm.completion")))
    await governor.aclose()
    (life,) = named(witness, LIFE)
    assert attributes(life)[semconv.RESERVATION_OUTCOME] == "queued"
    assert "cycles.retry" in event_names(life)
    server.clear_faults()
    later = Witness()
    make_governor(later, **journal)
    await until(lambda: later.total(semconv.SETTLEMENT_COUNT, cycles_reservation_outcome="committed") == 1)
    (commit,) = named(later, "commit llm.completion")
    assert commit.parent is None
    assert [link.context.span_id for link in commit.links] == [span_id(life)]
    assert commit.get_span_context() is not None
    assert attributes(commit)[semconv.AMOUNT_CHARGED] == 40
    assert later.total(semconv.AMOUNT_COMMITTED_TOTAL) == server.ledger().charged("USD_MICROCENTS") == 40
    later.close()


async def test_how_much_is_pending_and_how_old_the_oldest_is(
    server: LocalCycles, witness: Witness, make_governor: MakeGovernor
) -> None:
    governor = make_governor()
    admitted = [(await governor.reserve(requests.step(100))).admitted for _ in range(3)]
    with server.hold("commit"):
        for each in admitted:
            assert each is not None
            each.commit(Spend(40, "price"))
        await until(lambda: witness.total(semconv.BACKLOG) == 3, seconds=5)
        age = witness.total(semconv.OLDEST)
        assert age > 0
        await until(lambda: witness.total(semconv.OLDEST) > age, seconds=5)
    await until(lambda: witness.total(semconv.BACKLOG) == 0, seconds=5)


async def test_an_open_circuit_is_counted_while_it_is_open(
    server: LocalCycles, witness: Witness, make_governor: MakeGovernor
) -> None:
    governor = make_governor()
    server.inject(Fault(status=503, times=None))
    for _ in range(4):
        await governor.reserve(requests.step(100))
    assert witness.total(semconv.CIRCUITS_OPEN) == 1
    assert witness.total(semconv.UNENFORCED_STEPS, error_type="circuit_open") >= 1
    sent = len(server.requests)
    await governor.reserve(requests.step(100))
    assert [each.operation for each in server.requests[sent:] if each.operation == "reserve"] == []
    server.clear_faults()
    await until(lambda: witness.total(semconv.CIRCUITS_OPEN) == 0, seconds=5)


async def test_a_spend_that_cannot_be_journaled_is_counted_and_logged(
    server: LocalCycles,
    witness: Witness,
    make_governor: MakeGovernor,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "file").write_text("in the way")
    governor = make_governor(journal_enabled=True, journal_dir=str(tmp_path / "file"))
    reservation = (await governor.reserve(requests.step(100))).admitted
    assert reservation is not None
    reservation.commit(Spend(40, "price"))
    await until(lambda: server.ledger().charged("USD_MICROCENTS") == 40)
    assert witness.total(semconv.JOURNAL_FAILURES, error_type="NotADirectoryError") == 1
    assert any("journal" in message for message in caplog.messages)


async def test_a_reservation_whose_reply_was_lost_is_given_back_below_its_life(
    server: LocalCycles, witness: Witness, make_governor: MakeGovernor
) -> None:
    server.inject(Fault("reserve", drop="after", times=2))
    await make_governor().reserve(requests.step(100))
    await until(lambda: bool(named(witness, "release llm.completion")), seconds=5)
    (release,), (life,) = named(witness, "release llm.completion"), named(witness, LIFE)
    assert parent_id(release) == span_id(life)
    assert attributes(release)[semconv.RELEASE_REASON] == "reply_lost"
    assert witness.total(semconv.AMOUNT_RESERVED_TOTAL) == witness.total(semconv.AMOUNT_RELEASED_TOTAL) == 100
