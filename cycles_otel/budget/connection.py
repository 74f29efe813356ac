"""The connection to one Cycles server: clients on the background loop, its journal, its circuit, and how they end."""

from __future__ import annotations

import asyncio
import atexit
import functools
import threading
import time
import weakref
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from runcycles import AsyncCyclesClient, CyclesConfig, CyclesResponse

from cycles_otel.budget import background
from cycles_otel.budget.circuit import Circuit
from cycles_otel.budget.clients import Clients
from cycles_otel.budget.exchange import bounded_client
from cycles_otel.budget.journal import Journal
from cycles_otel.budget.observer import Observer

Observe = Callable[[AsyncCyclesClient], AsyncCyclesClient]
Pending = Callable[[], list[Future[Any]]]
T = TypeVar("T")

_TURNS = 64
"""How many requests that no step waits for are under way at once: thousands that an outage left must neither crowd out
those that a step waits for, nor time out in a queue for a connection."""


class Connection:
    """Opens clients when they are needed, and others where the loop under them is another (after a fork).

    Parameters
    ----------
    observer: told about the journal and the circuit.
    observe: wraps a new client so that its calls are seen by telemetry.
    pending: what the end of the connection waits for, within the config's flush timeout.
    """

    def __init__(self, config: CyclesConfig, observer: Observer, observe: Observe) -> None:
        self.config = config
        self.journal = Journal(config, observer.journal_failed)
        self.pending: Pending = list
        self.flush_timeout = config.retry_flush_timeout
        self._background = background.shared()
        self._observer = observer
        self._observe = observe
        self._unattended = background.Outstanding()
        # Reentrant: the garbage collector may end a run, and submit its settlements, while this thread submits.
        self._lock = threading.RLock()
        self._generation: int | None = None
        self._is_retired = False
        self._renew()

    def _renew(self) -> None:
        """What belongs to one loop."""
        self.circuit = Circuit(self._probe, self._observer.circuit)
        self.turns = asyncio.Semaphore(_TURNS)
        self._clients = Clients(self._new_client)

    @property
    def is_open(self) -> bool:
        """Whether the background loop has work for this connection, or had and was not told of its end."""
        return self._generation == self._background.generation

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Start work on the background loop, in the caller's context; any thread may call this."""
        with self._lock:
            if not self.is_open:
                self._generation = self._background.acquire()
                self._renew()
                _open.add(self)
                _flush_when_the_interpreter_exits()
        started = self._background.submit(work)
        if self._is_retired:
            started.add_done_callback(lambda _: self.retire())
        return started

    def submit_unattended(self, work: Coroutine[Any, Any, object]) -> None:
        """The same for work that nothing waits for: it is cut off where the connection ends."""
        started = self.submit(work)
        self._unattended.add(started)
        started.add_done_callback(self._unattended.discard)

    def client(self) -> AbstractContextManager[AsyncCyclesClient]:
        """A client for one request, for work on the background loop."""
        return self._clients.lent()

    async def aclose(self) -> None:
        """Wait for what is pending, close, from any loop; the background thread ends with its last connection."""
        deadline = time.monotonic() + self.flush_timeout
        while left := self.pending():
            if not await background.settle(left, max(deadline - time.monotonic(), 0)):
                break
            await asyncio.sleep(0)
        generation = self._generation
        if generation is not None and self.is_open:
            await background.outcome_of(self._background.submit(self._close()))
            await self._background.ended(generation)

    def retire(self) -> None:
        """The same without anyone who waits for it; what is still to be settled later closes again after itself."""
        self._is_retired = True

        async def settle_and_close() -> None:
            deadline = time.monotonic() + self.flush_timeout
            while (left := self.pending()) and (wait := deadline - time.monotonic()) > 0:
                await _settled(left, wait)
            await self._close()

        if self.is_open:
            self._background.submit(settle_and_close())

    async def _probe(self) -> CyclesResponse:
        """Ask for something small that every key may ask for."""
        with self.client() as client:
            if self.config.tenant:
                return await client.get_balances(tenant=self.config.tenant)
            return await client.list_reservations(limit="1")

    def _new_client(self) -> AsyncCyclesClient:
        return self._observe(bounded_client(self.config, self.circuit))

    async def _close(self) -> None:
        """On the background loop. What is still pending is cut off: the journal keeps it."""
        with self._lock:
            if not self.is_open:
                return
            self._generation, clients, self._clients = None, self._clients, Clients(self._new_client)
            _open.discard(self)
        for work in [*self.pending(), *self._unattended.all()]:
            work.cancel()
        self.circuit.close()
        self.journal.close()
        await clients.aclose()
        self._background.release()


_open: set[Connection] = set()


def end_with(owner: object, connection: Connection, pending: Pending) -> None:
    """Close the connection when its owner is collected; however it ends, ``pending`` is waited for, bounded."""
    connection.pending = pending
    finalizer = weakref.finalize(owner, connection.retire)
    finalizer.atexit = False


async def _settled(futures: Iterable[Future[Any]], timeout: float) -> None:
    await asyncio.wait([asyncio.wrap_future(future) for future in futures], timeout=timeout)


@functools.cache
def _flush_when_the_interpreter_exits() -> None:
    """Registered late: handlers run last in, first out, and a provider made before must see what is still settled."""
    atexit.register(_flush)


def _flush() -> None:
    """What is not settled after the longest flush timeout stays in the journal, for the next process."""
    settle_what_is_pending(max((connection.flush_timeout for connection in list(_open)), default=0))
    background.shared().stop()


def settle_what_is_pending(timeout: float) -> None:
    """Wait until all connections have settled what is known to be spent, ``timeout`` s at most, and leave them open."""
    connections = list(_open)
    deadline = time.monotonic() + timeout
    while left := [work for connection in connections for work in connection.pending()]:
        if not background.settle_blocking(left, max(deadline - time.monotonic(), 0)):
            break
