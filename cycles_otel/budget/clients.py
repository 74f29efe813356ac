"""Clients of one server, lent for one request at a time.

The pool inside of a client looks at each of its connections for every request, and asks the system about the idle ones:
a client with many connections is slow. So there are several clients, each with one connection for as long as they
suffice; where they do not, they are shared evenly, since a request never waits for another.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from time import monotonic

from runcycles import AsyncCyclesClient

_MOST = 32
_BETWEEN_TWO = 0.1
"""A new client loads its certificates, which takes some 20 ms: not two in a row, with requests under way."""


class Clients:
    """Lends clients, on the loop that they belong to; made when they are needed, closed together.

    Parameters
    ----------
    make: opens a client.
    """

    def __init__(self, make: Callable[[], AsyncCyclesClient]) -> None:
        self._make = make
        self._idle: list[AsyncCyclesClient] = []
        self._busy: dict[AsyncCyclesClient, int] = {}
        self._next_at = 0.0

    @contextlib.contextmanager
    def lent(self) -> Iterator[AsyncCyclesClient]:
        """A client for one request."""
        client = self._idle.pop() if self._idle else self._another()
        self._busy[client] = self._busy.get(client, 0) + 1
        try:
            yield client
        finally:
            self._busy[client] -= 1
            if not self._busy[client]:
                del self._busy[client]
                self._idle.append(client)

    async def aclose(self) -> None:
        """Close all of them, those too that are still lent."""
        for client in [*self._idle, *self._busy]:
            with contextlib.suppress(OSError, RuntimeError):
                await client.aclose()

    def _another(self) -> AsyncCyclesClient:
        now = monotonic()
        if self._busy and (len(self._busy) >= _MOST or now < self._next_at):
            return min(self._busy, key=self._busy.__getitem__)
        self._next_at = now + _BETWEEN_TWO
        return self._make()
