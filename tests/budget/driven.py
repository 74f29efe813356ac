"""An event loop whose clock jumps to whatever is waited for, and the server's side of a lease on that clock."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeAlias, TypeVar

from runcycles import CyclesResponse

T = TypeVar("T")
Answer: TypeAlias = Callable[["Leases"], Awaitable[CyclesResponse]]


class DrivenLoop(asyncio.SelectorEventLoop):
    """Nobody waits on it: where nothing is left to do now, it is at once the time of the next timer."""

    def __init__(self) -> None:
        self.now = 0.0
        super().__init__(_JumpingSelector(self))

    def time(self) -> float:
        return self.now


class _JumpingSelector(selectors.SelectSelector):
    def __init__(self, loop: DrivenLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        self._loop.now += timeout or 0.0
        return super().select(0 if timeout is not None else None)


def drive(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on a driven loop."""
    loop = DrivenLoop()
    try:
        return loop.run_until_complete(work)
    finally:
        loop.close()


class Leases:
    """The server's side of one reservation: when it expires, and the beats that came in.

    Parameters
    ----------
    lease: seconds until it expires.
    most: how many extensions are granted.
    """

    def __init__(self, lease: float = 60.0, most: int = 10) -> None:
        self.loop = asyncio.get_running_loop()
        self.expires = self.loop.time() + lease
        self.left = most
        self.beats: list[tuple[float, dict[str, Any]]] = []
        self.answers: list[Answer] = []
        """How the next beats are answered; one that is not listed is granted."""

    async def extend(self, body: dict[str, Any]) -> CyclesResponse:
        """One beat."""
        self.beats.append((self.loop.time(), body))
        if self.answers:
            return await self.answers.pop(0)(self)
        if self.loop.time() >= self.expires:
            return refused(410, "RESERVATION_EXPIRED")
        if not self.left:
            return refused(409, "MAX_EXTENSIONS_EXCEEDED")
        self.left -= 1
        self.expires += body["extend_by_ms"] / 1000
        return granted(self.expires - self.loop.time())

    @property
    def times(self) -> list[float]:
        """When the beats came in."""
        return [round(at, 3) for at, _ in self.beats]

    @property
    def extended_by(self) -> list[float]:
        """For how many seconds the beats asked."""
        return [body["extend_by_ms"] / 1000 for _, body in self.beats]

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [body for _, body in self.beats]


def granted(remaining: float) -> CyclesResponse:
    """The reply to a beat that is granted."""
    return CyclesResponse.success(200, {"status": "ACTIVE", "remaining_ttl_ms": round(remaining * 1000)})


def refused(status: int, code: str, **headers: str) -> CyclesResponse:
    """The protocol's reply to a beat that is refused."""
    return CyclesResponse.http_error(status, code, {"error": code}, headers)


def answer(response: CyclesResponse) -> Answer:
    """A beat is answered with this."""

    async def respond(_: Leases) -> CyclesResponse:
        return response

    return respond
