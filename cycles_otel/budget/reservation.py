"""A reservation: the hold for one step, settled exactly once, by commit or by release."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any, Protocol

from cycles_otel.budget.heartbeat import Heartbeat
from cycles_otel.budget.observer import ReservationObserver
from cycles_otel.budget.requests import Spend
from cycles_otel.budget.step import Step


class Settles(Protocol):
    """What carries settlements out, in the background."""

    def commit(self, reservation: Reservation, spend: Spend) -> Future[str]:
        """Charge a spend on a reservation; the result is the outcome."""

    def release(self, reservation: Reservation, reason: str) -> Future[str]:
        """Give a reservation back; the result is the outcome."""


class Reservation:
    """What the server granted for a step. Any thread may settle it; only the first one does.

    Parameters
    ----------
    amount: what is held, in the step's unit.
    caps: the limits within which the step may run, as the server sent them.
    lease: seconds until it expires, unless the heartbeat extends it.
    """

    def __init__(
        self,
        reservation_id: str,
        step: Step,
        *,
        amount: int,
        lease: float,
        caps: Mapping[str, Any] | None,
        observer: ReservationObserver,
        settlement: Settles,
    ) -> None:
        self.id = reservation_id
        self.step = step
        self.amount = amount
        self.caps = caps
        self.lease = lease
        self.observer = observer
        self.heartbeat: Heartbeat | None = None
        self.granted_at = time.monotonic()
        self._settlement = settlement
        self._lock = threading.Lock()
        self._claimed = False

    def commit(self, spend: Spend) -> Future[str] | None:
        """Charge what the step used; None if the reservation is settled already."""
        return self._settlement.commit(self, spend) if self._claim() else None

    def release(self, reason: str) -> Future[str] | None:
        """Give everything back; None if the reservation is settled already."""
        return self._settlement.release(self, reason) if self._claim() else None

    @property
    def is_open(self) -> bool:
        """Whether nobody has begun to settle it."""
        return not self._claimed

    def _claim(self) -> bool:
        with self._lock:
            first, self._claimed = not self._claimed, True
            return first
