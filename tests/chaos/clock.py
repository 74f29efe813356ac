"""A server's clock that goes with the machine's, and can be set forward or back."""

from __future__ import annotations

from cycles_otel.local.clock import system_clock


class SteppedClock:
    """The machine's time, so many ms off."""

    def __init__(self) -> None:
        self._off_ms = 0

    def __call__(self) -> int:
        return system_clock() + self._off_ms

    def step(self, ms: int) -> None:
        """Set the clock forward, or back where ``ms`` is negative."""
        self._off_ms += ms
