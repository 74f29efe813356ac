"""The circuit: while the server gives no answer, no step is made to wait until a timeout says so.

Five requests in a row without an answer open it, the first answer closes it. While it is open nothing is asked for a
step; a probe looks for the server instead. Its state belongs to one connection, never to the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from runcycles import CyclesResponse

logger = logging.getLogger("cycles_otel")


class CircuitOpenError(ConnectionError):
    """The server was not asked, since it gave no answer for a while."""


CIRCUIT_OPEN = "circuit_open"
NOT_ASKED = CyclesResponse.transport_error(CircuitOpenError("Cycles gave no answer for a while"))
"""What stands for the reply while the circuit is open."""
UNANSWERED_IN_A_ROW = 5
PROBE_INTERVAL = 1.0

Probe = Callable[[], Awaitable[object]]
"""Asks the server for something that changes nothing; what comes back is told to ``heard``, as with any request."""


class Circuit:
    """Told about every request of a connection, on the background loop.

    Parameters
    ----------
    probe: looks for the server.
    changed: told whether the circuit is open, whenever that changes.
    """

    def __init__(self, probe: Probe, changed: Callable[[bool], None]) -> None:
        self._probe = probe
        self._changed = changed
        self._unanswered = 0
        self._probing: asyncio.Task[None] | None = None
        self.is_open = False

    def heard(self, *, answered: bool) -> None:
        """A request got an answer, or none."""
        if answered:
            self._unanswered = 0
            self.close()
            return
        self._unanswered += 1
        if self._unanswered >= UNANSWERED_IN_A_ROW and not self.is_open:
            self.is_open = True
            self._changed(True)
            logger.warning("Cycles gave no answer %d times in a row: steps do not ask for now", self._unanswered)
            self._probing = asyncio.create_task(self._look_for_the_server())

    def close(self) -> None:
        """Let steps ask again, and stop to look for the server."""
        if not self.is_open:
            return
        self.is_open = False
        self._changed(False)
        logger.warning("Cycles is asked again")
        if self._probing is not None and self._probing is not asyncio.current_task():
            self._probing.cancel()

    async def _look_for_the_server(self) -> None:
        loop = asyncio.get_running_loop()
        while self.is_open:
            next_probe = loop.time() + PROBE_INTERVAL
            # Whatever a probe runs into, the next one is sent: nothing else may ever close the circuit.
            with contextlib.suppress(Exception):
                await self._probe()
            if self.is_open:
                await asyncio.sleep(max(next_probe - loop.time(), 0))
