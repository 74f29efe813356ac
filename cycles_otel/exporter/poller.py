"""One poll of a target: all pages of its balances, or why not."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from runcycles import AsyncCyclesClient, CyclesConfig, CyclesResponse

from cycles_otel.api_key import without_key
from cycles_otel.budget.decision import body_of, error_code, retry_after, unavailable_reason
from cycles_otel.budget.exchange import bounded_client
from cycles_otel.exporter.targets import Target
from cycles_otel.telemetry import semconv
from cycles_otel.telemetry.balances import Budget, budget_of
from cycles_otel.telemetry.client import observe_client
from cycles_otel.telemetry.recorder import Recorder

PAGE = 200
"""Balances on a page: the most that the protocol allows."""


@dataclass(frozen=True)
class Poll:
    """What a poll came to.

    Parameters
    ----------
    balances: how many it found.
    error_type: why it failed; "" where it worked.
    message: what the server, or the transport, said.
    refused: whether the server answered, and does not like what is asked.
    retry_after: seconds for which the server asked to be left alone.
    """

    balances: int = 0
    error_type: str = ""
    message: str = ""
    refused: bool = False
    retry_after: float | None = None

    @property
    def worked(self) -> bool:
        """Whether every page came."""
        return not self.error_type


class Poller:
    """Polls one target, one request at a time; the gauges are set as the client that it uses is observed.

    Parameters
    ----------
    seen: told which budgets a page has, also where a later page fails.
    """

    def __init__(self, target: Target, recorder: Recorder, seen: Callable[[Iterable[Budget]], None]) -> None:
        self._target = target
        self._recorder = recorder
        self._seen = seen
        self._levels = dict(target.levels)
        self._key = ""
        self._client: AsyncCyclesClient | None = None

    async def poll(self) -> Poll:
        """Ask for every page, and never raise; it is given up when the values of the first page would count no more."""
        with self._recorder.contained("metrics", "a poll of balances"):
            return await self._all_pages(time.monotonic() + self._target.pace.lifetime)
        return Poll(error_type=semconv.ERROR_OTHER, message="a fault of the exporter, which the log has")

    async def aclose(self) -> None:
        """Close the connections to the server."""
        if self._client is not None:
            client, self._client = self._client, None
            await client.aclose()

    async def _all_pages(self, deadline: float) -> Poll:
        client = await self._client_with_the_present_key()
        if not self._levels:
            response = await client.list_reservations(limit="1")
            if not response.cycles_tenant:
                return self._failed("list", response, "the server does not say whose key it is: set CYCLES_TENANT")
            self._levels = {"tenant": response.cycles_tenant}
        found, cursors = 0, [""]
        while True:
            response = await client.get_balances(**self._query(cursors[-1]))
            body = body_of(response)
            if not response.is_success or not isinstance(body.get("balances"), list):
                return self._failed("balances", response, "the reply is not the protocol's")
            budgets = [budget for each in body["balances"] if (budget := budget_of(each)) is not None]
            self._seen(budgets)
            found += len(budgets)
            if not body.get("has_more"):
                return Poll(found)
            cursor = body.get("next_cursor")
            if not isinstance(cursor, str) or cursor in cursors:
                return self._failed("balances", response, "the pages have no end")
            if time.monotonic() > deadline:
                return Poll(error_type="timeout", message=f"not all pages within {self._target.pace.lifetime:g} s")
            cursors.append(cursor)

    async def _client_with_the_present_key(self) -> AsyncCyclesClient:
        key = self._target.key.read()
        if self._client is None or key != self._key:
            await self.aclose()
            self._key, self._client = key, observe_client(bounded_client(self._config(key)), self._recorder)
        return self._client

    def _config(self, key: str) -> CyclesConfig:
        connect = self._target.pace.timeout / 4
        read = self._target.pace.timeout - connect
        return CyclesConfig(
            self._target.base_url, key, connect_timeout=connect, read_timeout=read, journal_enabled=False
        )

    def _query(self, cursor: str) -> Mapping[str, Any]:
        page = {"limit": str(PAGE)}
        return {**self._levels, **page, **({"cursor": cursor} if cursor else {})}

    def _failed(self, operation: str, response: CyclesResponse, otherwise: str) -> Poll:
        """A failed poll; ``otherwise`` says what is wrong where the reply itself says nothing."""
        lack = unavailable_reason(operation, response)
        refusal = None if response.is_success else error_code(response) or str(response.status)
        said = str(body_of(response).get("message") or response.error_message or otherwise)
        return Poll(
            error_type=lack or refusal or semconv.ERROR_OTHER,
            message=without_key(said, self._key),
            refused=lack is None and not response.is_success,
            retry_after=retry_after(response),
        )
