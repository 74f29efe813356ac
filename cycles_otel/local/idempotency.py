"""Idempotency: a key is remembered with its payload and its reply, per tenant and operation."""

from __future__ import annotations

import json
from typing import Any

from cycles_otel.local.clock import Clock
from cycles_otel.local.errors import idempotency_mismatch
from cycles_otel.local.store import RememberedReply, Store

DAY_MS = 86_400_000


class Idempotency:
    """The replies given so far.

    Parameters
    ----------
    store: where they are kept.
    clock: tells which of them are due to be forgotten.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def recall(self, tenant: str, operation: str, key: str, body: dict[str, Any]) -> dict[str, Any] | None:
        """The reply that `key` got before, or None if it is new.

        Raises
        ------
        ProtocolError: 409, the key came with another payload then.
        """
        known = self._store.replies.first(tenant=tenant, operation=operation, key=key)
        if known is None or (known.forget_ms is not None and known.forget_ms < self._clock()):
            return None
        if known.payload != canonical(body):
            raise idempotency_mismatch()
        return known.reply

    def remember(
        self,
        tenant: str,
        operation: str,
        key: str,
        body: dict[str, Any],
        reply: dict[str, Any],
        kept_ms: int | None = None,
    ) -> None:
        """Keep `reply` for the next time that `key` comes, for `kept_ms` ms, or for good."""
        forget_ms = None if kept_ms is None else self._clock() + kept_ms
        self._store.replies.put(RememberedReply(tenant, operation, key, canonical(body), reply, forget_ms))


def canonical(body: dict[str, Any]) -> str:
    """`body` as text that is the same for the same payload: sorted, and a null is like a field left out."""
    return json.dumps(_without_nulls(body), sort_keys=True, separators=(",", ":"))


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(each) for key, each in value.items() if each is not None}
    return value
