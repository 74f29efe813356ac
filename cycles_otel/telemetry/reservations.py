"""What is remembered between the calls of one reservation, and between the tries of one call."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from opentelemetry.trace import SpanContext

from cycles_otel.telemetry.bounded import BoundedMap
from cycles_otel.telemetry.exchange import Reply, Request
from cycles_otel.telemetry.facts import Facts

REMEMBERED = 10_000


@dataclass(slots=True)
class Held:
    """A reservation that this process made.

    Parameters
    ----------
    lease_ends: when it expires, on the monotonic clock, in s.
    parent: what the spans of later calls nest below that are made where no span is current.
    """

    facts: Facts
    lease_ends: float | None = None
    parent: SpanContext | None = None


@dataclass(slots=True)
class Tries:
    """How often a request was sent with one idempotency key, and whether a reply to it was counted."""

    sent: int = 0
    answered: bool = False


class Reservations:
    """The facts of open reservations, by id: a commit does not say what it pays for."""

    def __init__(self, limit: int = REMEMBERED) -> None:
        self._held: BoundedMap[str, Held] = BoundedMap(limit)

    def hold(self, reservation_id: str, held: Held) -> None:
        """Remember a reservation that was granted."""
        self._held.put(reservation_id, held)

    def get(self, reservation_id: str | None) -> Held | None:
        """The reservation; None where another process made it, or it is settled."""
        return None if reservation_id is None else self._held.get(reservation_id)

    def follow(self, request: Request, reply: Reply, facts: Facts, parent: SpanContext | None = None) -> None:
        """Remember the reservation that a reply grants, and forget one that it settles."""
        if request.operation == "reserve":
            granted = reply.body.get("reservation_id")
            if isinstance(granted, str) and not request.is_dry_run:
                self.hold(granted, Held(facts, lease_end(reply.body), parent))
        elif request.operation in ("commit", "release") and request.reservation_id is not None:
            self._held.pop(request.reservation_id)


class Replays:
    """Recognises a request that repeats an earlier one: the server repeats its reply, and it must not count twice."""

    def __init__(self, limit: int = REMEMBERED) -> None:
        self._tries: BoundedMap[tuple[str, ...], Tries] = BoundedMap(limit)

    def tries(self, request: Request, tenant: str) -> Tries:
        """The tries of this request of the tenant so far; the caller counts its own."""
        if request.idempotency_key is None:
            return Tries()
        owner = request.reservation_id or tenant
        key = (request.endpoint.base_url, request.operation, owner, request.idempotency_key)
        known = self._tries.get(key)
        if known is None:
            known = Tries()
            self._tries.put(key, known)
        return known


def lease_end(body: Mapping[str, object]) -> float | None:
    """When the lease in this reply ends, on the monotonic clock, in s."""
    remaining = body.get("remaining_ttl_ms")
    return time.monotonic() + remaining / 1000 if isinstance(remaining, int) else None
