"""The ledger's notion of now: milliseconds since the epoch, from the system or moved by hand."""

from __future__ import annotations

import time
from collections.abc import Callable

Clock = Callable[[], int]
"""Returns the present time in ms since the epoch."""


def system_clock() -> int:
    """The machine's time in ms since the epoch."""
    return time.time_ns() // 1_000_000


class ManualClock:
    """A clock that stands still until it is moved, for tests of expiry and grace.

    Parameters
    ----------
    now_ms: where it stands at first, in ms since the epoch (default: the machine's time).
    """

    def __init__(self, now_ms: int | None = None) -> None:
        self.now_ms = system_clock() if now_ms is None else now_ms

    def __call__(self) -> int:
        return self.now_ms

    def advance(self, ms: int) -> None:
        """Move the clock forward by `ms` milliseconds."""
        self.now_ms += ms
