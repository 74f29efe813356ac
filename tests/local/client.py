"""A bare client of the Cycles protocol for tests: what it sends is what the test says."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import httpx

from cycles_otel.local import LocalCycles

USD = "USD_MICROCENTS"


class Client:
    """Sends one request a call to `server`, with the key of `tenant`.

    Args:
        server: where to.
        tenant: whose key, by default the first tenant's.
    """

    def __init__(self, server: LocalCycles, tenant: str | None = None) -> None:
        self.tenant = tenant or server.tenant
        headers = {"X-Cycles-API-Key": server.api_key_for(self.tenant)}
        self.http = httpx.Client(base_url=server.url, headers=headers, trust_env=False, verify=False, timeout=10.0)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exception: object) -> None:
        self.http.close()

    def post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        return self.http.post(f"/v1/{path}", json={"idempotency_key": str(uuid4()), **body})

    def get(self, path: str, **query: Any) -> httpx.Response:
        return self.http.get(f"/v1/{path}", params=query)

    def reserve(self, amount: int = 100, unit: str = USD, **more: Any) -> httpx.Response:
        return self.post("reservations", {**self.about(), "estimate": {"unit": unit, "amount": amount}, **more})

    def reserved(self, amount: int = 100, unit: str = USD, **more: Any) -> str:
        """The id of a new reservation."""
        response = self.reserve(amount, unit, **more)
        assert response.status_code == 200, response.text
        reservation_id: str = response.json()["reservation_id"]
        return reservation_id

    def commit(self, reservation_id: str, amount: int = 100, unit: str = USD, **more: Any) -> httpx.Response:
        body = {"actual": {"unit": unit, "amount": amount}, **more}
        return self.post(f"reservations/{reservation_id}/commit", body)

    def release(self, reservation_id: str, **more: Any) -> httpx.Response:
        return self.post(f"reservations/{reservation_id}/release", more)

    def extend(self, reservation_id: str, extend_by_ms: int = 1000, **more: Any) -> httpx.Response:
        return self.post(f"reservations/{reservation_id}/extend", {"extend_by_ms": extend_by_ms, **more})

    def decide(self, amount: int = 100, unit: str = USD, **more: Any) -> httpx.Response:
        return self.post("decide", {**self.about(), "estimate": {"unit": unit, "amount": amount}, **more})

    def event(self, amount: int = 100, unit: str = USD, **more: Any) -> httpx.Response:
        return self.post("events", {**self.about(), "actual": {"unit": unit, "amount": amount}, **more})

    def about(self) -> dict[str, Any]:
        """The subject and the action of a request that says nothing special about them."""
        return {"subject": {"tenant": self.tenant}, "action": {"kind": "llm.completion", "name": "gpt"}}
