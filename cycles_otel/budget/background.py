"""The background loop: one daemon thread with an event loop, on which everything is said to Cycles servers.

The program's event loops come and go (``asyncio.run``, ``run_sync``, one for each thread), block, and are cancelled.
A reservation must be settled all the same. So requests, heartbeats and settlements live on a loop of their own;
the program's tasks wait for them, and a cancelled wait cancels nothing here.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Future
from concurrent.futures import wait as wait_for_threads
from typing import Any, TypeVar

T = TypeVar("T")

_LONGEST_WAIT_TO_STAND = 1.0
_LONGEST_STAND = 10.0


class BackgroundLoop:
    """An event loop on a daemon thread, started when it is first used, stopped when its last user is gone.

    ``generation`` tells one thread from the next: after a fork, or a stop, the loop is another.
    """

    def __init__(self) -> None:
        self.generation = 0
        self._standing = threading.local()
        self._renew()

    def _renew(self) -> None:
        self._lock = threading.RLock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stopped: Future[None] = Future()
        self._ending: dict[int, Future[None]] = {}
        self._users = 0

    def stand_still(self) -> None:
        """Before a fork: hold the loop where it holds no lock, which the child would inherit locked for ever."""
        loop, held, go_on = self._loop, threading.Event(), threading.Event()
        self._standing.go_on = go_on

        def stand() -> None:
            held.set()
            go_on.wait(_LONGEST_STAND)

        if loop is not None and not self.is_current():
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(stand)
                held.wait(_LONGEST_WAIT_TO_STAND)

    def go_on(self) -> None:
        """After the fork, in the parent."""
        self._standing.go_on.set()

    def forget(self) -> None:
        """In a forked child: the thread is the parent's; start with another one when it is needed."""
        self.generation += 1
        self._renew()

    def acquire(self) -> int:
        """Count one more user; the generation that it uses."""
        with self._lock:
            self._users += 1
            return self.generation

    def release(self) -> None:
        """Count one user less; the thread ends with the last."""
        with self._lock:
            self._users -= 1
            if self._users or self._loop is None:
                return
            loop, self._loop = self._loop, None
            generation, stopped = self.generation, self._stopped
            self._ending[generation] = stopped
            self.generation += 1
        stopped.add_done_callback(lambda _: self._ending.pop(generation, None))
        loop.call_soon_threadsafe(loop.stop)

    def stop(self, timeout: float = 1.0) -> None:
        """Cancel what is left and end the thread, since the interpreter is about to exit; wait ``timeout`` s for it."""
        with self._lock:
            loop, self._loop = self._loop, None
            self.generation += 1
        if loop is not None:
            loop.call_soon_threadsafe(loop.stop)
            settle_blocking([self._stopped], timeout)

    async def ended(self, generation: int) -> None:
        """Wait on the running loop until the thread of a generation is gone, if that was told to stop."""
        stopped = self._ending.get(generation)
        if stopped is not None:
            await outcome_of(stopped)

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Start ``work`` on the loop, in the caller's context; any thread may call this."""
        return asyncio.run_coroutine_threadsafe(work, self._running())

    def call(self, function: Callable[..., object], *args: Any) -> None:
        """Call ``function`` on the loop, soon; any thread may call this."""
        with contextlib.suppress(RuntimeError):
            self._running().call_soon_threadsafe(function, *args)

    def is_current(self) -> bool:
        """Whether the caller runs on this loop's thread."""
        return threading.current_thread() is self._thread

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop, self._stopped = _Loop(), Future()
                self._thread = threading.Thread(
                    target=_serve, args=(self._loop, self._stopped), name="cycles-otel-background", daemon=True
                )
                self._thread.start()
            return self._loop


class _Loop(asyncio.SelectorEventLoop):
    """Finds addresses at the interpreter's exit too, when Python lends no more threads to do so."""

    async def getaddrinfo(self, host: Any, port: Any, **hints: Any) -> Any:
        """As the loop's own; where that is refused a thread, the loop is blocked for the look-up."""
        try:
            return await super().getaddrinfo(host, port, **hints)
        except RuntimeError:
            return socket.getaddrinfo(host, port, **hints)


class Outstanding:
    """Background work that is not over. A forked child has none: what the parent began is not its own."""

    def __init__(self) -> None:
        self._renew()

    def _renew(self) -> None:
        self._process = os.getpid()
        self._lock = threading.RLock()
        self._since: dict[Future[Any], float] = {}

    def add(self, work: Future[Any]) -> None:
        """Note that the work has begun."""
        with self._own_lock():
            self._since[work] = time.monotonic()

    def discard(self, work: Future[Any]) -> None:
        """Note that the work is over."""
        with self._own_lock():
            self._since.pop(work, None)

    def all(self) -> list[Future[Any]]:
        """What is not over, the oldest first."""
        with self._own_lock():
            return list(self._since)

    def backlog(self) -> tuple[int, float | None]:
        """How much is not over, and the age of the oldest in s."""
        with self._own_lock():
            oldest = next(iter(self._since.values()), None)
            return len(self._since), None if oldest is None else time.monotonic() - oldest

    def _own_lock(self) -> threading.RLock:
        if self._process != os.getpid():
            self._renew()
        return self._lock


def _serve(loop: asyncio.AbstractEventLoop, stopped: Future[None]) -> None:
    asyncio.set_event_loop(loop)
    loop.run_forever()
    try:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()
        stopped.set_result(None)


_shared = BackgroundLoop()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_shared.stand_still, after_in_parent=_shared.go_on, after_in_child=_shared.forget)


def shared() -> BackgroundLoop:
    """The background loop of this process."""
    return _shared


async def outcome_of(future: Future[T]) -> T:
    """Wait on the running loop for background work; a cancelled wait leaves the work alone."""
    if not future.done():
        loop = asyncio.get_running_loop()
        over: asyncio.Future[None] = loop.create_future()

        def wake() -> None:
            if not over.done():
                over.set_result(None)

        future.add_done_callback(lambda _: _call_if_open(loop, wake))
        await over
    return future.result()


async def settle(futures: Iterable[Future[Any]], timeout: float | None) -> bool:
    """Wait on the running loop until all background work is over, ``timeout`` seconds at most; True if it is."""
    open_futures = [future for future in futures if not future.done()]
    if not open_futures:
        return True
    loop = asyncio.get_running_loop()
    woken, late = asyncio.Event(), asyncio.Event()

    def expire() -> None:
        late.set()
        woken.set()

    for future in open_futures:
        future.add_done_callback(lambda _: _call_if_open(loop, woken.set))
    # A timer of its own: asyncio.wait_for can swallow a cancellation that comes together with the end.
    timer = None if timeout is None else loop.call_later(timeout, expire)
    try:
        while not all(future.done() for future in open_futures):
            if late.is_set():
                return False
            await woken.wait()
            woken.clear()
        return True
    finally:
        if timer is not None:
            timer.cancel()


def _call_if_open(loop: asyncio.AbstractEventLoop, function: Callable[[], object]) -> None:
    """Call it on a loop of the program; where that is closed by now, nobody waits any more."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(function)


def settle_blocking(futures: Iterable[Future[Any]], timeout: float | None) -> bool:
    """The same for a caller without an event loop, at the interpreter's exit for instance."""
    return not wait_for_threads(list(futures), timeout).not_done
