"""The connection to one Cycles server: a client on the background loop, its journal, and how both end."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import functools
import threading
import time
import weakref
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Future
from typing import Any, TypeVar

from runcycles import AsyncCyclesClient, CyclesConfig

from cycles_otel.budget import background
from cycles_otel.budget.journal import Journal

Observe = Callable[[AsyncCyclesClient], AsyncCyclesClient]
Pending = Callable[[], list[Future[Any]]]
T = TypeVar("T")


class Connection:
    """Opens a client when it is first needed, and again where the loop under it is another (after a fork).

    Parameters
    ----------
    observe: wraps a new client so that its calls are seen by telemetry.
    """

    def __init__(self, config: CyclesConfig, observe: Observe) -> None:
        self.journal = Journal(config)
        self.flush_timeout = config.retry_flush_timeout
        self._background = background.shared()
        self._config = config
        self._observe = observe
        # Reentrant: the garbage collector may end a run, and submit its settlements, while this thread submits.
        self._lock = threading.RLock()
        self._generation: int | None = None
        self._client: AsyncCyclesClient | None = None

    @property
    def is_open(self) -> bool:
        """Whether the background loop has work for this connection, or had and was not told of its end."""
        return self._generation == self._background.generation

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Start work on the background loop, in the caller's context; any thread may call this."""
        with self._lock:
            if not self.is_open:
                self._generation, self._client = self._background.acquire(), None
                _flush_when_the_interpreter_exits()
        return self._background.submit(work)

    async def client(self) -> AsyncCyclesClient:
        """The client, for work on the background loop."""
        if self._client is None:
            self._client = self._observe(AsyncCyclesClient(self._config))
            self.journal.replay(self._client)
        return self._client

    async def aclose(self) -> None:
        """Close the client, from any loop; the background thread ends with its last connection."""
        with self._lock:
            generation, self._generation = self._generation, None
            client, self._client = self._client, None
        if generation == self._background.generation:
            await background.outcome_of(self._background.submit(self._close(client)))
            await self._background.ended(generation)

    def retire(self, pending: Pending) -> None:
        """Close the client when what is pending is over, without anyone who waits for it."""

        async def settle_and_close() -> None:
            deadline = time.monotonic() + self.flush_timeout
            while (left := pending()) and (wait := deadline - time.monotonic()) > 0:
                await _settled(left, wait)
            await self._close(self._client)

        if self.is_open:
            self._background.submit(settle_and_close())

    async def _close(self, client: AsyncCyclesClient | None) -> None:
        if client is not None:
            with contextlib.suppress(OSError, RuntimeError):
                await client.aclose()
        self._background.release()


_pending_of: weakref.WeakKeyDictionary[Connection, Pending] = weakref.WeakKeyDictionary()


def end_with(owner: object, connection: Connection, pending: Pending) -> None:
    """Close the connection when its owner is collected; at the interpreter's exit wait, bounded, for ``pending``."""
    _pending_of[connection] = pending
    finalizer = weakref.finalize(owner, connection.retire, pending)
    finalizer.atexit = False


async def _settled(futures: Iterable[Future[Any]], timeout: float) -> None:
    await asyncio.wait([asyncio.wrap_future(future) for future in futures], timeout=timeout)


@functools.cache
def _flush_when_the_interpreter_exits() -> None:
    """Registered late: handlers run last in, first out, and a provider made before must see what is still settled."""
    atexit.register(_flush)


def _flush() -> None:
    """What is not settled after the longest flush timeout stays in the journal, for the next process."""
    connections = list(_pending_of.items())
    deadline = time.monotonic() + max((connection.flush_timeout for connection, _ in connections), default=0)
    while left := [future for _, pending in connections for future in pending()]:
        if not background.settle_blocking(left, max(deadline - time.monotonic(), 0)):
            return
