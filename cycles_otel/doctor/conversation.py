"""Questions to the server, one after the other, each bounded in time and none of them changing anything."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator, Mapping
from types import TracebackType
from typing import Any

from runcycles import CyclesConfig, CyclesResponse

from cycles_otel.api_key import without_key
from cycles_otel.budget.decision import body_of, unavailable_reason
from cycles_otel.budget.exchange import bounded_client

_PAGE = "200"
_MOST_PAGES = 50


class Conversation:
    """One connection to the server; ``with Conversation(config) as server:``."""

    def __init__(self, config: CyclesConfig) -> None:
        self.config = config
        self._loop = asyncio.new_event_loop()
        self._client = bounded_client(config)

    def __enter__(self) -> Conversation:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._loop.run_until_complete(self._client.aclose())
        self._loop.close()

    def balances(self, **query: str) -> CyclesResponse:
        """A page of the tenant's balances."""
        return self._answer(self._client.get_balances(tenant=self.config.tenant or "", **{"limit": _PAGE, **query}))

    def more_balances(self, first: CyclesResponse) -> Iterator[Mapping[str, Any]]:
        """Each balance, from the first page on; where there are very many, not the last of them."""
        page = body_of(first)
        for _ in range(_MOST_PAGES):
            balances = page.get("balances")
            yield from (each for each in balances or () if isinstance(each, dict))
            cursor = page.get("next_cursor")
            if not page.get("has_more") or not isinstance(cursor, str):
                return
            page = body_of(self.balances(cursor=cursor))

    def reserve(self, body: dict[str, Any]) -> CyclesResponse:
        """A reserve, whose body must ask for a dry run."""
        return self._answer(self._client.create_reservation(body))

    def said_in(self, response: CyclesResponse) -> str:
        """What the server, or the transport, said, in one line and without the key."""
        said = body_of(response).get("message") or response.error_message or f"status {response.status}"
        return without_key(str(said), self.config.api_key)

    def mend_the_way_to(self, response: CyclesResponse) -> str:
        """What to do about a reply that is no answer."""
        if unavailable_reason("", response) == "timeout":
            seconds = self.config.read_timeout
            return f"It did not answer within {seconds:g} s: look at its health, or at what is on the way"
        if "SSL" in self.said_in(response):
            return "Check https in CYCLES_BASE_URL, and whether this machine trusts the certificate (SSL_CERT_FILE)"
        if response.is_transport_error:
            return "Start the server, or set CYCLES_BASE_URL to where it is (cycles-otel serve: one for development)"
        if response.status == 429:
            return "The server limits requests: wait, or raise the limit"
        if response.status >= 500:
            return "The server has a fault: look at its log"
        return "That is not Cycles: CYCLES_BASE_URL leads to a proxy or to another server"

    def _answer(self, question: Awaitable[CyclesResponse]) -> CyclesResponse:
        return self._loop.run_until_complete(asyncio.ensure_future(question, loop=self._loop))
