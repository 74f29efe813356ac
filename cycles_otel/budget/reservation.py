"""What was let go: a step with the hold that the server granted for it, or one that runs without any.

Either is settled exactly once: by a commit of what the step used, or by a release.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any, Protocol

from cycles_otel.budget.heartbeat import Heartbeat
from cycles_otel.budget.observer import CallObserver, ReservationObserver
from cycles_otel.budget.requests import Spend
from cycles_otel.budget.step import Step


class Settles(Protocol):
    """What carries settlements out, in the background."""

    def commit(self, reservation: Reservation, spend: Spend) -> Future[str]:
        """Charge a spend on a reservation; the result is the outcome."""

    def release(self, reservation: Reservation, reason: str) -> Future[str]:
        """Give a reservation back; the result is the outcome."""

    def charge(self, step: Step, spend: Spend, observer: CallObserver | None = None) -> Future[str]:
        """Charge, by an event, a step that ran without a reservation; the result is the outcome."""


class Admitted(ABC):
    """A step that may run. Any thread may settle it; only the first one does.

    Parameters
    ----------
    caps: the limits within which the step may run, as the server sent them.
    """

    def __init__(
        self, step: Step, observer: ReservationObserver, settlement: Settles, caps: Mapping[str, Any] | None = None
    ) -> None:
        self.step = step
        self.caps = caps
        self.observer = observer
        self._settlement = settlement
        self._lock = threading.Lock()
        self._claimed = False

    def commit(self, spend: Spend) -> Future[str] | None:
        """Charge what the step used; None if it is settled already."""
        return self._commit(spend) if self._claim() else None

    def release(self, reason: str) -> Future[str] | None:
        """Charge nothing, and give back what is held; None if there is nothing to do."""
        return self._release(reason) if self._claim() else None

    @property
    def is_open(self) -> bool:
        """Whether nobody has begun to settle it."""
        return not self._claimed

    @abstractmethod
    def _commit(self, spend: Spend) -> Future[str]: ...

    @abstractmethod
    def _release(self, reason: str) -> Future[str] | None: ...

    def _claim(self) -> bool:
        with self._lock:
            first, self._claimed = not self._claimed, True
            return first


class Reservation(Admitted):
    """What the server granted for a step.

    Parameters
    ----------
    lease: seconds until it expires, unless the heartbeat extends it.
    """

    def __init__(
        self,
        reservation_id: str,
        step: Step,
        *,
        lease: float,
        caps: Mapping[str, Any] | None,
        observer: ReservationObserver,
        settlement: Settles,
    ) -> None:
        super().__init__(step, observer, settlement, caps)
        self.id = reservation_id
        self.lease = lease
        self.heartbeat: Heartbeat | None = None

    def _commit(self, spend: Spend) -> Future[str]:
        return self._settlement.commit(self, spend)

    def _release(self, reason: str) -> Future[str]:
        return self._settlement.release(self, reason)


class Unreserved(Admitted):
    """A step that runs unenforced, since the server gave no answer: nothing is held, but what it uses is owed."""

    def _commit(self, spend: Spend) -> Future[str]:
        return self._settlement.charge(self.step, spend, self.observer)

    def _release(self, reason: str) -> None:
        return None
