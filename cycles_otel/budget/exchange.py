"""One request and its reply, bounded in time, whatever the server does; and a word to the circuit about each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import httpx
from runcycles import AsyncCyclesClient, CyclesConfig, CyclesResponse

from cycles_otel.budget.circuit import Circuit
from cycles_otel.budget.decision import unavailable_reason

Method = Callable[..., Awaitable[CyclesResponse]]

OPERATIONS = {
    "create_reservation": "reserve",
    "commit_reservation": "commit",
    "release_reservation": "release",
    "extend_reservation": "extend",
    "decide": "decide",
    "create_event": "event",
    "get_balances": "balances",
    "get_reservation": "get",
    "list_reservations": "list",
}
"""The methods of a ``runcycles`` client, and the operation of each."""


def bounded_client(config: CyclesConfig, circuit: Circuit | None = None) -> AsyncCyclesClient:
    """A client whose every call returns a response, within the time that the config allows for one, and never raises.

    The timeouts of HTTP bound each read: a server that sends a byte now and then would be waited for without an end.
    """
    client = AsyncCyclesClient(config)
    longest = config.connect_timeout + config.read_timeout
    for name, operation in OPERATIONS.items():
        setattr(client, name, _bounded(getattr(client, name), operation, longest, circuit))
    return client


def _bounded(method: Method, operation: str, longest: float, circuit: Circuit | None) -> Method:
    async def bounded(*args: Any, **kwargs: Any) -> CyclesResponse:
        try:
            # In the task of the caller: a task of its own, as asyncio.wait_for has it, costs more than all of this.
            with anyio.fail_after(longest):
                response = await method(*args, **kwargs)
        except TimeoutError:
            response = CyclesResponse.transport_error(httpx.ReadTimeout(f"no whole reply within {longest:g} s"))
        except Exception as error:  # noqa: BLE001 - whatever the libraries below raise, it is no answer
            response = CyclesResponse.transport_error(error)
        if circuit is not None:
            circuit.heard(answered=unavailable_reason(operation, response) is None)
        return response

    return bounded
