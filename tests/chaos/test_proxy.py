"""The proxy does to a request what its script says, and its log tells it."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from runcycles import AsyncCyclesClient, CyclesResponse

from cycles_otel.local import LocalCycles
from tests.chaos.clock import SteppedClock
from tests.chaos.proxy import ChaosProxy, Passage
from tests.chaos.troubles import Kind, Trouble
from tests.run.desk import until
from tests.telemetry.requests import event

BUDGETS = {"tenant:acme": {"USD_MICROCENTS": 1_000}}
APPLIED_AND_LOST = (Kind.RESET_AFTER, Kind.CUT, Kind.STALL_AFTER, Kind.DUPLICATE_LOST, Kind.RESTART_AFTER)
LOST = (Kind.RESET_BEFORE, Kind.STALL_BEFORE, Kind.OUTAGE)
TOLD = (Kind.DELAY, Kind.DUPLICATE, Kind.RESTART_BEFORE, Kind.EXPIRY)


class Stage:
    """A server that keeps its database, behind a proxy, and a client that sends one event."""

    def __init__(self, server: LocalCycles, clock: SteppedClock) -> None:
        self.server = server
        self.proxy = ChaosProxy(lambda: server.url, restart=self._restart, expire=lambda: clock.step(3_600_000))

    async def charged(self, kind: Kind, seconds: float = 0.0) -> tuple[CyclesResponse, int, Passage]:
        """The client's answer, what the ledger charged, and the line of the log."""
        self.proxy.script = lambda _: Trouble(kind, seconds)
        connection = self.server.config(base_url=self.proxy.url, read_timeout=0.3)
        async with AsyncCyclesClient(connection) as client:
            response = await client.create_event(event(10))
        self.proxy.close()
        (passage,) = self.proxy.log
        return response, self.server.ledger().charged(), passage

    def _restart(self) -> None:
        self.server.stop()
        self.server.start()


@pytest.fixture
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    clock = SteppedClock()
    with LocalCycles(BUDGETS, db=tmp_path_factory.mktemp("ledger") / "ledger.db", clock=clock) as server:
        stage = Stage(server, clock)
        with stage.proxy:
            yield stage


@pytest.mark.parametrize("kind", TOLD, ids=lambda kind: kind.name)
async def test_the_true_answer_comes_once_the_server_applied_the_request(stage: Stage, kind: Kind) -> None:
    response, charged, passage = await stage.charged(kind, 0.05)
    assert (response.status, charged, passage.status) == (201, 10, 201)
    assert passage.is_understood


@pytest.mark.parametrize("kind", APPLIED_AND_LOST, ids=lambda kind: kind.name)
async def test_the_answer_to_an_applied_request_is_lost(stage: Stage, kind: Kind) -> None:
    response, charged, passage = await stage.charged(kind)
    assert (response.is_transport_error, charged, passage.status) == (True, 10, None)


@pytest.mark.parametrize("kind", LOST, ids=lambda kind: kind.name)
async def test_the_request_is_lost(stage: Stage, kind: Kind) -> None:
    response, charged, passage = await stage.charged(kind, 0.05)
    assert (response.is_transport_error, charged, passage.status) == (True, 0, None)


@pytest.mark.parametrize(
    ("kind", "status"),
    [(Kind.ERROR_500, 500), (Kind.PAGE_502, 502), (Kind.LIMITED, 429), (Kind.UNAUTHORIZED, 401)],
    ids=lambda value: getattr(value, "name", None),
)
async def test_a_made_up_answer_comes_and_nothing_is_applied(stage: Stage, kind: Kind, status: int) -> None:
    response, charged, passage = await stage.charged(kind, 1)
    assert (response.status, charged, passage.status) == (status, 0, status)
    assert response.retry_after_ms_header == (1_000 if kind is Kind.LIMITED else None)


async def test_a_page_in_place_of_the_answer_to_an_applied_request(stage: Stage) -> None:
    response, charged, _ = await stage.charged(Kind.PAGE_502_AFTER)
    assert (response.status, charged) == (502, 10)


async def test_a_late_request_is_lost_for_the_client_and_applied_later(stage: Stage) -> None:
    stage.proxy.script = lambda _: Trouble(Kind.LATE, 0.05)
    async with AsyncCyclesClient(stage.server.config(base_url=stage.proxy.url)) as client:
        response = await client.create_event(event(10))
    assert response.is_transport_error
    await until(lambda: stage.server.ledger().charged() == 10)


async def test_half_of_the_json_is_no_answer_that_anybody_understands(stage: Stage) -> None:
    response, charged, passage = await stage.charged(Kind.TRUNCATED)
    assert (response.status, response.body, charged) == (201, {}, 10)
    assert not passage.is_understood


async def test_the_server_gets_a_duplicate_and_the_log_has_one_line(stage: Stage) -> None:
    _, _, passage = await stage.charged(Kind.DUPLICATE)
    assert [request.operation for request in stage.server.requests] == ["event", "event"]
    assert passage.operation == "event"


async def test_nobody_listens_during_an_outage_and_somebody_does_after_it(stage: Stage) -> None:
    stage.proxy.script = lambda _: Trouble(Kind.OUTAGE, 30.0)
    async with httpx.AsyncClient() as client:
        with pytest.raises(httpx.ReadError):
            await client.post(stage.proxy.url)
        with pytest.raises(httpx.ConnectError):
            await client.post(stage.proxy.url)
        stage.proxy.calm_down()
        assert (await client.post(stage.proxy.url)).status_code == 401
