"""What the server said last about each spend that was sent to it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from runcycles import AsyncCyclesClient, CyclesResponse

from cycles_otel.api_key import without_key
from cycles_otel.budget.decision import body_of, error_code, unavailable_reason

_OPERATIONS = {"commit_reservation": "commit", "create_event": "event"}


class Replies:
    """Watches the client that sends, and remembers why the server did not take what it was sent.

    Parameters
    ----------
    api_key: is not shown, whatever the replies say.
    """

    def __init__(self, api_key: str) -> None:
        self._api_key = api_key
        self._refusals: dict[str, str] = {}

    def watch(self, client: AsyncCyclesClient) -> AsyncCyclesClient:
        """The same client, whose commits and events are looked at."""
        for method, operation in _OPERATIONS.items():
            setattr(client, method, self._watched(getattr(client, method), operation))
        return client

    def refusal_of(self, key: str) -> str:
        """Why the spend with this idempotency key is not charged yet."""
        return self._refusals.get(key, "it was not sent")

    def _watched(
        self, send: Callable[..., Awaitable[CyclesResponse]], operation: str
    ) -> Callable[..., Awaitable[CyclesResponse]]:
        async def watched(*given: Any) -> CyclesResponse:
            body = given[-1]
            self._refusals[body["idempotency_key"]] = "no reply came in time"
            response = await send(*given)
            self._refusals[body["idempotency_key"]] = self._refusal(operation, response)
            return response

        return watched

    def _refusal(self, operation: str, response: CyclesResponse) -> str:
        code = unavailable_reason(operation, response) or error_code(response) or str(response.status)
        said = body_of(response).get("message") or response.error_message or f"status {response.status}"
        return without_key(f"{code}: {said}", self._api_key)
