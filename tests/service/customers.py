"""Customers who ask the service, and read each answer to its end."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx

PROBLEM = "application/problem+json"
_MEMBERS = {"title", "status", "reason", "request_id", "used", "scope", "unit", "retry_after"}
_MAY_WAIT = (429, 503)


@dataclass
class Reply:
    """What came back.

    Parameters
    ----------
    body: the JSON object: the answer, or the problem; of a stream the data of its last event.
    events: the names and data of a stream's events.
    lost: how the connection failed; None for a reply that came to its end.
    """

    customer: str
    status: int = 0
    headers: httpx.Headers = field(default_factory=httpx.Headers)
    body: dict[str, Any] = field(default_factory=dict)
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    lost: str | None = None

    @property
    def used(self) -> Counter[str]:
        """What it says was used, by unit."""
        return Counter(self.body.get("used", {}))

    @property
    def outcome(self) -> int:
        """The status; of a stream that ended with a problem that problem's."""
        return int(self.body.get("status", self.status))

    @property
    def names(self) -> list[str]:
        """The events of a stream, by name."""
        return [name for name, _ in self.events]

    def faults(self) -> Iterator[str]:
        """Each sentence is one way in which this is no complete answer, and no proper problem."""
        if self.lost:
            yield f"a request was lost: {self.lost} after {self.names or self.status or 'nothing'}"
        elif self.outcome != 200:
            yield from self._faults_of_the_problem()
        elif not self.body.get("answer") or not self.used:
            yield f"an answer is not complete: {self.body} {self.names}"
        if self.events and not self.lost and self.names[-1] not in ("done", "error"):
            yield f"a stream was cut after {self.names}"

    def _faults_of_the_problem(self) -> Iterator[str]:
        if self.body.keys() != _MEMBERS or not self.body["reason"]:
            yield f"{self.outcome} has no proper problem: {self.body}"
        elif (self.body["retry_after"] is not None) != (self.outcome in _MAY_WAIT):
            yield f"{self.outcome} says {self.body['retry_after']} of waiting"
        elif self.outcome in (402, 429) and not (self.body["scope"] and self.body["unit"]):
            yield f"{self.outcome} does not say whose budget it is: {self.body}"
        if self.status != 200:
            if self.headers.get("content-type") != PROBLEM:
                yield f"{self.status} is {self.headers.get('content-type')}"
            if ("retry-after" in self.headers) != (self.status in _MAY_WAIT):
                yield f"{self.status} has the headers {self.headers}"


async def ask(
    client: httpx.AsyncClient,
    customer: str,
    *,
    streamed: bool = False,
    question: str = "hello",
    begun: asyncio.Event | None = None,
    request_id: str | None = None,
) -> Reply:
    """Ask as a customer; a connection that fails is a reply that is lost.

    Parameters
    ----------
    begun: set when the reply begins, or when there will be none.
    """
    reply = Reply(customer)
    begun = begun or asyncio.Event()
    headers = {"X-Customer": customer} | ({"X-Request-ID": request_id} if request_id else {})
    path = "/answers/stream" if streamed else "/answers"
    try:
        async with client.stream("POST", path, json={"question": question}, headers=headers) as response:
            begun.set()
            reply.status, reply.headers = response.status_code, response.headers
            if response.headers["content-type"].startswith("text/event-stream"):
                await _read(response, reply)
            else:
                reply.body = json.loads(await response.aread())
    except httpx.TransportError as error:
        reply.lost = repr(error)
    begun.set()
    return reply


async def _read(response: httpx.Response, reply: Reply) -> None:
    name = ""
    async for line in response.aiter_lines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            reply.body = json.loads(line.removeprefix("data: "))
            reply.events.append((name, reply.body))
