"""Injected faults and holds: answers that are made up, late or missing."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import httpx
import pytest
from runcycles import AsyncCyclesClient

from cycles_otel.local import Fault, InvalidParameter, LocalCycles
from tests.local.client import Client


class TestMadeUpAnswers:
    def test_a_status_is_answered_without_the_ledger(self, server: LocalCycles, client: Client) -> None:
        server.inject(Fault("reserve", status=503))
        response = client.reserve(10)
        assert (response.status_code, response.json()["error"]) == (503, "INTERNAL_ERROR")
        assert server.ledger().reservations == ()

    def test_a_proxys_page_can_come_with_200(self, server: LocalCycles, client: Client) -> None:
        server.inject(Fault("reserve", body="<html>hello</html>"))
        response = client.reserve(10)
        assert (response.status_code, response.text) == (200, "<html>hello</html>")
        assert response.headers["content-type"].startswith("text/html")

    def test_headers_and_a_json_body_are_sent(self, server: LocalCycles, client: Client) -> None:
        server.inject(Fault("reserve", status=429, body={"error": "LIMIT_EXCEEDED"}, headers={"Retry-After": "2"}))
        response = client.reserve(10)
        assert (response.headers["retry-after"], response.json()) == ("2", {"error": "LIMIT_EXCEEDED"})

    def test_the_ledger_can_apply_the_request_all_the_same(self, server: LocalCycles, client: Client) -> None:
        server.inject(Fault("reserve", status=502, applied=True))
        assert client.reserve(10).status_code == 502
        assert server.ledger().budget("tenant:acme").reserved == 10


class TestWhichRequests:
    def test_one_by_default(self, server: LocalCycles, client: Client) -> None:
        server.inject(Fault("reserve", status=503))
        assert [client.reserve(1).status_code for _ in range(3)] == [503, 200, 200]

    def test_as_many_as_times_says(self, server: LocalCycles, client: Client) -> None:
        server.inject(Fault("reserve", status=503, times=2))
        assert [client.reserve(1).status_code for _ in range(3)] == [503, 503, 200]

    def test_all_until_cleared(self, server: LocalCycles, client: Client) -> None:
        server.inject(Fault("reserve", status=503, times=None))
        assert [client.reserve(1).status_code for _ in range(3)] == [503, 503, 503]
        server.clear_faults()
        assert client.reserve(1).status_code == 200

    def test_after_lets_the_first_ones_pass(self, server: LocalCycles, client: Client) -> None:
        server.inject(Fault("reserve", status=503, after=1))
        assert [client.reserve(1).status_code for _ in range(3)] == [200, 503, 200]

    def test_only_those_of_the_operation(self, server: LocalCycles, client: Client) -> None:
        server.inject(Fault("commit", status=503))
        reservation_id = client.reserved(1)
        assert [client.commit(reservation_id, 1).status_code for _ in range(2)] == [503, 200]

    def test_a_star_is_every_operation(self, server: LocalCycles, client: Client) -> None:
        server.inject(Fault(status=503, times=2))
        assert client.get("balances", tenant="acme").status_code == 503
        assert client.decide(1).status_code == 503


class TestDroppedConnections:
    def test_before_the_ledger_has_applied_the_request(self, server: LocalCycles, client: Client) -> None:
        server.inject(Fault("reserve", drop="before"))
        with pytest.raises(httpx.TransportError):
            client.reserve(10)
        assert server.ledger().reservations == ()

    def test_after_the_ledger_has_applied_the_request(self, server: LocalCycles, client: Client) -> None:
        server.inject(Fault("reserve", drop="after"))
        with pytest.raises(httpx.TransportError):
            client.reserve(10)
        assert server.ledger().budget("tenant:acme").reserved == 10

    def test_the_log_says_that_there_was_no_answer(self, server: LocalCycles, client: Client) -> None:
        server.inject(Fault("reserve", drop="after"))
        with pytest.raises(httpx.TransportError):
            client.reserve(10)
        (request,) = server.requests
        assert (request.status, request.dropped, request.applied, request.faulted) == (None, True, True, True)

    def test_other_connections_stay(self, server: LocalCycles, client: Client) -> None:
        with Client(server) as other:
            other.reserve(1)
            server.inject(Fault("reserve", drop="before"))
            with pytest.raises(httpx.TransportError):
                client.reserve(10)
            assert other.http.post("/v1/decide", content="{}").status_code == 415

    def test_the_client_sees_a_transport_error(self, server: LocalCycles) -> None:
        async def ask() -> int:
            async with AsyncCyclesClient(server.config()) as cycles:
                return (await cycles.get_balances(tenant="acme")).status

        server.inject(Fault("balances", drop="before"))
        assert asyncio.run(ask()) == -1


class TestDelays:
    def test_the_ledger_has_applied_the_request_while_the_answer_waits(self, server: LocalCycles) -> None:
        server.inject(Fault("reserve", delay=30.0))
        with Client(server) as client:
            client.http.timeout = httpx.Timeout(0.2)
            with pytest.raises(httpx.ReadTimeout):
                client.reserve(10)
        assert server.ledger().budget("tenant:acme").reserved == 10

    def test_the_true_answer_comes_at_last(self, server: LocalCycles, client: Client) -> None:
        server.inject(Fault("reserve", delay=0.05))
        began = time.monotonic()
        assert client.reserve(10).status_code == 200
        assert time.monotonic() - began >= 0.05

    def test_stopping_does_not_wait_for_it(self) -> None:
        server = LocalCycles({"tenant:acme": {"TOKENS": 5}}).start()
        server.inject(Fault("balances", delay=300.0))
        with Client(server) as client:
            answers: list[Any] = []
            thread = threading.Thread(target=lambda: answers.append(client.get("balances", tenant="acme").status_code))
            thread.start()
            while not server.requests:
                time.sleep(0.001)
            server.stop()
            thread.join()
        assert answers == [200]


class TestHolds:
    def test_requests_wait_until_the_block_ends(self, server: LocalCycles, client: Client) -> None:
        answers: list[int] = []
        thread = threading.Thread(target=lambda: answers.append(client.reserve(10).status_code))
        with server.hold("reserve") as held:
            thread.start()
            held.wait()
            assert (answers, server.ledger().reservations) == ([], ())
            assert server.requests[0].status is None
        thread.join()
        assert answers == [200]
        assert server.requests[0].status == 200

    def test_the_ledger_can_have_applied_them_before_they_wait(self, server: LocalCycles, client: Client) -> None:
        thread = threading.Thread(target=client.reserve)
        with server.hold("reserve", applied=True) as held:
            thread.start()
            held.wait()
            assert len(server.ledger().active) == 1
        thread.join()

    def test_other_operations_pass(self, server: LocalCycles, client: Client) -> None:
        with server.hold("commit"):
            assert client.reserve(1).status_code == 200

    def test_a_hold_can_be_let_go_early(self, server: LocalCycles, client: Client) -> None:
        with server.hold("reserve") as held:
            held.release()
            assert client.reserve(1).status_code == 200

    def test_waiting_for_what_does_not_come_times_out(self, server: LocalCycles) -> None:
        with server.hold("commit") as held, pytest.raises(TimeoutError, match="0 of 1 commit"):
            held.wait(timeout=0.01)

    async def test_a_cancellation_in_flight_can_be_staged(self, server: LocalCycles) -> None:
        body = {
            "idempotency_key": "k",
            "subject": {"tenant": "acme"},
            "action": {"kind": "llm.completion", "name": "gpt"},
            "estimate": {"unit": "USD_MICROCENTS", "amount": 10},
        }
        async with AsyncCyclesClient(server.config()) as cycles:
            with server.hold("reserve", applied=True) as held:
                call = asyncio.create_task(cycles.create_reservation(body))
                await held.arrived()
                call.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await call
        assert len(server.ledger().active) == 1

    def test_stopping_lets_go_what_waits(self) -> None:
        server = LocalCycles({"tenant:acme": {"TOKENS": 5}}).start()
        with Client(server) as client, server.hold() as held:
            thread = threading.Thread(target=client.get, args=("balances",), kwargs={"tenant": "acme"})
            thread.start()
            held.wait()
            server.stop()
            thread.join()


class TestBadInput:
    @pytest.mark.parametrize(
        ("parameters", "named"),
        [
            ({"operation": "reserv"}, "operation: got 'reserv'.*reserve, "),
            ({"status": 99}, "status: got 99"),
            ({"drop": "never"}, "drop: got 'never'.*'before'"),
            ({"drop": "before", "status": 500}, "drop"),
            ({"times": 0}, "times: got 0"),
            ({"after": -1}, "after: got -1"),
            ({"delay": -0.1}, "delay: got -0.1"),
        ],
    )
    def test_a_fault_that_makes_no_sense_is_refused(self, parameters: Any, named: str) -> None:
        with pytest.raises(InvalidParameter, match=named):
            Fault(**parameters)

    def test_a_hold_of_an_operation_that_does_not_exist_is_refused(self, server: LocalCycles) -> None:
        with pytest.raises(InvalidParameter, match="operation"), server.hold("reserv"):
            pass
