"""The service of the example: what a customer gets, and that no request and no money is lost, whatever ends."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from runcycles import AsyncCyclesClient, CyclesConfig

if sys.platform == "win32":
    pytest.skip("gunicorn does not run there", allow_module_level=True)

from tests.service.customers import Reply, ask
from tests.service.load import Plan, play
from tests.service.processes import EXAMPLE, ROOT, SECRET, CyclesServer, Service, waited_for
from tests.service.proof import UNITS, wrong_money
from tests.telemetry.program import run_program
from tests.telemetry.readings import of_text_page

# A busy machine takes its time to import everything in four processes.
pytestmark = pytest.mark.timeout(300)

ESTIMATE = 100_000
"""Of an LLM call; an answer takes three, of which none need be settled when the next one begins."""
BUDGETS = {
    "ada": {"USD_MICROCENTS": 10**9, "RISK_POINTS": 10**6},
    "grace": {"USD_MICROCENTS": 3 * ESTIMATE + 50_000, "RISK_POINTS": 10**6},
    "edsger": {"USD_MICROCENTS": 10**9, "RISK_POINTS": 10},
    "barbara": {"USD_MICROCENTS": 50_000, "RISK_POINTS": 10},
}


ABANDONED = """
import asyncio, os
os.environ["SCRIPT_PAUSE"] = "0.1"
from agents import set_tracing_disabled
from cycles_otel import CyclesRunHooks
from cycles_otel.local import LocalCycles
from desk import RISK, Desk, Visit

async def main():
    with LocalCycles(budgets={"tenant:acme": {"USD_MICROCENTS": 10**9, "RISK_POINTS": 100}}) as server:
        async with CyclesRunHooks(config=server.config(), tool_risk=RISK) as hooks:
            events = Desk(hooks).stream("hello", Visit("ada", "request"))
            await anext(events)
            await events.aclose()
            await asyncio.sleep(1)
        print(len(server.ledger().reservations), "of 3 calls")

set_tracing_disabled(True)
asyncio.run(main())
"""


class Shop:
    """A service and its Cycles server; all replies are kept."""

    def __init__(self, cycles: CyclesServer, service: Service) -> None:
        self.cycles, self.service = cycles, service
        self.replies: list[Reply] = []

    def client(self) -> httpx.AsyncClient:
        """A client that opens a connection for each request, so that any worker may get it."""
        limits = httpx.Limits(max_keepalive_connections=0)
        return httpx.AsyncClient(base_url=self.service.url, limits=limits, timeout=60)

    async def ask(self, customer: str, **more: Any) -> Reply:
        """One question, whose reply must be complete, or a proper problem."""
        async with self.client() as client:
            reply = await ask(client, customer, **more)
        assert not list(reply.faults())
        self.replies.append(reply)
        return reply

    def money_is_equal(self) -> bool:
        """Whether answers, ledger and page say the same."""
        return not wrong_money(self.replies, self.cycles.ledger(), of_text_page(self.service.page()))


@contextmanager
def serving(folder: Path, **environment: str) -> Iterator[Shop]:
    cycles = CyclesServer(folder, BUDGETS)
    with ExitStack() as processes:
        processes.callback(cycles.kill)
        cycles.start()
        service = Service(folder, cycles, {"SCRIPT_PAUSE": "0.1", **environment})
        processes.callback(service.kill)
        service.wait_until_it_serves()
        yield Shop(cycles, service)


@pytest.fixture(scope="class")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with serving(tmp_path_factory.mktemp("service"), OTEL_TRACES_EXPORTER="console") as shop:
        yield shop


class TestReplies:
    async def test_answers_streams_and_denials_add_up_over_all_workers(self, shop: Shop) -> None:
        answer = await shop.ask("ada")
        assert answer.body["used"] == {"USD_MICROCENTS": 22_695, "RISK_POINTS": 20}
        assert answer.headers["x-request-id"] == answer.body["request_id"]

        stream = await shop.ask("ada", streamed=True)
        assert stream.names == ["text", "tool", "tool", "text", "done"]
        assert stream.body["used"] == answer.body["used"]

        half = await shop.ask("edsger", streamed=True)
        assert (half.status, half.names) == (200, ["text", "tool", "tool", "error"])
        assert (half.body["status"], half.body["reason"], half.body["unit"]) == (402, "BUDGET_EXCEEDED", "RISK_POINTS")
        assert half.body["used"]["USD_MICROCENTS"] > 0
        assert (await shop.ask("edsger")).status == 402

        none = await shop.ask("barbara", streamed=True)
        assert (none.status, none.body["reason"], none.used.total()) == (402, "BUDGET_EXCEEDED", 0)
        assert none.body["scope"] == "tenant:acme/workspace:barbara/agent:support"

        for _ in range(200):
            if len(shop.service.answering) > 1:
                break
            await shop.ask("ada")
        assert len(shop.service.answering) == 2
        await asyncio.to_thread(waited_for, shop.money_is_equal, "equal money")

    async def test_a_budget_that_is_only_held_is_worth_waiting_for(self, shop: Shop) -> None:
        environment = shop.cycles.environment
        config = CyclesConfig(base_url=environment["CYCLES_BASE_URL"], api_key=SECRET, tenant="acme")
        async with AsyncCyclesClient(config) as client:
            held = await client.create_reservation(_reservation("grace", 3 * ESTIMATE))
            assert held.is_success, held
            reply = await shop.ask("grace")
            assert (reply.status, reply.headers["retry-after"]) == (429, "2")
            reservation = (held.body or {})["reservation_id"]
            assert (await client.release_reservation(reservation, {"idempotency_key": "release"})).is_success
        assert (await shop.ask("grace")).status == 200

    async def test_who_is_unknown_is_not_served_and_a_name_that_is_none_is_refused(self, shop: Shop) -> None:
        async with shop.client() as client:
            unknown = await ask(client, "nobody")
            assert (unknown.status, unknown.body["reason"]) == (402, "BUDGET_NOT_FOUND")
            assert (await ask(client, "not a name")).status == 422
            assert (await client.post("/answers", json={"question": "hello"})).status_code == 422

    async def test_logs_have_the_request_and_never_what_the_customer_wrote(self, shop: Shop) -> None:
        for customer in ("edsger", "barbara"):
            await shop.ask(customer, streamed=True, question="a secret of mine")
        named = await shop.ask("ada", question="a secret of mine", request_id="r-4711")
        assert named.headers["x-request-id"] == named.body["request_id"] == "r-4711"
        await asyncio.to_thread(waited_for, lambda: "request r-4711" in shop.service.log, "the request in the log")
        assert "secret" not in shop.service.log

    async def test_a_request_has_one_span_with_its_id_above_those_of_its_run(self, shop: Shop) -> None:
        await shop.ask("ada", request_id="r-4712")

        def in_the_trace() -> list[Any]:
            spans = _spans_in(shop.service.log)
            traces = {each["context"]["trace_id"] for each in spans if each["attributes"].get("request.id") == "r-4712"}
            found = [each for each in spans if each["context"]["trace_id"] in traces]
            # What has no parent ends last.
            return found if any(each["parent_id"] is None for each in found) else []

        spans = await asyncio.to_thread(waited_for, in_the_trace, "all spans of the request")
        of_requests = [each for each in _spans_in(shop.service.log) if each["kind"] == "SpanKind.SERVER"]
        answers = [each for each in of_requests if each["name"].startswith("POST /answers")]
        assert all("request.id" in each["attributes"] for each in answers)
        assert "cycles.reservation llm.completion" in {each["name"] for each in spans}


SLOWED_DOWN = """
import asyncio
from cycles_otel import StepDeniedError
from desk import Visit
from problems import problem_of

async def main():
    for pause in (1200, None):
        denied = StepDeniedError("denied", reason_code="BUDGET_FROZEN", retry_after_ms=pause)
        problem = await problem_of(denied, Visit("ada", "request"), None)
        print(problem.status, problem.retry_after)

asyncio.run(main())
"""


def test_a_denial_that_says_when_to_come_again_is_worth_waiting_for_so_long() -> None:
    output = run_program(SLOWED_DOWN, PYTHONPATH=os.pathsep.join([str(ROOT), str(EXAMPLE)]))
    assert output.splitlines() == ["429 2", "402 None"]


class TestWithoutCycles:
    async def test_where_it_must_be_asked_requests_get_503_until_it_is_back(self, tmp_path: Path) -> None:
        with serving(tmp_path, FAIL_OPEN="false") as shop:
            assert (await shop.ask("ada")).status == 200
            shop.cycles.kill()
            for streamed in (False, True):
                reply = await shop.ask("ada", streamed=streamed)
                assert (reply.status, reply.headers["retry-after"]) == (503, "5")
            async with shop.client() as client:
                assert (await client.get("/health")).status_code == 200
            shop.cycles.start()
            assert await self._answered_again(shop)
            await asyncio.to_thread(waited_for, shop.money_is_equal, "equal money", 90)

    async def _answered_again(self, shop: Shop) -> bool:
        for _ in range(100):
            if (await shop.ask("ada")).status == 200:
                return True
            await asyncio.sleep(0.2)
        return False


class TestStreams:
    async def test_a_client_that_goes_away_ends_its_run(self, tmp_path: Path) -> None:
        with serving(tmp_path, SCRIPT_PAUSE="4") as shop:
            async with shop.client() as client:
                headers = {"X-Customer": "ada"}
                async with client.stream(
                    "POST", "/answers/stream", json={"question": "hello"}, headers=headers
                ) as reply:
                    assert reply.status_code == 200
                    await asyncio.to_thread(
                        waited_for, lambda: len(shop.cycles.ledger().reservations) == 2, "another call"
                    )
            await asyncio.to_thread(waited_for, lambda: not shop.cycles.ledger().active, "its end")
            ledger = shop.cycles.ledger()
            assert [(len(ledger.committed), len(ledger.released)), ledger.charged("RISK_POINTS")] == [(1, 1), 0]

    def test_a_stream_that_nobody_reads_any_more_ends_its_run(self) -> None:
        assert run_program(ABANDONED, PYTHONPATH=os.pathsep.join([str(ROOT), str(EXAMPLE)])).endswith("1 of 3 calls\n")


class TestShutdown:
    async def test_a_connection_that_a_stopping_worker_has_accepted_gets_its_answer(self, tmp_path: Path) -> None:
        with serving(tmp_path) as shop:
            at = urlsplit(shop.service.url)
            connections = [socket.create_connection((at.hostname or "", at.port or 0), timeout=60) for _ in range(4)]
            # They are accepted in their order: these are, when a request that came later is answered.
            async with shop.client() as client:
                assert (await client.get("/health")).is_success
            shop.service.terminate()
            await asyncio.to_thread(waited_for, lambda: "Shutting down" in shop.service.log, "the workers' end")
            for each in connections:
                each.sendall(b"GET /health HTTP/1.1\r\nHost: service\r\nConnection: close\r\n\r\n")
            answers = [await asyncio.to_thread(_first_line, each) for each in connections]
            assert answers == [b"HTTP/1.1 200 OK\r\n"] * len(connections)
            assert await asyncio.to_thread(shop.service.exit_status) == 0

    async def test_what_is_still_to_be_charged_is_charged_before_the_workers_end(self, tmp_path: Path) -> None:
        with serving(tmp_path, CYCLES_RETRY_FLUSH_TIMEOUT="40") as shop:
            shop.cycles.kill()
            used = [(await shop.ask("ada")).used for _ in range(2)]
            shop.service.terminate()
            await asyncio.to_thread(waited_for, lambda: "application shutdown" in shop.service.log, "the workers' end")
            shop.cycles.start()
            assert await asyncio.to_thread(shop.service.exit_status) == 0
            ledger = shop.cycles.ledger()
            assert {unit: ledger.charged(unit) for unit in UNITS} == used[0] + used[1]
            assert not list(shop.service.journal.rglob("*.json"))


class TestUnderLoad:
    """What `make test-service` does for a minute, for a few seconds: a restart, a reload, and an end with streams."""

    async def test_no_request_is_lost_and_the_money_is_equal(self, tmp_path: Path) -> None:
        plan = Plan(fail_open=True, seconds=4, at_once=4, restarts=1, outage=1)
        outcome = await asyncio.to_thread(play, plan, tmp_path)
        assert not outcome.wrong, "\n".join(outcome.wrong)
        assert outcome.statuses[200]
        assert outcome.unenforced
        assert outcome.workers == 4


def _first_line(connection: socket.socket) -> bytes:
    with connection, connection.makefile("rb") as reply:
        return reply.readline()


def _reservation(customer: str, amount: int) -> dict[str, object]:
    return {
        "idempotency_key": f"held-of-{customer}",
        "subject": {"tenant": "acme", "workspace": customer},
        "action": {"kind": "llm.completion", "name": "another"},
        "estimate": {"unit": "USD_MICROCENTS", "amount": amount},
    }


def _spans_in(log: str) -> list[Any]:
    """The spans that were written between other lines; the last one may not be complete yet."""
    found, decoder, at = [], json.JSONDecoder(), log.find("{\n")
    while at >= 0:
        try:
            span, end = decoder.raw_decode(log, at)
        except json.JSONDecodeError:
            break
        found.append(span)
        at = log.find("{\n", end)
    return found
