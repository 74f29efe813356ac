"""The background job that expires reservations: their hold goes back once expiry and grace are over."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from cycles_otel.local.counters import Counters
from cycles_otel.local.ledger import Ledger


class Sweeper:
    """Runs over the reservations again and again.

    Parameters
    ----------
    ledger: whose reservations expire.
    counters: count each of them.
    interval: seconds between two runs.
    """

    def __init__(self, ledger: Ledger, counters: Counters, interval: float) -> None:
        self._ledger = ledger
        self._counters = counters
        self._interval = interval

    def sweep(self) -> int:
        """Expire what is due, and return how many reservations that were."""
        expired = self._ledger.expire_due()
        for reservation in expired:
            self._counters.add("reservations_expired", {"tenant": reservation.tenant})
        self._counters.add("maintenance_runs", {})
        return len(expired)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Sweep at the interval while the block runs."""
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            self.sweep()
