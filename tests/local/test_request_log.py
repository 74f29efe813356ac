"""The log of what was on the wire."""

from __future__ import annotations

import threading

import pytest

from cycles_otel.local import Fault, LocalCycles
from cycles_otel.local.request_log import operation_of
from tests.local.client import Client


class TestRequestLog:
    def test_every_operation_stands_in_it_in_order_by_name(self, server: LocalCycles, client: Client) -> None:
        one, other = client.reserved(1), client.reserved(1)
        client.extend(one)
        client.commit(one, 1)
        client.release(other)
        client.decide(1)
        client.event(1)
        client.get("balances", tenant="acme")
        client.get(f"reservations/{one}")
        client.get("reservations")
        client.http.get("/actuator/health")
        client.http.get("/actuator/prometheus")
        client.get("nothing")
        assert [request.operation for request in server.requests] == [
            *("reserve", "reserve", "extend", "commit", "release", "decide", "event"),
            *("balances", "get", "list", "health", "metrics", "other"),
        ]

    def test_a_request_is_there_with_its_answer(self, server: LocalCycles, client: Client) -> None:
        response = client.reserve(7, idempotency_key="k", metadata={"step": 1})
        (request,) = server.requests
        assert (request.method, request.path, request.status) == ("POST", "/v1/reservations", 200)
        assert (request.body["idempotency_key"], request.body["metadata"]) == ("k", {"step": 1})
        assert request.response_body == response.json()
        assert request.response_headers["x-cycles-tenant"] == "acme"
        assert (request.applied, request.faulted, request.dropped) == (True, False, False)

    def test_an_answer_can_be_read_as_soon_as_the_client_has_it(self, server: LocalCycles, client: Client) -> None:
        for _ in range(50):
            client.get("balances", tenant="acme")
            assert server.requests[-1].status == 200

    def test_headers_are_there_in_lower_case_but_no_key(self, server: LocalCycles, client: Client) -> None:
        client.http.get("/v1/balances?tenant=acme", headers={"X-Admin-API-Key": "secret", "traceparent": "t"})
        (request,) = server.requests
        assert request.headers["traceparent"] == "t"
        assert request.headers["x-cycles-api-key"] == request.headers["x-admin-api-key"] == "[redacted]"
        assert server.api_key not in repr(request)
        assert request.query == {"tenant": "acme"}

    def test_a_refused_request_stands_in_it(self, server: LocalCycles, client: Client) -> None:
        client.http.post("/v1/reservations", content="{nope", headers={"Content-Type": "application/json"})
        request = server.requests[0]
        assert (request.status, request.body, request.response_body["error"]) == (400, "{nope", "INVALID_REQUEST")

    def test_a_faulted_request_stands_in_it_with_what_was_answered(self, server: LocalCycles, client: Client) -> None:
        server.inject(Fault("reserve", status=502, body="<html/>"))
        client.reserve(1)
        (request,) = server.requests
        assert (request.status, request.response_body) == (502, "<html/>")
        assert (request.applied, request.faulted) == (False, True)

    def test_it_can_be_emptied(self, server: LocalCycles, client: Client) -> None:
        client.reserve(1)
        server.clear_requests()
        emptied = server.requests
        assert emptied == ()
        client.decide(1)
        assert [request.operation for request in server.requests] == ["decide"]

    def test_what_was_under_way_when_it_was_emptied_does_not_come_back(
        self, server: LocalCycles, client: Client
    ) -> None:
        thread = threading.Thread(target=client.reserve)
        with server.hold("reserve") as held:
            thread.start()
            held.wait()
            server.clear_requests()
        thread.join()
        assert server.requests == ()

    def test_requests_of_many_threads_are_all_there_in_the_order_of_arrival(self, server: LocalCycles) -> None:
        def ask() -> None:
            with Client(server) as client:
                for _ in range(10):
                    client.get("balances", tenant="acme")

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        received = [request.received_at for request in server.requests]
        assert (len(received), received) == (40, sorted(received))


@pytest.mark.parametrize(
    ("method", "path", "operation"),
    [
        ("POST", "/v1/reservations", "reserve"),
        ("GET", "/v1/reservations/abc", "get"),
        ("POST", "/v1/reservations/abc", "other"),
        ("POST", "/v1/reservations/abc/commit/x", "other"),
    ],
)
def test_operation_of(method: str, path: str, operation: str) -> None:
    assert operation_of(method, path) == operation
