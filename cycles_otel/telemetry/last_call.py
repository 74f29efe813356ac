"""One last thing that a program waits for at its end, within a bound."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue


class LastCall:
    """A thread that waits until ``work`` is to be done: Python starts no more threads at the interpreter's exit.

    What a signal handler may call takes no lock that the interrupted code could hold.
    """

    def __init__(self, work: Callable[[], object]) -> None:
        self._work = work
        self._made: SimpleQueue[None] = SimpleQueue()
        self._thread = threading.Thread(target=self._wait, name="cycles-otel-last-call", daemon=True)
        self._thread.start()

    def make(self) -> None:
        """Do the work from now on; a second time changes nothing."""
        self._made.put(None)

    def is_over(self, timeout: float) -> bool:
        """Wait for the end of the work, ``timeout`` s at most."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _wait(self) -> None:
        self._made.get()
        self._work()
