"""The pace of requests that no step waits for: a few at a time, so that those of a waiting step come through."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import anyio

_AT_ONCE = 4
_SHARE = 4


class Pace:
    """Gives turns in the order in which they were asked for, on the loop that it belongs to.

    Where more wait than can go, more go at once, a quarter of those that wait: a slow server, which takes many requests
    at a time, is no bottleneck.
    """

    def __init__(self) -> None:
        self._turns = anyio.CapacityLimiter(_AT_ONCE)

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn, and keep it for one request."""
        self._turns.total_tokens = max(_AT_ONCE, self._turns.statistics().tasks_waiting // _SHARE)
        async with self._turns:
            yield
